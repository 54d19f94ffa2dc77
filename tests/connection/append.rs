//! Proves that appended events get the next indexes of their session, and that an append which is repeated or refused
//! changes nothing.

use agent_session_store::diesel::Connection;
use agent_session_store::{Error, ListEventsRequest, NewEvent, Sender, SessionPersistDriver};

use crate::common::samples::placed;
use crate::common::{Statements, TempDb, event, json, millis, new_event as new, rows};

fn batch(ids: &[&str]) -> Vec<NewEvent> {
    ids.iter().map(|id| new(id)).collect()
}

/// Every row, so that it shows whether anything was written.
fn table(db: &TempDb) -> Vec<Vec<String>> {
    rows(&db.plain(), "SELECT *, typeof(event_index) FROM events ORDER BY session_id, event_index, id")
}

#[test]
fn indexes_continue_from_the_last_one_and_begin_with_1() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    assert_eq!(conn.last_event_index("one").unwrap(), None);
    assert_eq!(conn.append_events("one", &batch(&["z", "y"])).unwrap(), [1, 2]);
    assert_eq!(conn.append_events("one", &batch(&["x"])).unwrap(), [3]);
    assert_eq!(conn.append_events("two", &batch(&["w"])).unwrap(), [1]);
    assert_eq!(conn.append_events("one", &[]).unwrap(), [0_i64; 0]);
    assert_eq!(conn.last_event_index("one").unwrap(), Some(3));

    let stored = conn.list_events(&ListEventsRequest::new("one")).unwrap().items;
    let expected: Vec<_> = ["z", "y", "x"].iter().zip(1..).map(|(id, index)| placed(&new(id), "one", index)).collect();
    assert_eq!(stored, expected);
}

#[test]
fn events_stored_with_an_index_of_their_own_count() {
    for (stored, next) in
        [(&[7][..], 8), (&[1, 5, 9], 10), (&[3, 3], 4), (&[-4], -3), (&[0], 1), (&[-9, 2], 3), (&[i64::MIN], -i64::MAX)]
    {
        let db = TempDb::ours();
        let mut conn = db.connect();
        for (place, &index) in stored.iter().enumerate() {
            let (id, event_index) = (format!("old-{place}"), index);
            conn.insert_event(&with!(event("", "one", 0), id: id, event_index: event_index)).unwrap();
        }
        assert_eq!(conn.append_events("one", &batch(&["new", "newer"])).unwrap(), [next, next + 1], "{stored:?}");
    }
}

#[test]
fn after_the_greatest_index_there_is_there_is_none() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let last = with!(event("old", "one", 0), event_index: i64::MAX - 1);
    conn.insert_event(&last).unwrap();
    assert_eq!(conn.append_events("one", &batch(&["last"])).unwrap(), [i64::MAX]);

    let before = table(&db);
    let error = conn.append_events("one", &batch(&["beyond"])).unwrap_err();
    assert!(matches!(&error, Error::IndexesExhausted { session_id } if session_id == "one"), "{error}");
    assert_eq!(table(&db), before);
    // What is stored already needs no index.
    assert_eq!(conn.append_events("one", &batch(&["last"])).unwrap(), [i64::MAX]);
    let half = conn.append_events("one", &batch(&["last", "beyond"])).unwrap_err();
    assert!(matches!(half, Error::IndexesExhausted { .. }), "{half}");
    assert_eq!(table(&db), before);
}

#[test]
fn an_index_that_is_no_whole_number_is_an_error() {
    for (value, says) in [("1.5", "REAL where a whole number belongs"), ("'many'", "found TEXT, expected INTEGER")] {
        let db = TempDb::ours();
        let mut conn = db.connect();
        conn.insert_event(&event("odd", "one", 1)).unwrap();
        db.plain().execute(&format!("UPDATE events SET event_index = {value}"), []).unwrap();
        let before = table(&db);
        for error in [
            conn.append_events("one", &batch(&["new"])).unwrap_err(),
            conn.append_events_after("one", 1, &batch(&["new"])).unwrap_err(),
            conn.last_event_index("one").unwrap_err(),
        ] {
            let text = format!("cannot decode column event_index of the events row with id \"odd\": {says}");
            assert_eq!(error.to_string(), text);
        }
        assert_eq!(table(&db), before);
        assert_eq!(conn.append_events("two", &batch(&["new"])).unwrap(), [1], "other sessions go on");
    }
}

#[test]
fn a_repeated_append_returns_the_same_indexes_and_writes_nothing() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.append_events("one", &batch(&["a", "b"])).unwrap();
    conn.append_events("one", &batch(&["c"])).unwrap();
    let before = table(&db);
    let statements = Statements::of(&mut conn);
    assert_eq!(conn.append_events("one", &batch(&["a", "b"])).unwrap(), [1, 2]);
    assert_eq!(conn.append_events("one", &batch(&["c", "a", "c"])).unwrap(), [3, 1, 3]);
    assert!(statements.take_run().iter().all(|sql| !sql.contains("UPDATE")));
    assert_eq!(table(&db), before);

    // Some of it was stored: the rest follows the end.
    assert_eq!(conn.append_events("one", &batch(&["b", "d", "e"])).unwrap(), [2, 4, 5]);
    assert_eq!(conn.append_events("one", &batch(&["f", "f", "g"])).unwrap(), [6, 6, 7], "twice in one batch");
    assert_eq!(table(&db).len(), 7);
}

/// The one who tries again may have another clock and another connection.
#[test]
fn a_retry_is_the_same_event_whatever_it_was_stamped_with() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.append_events("one", &batch(&["a"])).unwrap();
    let before = table(&db);
    let again = with!(new("a"), created_at: millis(1), connection_id: "connection-2".to_owned());
    assert_eq!(conn.append_events("one", std::slice::from_ref(&again)).unwrap(), [1]);
    assert_eq!(conn.append_events_after("one", 0, &[again]).unwrap(), [1]);
    assert_eq!(table(&db), before, "what was stored stays");
}

#[test]
fn an_id_with_other_content_refuses_the_whole_batch() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.append_events("one", &batch(&["a"])).unwrap();
    let before = table(&db);
    let others = [with!(new("a"), sender: Sender::Client), with!(new("a"), payload: json(r#"{"id":"a"}"#))];
    for other in others {
        let error = conn.append_events("one", &[new("b"), other.clone(), new("c")]).unwrap_err();
        assert!(
            matches!(&error, Error::EventIdTaken { id, session_id } if id == "a" && session_id == "one"),
            "{error}"
        );
        assert_eq!(table(&db), before, "{other:?}");
    }
    let error = conn.append_events("two", &[new("b"), new("a")]).unwrap_err();
    assert_eq!(error.to_string(), r#"the id "a" is taken by a different event of session "one""#);
    assert_eq!(table(&db), before);

    let twice = with!(new("b"), payload: json("2"));
    assert!(matches!(conn.append_events("one", &[new("b"), twice]), Err(Error::EventIdTaken { .. })));
    assert_eq!(table(&db), before, "twice in one batch with other content");
}

#[test]
fn a_refused_append_undoes_itself_and_not_the_transaction_around_it() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.append_events("one", &batch(&["a"])).unwrap();
    conn.transaction(|conn| {
        assert_eq!(conn.append_events("one", &batch(&["b"]))?, [2]);
        assert!(conn.append_events("two", &batch(&["c", "a"])).is_err());
        assert!(matches!(
            conn.append_events_after("one", 1, &batch(&["d"])),
            Err(Error::AppendConflict { expected: 1, last_index: Some(2), .. })
        ));
        assert_eq!(conn.append_events("one", &batch(&["e"]))?, [3]);
        Ok::<_, Error>(())
    })
    .unwrap();
    let ids: Vec<_> = table(&db).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(ids, ["'a'", "'b'", "'e'"]);

    let undone: Result<(), Error> = conn.transaction(|conn| {
        assert_eq!(conn.append_events("one", &batch(&["f"]))?, [4]);
        Err(Error::Closed)
    });
    assert!(matches!(undone, Err(Error::Closed)));
    assert_eq!(conn.last_event_index("one").unwrap(), Some(3));
}

#[test]
fn appending_after_an_index_needs_the_session_to_end_there() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let conflict = |result: Result<Vec<i64>, Error>, at: i64, ends: Option<i64>| match result.unwrap_err() {
        Error::AppendConflict { session_id, expected, last_index } => {
            assert_eq!((&*session_id, expected, last_index), ("one", at, ends));
        }
        error => panic!("{error}"),
    };
    conflict(conn.append_events_after("one", 1, &batch(&["a"])), 1, None);
    conflict(conn.append_events_after("one", -1, &batch(&["a"])), -1, None);
    assert_eq!(conn.append_events_after("one", 0, &batch(&["a", "b"])).unwrap(), [1, 2]);
    for at in [0, 1, 3, i64::MIN, i64::MAX] {
        conflict(conn.append_events_after("one", at, &batch(&["c"])), at, Some(2));
    }
    assert_eq!(conn.append_events_after("one", 2, &batch(&["c"])).unwrap(), [3]);
    assert_eq!(conn.append_events_after("one", 3, &[]).unwrap(), [0_i64; 0]);

    // The answer was lost, and somebody else went on: what is all there is no conflict, what is half there is one.
    conn.append_events("one", &batch(&["d"])).unwrap();
    assert_eq!(conn.append_events_after("one", 0, &batch(&["a", "b"])).unwrap(), [1, 2]);
    assert_eq!(conn.append_events_after("one", 2, &batch(&["c"])).unwrap(), [3]);
    conflict(conn.append_events_after("one", 2, &batch(&["c", "e"])), 2, Some(4));
    let taken = with!(new("a"), payload: json("0"));
    assert!(matches!(conn.append_events_after("one", 4, &[taken]), Err(Error::EventIdTaken { .. })));
    assert_eq!(table(&db).len(), 4);
}

/// The commit fails, because another connection reads a file without a write-ahead log: nothing may be left behind that
/// later calls would be part of and lose.
#[test]
fn an_append_that_cannot_commit_leaves_no_transaction_open() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let plain = db.plain();
    plain.execute_batch("BEGIN; SELECT * FROM events").unwrap();
    let _: i64 = plain.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    let result = conn.append_events("one", &batch(&["a"]));
    assert!(matches!(result, Err(Error::Busy { .. })), "{result:?}");
    plain.execute_batch("COMMIT").unwrap();

    assert_eq!(conn.append_events("one", &batch(&["b"])).unwrap(), [1]);
    drop(conn);
    assert_eq!(table(&db).len(), 1);
    assert_eq!(db.connect().last_event_index("one").unwrap(), Some(1));
}

//! Proves that ending, deleting and forking a session is done wholly or not at all, also in a database of a host's.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Error, ListEventsRequest, SessionPersistDriver, SessionStore};

use crate::common::{TempDb, event, json, millis, new_event, rows, session};

/// Sessions `one` and `two` with three events each, events of `nobody`, and a record `empty`.
fn filled() -> TempDb {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for id in ["one", "two", "empty"] {
        conn.update_session(&with!(session(id), destroyed_at: None)).unwrap();
    }
    for id in ["one", "two", "nobody"] {
        for index in 1..=3 {
            conn.insert_event(&event(&format!("{id}-{index}"), id, index)).unwrap();
        }
    }
    db
}

fn ids(db: &TempDb, session_id: &str) -> Vec<(i64, String)> {
    let page = db.connect().list_events(&ListEventsRequest::new(session_id).limit(10_000)).unwrap();
    page.items.into_iter().map(|event| (event.event_index, event.id)).collect()
}

#[test]
fn a_session_ends_at_the_time_given() {
    let db = filled();
    let mut conn = db.connect();
    let before = db.tables();
    assert!(!conn.destroy_session("nobody", millis(1)).unwrap(), "events alone have no end");
    assert_eq!(db.tables(), before);
    let ended = |conn: &mut SqliteConnection| conn.get_session("one").unwrap().unwrap().destroyed_at;
    for time in [5, 3] {
        let precise = millis(time) + chrono::TimeDelta::microseconds(999);
        assert!(conn.destroy_session("one", precise).unwrap());
        assert_eq!(ended(&mut conn), Some(millis(time)), "also when it has ended before");
    }
    let undone: Result<(), Error> = conn.transaction(|conn| {
        conn.destroy_session("one", millis(9))?;
        Err(Error::Closed)
    });
    assert!(undone.is_err());
    assert_eq!(ended(&mut conn), Some(millis(3)));
    // Nothing else has changed.
    conn.batch_execute("UPDATE sessions SET destroyed_at = NULL").unwrap();
    assert_eq!(db.tables(), before);
}

#[test]
fn a_session_is_deleted_with_its_events() {
    for (id, sessions, events, existed) in [
        ("one", 2, 6, true),
        ("empty", 2, 9, true),
        ("nobody", 3, 6, true),
        ("never", 3, 9, false),
        ("ONE", 3, 9, false),
    ] {
        let db = filled();
        assert_eq!(db.connect().delete_session(id).unwrap(), existed, "{id}");
        assert_eq!(db.counts(), [sessions, events], "{id}");
        assert!(!db.tables().concat().concat().contains(&format!("'{id}'")));
        assert!(!db.connect().delete_session(id).unwrap(), "{id}, once more");
    }
    let db = filled();
    let undone: Result<(), Error> = db.connect().transaction(|conn| {
        assert!(conn.delete_session("one")?);
        Err(Error::Closed)
    });
    assert!(undone.is_err());
    assert_eq!(db.counts(), [3, 9]);
}

#[test]
fn the_hosts_foreign_keys_decide_about_a_deletion() {
    let with = |action: &str| {
        let db = filled();
        let sql = format!(
            "CREATE TABLE projects (name TEXT, session_id TEXT REFERENCES sessions (id) {action}, \
             event_id TEXT REFERENCES events (id) {action}); \
             INSERT INTO projects VALUES ('a', 'one', NULL), ('b', 'two', NULL), ('c', NULL, 'nobody-2')"
        );
        db.plain().execute_batch(&sql).unwrap();
        db
    };
    // On by default only in the SQLite that is compiled in.
    let enforcing = |db: &TempDb| {
        let mut conn = db.connect();
        conn.batch_execute("PRAGMA foreign_keys = ON").unwrap();
        conn
    };
    let db = with("ON DELETE CASCADE");
    assert!(enforcing(&db).delete_session("one").unwrap());
    assert!(enforcing(&db).delete_session("nobody").unwrap());
    assert_eq!(rows(&db.plain(), "SELECT name FROM projects"), [["'b'"]]);
    assert_eq!(db.counts(), [2, 3]);

    for action in ["", "ON DELETE RESTRICT", "DEFERRABLE INITIALLY DEFERRED"] {
        let db = with(action);
        let before = db.tables();
        let mut conn = enforcing(&db);
        for id in ["one", "nobody"] {
            let error = conn.delete_session(id).unwrap_err();
            assert!(matches!(error, Error::Database { .. }), "{action}: {error}");
            assert_eq!(db.tables(), before, "{action}");
        }
        // The connection is in no transaction, and other sessions can be deleted.
        conn.batch_execute("DELETE FROM projects WHERE name = 'b'").unwrap();
        assert!(conn.delete_session("two").unwrap());
        drop(conn);
        assert_eq!(db.counts(), [2, 6], "{action}");
    }
}

#[test]
fn a_fork_is_a_copy_under_new_ids() {
    let db = filled();
    let mut conn = db.connect();
    let before = db.tables();
    let new = with!(session("fork"), agent: "codex".to_owned(), modes: Some(json("null")));
    assert_eq!(conn.fork_session("one", None, &new).unwrap(), 3);
    assert_eq!(conn.get_session("fork").unwrap(), Some(new));
    let copies = conn.list_events(&ListEventsRequest::new("fork")).unwrap().items;
    let originals = conn.list_events(&ListEventsRequest::new("one")).unwrap().items;
    for (copy, original) in copies.iter().zip(&originals) {
        let (id, session_id) = (format!("fork:{}", original.id), "fork".to_owned());
        assert_eq!(*copy, with!(original.clone(), id: id, session_id: session_id));
    }
    // What was there is as it was.
    conn.delete_session("fork").unwrap();
    assert_eq!(db.tables(), before);
}

#[test]
fn a_fork_ends_where_it_is_told() {
    for (up_to_index, copied) in [(Some(2), 2), (Some(1), 1), (Some(0), 0), (Some(-1), 0), (Some(99), 3), (None, 3)] {
        let db = filled();
        let mut conn = db.connect();
        assert_eq!(conn.fork_session("one", up_to_index, &session("fork")).unwrap(), copied, "{up_to_index:?}");
        assert_eq!(conn.list_events(&ListEventsRequest::new("fork")).unwrap().items.len(), copied as usize);
        let last = ids(&db, "fork").last().map_or(0, |(index, _)| *index);
        assert_eq!(conn.append_events("fork", &[new_event("new")]).unwrap(), [last + 1]);
        assert_eq!(conn.last_event_index("one").unwrap(), Some(3));
    }
}

#[test]
fn a_fork_keeps_the_order_of_events_that_share_an_index() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let in_order = ["", "\0", "10", "2", "A", "a", "aa", "a:b", "é", "\u{ffff}", "😀"];
    for id in in_order {
        conn.insert_event(&event(id, "one", 7)).unwrap();
    }
    for (from, new) in [("one", "é\0:new"), ("é\0:new", "nested"), ("nested", "")] {
        assert_eq!(conn.fork_session(from, None, &session(new)).unwrap(), in_order.len() as u64);
        let strip = |ids: Vec<(i64, String)>, id: &str| {
            ids.into_iter()
                .map(|(index, found)| (index, found.strip_prefix(id).unwrap().to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(strip(ids(&db, new), &format!("{new}:")), ids(&db, from));
    }
    assert_eq!(ids(&db, "nested")[2], (7, "nested:é\0:new:10".to_owned()));
}

#[test]
fn a_fork_needs_a_session_and_a_free_id() {
    let db = filled();
    let mut conn = db.connect();
    conn.insert_event(&event("free:one-2", "else", 1)).unwrap();
    let before = db.tables();
    let missing = conn.fork_session("never", None, &session("fork")).unwrap_err();
    assert!(matches!(&missing, Error::SessionNotFound { id } if id == "never"), "{missing}");
    for taken in ["two", "empty", "nobody", "one"] {
        let error = conn.fork_session("one", None, &session(taken)).unwrap_err();
        assert!(matches!(&error, Error::SessionExists { id } if id == taken), "{error}");
    }
    // An id that one of the copies needs is taken: the record is not stored either.
    let error = conn.fork_session("one", None, &session("free")).unwrap_err();
    assert!(
        matches!(error, Error::EventIdTaken { ref id, ref session_id } if id == "free:one-2" && session_id == "else")
    );
    assert_eq!(db.tables(), before);
    assert_eq!(conn.fork_session("one", Some(1), &session("free")).unwrap(), 1, "that copy is not needed");
    assert_eq!(conn.fork_session("nobody", None, &session("fork")).unwrap(), 3, "from events alone");
    assert_eq!(conn.fork_session("empty", None, &session("fork-2")).unwrap(), 0);
}

/// What cannot be decoded is copied as it is: a fork neither hides a row nor mends it.
#[test]
fn a_fork_copies_odd_values_as_they_are() {
    let db = filled();
    db.plain()
        .execute_batch(
            "UPDATE events SET event_index = 'text', payload_json = '{', created_at = 1.5 WHERE id = 'one-3'; \
             UPDATE events SET event_index = 1.5, sender = x'00ff' WHERE id = 'one-2'",
        )
        .unwrap();
    let mut conn = db.connect();
    assert_eq!(conn.fork_session("one", None, &session("fork")).unwrap(), 3);
    let of = |id: &str| {
        let columns = "event_index, created_at, connection_id, sender, payload_json";
        rows(&db.plain(), &format!("SELECT {columns} FROM events WHERE session_id = '{id}' ORDER BY event_index, id"))
    };
    assert_eq!(of("fork"), of("one"));
    assert_eq!(conn.fork_session("one", Some(1), &session("fork-2")).unwrap(), 1);
    assert_eq!(conn.fork_session("one", Some(i64::MAX), &session("fork-3")).unwrap(), 2, "text is beyond any index");
}

#[test]
fn the_store_does_the_same() {
    let db = filled();
    let store = SessionStore::open(db.path()).unwrap();
    assert_eq!(store.fork_session("one", Some(2), &session("fork")).unwrap(), 2);
    assert!(matches!(store.fork_session("one", None, &session("fork")), Err(Error::SessionExists { .. })));
    assert!(store.destroy_session("fork", millis(4)).unwrap());
    assert_eq!(store.get_session("fork").unwrap().unwrap().destroyed_at, Some(millis(4)));
    assert!(store.delete_session("fork").unwrap() && !store.delete_session("fork").unwrap());
    assert_eq!(db.counts(), [3, 9]);
}

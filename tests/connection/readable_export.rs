//! Proves that an export leaves out the rows that cannot be decoded when it is asked to, says which they are, and can be
//! imported.

use agent_session_store::{
    Error, Export, FileMaintenance, ListSessionsRequest, Progress, Selection, SessionPersistDriver, SessionStore,
};

#[cfg(feature = "async")]
use crate::common::tasks::block_on;
use crate::common::{TempDb, event};

use super::undecodable::ten;

#[test]
fn an_export_leaves_out_what_it_is_asked_to_and_can_be_imported() {
    let (db, mut conn) = ten("'e3', 'e9'");
    let all =
        |session: &str| (1..4).map(|place| event(&format!("{session}-{place}"), session, place)).collect::<Vec<_>>();
    for session in ["two", "three", "nobody"] {
        conn.insert_events(&all(session)).unwrap();
    }
    // What is to be left, by deleting the rest from a copy.
    let kept = TempDb::new();
    conn.backup_to(kept.path()).unwrap();
    kept.plain()
        .execute_batch(
            "DELETE FROM events WHERE id IN ('e3', 'e9', 'nobody-2', 'three-1', 'three-3', 'two-2'); \
             DELETE FROM sessions WHERE id IN ('two', 'four')",
        )
        .unwrap();
    db.plain()
        .execute_batch(
            "UPDATE sessions SET modes_json = '{' WHERE id = 'two'; UPDATE sessions SET created_at = x'00' WHERE id = 'four'; \
             UPDATE events SET session_id = x'00' WHERE id IN ('three-1', 'three-3'); \
             UPDATE events SET session_id = CAST(x'ff' AS TEXT) WHERE id = 'two-2'; \
             UPDATE events SET payload_json = '' WHERE id = 'nobody-2'",
        )
        .unwrap();

    // By default it is the first of them that ends it.
    assert!(matches!(conn.export(std::io::sink(), Selection::all()), Err(Error::Decode { .. })));

    let (mut lines, mut left_out) = (Vec::new(), Vec::new());
    let tell = |error: Error| {
        let Error::Decode { table, id, column, .. } = error else { panic!("{error}") };
        left_out.push(format!("{table} {id} {column}"));
    };
    let done = conn.export(&mut lines, Export::of(Selection::all()).skip_undecodable(tell)).unwrap();
    assert_eq!(
        left_out,
        [
            "events e3 sender",
            "events e9 sender",
            "sessions two modes_json",
            "sessions four created_at",
            "events nobody-2 payload_json",
            "events two-2 session_id",
            "events three-1 session_id",
            "events three-3 session_id",
        ]
    );
    assert_eq!(done, Progress { sessions: 4, events: 8 + 2 + 1 + 2 });
    let copy = TempDb::ours();
    assert_eq!(copy.connect().import(&*lines).unwrap(), done);
    assert_eq!(copy.tables(), kept.tables());

    // The same from a store and for a task.
    let store = SessionStore::open(db.path()).unwrap();
    let (mut again, mut told) = (Vec::new(), 0);
    assert_eq!(store.export(&mut again, Export::of(Selection::all()).skip_undecodable(|_| told += 1)).unwrap(), done);
    assert!(again == lines && told == 8);
    #[cfg(feature = "async")]
    {
        let store = agent_session_store::AsyncSessionStore::from(store);
        let (told, heard) = std::sync::mpsc::channel();
        let tell = move |error: Error| told.send(error.to_string()).unwrap();
        let (again, _) =
            block_on(store.export(Vec::new(), Export::of(Selection::all()).skip_undecodable(tell))).unwrap();
        assert!(again == lines && heard.iter().count() == 8);
    }

    // Some of the sessions, or one.
    for (selection, told, events) in [
        (Selection::session("two"), 1, 2),
        (Selection::session("one"), 2, 8),
        (Selection::session("four"), 1, 0),
        (Selection::matching(ListSessionsRequest::new().limit(2)), 4, 8 + 1 + 2),
    ] {
        let (mut lines, mut left_out) = (Vec::new(), 0);
        let done = conn.export(&mut lines, Export::of(selection.clone()).skip_undecodable(|_| left_out += 1)).unwrap();
        assert_eq!((left_out, done.events), (told, events), "{selection:?}");
        assert_eq!(TempDb::ours().connect().import(&*lines).unwrap(), done, "{selection:?}");
    }
}

/// Where nothing is to be left out, the two exports are one.
#[test]
fn an_export_that_leaves_nothing_out_is_the_ordinary_one() {
    let (_db, mut conn) = ten("''");
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let done = conn.export(&mut one, Selection::all()).unwrap();
    assert_eq!(
        conn.export(&mut other, Export::of(Selection::all()).skip_undecodable(|error| panic!("{error}"))).unwrap(),
        done
    );
    assert_eq!(one, other);
}

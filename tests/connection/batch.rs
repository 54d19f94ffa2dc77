//! Proves that a batch of events is stored as a whole or not at all: on a connection, inside a transaction of the
//! caller's, and on the store.

use agent_session_store::diesel::Connection;
use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{Error, ListEventsRequest, SessionEvent, SessionPersistDriver, SessionStore};

use crate::common::{TempDb, event};

/// Refuses events of the session `bad`, in each way that SQLite has.
const TRIGGERS: [&str; 4] = ["ABORT, 'no'", "ROLLBACK, 'no'", "FAIL, 'no'", "ABORT, 'database or disk is full'"];

fn refusing(raise: &str) -> TempDb {
    let db = TempDb::ours();
    db.connect()
        .batch_execute(&format!(
            "CREATE TRIGGER no AFTER INSERT ON events WHEN new.session_id = 'bad' BEGIN SELECT RAISE({raise}); END"
        ))
        .unwrap();
    db
}

/// Of many sessions, longer than any limit of SQLite's on bound values in one statement.
fn many(count: i64) -> Vec<SessionEvent> {
    (0..count).map(|index| event(&format!("e{index:06}"), &format!("session-{}", index % 7), index)).collect()
}

fn with_a_bad_one(mut events: Vec<SessionEvent>) -> Vec<SessionEvent> {
    let middle = events.len() / 2;
    events[middle].session_id = "bad".to_owned();
    events
}

#[test]
fn a_batch_of_any_length_is_stored_and_stored_again() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    for length in [0, 1, 2, 40_000] {
        let events = many(length);
        store.insert_events(&events).unwrap();
        db.connect().insert_events(&events).unwrap();
        assert_eq!(db.event_ids().len(), events.len());
    }
    let mut events = many(40_000);
    events.iter_mut().for_each(|event| event.event_index += 1);
    store.insert_events(&events).unwrap();
    let request = ListEventsRequest::new("session-3").limit(100_000);
    let wanted: Vec<_> = events.into_iter().filter(|event| event.session_id == "session-3").collect();
    assert_eq!(store.list_events(&request).unwrap().items, wanted);
}

#[test]
fn one_id_twice_in_a_batch_keeps_the_last() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    store.insert_events(&[event("e", "one", 1), event("e", "one", 2)]).unwrap();
    assert_eq!(store.list_events(&ListEventsRequest::new("one")).unwrap().items, [event("e", "one", 2)]);
}

#[test]
fn a_batch_with_a_bad_event_leaves_nothing_on_a_connection() {
    for raise in TRIGGERS {
        let db = refusing(raise);
        let mut conn = db.connect();
        for _ in 0..2 {
            conn.insert_events(&with_a_bad_one(many(9))).unwrap_err();
            assert!(db.event_ids().is_empty(), "{raise}");
        }
        conn.insert_events(&many(9)).unwrap();
        conn.immediate_transaction(|conn| conn.insert_event(&event("z", "one", 1))).unwrap();
        assert_eq!(db.event_ids().len(), 10, "{raise}");
    }
}

#[test]
fn a_batch_with_a_bad_event_is_undone_alone_in_the_callers_transaction() {
    let db = refusing("ABORT, 'no'");
    let mut conn = db.connect();
    conn.transaction::<_, Error, _>(|conn| {
        conn.insert_event(&event("a", "one", 1))?;
        conn.insert_events(&with_a_bad_one(many(9))).unwrap_err();
        conn.insert_events(&[event("b", "one", 2), event("c", "one", 3)])
    })
    .unwrap();
    assert_eq!(db.event_ids(), ["a", "b", "c"]);

    let undone = conn.transaction::<(), Error, _>(|conn| {
        conn.insert_events(&many(9))?;
        Err(agent_session_store::diesel::result::Error::RollbackTransaction.into())
    });
    assert!(undone.is_err());
    assert_eq!(db.event_ids(), ["a", "b", "c"]);
}

#[test]
fn a_batch_with_a_bad_event_leaves_nothing_in_a_store() {
    for raise in TRIGGERS {
        let db = refusing(raise);
        let store = SessionStore::open(db.path()).unwrap();
        for _ in 0..3 {
            store.insert_events(&with_a_bad_one(many(9))).unwrap_err();
            assert!(db.event_ids().is_empty(), "{raise}");
        }
        store.insert_events(&many(9)).unwrap();
        assert_eq!(db.event_ids().len(), 9, "{raise}");
    }
}

//! Proves that a file can be looked at as it is: also one that is not ours yet, if its shape can be read.

use std::path::Path;

use agent_session_store::{
    Error, ListEventsRequest, ListSessionsRequest, Selection, SessionPersistDriver, SessionStore,
};

use crate::common::reference::{EVENTS, SESSIONS};
use crate::common::{TempDb, event};

pub(super) fn read_only(path: &Path) -> Result<SessionStore, Error> {
    SessionStore::builder().read_only(true).open(path)
}

#[test]
fn the_reference_drivers_file_is_read_as_it_is() {
    let db = TempDb::fixture("sdk-0.4.2.db");
    let before = db.bytes();
    let copy = TempDb::fixture("sdk-0.4.2.db");
    let mut migrated = copy.migrated();

    let store = read_only(&db.path()).unwrap();
    let sessions = store.list_sessions(&ListSessionsRequest::new()).unwrap();
    assert_eq!(sessions, migrated.list_sessions(&ListSessionsRequest::new()).unwrap());
    assert_eq!(sessions.items.len(), 5);
    for session in &sessions.items {
        let id = &session.id;
        assert_eq!(store.get_session(id).unwrap().as_ref(), Some(session));
        let request = ListEventsRequest::new(id).limit(1_000);
        let events = store.list_events(&request).unwrap();
        assert_eq!(events, migrated.list_events(&request).unwrap());
        assert_eq!(store.events(request.clone()).map(Result::unwrap).collect::<Vec<_>>(), events.items);
        assert_eq!(store.last_event_index(id).unwrap(), events.items.last().map(|event| event.event_index));
        assert_eq!(store.latest_events(id, 5, None).unwrap(), migrated.latest_events(id, 5, None).unwrap());
    }
    let live = ListSessionsRequest::new().live().agent("claude").descending();
    assert_eq!(store.list_sessions(&live).unwrap(), migrated.list_sessions(&live).unwrap());
    assert_eq!(store.session_stats().unwrap(), migrated.session_stats().unwrap());
    assert_eq!(store.stats().unwrap().events, 114);
    assert_eq!(store.check().unwrap(), migrated.check().unwrap());
    let (mut lines, mut expected) = (Vec::new(), Vec::new());
    store.export(&mut lines, Selection::all()).unwrap();
    migrated.export(&mut expected, Selection::all()).unwrap();
    assert!(lines == expected);
    let elsewhere = TempDb::new();
    store.backup_to(elsewhere.path()).unwrap();
    assert_eq!(elsewhere.event_ids(), copy.event_ids());

    assert!(matches!(store.insert_event(&event("e", "one", 1)), Err(Error::ReadOnly { .. })));
    assert!(matches!(store.checkpoint(), Err(Error::ReadOnly { .. })));
    store.close().unwrap();
    assert!(db.bytes() == before);
}

const ROW: &str = "INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, payload_json) \
    VALUES ('e1', 1, 'one', 1700000000001, 'connection-1', 'client', \
    '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session/prompt\"}');";

#[test]
fn a_shape_is_read_as_it_is_wherever_that_is_possible() {
    let cases = [
        ("no index, no rows but one", format!("{SESSIONS}{EVENTS}{ROW}")),
        ("a column of the host's", format!("{SESSIONS}{EVENTS}{ROW} ALTER TABLE events ADD COLUMN mine TEXT")),
        (
            "types in other words",
            format!("{SESSIONS}{EVENTS}{ROW}").replace(" INTEGER", " bigint").replace("TEXT", "text"),
        ),
        (
            "an index that may be NULL and is not",
            format!("{SESSIONS}{EVENTS}{ROW}").replace("event_index INTEGER NOT NULL", "event_index INTEGER"),
        ),
        ("names in another case", format!("{SESSIONS}{EVENTS}{ROW}").replace("EXISTS events", "EXISTS Events")),
    ];
    for (name, sql) in cases {
        let db = TempDb::with(&sql);
        let before = db.bytes();
        let store = read_only(&db.path()).unwrap();
        assert_eq!(store.list_events(&ListEventsRequest::new("one")).unwrap().items, [event("e1", "one", 1)], "{name}");
        drop(store);
        assert!(db.bytes() == before, "{name}");
    }
}

#[test]
fn what_has_to_be_migrated_first_is_said_with_the_reason() {
    let with = |sql: String| TempDb::with(&sql);
    let empty = TempDb::new();
    std::fs::write(empty.path(), "").unwrap();
    // SQLite would take it for a leftover of another file, and delete it.
    std::fs::write(empty.beside("-wal"), "of a file that was truncated").unwrap();
    let cases = [
        ("the table sessions has no column sandbox_id", TempDb::fixture("server-0.4.2.db")),
        (
            "the table events has no column event_index",
            with(format!("{SESSIONS}{}", EVENTS.replace("event_index INTEGER NOT NULL,", ""))),
        ),
        (
            "the column id of the table events is declared as \"INTEGER\"",
            with(format!("{SESSIONS}{}", EVENTS.replace("id TEXT PRIMARY", "id INTEGER PRIMARY"))),
        ),
        (
            "the column event_index of the table events is NULL in some rows",
            with(format!(
                "{SESSIONS}{}{ROW} UPDATE events SET event_index = NULL",
                EVENTS.replace("event_index INTEGER NOT NULL", "event_index INTEGER")
            )),
        ),
        (
            "a rebuild of the table events was interrupted and left events_legacy behind",
            with(format!("{SESSIONS}{EVENTS}{}", EVENTS.replace("EXISTS events", "EXISTS events_legacy"))),
        ),
        ("there is no table events", with(SESSIONS.to_owned())),
        ("there is no table sessions", with(EVENTS.to_owned())),
        ("there is no table sessions", with("CREATE TABLE of_another_program (a)".to_owned())),
        ("the file is empty", empty),
    ];
    for (reason, db) in cases {
        let before = db.bytes();
        match read_only(&db.path()) {
            Err(Error::MigrationNeeded { reason: found }) => assert_eq!(found, reason),
            other => panic!("{reason}: {other:?}"),
        }
        assert!(db.bytes() == before, "{reason}");
    }
}

#[test]
fn what_is_not_ours_is_refused_as_by_a_migration() {
    let db = TempDb::with(&format!("CREATE TABLE sessions (token TEXT); {EVENTS}"));
    assert!(matches!(read_only(&db.path()), Err(Error::CannotMigrate { .. })));
    let db = TempDb::new();
    std::fs::write(db.path(), "Dear diary,\n".repeat(100)).unwrap();
    assert!(matches!(read_only(&db.path()), Err(Error::NotADatabase { .. })));
}

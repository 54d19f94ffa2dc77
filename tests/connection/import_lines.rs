//! Lines for imports, and the two who import.

use std::io::BufRead;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{Error, Progress, SessionPersistDriver, SessionStore};

use crate::common::TempDb;

/// More than one step has, whatever the disk.
pub(super) const LONG: i64 = 12_000;

pub(super) fn session_line(id: &str, events: i64) -> String {
    format!(
        "{{\"session\":{{\"id\":\"{id}\",\"agent\":\"a\",\"agentSessionId\":\"a\",\"lastConnectionId\":\"c\",\
         \"createdAt\":1,\"events\":{events}}}}}\n"
    )
}

pub(super) fn event_line(session: &str, index: i64, payload: &str) -> String {
    format!(
        "{{\"event\":{{\"id\":\"{session}-{index}\",\"eventIndex\":{index},\"sessionId\":\"{session}\",\"createdAt\":1,\
         \"connectionId\":\"c\",\"sender\":\"agent\",\"payloadJson\":\"{payload}\"}}}}\n"
    )
}

pub(super) fn lines_of(session: &str, events: i64) -> String {
    let lines = (1..=events).map(|index| event_line(session, index, "{}"));
    std::iter::once(session_line(session, events)).chain(lines).collect()
}

/// A long session that does not fit into memory either.
pub(super) fn large_lines_of(session: &str) -> String {
    let payload = format!("\\\"{}\\\"", "x".repeat(800));
    let events = (1..=LONG).map(|index| event_line(session, index, &payload));
    std::iter::once(session_line(session, LONG)).chain(events).collect()
}

pub(super) fn told(sessions: u64, events: u64) -> Progress {
    Progress { sessions, events }
}

pub(super) type Import = Box<dyn FnMut(&mut dyn BufRead) -> Result<Progress, Error>>;

/// By a connection and by a store.
pub(super) fn both(db: &TempDb) -> [Import; 2] {
    let (mut conn, store) = (db.connect(), SessionStore::open(db.path()).unwrap());
    conn.batch_execute("PRAGMA busy_timeout = 60000").unwrap();
    [Box::new(move |reader| conn.import(reader)), Box::new(move |reader| store.import(reader))]
}

pub(super) fn migrated() -> TempDb {
    let db = TempDb::new();
    SessionStore::open(db.path()).unwrap().close().unwrap();
    db
}

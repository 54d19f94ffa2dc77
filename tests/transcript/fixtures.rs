//! Proves that the databases of the published server and SDK have the transcripts that were looked at once. To look again:
//! `UPDATE_SNAPSHOTS=1 cargo test --test transcript fixtures`, and then `git diff`.

use std::fmt::Write;
use std::path::Path;

use agent_session_store::transcript::Transcript;
use agent_session_store::{ListEventsRequest, ListSessionsRequest, SessionStore};

use super::common::TempDb;
use super::compact::compact;

fn check(name: &str) {
    let db = TempDb::fixture(&format!("{name}.db"));
    let store = SessionStore::open(db.path()).unwrap();
    let mut found = String::new();
    for session in store.sessions(ListSessionsRequest::new()) {
        let session = session.unwrap();
        let mut transcript = Transcript::new();
        for event in store.events(ListEventsRequest::new(&session.id)) {
            transcript.push(&event.unwrap());
        }
        write!(found, "session {}\n{}", session.id, compact(&transcript)).unwrap();
    }
    assert_snapshot(&format!("transcript-{name}.txt"), &found);
}

/// Fails if what was found is not in the file of this name in `tests/snapshots`.
pub fn assert_snapshot(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(found == expected, "{} is another; what was found:\n{found}", path.display());
}

#[test]
fn the_sdk_database_has_the_transcripts_that_were_looked_at() {
    check("sdk-0.4.2");
}

#[test]
fn the_server_database_has_the_transcripts_that_were_looked_at() {
    check("server-0.4.2");
}

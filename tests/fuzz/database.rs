//! A file whose bytes are damaged.

use std::sync::OnceLock;

use agent_session_store::{
    Durability, JournalMode, ListEventsRequest, ListSessionsRequest, PruneRequest, Selection, SessionStore,
};
use tempfile::TempDir;

use super::{Choices, event, session};

/// A small database of ours, and the legacy ones.
fn files() -> &'static [Vec<u8>] {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = folder();
        let path = folder.path().join("x.db");
        let store = SessionStore::builder().journal_mode(JournalMode::Rollback).open(&path).unwrap();
        for number in 0..20 {
            store.update_session(&session(&format!("s{number}"), number)).unwrap();
            store.insert_event(&event(&format!("e{number}"), "s1", number)).unwrap();
        }
        store.close().unwrap();
        vec![
            std::fs::read(&path).unwrap(),
            include_bytes!("../fixtures/sdk-0.4.2.db").to_vec(),
            include_bytes!("../fixtures/server-0.4.2.db").to_vec(),
        ]
    })
}

/// In memory where there is such a file system.
fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// Either the bytes are a file themselves, or the first one chooses a file and the others change it, five for a place
/// and what is there.
pub fn run(data: &[u8]) {
    let folder = folder();
    let path = folder.path().join("x.db");
    std::fs::write(&path, if data.starts_with(b"SQLite") { data.to_vec() } else { changed(data) }).unwrap();
    let builder = SessionStore::builder().durability(Durability::Normal);
    if let Ok(store) = builder.clone().read_only(true).open(&path) {
        read(&store);
    }
    if let Ok(store) = builder.open(&path) {
        read(&store);
        let _ = store.insert_event(&event("new", "s1", 1));
        let _ = store.update_session(&session("new", 1));
        let _ = store.prune(&PruneRequest::new().max_events_per_session(3).reclaim_space());
        let _ = store.delete_session("s1");
        let _ = store.backup_to(folder.path().join("copy.db"));
        let _ = store.close();
    }
}

fn changed(data: &[u8]) -> Vec<u8> {
    let mut choices = Choices(data);
    let mut file = files()[choices.below(3)].clone();
    while choices.is_left() {
        let page = choices.below(file.len().div_ceil(4096));
        let within = (choices.below(16) << 8) | choices.below(256);
        let (how, byte) = (choices.byte(), choices.byte());
        let Some(place) = file.get_mut(page * 4096 + within) else { continue };
        match how % 4 {
            0 => *place ^= 1 << (byte % 8),
            1 => file.truncate(page * 4096 + within),
            _ => *place = byte,
        }
        if file.is_empty() {
            return file;
        }
    }
    file
}

/// All that can be asked. What the answers are does not matter here.
fn read(store: &SessionStore) {
    let report = store.check();
    let _ = store.stats();
    let _ = store.session_stats();
    let _ = store.list_session_summaries(&ListSessionsRequest::new());
    let _ = store.get_session("s1");
    let _ = store.last_event_index("s1");
    let sessions = store.list_sessions(&ListSessionsRequest::new());
    if let Ok(sessions) = sessions {
        for session in sessions.items.iter().take(30) {
            // A damaged tree may go round in circles; SQLite notices at last.
            let _ = store.events(ListEventsRequest::new(&session.id)).take(10_000).count();
        }
    }
    let _ = store.latest_events("s1", 3, Some(100));
    let _ = store.export(std::io::sink(), Selection::all());
    drop(report);
}

//! Proves that a store whose `on_open` gives SQLCipher its key is an encrypted store: nothing readable is on the disk,
//! every verb works, a backup is encrypted too, and another key opens nothing.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, RunQueryDsl, SqliteConnection, dsl, sql_types};
use agent_session_store::{
    AsyncSessionStore, Error, JournalMode, Json, ListEventsRequest, NewEvent, PruneRequest, Selection, Sender,
    SessionEvent, SessionPersistDriver, SessionRecord, SessionStore, SessionStoreBuilder, StoreConnection, migrate,
};
use chrono::DateTime;
use tempfile::TempDir;

const KEY: &str = "correct horse battery staple";
/// What is stored, and must not be found in a file.
const SECRET: &str = "attack at dawn";

fn keyed(key: &'static str) -> SessionStoreBuilder {
    SessionStore::builder().on_open(move |conn| conn.batch_execute(&format!("PRAGMA key = '{key}'")))
}

fn session(id: &str) -> SessionRecord {
    serde_json(&format!(
        r#"{{"id":"{id}","agent":"{SECRET}","agentSessionId":"a","lastConnectionId":"c","createdAt":1700000000000}}"#
    ))
}

fn serde_json<T: serde::de::DeserializeOwned>(text: &str) -> T {
    Json::parse(text).unwrap().decode().unwrap()
}

fn new_event(id: &str) -> NewEvent {
    let payload = Json::parse(format!(r#"{{"text":"{SECRET}"}}"#)).unwrap();
    let created_at = DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
    NewEvent::new(id, created_at, "c", Sender::Agent, payload)
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Nothing in any file can be read: neither what was stored nor that it is a database.
    fn is_unreadable(&self) {
        let mut files = 0;
        for entry in std::fs::read_dir(self.0.path()).unwrap() {
            let path = entry.unwrap().path();
            // The index of the log holds page numbers alone.
            if path.is_dir() || path.to_string_lossy().ends_with("-shm") {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            for text in [SECRET, "SQLite format 3", "CREATE TABLE"] {
                let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
                assert!(!found, "{} contains {text:?}", path.display());
            }
            files += 1;
        }
        assert!(files > 0);
    }
}

fn fill(store: &SessionStore) {
    store.update_session(&session("one")).unwrap();
    let events: Vec<_> = (0..200).map(|number| new_event(&format!("event-{number}"))).collect();
    assert_eq!(store.append_events("one", &events).unwrap().len(), 200);
}

fn holds_everything(path: &Path, builder: &SessionStoreBuilder) {
    let store = builder.clone().create(false).open(path).unwrap();
    assert_eq!(store.get_session("one").unwrap(), Some(session("one")));
    assert_eq!(store.last_event_index("one").unwrap(), Some(200));
    assert!(store.check().unwrap().is_sound());
}

#[test]
fn this_is_sqlcipher() {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    let version: String = dsl::sql::<sql_types::Text>("PRAGMA cipher_version").get_result(&mut conn).unwrap();
    assert!(version.starts_with('4'), "{version}");
}

#[test]
fn every_verb_works_and_nothing_is_readable() {
    for mode in [JournalMode::Wal, JournalMode::Rollback] {
        let folder = Folder::new();
        let builder = keyed(KEY).journal_mode(mode);
        let store = builder.clone().open(folder.path("sessions.db")).unwrap();
        fill(&store);
        folder.is_unreadable();
        assert_eq!(store.events(ListEventsRequest::new("one").limit(7)).map(Result::unwrap).count(), 200);
        let one: SessionEvent = store.latest_events("one", 1, None).unwrap().remove(0);
        store.insert_event(&one).unwrap();
        store.insert_events(&[one]).unwrap();
        assert_eq!(store.fork_session("one", Some(10), &session("two")).unwrap(), 10);
        let mut lines = Vec::new();
        assert_eq!(store.export(&mut lines, Selection::session("two")).unwrap().events, 10);
        assert!(store.delete_session("two").unwrap());
        assert_eq!(store.import(&*lines).unwrap().events, 10);
        assert!(store.destroy_session("two", DateTime::UNIX_EPOCH).unwrap());
        assert_eq!(store.prune(&PruneRequest::new().session("two").reclaim_space()).unwrap().events, 10);
        assert!(store.checkpoint().unwrap().is_complete);
        let failed = store.transaction(|tx| {
            tx.append_events("one", &[new_event("further")])?;
            tx.append_events_after("one", 7, &[new_event("conflict")])
        });
        assert!(matches!(failed, Err(Error::AppendConflict { .. })));
        assert_eq!(store.stats().unwrap().events, 200);
        folder.is_unreadable();
        store.close().unwrap();
        folder.is_unreadable();
        holds_everything(&folder.path("sessions.db"), &builder);
        // Without a checkpoint at the end, somebody has to keep the log.
        let store = builder.clone().auto_checkpoint(false).open(folder.path("sessions.db")).unwrap();
        store.update_session(&session("three")).unwrap();
        store.close().unwrap();
        assert_eq!(folder.path("sessions.db-wal").exists(), mode == JournalMode::Wal);
        let store = builder.clone().read_only(true).open(folder.path("sessions.db")).unwrap();
        assert_eq!(store.get_session("three").unwrap(), Some(session("three")));
        store.close().unwrap();
        folder.is_unreadable();
    }
}

#[test]
fn a_store_that_only_reads_leaves_nothing() {
    let folder = Folder::new();
    let builder = keyed(KEY);
    fill(&builder.clone().open(folder.path("sessions.db")).unwrap());
    let store = builder.read_only(true).open(folder.path("sessions.db")).unwrap();
    assert_eq!(store.last_event_index("one").unwrap(), Some(200));
    assert!(matches!(store.update_session(&session("two")), Err(Error::ReadOnly { .. })));
    store.backup_to(folder.path("copy.db")).unwrap();
    store.close().unwrap();
    assert!(!folder.path("sessions.db-wal").exists());
    folder.is_unreadable();
}

#[test]
fn a_backup_is_encrypted_with_the_same_key() {
    let folder = Folder::new();
    let store = keyed(KEY).open(folder.path("sessions.db")).unwrap();
    fill(&store);
    store.backup_to(folder.path("copy.db")).unwrap();
    folder.is_unreadable();
    holds_everything(&folder.path("copy.db"), &keyed(KEY));
    let refused = SessionStore::open(folder.path("copy.db"));
    assert!(matches!(refused, Err(Error::NotADatabase { .. })), "{refused:?}");
    // And so is the copy that a connection of the application's own makes.
    let mut conn = SqliteConnection::establish(folder.path("copy.db").to_str().unwrap()).unwrap();
    conn.batch_execute(&format!("PRAGMA key = '{KEY}'")).unwrap();
    migrate(&mut conn).unwrap();
    agent_session_store::FileMaintenance::backup_to(&mut conn, folder.path("another.db")).unwrap();
    assert_eq!(conn.last_event_index("one").unwrap(), Some(200));
    folder.is_unreadable();
    holds_everything(&folder.path("another.db"), &keyed(KEY));
}

#[test]
fn another_key_or_none_is_a_clear_error_that_changes_nothing() {
    let folder = Folder::new();
    let path = folder.path("sessions.db");
    let store = keyed(KEY).open(&path).unwrap();
    fill(&store);
    store.close().unwrap();
    let before = std::fs::read(&path).unwrap();
    for read_only in [false, true] {
        for builder in [keyed("another"), SessionStore::builder()] {
            let refused = builder.read_only(read_only).open(&path).unwrap_err();
            assert!(matches!(refused, Error::NotADatabase { .. }), "{refused:?}");
            let says = "the file is not an SQLite database, or is encrypted with another key: file is not a database";
            assert_eq!(refused.to_string(), says);
        }
    }
    // A key that is no text of SQL's is not shown.
    let broken = keyed("it's hunter2").open(&path).unwrap_err();
    assert!(broken.to_string().ends_with("on_open failed: near \"…\": syntax error"), "{broken}");
    assert!(!format!("{broken:?}").contains("hunter2"));
    assert!(std::fs::read(&path).unwrap() == before);
    holds_everything(&path, &keyed(KEY));
    // A file that is not encrypted is not taken for one that is.
    SessionStore::open(folder.path("plain.db")).unwrap();
    let refused = keyed(KEY).open(folder.path("plain.db"));
    assert!(matches!(refused, Err(Error::NotADatabase { .. })), "{refused:?}");
}

#[test]
fn a_store_in_memory_takes_a_key_too() {
    let store = keyed(KEY).open_in_memory().unwrap();
    fill(&store);
    assert!(store.check().unwrap().is_sound());
}

/// SQLCipher gives a copy the key, but its own default for everything else (`tests/defaults.rs` sets that).
#[test]
fn a_copy_that_could_not_be_read_is_refused() {
    for (sql, is_copied) in [
        ("PRAGMA kdf_iter = 1000", true),
        ("PRAGMA cipher_page_size = 8192", false),
        ("PRAGMA cipher_compatibility = 3", false),
    ] {
        let folder = Folder::new();
        let set = move |conn: &mut StoreConnection<'_>| conn.batch_execute(&format!("PRAGMA key = '{KEY}'; {sql}"));
        let builder = SessionStore::builder().on_open(set);
        let store = builder.clone().open(folder.path("sessions.db")).unwrap();
        fill(&store);
        let copied = store.backup_to(folder.path("copy.db"));
        folder.is_unreadable();
        assert_eq!(folder.path("copy.db").exists(), is_copied);
        match copied {
            Ok(()) => holds_everything(&folder.path("copy.db"), &builder),
            Err(error) => {
                assert!(matches!(error, Error::Open { .. }), "{error:?}");
                assert!(error.to_string().contains("PRAGMA cipher_default_"), "{error}");
            }
        }
        store.close().unwrap();
        holds_everything(&folder.path("sessions.db"), &builder);
    }
}

/// With a rollback journal, a process that is held up by a long transaction looks past the locks for a migration. What
/// is encrypted cannot be looked at without the key, and its journal not at all.
#[test]
fn one_that_is_locked_is_busy_for_no_longer_than_it_was_told() {
    let folder = Folder::new();
    let path = folder.path("sessions.db");
    let builder = keyed(KEY).journal_mode(JournalMode::Rollback).busy_timeout(Duration::from_millis(50));
    fill(&builder.clone().open(&path).unwrap());
    let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    other.batch_execute(&format!("PRAGMA key = '{KEY}'; BEGIN EXCLUSIVE; DELETE FROM events")).unwrap();
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || answer.send(builder.open(&path)));
    // It would wait for a migration for five minutes.
    let busy = answered.recv_timeout(Duration::from_secs(100)).expect("it waits for a migration");
    assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
}

#[test]
fn tasks_have_encrypted_stores_too() {
    let folder = Folder::new();
    let path = folder.path("sessions.db");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let builder = AsyncSessionStore::builder().on_open(|conn| conn.batch_execute(&format!("PRAGMA key = '{KEY}'")));
        let store = builder.clone().open(&path).await.unwrap();
        store.update_session(&session("one")).await.unwrap();
        let indexes = store.transaction(|tx| tx.append_events("one", &[new_event("a")])).await.unwrap();
        assert_eq!(indexes, [1]);
        store.close().await.unwrap();
        let store = builder.open(&path).await.unwrap();
        assert_eq!(store.get_session("one").await.unwrap(), Some(session("one")));
    });
    folder.is_unreadable();
}

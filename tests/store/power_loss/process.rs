//! The process that is recorded: it writes, migrates or copies, and says what has been acknowledged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use agent_session_store::{Durability, JournalMode, Json, PruneRequest, SessionEvent, SessionRecord, SessionStore};
use tempfile::TempDir;

use super::record::record;
use super::recording::Recording;
use crate::common::samples::unplaced;
use crate::common::{child, event, millis, say, session, task};

pub const BATCH: i64 = 12;

/// The event with this id and index, whichever run wrote it. Some payloads are longer than a page of the database.
pub fn sample(session: &str, index: i64) -> SessionEvent {
    // Each is asked for at every point where the power goes.
    static MADE: Mutex<BTreeMap<(String, i64), SessionEvent>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry((session.to_owned(), index)).or_insert_with(|| new_sample(session, index)).clone()
}

fn new_sample(session: &str, index: i64) -> SessionEvent {
    let length = match index % 11 {
        3 => 9_000,
        7 => 40_000,
        other => other as usize * 90,
    };
    let text = format!("{session} {index} ").repeat(length / 10 + 1);
    let payload = Json::parse(format!("{{\"text\":\"{text}\"}}")).unwrap();
    with!(event(&format!("{session}/{index:04}"), session, index), payload: payload)
}

pub fn versioned(id: &str, version: i64) -> SessionRecord {
    with!(session(id), agent: format!("version {version}"), created_at: millis(1_000 + version))
}

pub fn open(path: &str, journal_mode: &str, durability: &str) -> SessionStore {
    SessionStore::builder()
        .durability(if durability == "normal" { Durability::Normal } else { Durability::Full })
        .journal_mode(if journal_mode == "rollback" { JournalMode::Rollback } else { JournalMode::Wal })
        .open(path)
        .unwrap()
}

/// Does nothing by itself; the tests of this folder run it in a process of its own.
#[test]
fn a_process_that_is_recorded() {
    let Some(task) = task() else { return };
    let [what, folder, journal_mode, durability] = task.try_into().unwrap();
    let path = format!("{folder}/sessions.db");
    match &*what {
        "write" => {
            // The second time it finds a file that a store has closed.
            for run in 0..2 {
                let store = open(&path, &journal_mode, &durability);
                write(&store, &path, run);
                store.close().unwrap();
            }
            write(&open(&path, &journal_mode, &durability), &path, 2);
        }
        "write without syncs" => {
            let conn = rusqlite::Connection::open(&path).unwrap();
            conn.execute_batch("PRAGMA synchronous = OFF").unwrap();
            for index in 0..20 {
                let SessionEvent { id, session_id, payload, .. } = sample("single-0-0", index);
                conn.execute(
                    "INSERT INTO events VALUES (?, ?, ?, 0, '', 'agent', ?)",
                    (&id, index, session_id, payload.get()),
                )
                .unwrap();
                say(&format!("ack event single-0-0 {index}"));
            }
        }
        "migrate" => {
            let store = open(&path, &journal_mode, &durability);
            say("ack migrated");
            insert(&store, "single-0-0", 0..5);
        }
        "back up" => {
            let store = open(&path, &journal_mode, &durability);
            insert(&store, "single-0-0", 0..20);
            for (number, target) in ["beside.db", "copies/one.db", "copies/two.db"].into_iter().enumerate() {
                say(&format!("begin copy {target} {}", 20 + number));
                store.backup_to(format!("{folder}/{target}")).unwrap();
                say(&format!("ack copy {target}"));
                insert(&store, "single-0-0", 20 + number as i64..21 + number as i64);
            }
        }
        other => panic!("unknown task {other}"),
    }
}

fn insert(store: &SessionStore, session: &str, indexes: std::ops::Range<i64>) {
    for index in indexes {
        store.insert_event(&sample(session, index)).unwrap();
        say(&format!("ack event {session} {index}"));
    }
}

/// Every way to write, from several threads, so that there are groups of commits.
fn write(store: &SessionStore, path: &str, run: i64) {
    thread::scope(|scope| {
        for number in 0..3 {
            scope.spawn(move || insert(store, &format!("single-{run}-{number}"), 0..12));
        }
        scope.spawn(move || {
            for batch in 0..3 {
                let session = format!("batch-{run}-{batch}");
                store.insert_events(&(0..BATCH).map(|index| sample(&session, index)).collect::<Vec<_>>()).unwrap();
                say(&format!("ack batch {session}"));
            }
        });
        scope.spawn(move || {
            let session = format!("append-{run}");
            for number in 1..10 {
                let event = unplaced(sample(&session, number));
                assert_eq!(store.append_events(&session, &[event]).unwrap(), [number]);
                say(&format!("ack event {session} {number}"));
            }
        });
        scope.spawn(move || {
            for version in 0..8 {
                let version = run * 100 + version;
                say(&format!("begin record {version}"));
                store.update_session(&versioned("record", version)).unwrap();
                say(&format!("ack record {version}"));
            }
        });
    });
    // The log starts again from its beginning after that.
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    drop(conn);
    insert(store, &format!("later-{run}"), 0..8);
    // What takes away: a long session, then its space.
    let session = format!("deleted-{run}");
    store.insert_events(&(0..60).map(|index| sample(&session, index)).collect::<Vec<_>>()).unwrap();
    say(&format!("begin delete {session}"));
    assert!(store.delete_session(&session).unwrap());
    say(&format!("ack delete {session}"));
    let old = with!(session_of_age(run), destroyed_at: Some(millis(1)));
    store.update_session(&old).unwrap();
    store.insert_event(&sample(&old.id, 1)).unwrap();
    let pruned = PruneRequest::new().destroyed_before(millis(10)).reclaim_space();
    say(&format!("begin delete {}", old.id));
    assert_eq!(store.prune(&pruned).unwrap().sessions, 1);
    say(&format!("ack delete {}", old.id));
    insert(store, &format!("after-{run}"), 0..4);
}

fn session_of_age(run: i64) -> SessionRecord {
    session(&format!("deleted-old-{run}"))
}

/// Runs it in a folder.
pub fn recorded(what: &str, folder: &Path, journal_mode: &str, durability: &str) -> Recording {
    let task = format!("{what}|{}|{journal_mode}|{durability}", folder.display());
    record(&child(a_process_that_is_recorded, &task), folder)
}

/// An empty folder by its real path, which a trace shows.
pub fn new_folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().canonicalize().unwrap();
    (folder, path)
}

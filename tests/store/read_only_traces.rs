//! Proves that looking at a file changes nothing, whatever state the file is in and whatever others do with it.

use std::path::PathBuf;
use std::process::Command;

use agent_session_store::{Error, JournalMode, ListEventsRequest, SessionStore};

use super::read_only::read_only;
use crate::common::process::{Process, child, say, task, wait};
use crate::common::{TempDb, event, rows, session};

/// Does nothing by itself; the tests below run it in processes of their own.
#[test]
fn another_process() {
    let Some(task) = task() else { return };
    let [path, role] = task.try_into().unwrap();
    let path = PathBuf::from(path);
    match &*role {
        "writes" => {
            let store = SessionStore::open(path).unwrap();
            store.insert_event(&event("in the log", "one", 2)).unwrap();
            say("wrote");
            wait();
            store.insert_event(&event("later", "one", 3)).unwrap();
            store.close().unwrap();
        }
        "writes half" => {
            let conn = rusqlite::Connection::open(path).unwrap();
            conn.execute_batch("BEGIN IMMEDIATE; UPDATE events SET sender = 'half'").unwrap();
            conn.cache_flush().unwrap();
            say("wrote");
            wait();
        }
        "reads" => match read_only(&path) {
            Ok(store) => {
                let events = store.list_events(&ListEventsRequest::new("one")).unwrap().items;
                store.close().unwrap();
                say(&format!("read {} events", events.len()));
            }
            Err(error) => say(&format!("refused: {error}")),
        },
        other => panic!("{other}"),
    }
}

/// Starts one that writes, and waits until it has.
fn start(db: &TempDb, role: &str) -> Process {
    let process = Process::start(child(another_process, &format!("{}|{role}", db.path().display())));
    process.wait_for("wrote");
    process
}

/// A file of ours with one event.
fn ours(journal_mode: JournalMode) -> TempDb {
    let db = TempDb::new();
    let store = SessionStore::builder().journal_mode(journal_mode).open(db.path()).unwrap();
    store.update_session(&session("one")).unwrap();
    store.insert_event(&event("e1", "one", 1)).unwrap();
    store.close().unwrap();
    db
}

/// The same, with a second event in a log that a killed process has left.
fn with_a_log() -> TempDb {
    let db = ours(JournalMode::Wal);
    start(&db, "writes").kill();
    assert!(db.log_size() > 0);
    db
}

/// The files without what SQLite keeps there for the processes alone, which is no data.
fn data(db: &TempDb) -> Vec<(String, Vec<u8>)> {
    db.bytes().into_iter().filter(|(name, _)| !name.ends_with("-shm")).collect()
}

fn events(store: &SessionStore) -> Vec<String> {
    let events = store.list_events(&ListEventsRequest::new("one")).unwrap().items;
    events.into_iter().map(|event| event.id).collect()
}

#[test]
fn reading_leaves_no_trace() {
    for journal_mode in [JournalMode::Rollback, JournalMode::Wal] {
        for drops in [false, true] {
            let db = ours(journal_mode);
            let before = db.bytes();
            assert_eq!(before.len(), 1);
            let store = read_only(&db.path()).unwrap();
            assert_eq!(events(&store), ["e1"]);
            if drops {
                drop(store)
            } else {
                store.close().unwrap()
            }
            assert!(db.bytes() == before, "{journal_mode:?}: {:?}", db.files());
        }
    }
    // Where opening fails, too.
    let db = TempDb::fixture("server-0.4.2.db");
    assert_eq!(rows(&db.plain(), "PRAGMA journal_mode"), [["'wal'"]]);
    let before = db.bytes();
    assert_eq!(before.len(), 1);
    assert!(matches!(read_only(&db.path()), Err(Error::MigrationNeeded { .. })));
    assert!(db.bytes() == before, "{:?}", db.files());
}

#[test]
fn a_log_that_was_left_behind_is_read_and_stays() {
    let db = with_a_log();
    let before = data(&db);
    assert_eq!(db.files().len(), 3);
    let store = read_only(&db.path()).unwrap();
    assert_eq!(events(&store), ["e1", "in the log"]);
    store.close().unwrap();
    assert!(data(&db) == before);
    assert_eq!(db.files().len(), 3);

    // Without its index, which SQLite then makes.
    std::fs::remove_file(db.beside("-shm")).unwrap();
    let store = read_only(&db.path()).unwrap();
    assert_eq!(events(&store), ["e1", "in the log"]);
    drop(store);
    assert!(data(&db) == before);

    // Whoever may write goes on from there.
    SessionStore::open(db.path()).unwrap().close().unwrap();
    assert_eq!(db.files(), ["sessions.db"]);
    assert_eq!(db.event_ids(), ["e1", "in the log"]);
}

#[test]
fn a_transaction_that_was_interrupted_has_to_be_rolled_back_by_somebody_else() {
    let db = ours(JournalMode::Rollback);
    start(&db, "writes half").kill();
    let before = db.bytes();
    assert_eq!(db.files(), ["sessions.db", "sessions.db-journal"]);
    let refused = read_only(&db.path()).unwrap_err();
    assert!(matches!(refused, Error::Open { .. }), "{refused:?}");
    assert!(refused.to_string().contains("has to be rolled back"), "{refused}");
    assert!(db.bytes() == before);
    // The same where it happens while the store is open.
    let db = ours(JournalMode::Rollback);
    let store = read_only(&db.path()).unwrap();
    assert_eq!(events(&store), ["e1"]);
    start(&db, "writes half").kill();
    let refused = store.get_session("one").unwrap_err();
    assert!(matches!(refused, Error::Open { .. }), "{refused:?}");
    SessionStore::builder().journal_mode(JournalMode::Rollback).open(db.path()).unwrap();
    assert_eq!(events(&store), ["e1"]);
}

#[test]
fn others_write_while_it_is_open() {
    for killed in [false, true] {
        let db = ours(JournalMode::Wal);
        // Before the other one, and after it.
        let first = read_only(&db.path()).unwrap();
        let writing = start(&db, "writes");
        let second = read_only(&db.path()).unwrap();
        for store in [&first, &second] {
            assert_eq!(events(store), ["e1", "in the log"]);
        }
        second.close().unwrap();
        let expected = if killed {
            writing.kill();
            vec!["e1", "in the log"]
        } else {
            writing.end();
            vec!["e1", "in the log", "later"]
        };
        assert_eq!(events(&first), expected);
        first.close().unwrap();
        let store = SessionStore::open(db.path()).unwrap();
        assert_eq!(events(&store), expected);
        store.close().unwrap();
        assert_eq!(db.files(), ["sessions.db"]);
    }
}

/// This process may be able to write anywhere, so another user looks.
#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_to() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;

    let without_index = || {
        let db = with_a_log();
        std::fs::remove_file(db.beside("-shm")).unwrap();
        db
    };
    let cases: [(TempDb, &str); 4] = [
        (ours(JournalMode::Rollback), "read 1 events"),
        (with_a_log(), "read 2 events"),
        (ours(JournalMode::Wal), "the folder is not writable"),
        (without_index(), "the folder is not writable"),
    ];
    let programs = TempDb::new();
    let program = programs.folder().join("tests");
    // By another process: one that is started here meanwhile would keep a copy of a descriptor that writes to it, and a
    // program that is open for writing cannot be run.
    assert!(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status().unwrap().success());
    set_permissions(programs.folder(), Permissions::from_mode(0o755)).unwrap();
    for (db, says) in cases {
        for (name, _) in db.bytes() {
            set_permissions(db.folder().join(name), Permissions::from_mode(0o444)).unwrap();
        }
        set_permissions(db.folder(), Permissions::from_mode(0o555)).unwrap();
        let before = db.bytes();
        let template = child(another_process, &format!("{}|reads", db.path().display()));
        let mut reading = Command::new(&program);
        reading.args(template.get_args()).envs(template.get_envs().filter_map(|(key, value)| Some((key, value?))));
        if std::fs::metadata(&program).unwrap().uid() == 0 {
            // Nobody.
            reading.uid(65_534).gid(65_534);
        }
        let output = reading.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        set_permissions(db.folder(), Permissions::from_mode(0o755)).unwrap();
        assert!(output.status.success() && said.contains(says), "{says}: {said}");
        assert!(db.bytes() == before, "{says}: {:?}", db.files());
    }
}

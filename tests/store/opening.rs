//! Proves that opening a file waits for what it should wait for, and no longer: for a migration in another process
//! whatever the busy timeout, for every other lock as long as that says; and that many processes which switch the journal
//! mode at once all get there.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use agent_session_store::diesel::connection::InstrumentationEvent;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Error, JournalMode, ListSessionsRequest, SessionStore, migrate};

use crate::common::process::{Process, child, say, task, wait};
use crate::common::{TempDb, event, session, value};

/// Far less than anybody holds the file for.
const SHORT: Duration = Duration::from_millis(100);

/// Does nothing by itself; the tests below run it in processes of their own.
#[test]
fn another_process() {
    let Some(task) = task() else { return };
    let [path, role] = task.try_into().unwrap();
    let path = PathBuf::from(path);
    match &*role {
        "migrates" => {
            let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            // The last statement but the commit. By then the page cache has overflowed into the file, which locks out
            // readers.
            conn.set_instrumentation(|event: InstrumentationEvent<'_>| {
                if let InstrumentationEvent::StartQuery { query, .. } = event
                    && query.to_string().starts_with("INSERT INTO `__diesel_schema_migrations`")
                {
                    hold();
                }
            });
            migrate(&mut conn).unwrap();
        }
        "has migrated and commits" => {
            let version: String = value(&TempDb::ours().plain(), "SELECT version FROM __diesel_schema_migrations");
            let conn = rusqlite::Connection::open(path).unwrap();
            conn.execute_batch(&format!(
                "BEGIN IMMEDIATE; \
                 CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, \
                     run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP); \
                 INSERT INTO __diesel_schema_migrations (version) VALUES ('{version}')"
            ))
            .unwrap();
            // Everything is in the file, and the journal would still undo it: as it is while a commit syncs the file.
            conn.cache_flush().unwrap();
            hold();
            conn.execute_batch("COMMIT").unwrap();
        }
        "writes" => {
            let conn = rusqlite::Connection::open(path).unwrap();
            conn.execute_batch("BEGIN IMMEDIATE; UPDATE sessions SET agent = 'other'").unwrap();
            conn.cache_flush().unwrap();
            hold();
            conn.execute_batch("COMMIT").unwrap();
        }
        "locks" => {
            let conn = rusqlite::Connection::open(path).unwrap();
            conn.execute_batch("BEGIN EXCLUSIVE").unwrap();
            hold();
        }
        "opens" => {
            let store = SessionStore::builder().busy_timeout(SHORT).open(path).unwrap();
            store.list_sessions(&ListSessionsRequest::new()).unwrap();
        }
        "opens for WAL" => open_together(&path, JournalMode::Wal),
        "opens for a rollback journal" => open_together(&path, JournalMode::Rollback),
        other => panic!("{other}"),
    }
}

/// Says so, and goes on when the test says so.
fn hold() {
    say("holds");
    wait();
}

/// Begins when the others do, and stays until all are there.
fn open_together(path: &Path, journal_mode: JournalMode) {
    let folder = path.parent().unwrap();
    say("ready");
    while !folder.join("start").exists() {
        thread::yield_now();
    }
    let store = SessionStore::builder().journal_mode(journal_mode).busy_timeout(Duration::from_secs(20));
    let store = store.open(path).unwrap();
    store.insert_event(&event(&format!("event-{}", std::process::id()), "one", 1)).unwrap();
    hold();
}

fn start(db: &TempDb, role: &str) -> Process {
    Process::start(child(another_process, &format!("{}|{role}", db.path().display())))
}

/// Starts one that holds the file, and waits until it does.
fn holding(db: &TempDb, role: &str) -> Process {
    let process = start(db, role);
    process.wait_for("holds");
    process
}

/// A legacy file with a rollback journal, whose rebuild is larger than SQLite's page cache.
fn large_legacy() -> TempDb {
    let db = TempDb::fixture("server-0.4.2.db");
    db.plain()
        .execute_batch(
            "PRAGMA journal_mode = delete; \
             WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 20000) \
             INSERT INTO events SELECT 'more-' || n, 'more', n, 'connection', 'agent', \
                 '{\"text\":\"' || hex(zeroblob(200)) || '\"}' FROM number",
        )
        .unwrap();
    db
}

/// The reference driver's current shape, which is not ours yet.
fn reference() -> TempDb {
    TempDb::fixture("sdk-0.4.2.db")
}

/// A file of ours, with a rollback journal.
fn ours() -> TempDb {
    let db = TempDb::new();
    let store = SessionStore::builder().journal_mode(JournalMode::Rollback).open(db.path()).unwrap();
    store.update_session(&session("one")).unwrap();
    store.close().unwrap();
    db
}

#[test]
fn who_opens_a_file_waits_for_its_migration_however_short_the_busy_timeout() {
    for (db, role) in [(large_legacy(), "migrates"), (reference(), "has migrated and commits")] {
        let migrating = holding(&db, role);
        let reader = db.plain();
        reader.busy_timeout(Duration::ZERO).unwrap();
        assert!(reader.prepare("SELECT * FROM sessions").is_err(), "readers are not locked out: {role}");
        let mut opening: Vec<_> = (0..4).map(|_| start(&db, "opens")).collect();
        // Many times their busy timeout.
        thread::sleep(20 * SHORT);
        for process in &mut opening {
            assert!(process.is_running(), "it did not wait");
        }
        migrating.end();
        opening.into_iter().for_each(|process| drop(process.end()));
    }
}

/// `migrate` on a connection as it comes, without any busy timeout, does the same.
#[test]
fn migrate_waits_for_a_migration_in_another_process() {
    let db = large_legacy();
    let migrating = holding(&db, "migrates");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| migrate(&mut db.connect()));
        thread::sleep(20 * SHORT);
        assert!(!waiting.is_finished());
        migrating.end();
        waiting.join().unwrap().unwrap();
    });
}

/// The file is let go after a while only so that a failing test ends.
fn beside(db: &TempDb, role: &str, test: impl FnOnce()) {
    let holding = holding(db, role);
    let (over, is_over) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = is_over.recv_timeout(Duration::from_secs(30));
            holding.end();
        });
        test();
        over.send(()).unwrap();
    });
}

#[test]
fn a_locked_file_that_needs_no_migration_is_busy_after_the_busy_timeout() {
    for role in ["writes", "locks"] {
        let db = ours();
        beside(&db, role, || {
            let refused = SessionStore::builder().busy_timeout(SHORT).open(db.path());
            assert!(matches!(refused, Err(Error::Busy { .. })), "{role}: {refused:?}");
            let refused = migrate(&mut db.connect());
            assert!(matches!(refused, Err(Error::Busy { .. })), "{role}: {refused:?}");
        });
        SessionStore::open(db.path()).unwrap();
    }
}

/// There is nothing to migrate, so there is nothing to be patient for.
#[test]
fn opening_for_reading_alone_waits_for_the_busy_timeout_whoever_holds_the_file() {
    for (db, role) in [
        (ours(), "writes"),
        (ours(), "locks"),
        (reference(), "locks"),
        (reference(), "has migrated and commits"),
        (large_legacy(), "migrates"),
    ] {
        beside(&db, role, || {
            let refused = SessionStore::builder().busy_timeout(SHORT).read_only(true).open(db.path());
            assert!(matches!(refused, Err(Error::Busy { .. })), "{role}: {refused:?}");
        });
    }
}

#[test]
fn processes_that_switch_the_journal_mode_at_once_all_get_there() {
    for (before, role, after) in [("wal", "opens for a rollback journal", "delete"), ("delete", "opens for WAL", "wal")]
    {
        let db = ours();
        db.plain().execute_batch(&format!("PRAGMA journal_mode = {before}")).unwrap();
        // Nobody gets there before all of them are at it.
        let reader = db.plain();
        reader.execute_batch("BEGIN; SELECT * FROM sessions").unwrap();
        let processes: Vec<_> = (0..6).map(|_| start(&db, role)).collect();
        processes.iter().for_each(|process| process.wait_for("ready"));
        std::fs::write(db.folder().join("start"), "").unwrap();
        thread::sleep(Duration::from_millis(500));
        drop(reader);
        processes.iter().for_each(|process| process.wait_for("holds"));
        assert_eq!(value::<String>(&db.plain(), "PRAGMA journal_mode"), after);
        processes.into_iter().for_each(|process| drop(process.end()));
        assert_eq!(db.event_ids().len(), 6);
    }
}

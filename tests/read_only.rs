//! Proves that a file can be looked at as it is: also one that is not ours yet, if its shape can be read; and that
//! looking changes nothing, whatever state the file is in.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use agent_session_store::{
    Error, JournalMode, ListEventsRequest, ListSessionsRequest, Result, Selection, SessionPersistDriver, SessionStore,
};
use common::{TempDb, child, event, rows, session, task};

fn read_only(path: &Path) -> Result<SessionStore> {
    SessionStore::builder().read_only(true).open(path)
}

// ---- what can be read ----

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
    store.export(&mut lines, &Selection::all()).unwrap();
    migrated.export(&mut expected, &Selection::all()).unwrap();
    assert!(lines == expected);
    let elsewhere = TempDb::new();
    store.backup_to(elsewhere.path()).unwrap();
    assert_eq!(elsewhere.event_ids(), copy.event_ids());

    assert!(matches!(store.insert_event(&event("e", "one", 1)), Err(Error::ReadOnly { .. })));
    assert!(matches!(store.checkpoint(), Err(Error::ReadOnly { .. })));
    store.close().unwrap();
    assert!(db.bytes() == before);
}

const SESSIONS: &str = "CREATE TABLE sessions (id TEXT PRIMARY KEY, agent TEXT NOT NULL, \
    agent_session_id TEXT NOT NULL, last_connection_id TEXT NOT NULL, created_at INTEGER NOT NULL, \
    destroyed_at INTEGER, sandbox_id TEXT, session_init_json TEXT, config_options_json TEXT, modes_json TEXT);";
const EVENTS: &str = "CREATE TABLE events (id TEXT PRIMARY KEY, event_index INTEGER NOT NULL, \
    session_id TEXT NOT NULL, created_at INTEGER NOT NULL, connection_id TEXT NOT NULL, sender TEXT NOT NULL, \
    payload_json TEXT NOT NULL);";
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
        ("names in another case", format!("{SESSIONS}{EVENTS}{ROW}").replace("TABLE events", "TABLE Events")),
    ];
    for (name, sql) in cases {
        let db = TempDb::new();
        db.plain().execute_batch(&sql).unwrap();
        let before = db.bytes();
        let store = read_only(&db.path()).unwrap();
        assert_eq!(store.list_events(&ListEventsRequest::new("one")).unwrap().items, [event("e1", "one", 1)], "{name}");
        drop(store);
        assert!(db.bytes() == before, "{name}");
    }
}

#[test]
fn what_has_to_be_migrated_first_is_said_with_the_reason() {
    let with = |sql: String| {
        let db = TempDb::new();
        db.plain().execute_batch(&sql).unwrap();
        db
    };
    let empty = TempDb::new();
    std::fs::write(empty.path(), "").unwrap();
    // SQLite would take it for a leftover of another file, and delete it.
    std::fs::write(empty.folder().join("sessions.db-wal"), "of a file that was truncated").unwrap();
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
            "the column event_index of the table events has no value in some rows",
            with(format!(
                "{SESSIONS}{}{ROW} UPDATE events SET event_index = NULL",
                EVENTS.replace("event_index INTEGER NOT NULL", "event_index INTEGER")
            )),
        ),
        (
            "a rebuild of the table events was interrupted and left events_legacy behind",
            with(format!("{SESSIONS}{EVENTS}{}", EVENTS.replace("TABLE events", "TABLE events_legacy"))),
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
    let db = TempDb::new();
    db.plain().execute_batch(&format!("CREATE TABLE sessions (token TEXT); {EVENTS}")).unwrap();
    assert!(matches!(read_only(&db.path()), Err(Error::CannotMigrate { .. })));
    let db = TempDb::new();
    std::fs::write(db.path(), "Dear diary,\n".repeat(100)).unwrap();
    assert!(matches!(read_only(&db.path()), Err(Error::NotADatabase { .. })));
}

// ---- what it leaves behind ----

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

fn say(word: &str) {
    std::io::stdout().lock().write_all(format!("{word}\n").as_bytes()).unwrap();
}

/// Until the other side closes the pipe, or kills this process.
fn wait() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn start(path: &Path, role: &str) -> Child {
    let task = format!("{}|{role}", path.display());
    let mut child = child("another_process", &task).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::with_capacity(1, child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("wrote")));
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn finish(mut child: Child) {
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
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
    kill(start(&db.path(), "writes"));
    assert!(std::fs::metadata(db.folder().join("sessions.db-wal")).unwrap().len() > 0);
    db
}

/// The files without what SQLite keeps there for the processes alone, which is no data.
fn data(db: &TempDb) -> Vec<(String, Vec<u8>)> {
    db.bytes().into_iter().filter(|(name, _)| !name.ends_with("-shm")).collect()
}

fn names(db: &TempDb) -> Vec<String> {
    db.bytes().into_iter().map(|(name, _)| name).collect()
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
            assert!(db.bytes() == before, "{journal_mode:?}: {:?}", names(&db));
        }
    }
    // Where opening fails, too.
    let db = TempDb::fixture("server-0.4.2.db");
    assert_eq!(rows(&db.plain(), "PRAGMA journal_mode"), [["'wal'"]]);
    let before = db.bytes();
    assert_eq!(before.len(), 1);
    assert!(matches!(read_only(&db.path()), Err(Error::MigrationNeeded { .. })));
    assert!(db.bytes() == before, "{:?}", names(&db));
}

#[test]
fn a_log_that_was_left_behind_is_read_and_stays() {
    let db = with_a_log();
    let before = data(&db);
    assert_eq!(names(&db).len(), 3);
    let store = read_only(&db.path()).unwrap();
    assert_eq!(events(&store), ["e1", "in the log"]);
    store.close().unwrap();
    assert!(data(&db) == before);
    assert_eq!(names(&db).len(), 3);

    // Without its index, which SQLite then makes.
    std::fs::remove_file(db.folder().join("sessions.db-shm")).unwrap();
    let store = read_only(&db.path()).unwrap();
    assert_eq!(events(&store), ["e1", "in the log"]);
    drop(store);
    assert!(data(&db) == before);

    // Whoever may write goes on from there.
    SessionStore::open(db.path()).unwrap().close().unwrap();
    assert_eq!(names(&db), ["sessions.db"]);
    assert_eq!(db.event_ids(), ["e1", "in the log"]);
}

#[test]
fn a_transaction_that_was_interrupted_has_to_be_rolled_back_by_somebody_else() {
    let db = ours(JournalMode::Rollback);
    kill(start(&db.path(), "writes half"));
    let before = db.bytes();
    assert_eq!(names(&db), ["sessions.db", "sessions.db-journal"]);
    let refused = read_only(&db.path()).unwrap_err();
    assert!(matches!(refused, Error::Open { .. }), "{refused:?}");
    assert!(refused.to_string().contains("has to be rolled back"), "{refused}");
    assert!(db.bytes() == before);
    // The same where it happens while the store is open.
    let db = ours(JournalMode::Rollback);
    let store = read_only(&db.path()).unwrap();
    assert_eq!(events(&store), ["e1"]);
    kill(start(&db.path(), "writes half"));
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
        let writing = start(&db.path(), "writes");
        let second = read_only(&db.path()).unwrap();
        for store in [&first, &second] {
            assert_eq!(events(store), ["e1", "in the log"]);
        }
        second.close().unwrap();
        let expected = if killed {
            kill(writing);
            vec!["e1", "in the log"]
        } else {
            finish(writing);
            vec!["e1", "in the log", "later"]
        };
        assert_eq!(events(&first), expected);
        first.close().unwrap();
        let store = SessionStore::open(db.path()).unwrap();
        assert_eq!(events(&store), expected);
        store.close().unwrap();
        assert_eq!(names(&db), ["sessions.db"]);
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
        std::fs::remove_file(db.folder().join("sessions.db-shm")).unwrap();
        db
    };
    let cases: [(TempDb, &str); 4] = [
        (ours(JournalMode::Rollback), "read 1 events"),
        (with_a_log(), "read 2 events"),
        (ours(JournalMode::Wal), "the folder cannot be written to"),
        (without_index(), "the folder cannot be written to"),
    ];
    let programs = TempDb::new();
    let program = programs.folder().join("tests");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    set_permissions(programs.folder(), Permissions::from_mode(0o755)).unwrap();
    for (db, says) in cases {
        for (name, _) in db.bytes() {
            set_permissions(db.folder().join(name), Permissions::from_mode(0o444)).unwrap();
        }
        set_permissions(db.folder(), Permissions::from_mode(0o555)).unwrap();
        let before = db.bytes();
        let template = child("another_process", &format!("{}|reads", db.path().display()));
        let mut reading = std::process::Command::new(&program);
        reading.args(template.get_args()).envs(template.get_envs().filter_map(|(key, value)| Some((key, value?))));
        if std::fs::metadata(&program).unwrap().uid() == 0 {
            // Nobody.
            reading.uid(65_534).gid(65_534);
        }
        let output = reading.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        set_permissions(db.folder(), Permissions::from_mode(0o755)).unwrap();
        assert!(output.status.success() && said.contains(says), "{says}: {said}");
        assert!(db.bytes() == before, "{says}: {:?}", names(&db));
    }
}

//! Proves that a full disk is `Error::DiskFull` however the operating system says it, and whatever SQLite makes of that:
//! a quota, no space for the shared memory of a write-ahead log, no room for one more file. What failed is not stored.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{
    Error, JournalMode, Json, PruneRequest, SessionEvent, SessionPersistDriver, SessionStore, migrate,
};

use crate::common::faults::{FailingCalls, SmallDisk, through};
use crate::common::{TempDb, child, event, event_ids, say, session, task};

const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;
const EIO: i32 = 5;

fn large(id: &str) -> SessionEvent {
    with!(event(id, "large", 1), payload: Json::new(&"x".repeat(9_000)).unwrap())
}

fn mode(name: &str) -> JournalMode {
    if name == "rollback" { JournalMode::Rollback } else { JournalMode::Wal }
}

/// Does nothing by itself; the tests below run it in a process whose calls fail.
#[test]
fn a_process_whose_calls_fail() {
    let Some(task) = task() else { return };
    let [path, journal_mode, copy] = task.try_into().unwrap();
    let tell = |what: &str, result: Result<(), Error>| match result {
        Ok(()) => say(&format!("ok {what}")),
        Err(Error::DiskFull { .. }) => say(&format!("full {what}")),
        Err(error) => say(&format!("other {what}: {error:?}")),
    };
    let store = match SessionStore::builder().journal_mode(mode(&journal_mode)).open(&path) {
        Ok(store) => store,
        Err(error) => return tell("open", Err(error)),
    };
    for number in 0..4 {
        let id = format!("event-{number}");
        let result = if number % 2 == 0 { store.insert_event(&large(&id)) } else { store.insert_events(&[large(&id)]) };
        tell(&id, result);
    }
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (store, tell) = (&store, &tell);
            scope.spawn(move || {
                for number in 0..2 {
                    let id = format!("event-{thread}-{number}");
                    tell(&id, store.insert_event(&large(&id)));
                }
            });
        }
    });
    tell("session", store.update_session(&session("one")));
    tell("copy", store.backup_to(copy));
    tell("prune", store.prune(&PruneRequest::new().max_events_per_session(100)).map(drop));
    tell("reclaim", store.reclaim_space());
    tell("close", store.close());
}

/// What a process says about each thing it did: `ok`, `full` or `other`, and what it was.
struct Said(Vec<(String, String)>);

impl Said {
    fn by(command: Command, path: &Path, journal_mode: &str) -> (Self, bool) {
        let copy = path.with_file_name("copy.db");
        let task = format!("{}|{journal_mode}|{}", path.display(), copy.display());
        let output = through(command, &child(a_process_whose_calls_fail, &task)).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{errors}");
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let lines = lines.filter(|(how, _)| ["ok", "full", "other"].contains(how));
        let said = lines.map(|(how, what)| (how.to_owned(), what.to_owned())).collect();
        (Self(said), errors.contains("a call fails"))
    }

    fn all(&self, wanted: &str) -> Vec<&str> {
        self.0.iter().filter(|(how, _)| how == wanted).map(|(_, what)| &**what).collect()
    }

    fn stored(&self) -> BTreeSet<String> {
        self.all("ok").into_iter().filter(|what| what.starts_with("event-")).map(str::to_owned).collect()
    }
}

/// The events that are in the file, if it got so far as to be a database.
fn stored(path: &Path) -> BTreeSet<String> {
    let has_events = SessionStore::open(path).and_then(|store| store.stats()).is_ok();
    if has_events { event_ids(path).into_iter().collect() } else { BTreeSet::new() }
}

/// Lets one call after the other fail, until none is reached, and checks what was said against what is there. Returns
/// everything that was said to be other than `ok`.
fn each(call: &str, error: i32, step: usize, is_last: bool, is_exact: bool) -> Vec<String> {
    let mut said = Vec::new();
    let Some(failing) = FailingCalls::new() else { return said };
    for journal_mode in ["wal", "rollback"] {
        for first in (1..).step_by(step) {
            let db = TempDb::new();
            let mut command = Command::new("env");
            failing.in_program(&mut command, call, error, first, is_last);
            let (told, has_failed) = Said::by(command, &db.path(), journal_mode);
            let context = format!("{call} {first} in {journal_mode}: {:?}", told.0);
            let (stored, acknowledged) = (stored(&db.path()), told.stored());
            if is_exact {
                assert_eq!(stored, acknowledged, "{context}");
            } else {
                assert!(stored.is_superset(&acknowledged), "{context}");
            }
            said.extend(told.all("full").iter().map(|what| format!("full {what}")));
            said.extend(
                told.all("other").iter().map(|what| format!("other {what} at {call} {first} in {journal_mode}")),
            );
            if !has_failed {
                break;
            }
        }
    }
    assert!(!said.is_empty(), "nothing has failed");
    said
}

fn assert_all_full(said: &[String]) {
    let others: Vec<_> = said.iter().filter(|line| !line.starts_with("full ")).collect();
    assert!(others.is_empty(), "{others:#?}");
}

#[test]
fn a_quota_that_stops_one_write_is_a_full_disk_and_nothing_was_written() {
    assert_all_full(&each("pwrite", EDQUOT, 13, true, true));
}

#[test]
fn a_quota_that_stops_every_write_is_a_full_disk_and_nothing_was_written() {
    for error in [EDQUOT, ENOSPC] {
        assert_all_full(&each("pwrite", error, 41, false, true));
    }
}

#[test]
fn a_quota_on_the_number_of_files_is_a_full_disk() {
    for error in [EDQUOT, ENOSPC] {
        assert_all_full(&each("create", error, 1, false, true));
    }
}

#[test]
fn a_quota_that_shows_when_a_file_is_cut_or_put_on_the_disk_is_a_full_disk() {
    assert_all_full(&each("ftruncate", EDQUOT, 1, true, true));
    // A write-ahead log that was written and not put on the disk may be found by whoever opens the file after a crash.
    assert_all_full(&each("fsync", EDQUOT, 1, true, false));
}

#[test]
fn a_disk_that_is_broken_is_not_a_full_one() {
    let said = each("pwrite", EIO, 41, true, true);
    assert!(said.iter().all(|line| line.starts_with("other ")), "{said:#?}");
}

/// A database whose log was not moved into it, as a killed process leaves it, without the file of its shared memory.
fn with_a_log(disk: &SmallDisk) {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    store.update_session(&session("one")).unwrap();
    store.insert_event(&event("e1", "one", 1)).unwrap();
    for end in ["", "-wal"] {
        let name = format!("sessions.db{end}");
        std::fs::copy(db.folder().join(&name), disk.folder().join(&name)).unwrap();
    }
}

fn assert_is_full<T>(what: &str, result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::DiskFull { .. })), "{what}: {:?}", result.err());
}

#[test]
fn a_log_without_shared_memory_on_a_full_disk_is_a_full_disk() {
    // Without a block to spare, and without room for one more file.
    for (options, files) in [("size=1m", 0), ("size=8m,nr_inodes=30", 30)] {
        let Some(disk) = SmallDisk::new(options) else { return };
        with_a_log(&disk);
        let mut ballast = Vec::new();
        for number in 0..files {
            let path = disk.folder().join(format!("file-{number}"));
            if std::fs::write(&path, "").is_ok() {
                ballast.push(path);
            }
        }
        if files == 0 {
            ballast.push(disk.fill());
        }
        let before = ["", "-wal"].map(|end| std::fs::read(disk.folder().join(format!("sessions.db{end}"))).unwrap());
        let establish = || SqliteConnection::establish(disk.path().to_str().unwrap()).unwrap();
        for _ in 0..2 {
            assert_is_full("open", SessionStore::open(disk.path()));
            assert_is_full("must exist", SessionStore::builder().create(false).open(disk.path()));
            assert_is_full("rollback", SessionStore::builder().journal_mode(JournalMode::Rollback).open(disk.path()));
            assert_is_full("migrate", migrate(&mut establish()));
            assert_is_full("write", establish().insert_event(&event("e2", "one", 2)));
            assert_is_full("append", establish().append_events("one", &[]));
            if files == 0 {
                assert_is_full("read only", SessionStore::builder().read_only(true).open(disk.path()));
                assert_is_full("read", establish().get_session("one"));
            } else {
                assert_is_full("new", SessionStore::open(disk.folder().join("new.db")));
            }
        }
        let after = ["", "-wal"].map(|end| std::fs::read(disk.folder().join(format!("sessions.db{end}"))).unwrap());
        assert!(before == after, "something was written");

        ballast.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        let store = SessionStore::open(disk.path()).unwrap();
        assert_eq!(store.get_session("one").unwrap(), Some(session("one")));
        store.insert_event(&event("e2", "one", 2)).unwrap();
        store.close().unwrap();
        assert_eq!(event_ids(&disk.path()), ["e1", "e2"]);
    }
}

#[test]
fn a_backup_onto_a_full_disk_is_a_full_disk_and_leaves_nothing() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    (0..40).for_each(|number| store.insert_event(&large(&format!("event-{number}"))).unwrap());
    for options in ["size=300k", "size=8k", "size=8m,nr_inodes=2", "size=8m,nr_inodes=3", "size=8m,nr_inodes=4"] {
        let Some(disk) = SmallDisk::new(options) else { return };
        assert_is_full(options, store.backup_to(disk.path()));
        assert_eq!(std::fs::read_dir(disk.folder()).unwrap().count(), 0, "{options}");
    }
    let Some(disk) = SmallDisk::new("size=8m,nr_inodes=6") else { return };
    store.backup_to(disk.path()).unwrap();
}

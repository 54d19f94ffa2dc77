//! Proves that a backup that is killed leaves nothing which opens as a store and nothing that is in the way of the next
//! one, and that the target is whole or not there at every moment.
//! `CRASH_ROUNDS` in the environment asks for more than the 40 kills of a normal run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agent_session_store::{Error, JournalMode, SessionStore};

use crate::common::faults::{everything_below, strace, through};
use crate::common::process::{Process, child, say, task, wait};
use crate::common::{Random, TempDb, event, is_sound, rows, session};

/// A database in the folder `data` of a folder that the copies go to.
pub(super) fn filled(events: i64) -> (TempDb, PathBuf) {
    let db = TempDb::new();
    std::fs::create_dir(db.folder().join("data")).unwrap();
    let path = db.folder().join("data/sessions.db");
    let store = SessionStore::builder().journal_mode(JournalMode::Rollback).open(&path).unwrap();
    store.update_session(&session("one")).unwrap();
    store.insert_event(&event("first", "one", 0)).unwrap();
    store.close().unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
         INSERT INTO events SELECT 'event-' || i, i, 'one', i, 'c', 'agent', '\"' || hex(randomblob(1000)) || '\"' FROM n",
        [events],
    )
    .unwrap();
    (db, path)
}

/// Does nothing by itself; the tests below run it in a process of its own.
#[test]
pub(super) fn a_process_that_backs_up() {
    let Some(task) = task() else { return };
    let store = SessionStore::builder().read_only(true).open(&task[0]).unwrap();
    say("ready");
    if task.len() > 2 {
        wait();
    }
    match store.backup_to(&task[1]) {
        Ok(()) => say("copied"),
        Err(Error::Io { source }) => say(&format!("{:?}", source.kind())),
        Err(error) => panic!("{error}"),
    }
}

pub(super) fn backup(source: &Path, target: &Path) -> Command {
    child(a_process_that_backs_up, &format!("{}|{}", source.display(), target.display()))
}

pub(super) fn started(command: Command) -> Process {
    let process = Process::start(command);
    process.wait_for("ready");
    process
}

/// What became of the backup.
pub(super) fn outcome(said: impl IntoIterator<Item = String>) -> String {
    said.into_iter().find(|line| ["copied", "AlreadyExists"].contains(&&**line)).unwrap()
}

/// What the database holds, in few words.
pub(super) fn digest(path: &Path) -> Vec<Vec<String>> {
    let conn = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    is_sound(&conn);
    let mut found = rows(&conn, "SELECT count(*), sum(length(payload_json)), max(id) FROM events");
    found.extend(rows(&conn, "SELECT * FROM sessions"));
    found
}

/// The folder that an unfinished backup is in, if there is one.
pub(super) fn leftover(folder: &Path) -> Option<PathBuf> {
    let is_leftover = |path: &PathBuf| path.to_str().unwrap().ends_with(".tmp");
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(is_leftover)
}

/// The size of the copy in it.
pub(super) fn copied_bytes(folder: &Path) -> u64 {
    let copy = leftover(folder).and_then(|leftover| leftover.join("copy.db").metadata().ok());
    copy.map_or(0, |found| found.len())
}

/// What there is after a kill must be the whole copy, or nothing that opens; then the next backup is made, and clears up.
fn assert_is_whole_or_nothing(source: &Path, target: &Path, expected: &[Vec<String>]) {
    let folder = target.parent().unwrap();
    for path in everything_below(folder) {
        if path.starts_with(source.parent().unwrap()) {
            continue;
        } else if path == target {
            assert_eq!(digest(target), expected);
        } else {
            for result in [
                SessionStore::open(&path),
                SessionStore::builder().create(false).open(&path),
                SessionStore::builder().read_only(true).open(&path),
            ] {
                assert!(matches!(result, Err(Error::Open { .. })), "{} opens", path.display());
            }
        }
    }
    let copy = SessionStore::builder().read_only(true).open(source).unwrap();
    match copy.backup_to(target) {
        Err(Error::Io { source }) if source.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => made.unwrap(),
    }
    assert_eq!(digest(target), expected);
    // Only where it was there before, nobody has cleared up.
    copy.backup_to(folder.join("other.db")).unwrap();
    let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    found.sort();
    assert_eq!(found, [target.file_name().unwrap().to_str().unwrap(), "data", "other.db"]);
    std::fs::remove_file(folder.join("other.db")).unwrap();
    std::fs::remove_file(target).unwrap();
}

#[test]
fn a_killed_backup_is_whole_or_nothing() {
    let (db, source) = filled(5_000);
    let target = db.folder().join("copy.db");
    let expected = digest(&source);
    let process = started(backup(&source, &target));
    let begun = Instant::now();
    process.end();
    let takes = begun.elapsed();
    assert_is_whole_or_nothing(&source, &target, &expected);

    let rounds: u64 = std::env::var("CRASH_ROUNDS").map_or(40, |rounds| rounds.parse().unwrap());
    let mut random = Random::from_clock();
    let mut in_the_middle = 0;
    for round in 0..rounds {
        let mut process = started(backup(&source, &target));
        if round % 2 == 0 {
            // At any time.
            std::thread::sleep(Duration::from_nanos(random.below(takes.as_nanos() as u64)));
        } else {
            // When a certain part has been written.
            let wanted = random.below(source.metadata().unwrap().len());
            while copied_bytes(db.folder()) < wanted.max(1) && process.is_running() {}
        }
        process.kill();
        in_the_middle += usize::from(leftover(db.folder()).is_some());
        assert_is_whole_or_nothing(&source, &target, &expected);
    }
    assert!(in_the_middle > 0, "no backup was killed in the middle");
}

/// The calls that change what is in a folder, or what a kill finds of it.
const STEPS: [&str; 12] = [
    "mkdir",
    "openat",
    "pwrite64",
    "write",
    "ftruncate",
    "fsync",
    "fchmod",
    "linkat",
    "rename",
    "unlink",
    "unlinkat",
    "rmdir",
];

pub(super) const NO_LINKS: &str = "inject=linkat:error=EPERM";

/// Kills a backup at each of its steps, one after the other; `then` looks at what there is. Says how many there were.
fn killed_at_every_step(source: &Path, target: &Path, has_links: bool, then: impl Fn()) -> usize {
    let mut kills = 0;
    for step in STEPS.into_iter().filter(|step| has_links || *step != "linkat") {
        for number in 1.. {
            let Some(mut command) = strace() else { return 0 };
            command.args(["-f", "-o", "/dev/null", "-e", &format!("trace=linkat,{step}")]);
            command.args(["-e", &format!("inject={step}:signal=KILL:when={number}")]);
            if !has_links {
                command.args(["-e", NO_LINKS]);
            }
            let mut command = through(command, &backup(source, target));
            let was_killed = !command.stdout(Stdio::null()).status().unwrap().success();
            then();
            if !was_killed {
                break;
            }
            kills += 1;
        }
    }
    kills
}

#[test]
fn a_backup_killed_at_any_step_is_whole_or_nothing() {
    let (db, source) = filled(3);
    let target = db.folder().join("copy.db");
    let expected = digest(&source);
    let steps = killed_at_every_step(&source, &target, true, || {
        assert_is_whole_or_nothing(&source, &target, &expected);
    });
    assert!(steps == 0 || steps > 30, "{steps}");
}

/// As on FAT. A target cannot be made there in one step with what is in it; between two calls it is an empty file.
#[test]
fn a_backup_without_hard_links_is_whole_or_nothing_too() {
    let (db, source) = filled(3);
    let target = db.folder().join("copy.db");
    let expected = digest(&source);
    let reserved = std::cell::Cell::new(0);
    let steps = killed_at_every_step(&source, &target, false, || {
        if std::fs::read(&target).is_ok_and(|text| text.starts_with(b"agent-session-store: ")) {
            reserved.set(reserved.get() + 1);
            assert!(matches!(SessionStore::open(&target), Err(Error::NotADatabase { .. })));
            // What is in its place is not in the way.
            SessionStore::open(&source).unwrap().backup_to(&target).unwrap();
        } else if target.metadata().is_ok_and(|found| found.len() == 0) {
            std::fs::remove_file(&target).unwrap();
        }
        assert_is_whole_or_nothing(&source, &target, &expected);
    });
    if steps == 0 {
        return;
    }
    assert!(steps > 30 && reserved.get() > 1, "{steps} {reserved:?}");

    let Some(mut command) = strace() else { return };
    command.args(["-f", "-o", "/dev/null", "-e", "trace=linkat", "-e", NO_LINKS]);
    assert_eq!(outcome(Process::start(through(command, &backup(&source, &target))).end()), "copied");
    assert_is_whole_or_nothing(&source, &target, &expected);
}

//! Proves that a backup that is killed leaves nothing which opens as a store and nothing that is in the way of the next
//! one; that the target is whole or not there at every moment; and that of several backups to one target one is made.
//! `CRASH_ROUNDS` in the environment asks for more than the 40 kills of a normal run.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Error, JournalMode, SessionPersistDriver, SessionStore, migrate};
use common::faults::{everything_below, signal, strace, through};
use common::{TempDb, child, event, rows, session, task};

/// A database in the folder `data` of a folder that the copies go to.
fn filled(events: i64) -> (TempDb, PathBuf) {
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
fn a_process_that_backs_up() {
    let Some(task) = task() else { return };
    let say = |text: &str| std::io::stdout().lock().write_all(format!("\n{text}\n").as_bytes()).unwrap();
    let store = SessionStore::builder().read_only(true).open(&task[0]).unwrap();
    say("ready");
    if task.len() > 2 {
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }
    match store.backup_to(&task[1]) {
        Ok(()) => say("copied"),
        Err(Error::Io { source }) => say(&format!("{:?}", source.kind())),
        Err(error) => panic!("{error}"),
    }
}

fn backup(source: &Path, target: &Path) -> Command {
    child("a_process_that_backs_up", &format!("{}|{}", source.display(), target.display()))
}

/// The last line that the process says.
fn outcome(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().rfind(|line| ["copied", "AlreadyExists"].contains(line)).unwrap().to_owned()
}

fn started(mut command: Command) -> Child {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "ready"));
    child
}

/// What the database holds, in few words.
fn digest(path: &Path) -> Vec<Vec<String>> {
    let conn = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    assert_eq!(rows(&conn, "PRAGMA integrity_check"), [["'ok'"]]);
    let mut found = rows(&conn, "SELECT count(*), sum(length(payload_json)), max(id) FROM events");
    found.extend(rows(&conn, "SELECT * FROM sessions"));
    found
}

/// The folder that an unfinished backup is in, if there is one.
fn leftover(folder: &Path) -> Option<PathBuf> {
    let is_leftover = |path: &PathBuf| path.to_str().unwrap().ends_with(".tmp");
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(is_leftover)
}

/// The size of the copy in it.
fn copied_bytes(folder: &Path) -> u64 {
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
    let mut child = started(backup(&source, &target));
    let begun = Instant::now();
    assert!(child.wait().unwrap().success());
    let takes = begun.elapsed();
    assert_is_whole_or_nothing(&source, &target, &expected);

    let rounds: u64 = std::env::var("CRASH_ROUNDS").map_or(40, |rounds| rounds.parse().unwrap());
    let mut random = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    let mut in_the_middle = 0;
    for round in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut child = started(backup(&source, &target));
        if round % 2 == 0 {
            // At any time.
            std::thread::sleep(Duration::from_nanos(random % takes.as_nanos() as u64));
        } else {
            // When a certain part has been written.
            let wanted = random % source.metadata().unwrap().len();
            while copied_bytes(db.folder()) < wanted.max(1) && child.try_wait().unwrap().is_none() {}
        }
        child.kill().unwrap();
        child.wait().unwrap();
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

const NO_LINKS: &str = "inject=linkat:error=EPERM";

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
    assert_eq!(outcome(through(command, &backup(&source, &target))), "copied");
    assert_is_whole_or_nothing(&source, &target, &expected);
}

#[test]
fn of_several_backups_to_one_target_one_is_made() {
    let (db, source) = filled(2_000);
    let expected = digest(&source);
    for (number, links) in [true, true, true, false, false, false].into_iter().enumerate() {
        let target = db.folder().join(format!("copy-{number}.db"));
        let task = format!("{}|{}|wait", source.display(), target.display());
        let mut children = Vec::new();
        for _ in 0..2 {
            let mut command = child("a_process_that_backs_up", &task);
            if !links {
                let Some(mut strace) = strace() else { return };
                strace.args(["-f", "-o", "/dev/null", "-e", "trace=linkat", "-e", NO_LINKS]);
                command = through(strace, &command);
            }
            children.push(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
        }
        let mut outputs: Vec<_> =
            children.iter_mut().map(|child| BufReader::new(child.stdout.take().unwrap())).collect();
        for output in &mut outputs {
            assert!(output.lines().map(Result::unwrap).any(|line| line == "ready"));
        }
        for child in &mut children {
            child.stdin.take().unwrap().write_all(b"\n").unwrap();
        }
        let mut said: Vec<_> = outputs.into_iter().flat_map(|output| output.lines().map(Result::unwrap)).collect();
        said.retain(|line| ["copied", "AlreadyExists"].contains(&&**line));
        children.iter_mut().for_each(|child| assert!(child.wait().unwrap().success()));
        said.sort();
        assert_eq!(said, ["AlreadyExists", "copied"], "round {number}");
        assert_eq!(digest(&target), expected);
    }
    assert_eq!(leftover(db.folder()), None);
}

/// However long a backup takes, and in whatever process, it is not taken for a leftover.
#[test]
fn a_backup_that_is_alive_is_left_alone() {
    let (db, source) = filled(10_000);
    let target = db.folder().join("slow.db");
    let mut slow = started(backup(&source, &target));
    while copied_bytes(db.folder()) == 0 {
        assert!(slow.try_wait().unwrap().is_none());
    }
    signal(&slow, "STOP");
    let unfinished = leftover(db.folder()).unwrap();
    let before = everything_below(&unfinished);
    let store = SessionStore::builder().read_only(true).open(&source).unwrap();
    store.backup_to(db.folder().join("quick.db")).unwrap();
    store.backup_to(&target).unwrap();
    assert_eq!(everything_below(&unfinished), before);
    signal(&slow, "CONT");
    let said = BufReader::new(slow.stdout.take().unwrap()).lines().map(Result::unwrap).collect::<Vec<_>>();
    assert!(said.contains(&"AlreadyExists".to_owned()), "{said:?}");
    assert!(slow.wait().unwrap().success());
    assert_eq!(leftover(db.folder()), None);
    assert_eq!(digest(&target), digest(&source));
}

#[test]
fn threads_back_up_into_one_folder_at_once() {
    let (db, source) = filled(100);
    let store = SessionStore::open(&source).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, folder) = (&store, db.folder());
            scope.spawn(move || {
                for number in 0..10 {
                    store.backup_to(folder.join(format!("{thread}-{number}.db"))).unwrap();
                }
            });
        }
    });
    let found = std::fs::read_dir(db.folder()).unwrap().count();
    assert_eq!(found, 1 + 8 * 10);
}

#[test]
fn an_unfinished_backup_is_no_store_by_any_way() {
    let db = TempDb::new();
    let folder = db.folder().join("copy.db.agent-session-store-backup-17-0.tmp");
    std::fs::create_dir(&folder).unwrap();
    let copy = folder.join("copy.db");
    std::fs::write(&copy, "").unwrap();
    std::os::unix::fs::symlink(&copy, db.folder().join("link.db")).unwrap();
    for path in [&folder, &copy, &folder.join("new.db"), &db.folder().join("link.db")] {
        for result in [
            SessionStore::open(path),
            SessionStore::builder().create(false).open(path),
            SessionStore::builder().read_only(true).open(path),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Open { .. }), "{error}");
            assert!(error.to_string().ends_with("it is an unfinished backup"), "{error}");
        }
        let Ok(mut conn) = SqliteConnection::establish(path.to_str().unwrap()) else { continue };
        let refused = migrate(&mut conn);
        assert!(matches!(refused, Err(Error::CannotMigrate { .. })), "{refused:?}");
        assert!(path.metadata().is_ok_and(|found| found.len() == 0), "{}", path.display());
    }
    // The next backup clears up, and only that.
    let mut conn = db.migrated();
    let others = [
        "notes.agent-session-store-backup-17-0.txt",
        "x.agent-session-store-backup-17.tmp",
        "x.agent-session-store-backup-17-.tmp",
        "x.agent-session-store-backup-a-b.tmp",
        "x.tmp",
    ];
    others.iter().for_each(|name| std::fs::create_dir(db.folder().join(name)).unwrap());
    let file = db.folder().join("file.agent-session-store-backup-17-0.tmp");
    std::fs::write(&file, "somebody's").unwrap();
    conn.backup_to(db.folder().join("copy.db")).unwrap();
    assert!(!folder.exists());
    assert!(others.iter().all(|name| db.folder().join(name).is_dir()) && file.exists());
}

/// A folder that is there already, with the number of this process, is not used.
#[test]
fn a_backup_finds_a_name_for_its_folder() {
    let db = TempDb::new();
    let mut conn = db.migrated();
    let long = "ü".repeat(125);
    for number in 0..20 {
        let name = format!("copy.db.agent-session-store-backup-{}-{number}.tmp", std::process::id());
        std::fs::create_dir(db.folder().join(&name)).unwrap();
        // Not a lock of ours: it is left alone.
        std::fs::write(db.folder().join(name).join("lock"), "x").unwrap();
    }
    for name in ["copy.db", &long] {
        conn.backup_to(db.folder().join(name)).unwrap();
        assert!(db.folder().join(name).exists());
    }
}

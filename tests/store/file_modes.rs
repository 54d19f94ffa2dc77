//! Proves who can read what the store creates: a new database, the files beside it and a copy are nobody else's, whatever
//! the umask, unless the builder or the copied database says so; and what is there keeps its mode.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use agent_session_store::{Error, FileMaintenance, JournalMode, SessionStore};

use crate::common::faults::{through, under_umask};
use crate::common::instrumentation::{Moment, Watch};
use crate::common::process::{Process, child, output, say, task};
use crate::common::{TempDb, event, event_ids};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Does nothing by itself; the tests below run it under a umask of its own.
#[test]
fn a_process_with_a_umask() {
    let Some(task) = task() else { return };
    let (work, path) = (&*task[0], Path::new(&task[1]));
    let said = |text: String| say(&format!("says {text}"));
    let builder = match task.get(2) {
        Some(mode) if work == "open" => SessionStore::builder().file_mode(u32::from_str_radix(mode, 8).unwrap()),
        _ => SessionStore::builder(),
    };
    match work {
        "open" => {
            let store = builder.clone().open(path).unwrap();
            store.insert_event(&event("e", "one", 1)).unwrap();
            let modes = ["", "-wal", "-shm"].map(|end| format!("{:o}", mode(&beside(path, end))));
            store.close().unwrap();
            // The journal is there while something is being written.
            let store = builder.journal_mode(JournalMode::Rollback).open(path).unwrap();
            let conn = rusqlite::Connection::open(path).unwrap();
            conn.execute_batch("BEGIN IMMEDIATE; DELETE FROM events").unwrap();
            let journal = mode(&beside(path, "-journal"));
            conn.execute_batch("ROLLBACK").unwrap();
            drop(store);
            said(format!("{} {journal:o}", modes.join(" ")));
        }
        "create" => {
            let store = builder.open(path).unwrap();
            store.insert_event(&event("e", "one", 1)).unwrap();
            said(format!("{:o}", mode(path)));
        }
        "back up" => {
            let store = builder.read_only(true).open(path).unwrap();
            store.backup_to(&task[2]).unwrap();
            said(format!("{:o}", mode(Path::new(&task[2]))));
        }
        "back up memory" => {
            SessionStore::open_in_memory().unwrap().backup_to(path).unwrap();
            said(format!("{:o}", mode(path)));
        }
        other => panic!("{other}"),
    }
}

fn says(umask: &str, task: &str) -> String {
    let text = output(&mut under_umask(umask, &child(a_process_with_a_umask, task)));
    text.lines().find_map(|line| line.strip_prefix("says ")).unwrap().to_owned()
}

#[test]
fn a_new_database_is_its_owners_alone() {
    for umask in ["000", "022", "077", "177"] {
        let db = TempDb::new();
        assert_eq!(says(umask, &format!("open|{}", db.path().display())), "600 600 600 600", "under umask {umask}");
        assert_eq!(mode(&db.path()), 0o600);
    }
}

#[test]
fn the_builder_may_share_a_new_database_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        for (asked, is) in
            [("640", "640"), ("666", "666"), ("600", "600"), ("004", "604"), ("0", "600"), ("4777", "777")]
        {
            let db = TempDb::new();
            let task = format!("open|{}|{asked}", db.path().display());
            assert_eq!(says(umask, &task), format!("{is} {is} {is} {is}"), "{asked} under umask {umask}");
        }
    }
}

#[test]
fn a_database_that_is_there_keeps_its_mode() {
    for kept in [0o600, 0o640, 0o644, 0o666] {
        for is_empty in [true, false] {
            let db = TempDb::new();
            if is_empty {
                std::fs::write(db.path(), "").unwrap();
            } else {
                drop(db.migrated());
            }
            set_mode(&db.path(), kept);
            for asked in ["", "|666"] {
                let task = format!("open|{}{asked}", db.path().display());
                assert_eq!(says("000", &task), [kept; 4].map(|mode| format!("{mode:o}")).join(" "));
                assert_eq!(mode(&db.path()), kept);
            }
        }
    }
}

#[test]
fn a_link_is_followed_to_the_file_that_is_created() {
    let db = TempDb::new();
    let folder = db.folder().join("elsewhere");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("elsewhere/second.db", db.folder().join("first.db")).unwrap();
    std::os::unix::fs::symlink(folder.join("third.db"), folder.join("second.db")).unwrap();
    let builder = SessionStore::builder();
    assert!(builder.clone().create(false).open(db.folder().join("first.db")).is_err());
    assert!(builder.clone().read_only(true).open(db.folder().join("first.db")).is_err());
    assert!(!folder.join("third.db").exists());
    assert_eq!(says("000", &format!("create|{}", db.folder().join("first.db").display())), "600");
    assert_eq!(mode(&folder.join("third.db")), 0o600);
    let store = builder.open(db.folder().join("first.db")).unwrap();
    store.insert_event(&event("linked", "one", 1)).unwrap();
    assert_eq!(mode(&folder.join("third.db-wal")), 0o600);
    store.close().unwrap();
    assert!(event_ids(&folder.join("third.db")).contains(&"linked".to_owned()));

    // One that leads to itself, and one that leads into a folder that is not there.
    std::os::unix::fs::symlink("loop.db", db.folder().join("loop.db")).unwrap();
    std::os::unix::fs::symlink("nowhere/x.db", db.folder().join("nowhere.db")).unwrap();
    for name in ["loop.db", "nowhere.db"] {
        let result = SessionStore::open(db.folder().join(name));
        assert!(matches!(result, Err(Error::Open { .. })), "{result:?}");
    }
}

#[test]
fn a_copy_has_the_databases_mode() {
    for umask in ["000", "022", "077"] {
        for shared in [0o600, 0o640, 0o644, 0o660, 0o666, 0o400, 0o444] {
            let db = TempDb::ours();
            set_mode(&db.path(), shared);
            let task = format!("back up|{}|{}", db.path().display(), db.folder().join("copy.db").display());
            assert_eq!(says(umask, &task), format!("{shared:o}"), "under umask {umask}");
            assert_eq!(mode(&db.path()), shared);
        }
        let db = TempDb::new();
        assert_eq!(says(umask, &format!("back up memory|{}", db.path().display())), "600");
    }
}

/// While it is made, a copy is nobody else's, whatever mode it will have.
#[test]
fn a_copy_is_private_until_it_is_whole() {
    let db = TempDb::ours();
    set_mode(&db.path(), 0o644);
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let (folder, sees) = (db.folder().to_owned(), seen.clone());
    let _watch = Watch::with_hook(&db, move |moment, sql| {
        if sql.starts_with("VACUUM INTO") {
            let unfinished = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            let unfinished = unfinished.into_iter().find(|path| path.is_dir()).unwrap();
            sees.lock().unwrap().push((moment, mode(&unfinished), mode(&unfinished.join("copy.db"))));
        }
    });
    db.connect().backup_to(db.folder().join("copy.db")).unwrap();
    assert_eq!(*seen.lock().unwrap(), [(Moment::Start, 0o700, 0o600), (Moment::Finish, 0o700, 0o600)]);
    assert_eq!(mode(&db.folder().join("copy.db")), 0o644);
}

/// A group is a number beside the mode: the copy goes to the database's, or its group may do what everybody may.
#[test]
fn a_copy_goes_to_the_databases_group() {
    let db = TempDb::ours();
    if std::os::unix::fs::chown(db.path(), None, Some(4_711)).is_err() {
        println!("skipped: giving a file to a group takes root");
        return;
    }
    set_mode(&db.path(), 0o640);
    db.connect().backup_to(db.folder().join("copy.db")).unwrap();
    let copy = db.folder().join("copy.db").metadata().unwrap();
    assert_eq!((copy.gid(), copy.mode() & 0o777), (4_711, 0o640));

    // Somebody who may read the file by its group, and is not in that group for what he creates.
    let target = TempDb::new();
    for folder in [&db, &target] {
        std::fs::set_permissions(folder.folder(), Permissions::from_mode(0o777)).unwrap();
    }
    for (shared, kept) in [(0o666, 0o666), (0o664, 0o644), (0o644, 0o644)] {
        set_mode(&db.path(), shared);
        let path = target.folder().join(format!("{shared:o}.db"));
        let task = format!("back up|{}|{}", db.path().display(), path.display());
        let inner = child(a_process_with_a_umask, &task);
        let mut other = Command::new("setpriv");
        other.args(["--reuid=4712", "--regid=4712", "--clear-groups"]);
        let output = through(other, &inner).output();
        let Ok(output) = output else {
            println!("skipped: there is no setpriv");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let copy = path.metadata().unwrap();
        assert_eq!((copy.gid(), copy.mode() & 0o777), (4_712, kept), "{shared:o}");
    }
}

/// Processes that open a new database at once make one file of one mode.
#[test]
fn a_database_that_is_created_by_several_at_once_is_private() {
    let db = TempDb::new();
    let task = format!("create|{}", db.path().display());
    let start = |_| Process::start(under_umask("000", &child(a_process_with_a_umask, &task)));
    let processes: Vec<_> = (0..4).map(start).collect();
    while !db.path().exists() {}
    assert_eq!(mode(&db.path()), 0o600);
    processes.into_iter().for_each(|process| drop(process.end()));
    assert_eq!(mode(&db.path()), 0o600);
}

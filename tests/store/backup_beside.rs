//! Proves that backups do not get in each other's way: of several to one target one is made, and one that is alive is not
//! taken for a leftover.

use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Error, FileMaintenance, SessionStore, migrate};

use super::backup_kill::{
    NO_LINKS, a_process_that_backs_up, backup, copied_bytes, digest, filled, leftover, outcome, started,
};
use crate::common::TempDb;
use crate::common::faults::{everything_below, signal, strace, through};
use crate::common::process::{Process, child, output, task};

#[test]
fn of_several_backups_to_one_target_one_is_made() {
    let (db, source) = filled(2_000);
    let expected = digest(&source);
    for (number, links) in [true, true, true, false, false, false].into_iter().enumerate() {
        let target = db.folder().join(format!("copy-{number}.db"));
        let task = format!("{}|{}|wait", source.display(), target.display());
        let mut processes = Vec::new();
        for _ in 0..2 {
            let mut command = child(a_process_that_backs_up, &task);
            if !links {
                let Some(mut strace) = strace() else { return };
                strace.args(["-f", "-o", "/dev/null", "-e", "trace=linkat", "-e", NO_LINKS]);
                command = through(strace, &command);
            }
            processes.push(Process::start(command));
        }
        processes.iter().for_each(|process| process.wait_for("ready"));
        processes.iter_mut().for_each(Process::give_sign);
        let mut said: Vec<_> = processes.into_iter().map(|process| outcome(process.end())).collect();
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
        assert!(slow.is_running());
    }
    signal(&slow, "STOP");
    let unfinished = leftover(db.folder()).unwrap();
    let before = everything_below(&unfinished);
    let store = SessionStore::builder().read_only(true).open(&source).unwrap();
    store.backup_to(db.folder().join("quick.db")).unwrap();
    store.backup_to(&target).unwrap();
    assert_eq!(everything_below(&unfinished), before);
    signal(&slow, "CONT");
    assert_eq!(outcome(slow.end()), "AlreadyExists");
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
    // In a process of its own, whose folders are numbered from the start.
    if task().is_none() {
        output(&mut child(a_backup_finds_a_name_for_its_folder, "alone"));
        return;
    }
    let db = TempDb::ours();
    let mut conn = db.connect();
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

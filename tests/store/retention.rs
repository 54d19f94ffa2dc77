//! Proves that a prune with an archive loses nothing wherever it is killed, and that a file made for it returns its space
//! in steps.
//! `CRASH_ROUNDS` in the environment asks for more than the 20 kills of a normal run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use agent_session_store::{
    FileMaintenance, Import, JournalMode, ListEventsRequest, PruneReport, PruneRequest, SessionEvent,
    SessionPersistDriver, SessionStore,
};

#[cfg(target_os = "linux")]
use crate::common::faults::{strace, through};
use crate::common::instrumentation::Watch;
use crate::common::process::{Process, child, say, task, wait};
use crate::common::{Random, TempDb, event, is_sound, session, value};

const SESSIONS: usize = 40;
const EVENTS: usize = 60;

fn filled() -> TempDb {
    let db = TempDb::ours();
    let mut conn = db.connect_fast();
    for number in 0..SESSIONS {
        let id = format!("s{number}");
        conn.update_session(&session(&id)).unwrap();
        let events: Vec<_> = (0..EVENTS).map(|index| event(&format!("{id}-{index}"), &id, index as i64)).collect();
        conn.insert_events(&events).unwrap();
    }
    db
}

fn everything() -> PruneRequest {
    PruneRequest::new().max_total_bytes(0)
}

/// Does nothing by itself; the test below runs it in a process of its own.
#[test]
fn a_process_that_prunes() {
    let Some(task) = task() else { return };
    let store = SessionStore::open(&task[0]).unwrap();
    say("ready");
    wait();
    say(&format!("{:?}", store.prune(&everything().archive_to(&task[1])).unwrap()));
}

/// All events of a database, by id; it must be sound.
fn events(store: &SessionStore) -> BTreeMap<String, SessionEvent> {
    let ids = (0..SESSIONS).map(|number| format!("s{number}"));
    let events = ids.flat_map(|id| store.events(ListEventsRequest::new(id)).collect::<Vec<_>>());
    events.map(|event| event.unwrap()).map(|event| (event.id.clone(), event)).collect()
}

#[test]
fn killed_at_any_point_it_has_lost_nothing() {
    let rounds: usize = std::env::var("CRASH_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let mut random = Random::new(7);
    // How often there was no archive, an archive and all rows, and an archive and some of the rows.
    let mut outcomes = [0; 3];
    let template = filled();
    for round in 0..rounds {
        let db = TempDb::copy_of(&template.path());
        let name = if cfg!(feature = "zstd") && round % 2 == 0 { "archive.jsonl.zst" } else { "archive.jsonl" };
        let path = db.folder().join(name);
        let all = events(&SessionStore::open(db.path()).unwrap());
        let mut process =
            Process::start(child(a_process_that_prunes, &format!("{}|{}", db.path().display(), path.display())));
        process.wait_for("ready");
        process.give_sign();
        // Half of the kills come while it deletes.
        if round % 2 == 1 {
            while !path.exists() && process.is_running() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        process.kill();

        is_sound(&db.plain());
        let store = SessionStore::open(db.path()).unwrap();
        let left = events(&store);
        let restored = SessionStore::open_in_memory().unwrap();
        if path.exists() {
            let back = restored.import(Import::from_path(&path).unwrap()).unwrap();
            assert_eq!((back.sessions, back.events), (SESSIONS as u64, (SESSIONS * EVENTS) as u64));
            assert_eq!(restored.stats().unwrap().sessions, SESSIONS as u64);
        }
        let mut found = events(&restored);
        found.extend(left.clone());
        assert_eq!(found, all);
        outcomes[if !path.exists() { 0 } else { 1 + usize::from(left.len() < all.len()) }] += 1;

        // The next one finishes it, into another file, and clears up.
        store.prune(&everything().archive_to(db.folder().join("rest.jsonl"))).unwrap();
        assert_eq!((store.stats().unwrap().sessions, store.stats().unwrap().events), (0, 0));
        assert!(!db.files().iter().any(|name| name.ends_with(".tmp")), "{:?}", db.files());
        // Nothing was left if the kill came too late, and of nothing there is no archive.
        let rest = db.folder().join("rest.jsonl");
        assert_eq!(rest.exists(), !left.is_empty());
        if rest.exists() {
            store.import(Import::from_path(&rest).unwrap()).unwrap();
        }
        assert_eq!(events(&store), left);
    }
    assert!(rounds < 20 || outcomes[0] > 0 && outcomes[1] + outcomes[2] > 0, "{outcomes:?}");
}

/// In the order of its system calls.
#[cfg(target_os = "linux")]
#[test]
fn the_archive_is_on_disk_before_anything_is_deleted() {
    let Some(mut command) = strace() else { return };
    let db = filled();
    let (path, trace) = (db.folder().join("archive.jsonl"), db.folder().join("trace"));
    command.args(["-f", "-qq", "-y", "-e", "trace=fsync,fdatasync,link,linkat,pwrite64", "-o"]).arg(&trace);
    let pruning = child(a_process_that_prunes, &format!("{}|{}", db.path().display(), path.display()));
    let mut process = Process::start(through(command, &pruning));
    process.wait_for("ready");
    // What it has done to open the file is of no interest.
    let opened = std::fs::read_to_string(&trace).unwrap().lines().count();
    process.give_sign();
    process.end();
    let trace = std::fs::read_to_string(&trace).unwrap();
    let calls: Vec<&str> = trace.lines().skip(opened).collect();
    let place = |what: &str, parts: &[&str]| {
        let found = calls.iter().position(|call| parts.iter().all(|part| call.contains(part)));
        found.unwrap_or_else(|| panic!("no {what}"))
    };
    let folder = format!("<{}>)", db.folder().canonicalize().unwrap().display());
    let order = [
        place("sync of the archive", &["sync(", "/copy.db>"]),
        place("name", &["link", "archive.jsonl\""]),
        place("sync of the folder", &["fsync(", &folder]),
        place("deletion", &["pwrite64(", "sessions.db-wal>"]),
    ];
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn every_kind_of_store_archives() {
    let folder = TempDb::new();
    let stores = [
        SessionStore::open_in_memory().unwrap(),
        SessionStore::builder().readers(1).open(folder.beside("1")).unwrap(),
        SessionStore::builder().journal_mode(JournalMode::Rollback).open(folder.beside("2")).unwrap(),
    ];
    for (number, store) in stores.into_iter().enumerate() {
        store.update_session(&session("s0")).unwrap();
        store.insert_event(&event("e", "s0", 1)).unwrap();
        let path = folder.folder().join(format!("{number}.jsonl"));
        let done = store.prune(&everything().archive_to(&path).reclaim_space()).unwrap();
        assert_eq!(done, PruneReport { sessions: 1, events: 1 });
        store.import(Import::from_path(&path).unwrap()).unwrap();
        assert_eq!(store.get_session("s0").unwrap(), Some(session("s0")));
    }
}

#[cfg(feature = "async")]
#[test]
fn tasks_archive_too() {
    use agent_session_store::AsyncSessionStore;
    let db = filled();
    let path = db.folder().join("archive.jsonl");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = AsyncSessionStore::open(db.path()).await.unwrap();
        let done = store.prune(&everything().archive_to(&path)).await.unwrap();
        assert_eq!(done, PruneReport { sessions: SESSIONS as u64, events: (SESSIONS * EVENTS) as u64 });
        store.import(Import::from_path(&path).unwrap()).await.unwrap();
        assert_eq!(store.stats().await.unwrap().events, done.events);
    });
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Frees about eight megabytes of the file.
fn free(store: &SessionStore) {
    let payload = crate::common::json(&format!("\"{}\"", "x".repeat(8_000)));
    let events: Vec<_> =
        (0..1_000).map(|index| with!(event(&format!("e{index}"), "long", index), payload: payload.clone())).collect();
    store.insert_events(&events).unwrap();
    store.insert_event(&event("kept", "kept", 1)).unwrap();
    store.prune(&PruneRequest::new().session("long")).unwrap();
}

#[test]
fn a_file_that_was_made_for_it_returns_space_in_steps() {
    for journal_mode in [JournalMode::Wal, JournalMode::Rollback] {
        for by_prune in [false, true] {
            let db = TempDb::new();
            let watch = Watch::on(&db);
            let builder = || SessionStore::builder().journal_mode(journal_mode).incremental_vacuum(true);
            let store = builder().open(db.path()).unwrap();
            assert_eq!(value::<i64>(&db.plain(), "PRAGMA auto_vacuum"), 2);
            free(&store);
            assert!(store.stats().unwrap().unused_bytes > 7_000_000);
            watch.take();
            if by_prune {
                store.prune(&PruneRequest::new().session("none").reclaim_space()).unwrap();
            } else {
                store.reclaim_space().unwrap();
            }
            let ran = watch.take();
            let steps = ran.iter().filter(|sql| sql.contains("incremental_vacuum(")).count();
            assert!(steps >= 4, "{steps}");
            assert!(!ran.iter().any(|sql| sql.starts_with("VACUUM")), "{ran:?}");
            assert_eq!(store.stats().unwrap().unused_bytes, 0);
            assert_eq!(store.last_event_index("kept").unwrap(), Some(1));
            assert!(size(&db.path()) < 200_000, "{}", size(&db.path()));
            // It stays so, whoever opens it, and a copy is the same.
            store.backup_to(db.beside("-copy")).unwrap();
            store.close().unwrap();
            SessionStore::open(db.path()).unwrap().close().unwrap();
            assert_eq!(value::<i64>(&db.plain(), "PRAGMA auto_vacuum"), 2);
            let copy = rusqlite::Connection::open(db.beside("-copy")).unwrap();
            assert_eq!(value::<i64>(&copy, "PRAGMA auto_vacuum"), 2);
        }
    }
}

#[test]
fn a_connection_returns_space_in_steps_too() {
    for is_inside in [false, true] {
        let db = TempDb::new();
        free(&SessionStore::builder().incremental_vacuum(true).open(db.path()).unwrap());
        let mut conn = db.connect();
        if is_inside {
            conn.immediate_transaction(FileMaintenance::reclaim_space).unwrap();
        } else {
            conn.reclaim_space().unwrap();
        }
        let stats = conn.stats().unwrap();
        assert!(stats.unused_bytes == 0 && stats.bytes < 200_000, "{stats:?}");
        is_sound(&db.plain());
    }
}

#[test]
fn a_file_that_exists_stays_as_it_is() {
    let db = TempDb::new();
    SessionStore::open(db.path()).unwrap().close().unwrap();
    let store = SessionStore::builder().incremental_vacuum(true).open(db.path()).unwrap();
    free(&store);
    store.reclaim_space().unwrap();
    assert_eq!(store.stats().unwrap().unused_bytes, 0);
    store.close().unwrap();
    assert_eq!(value::<i64>(&db.plain(), "PRAGMA auto_vacuum"), 0);
    // By default, nothing is made for it.
    let new = TempDb::new();
    SessionStore::open(new.path()).unwrap().close().unwrap();
    assert_eq!(value::<i64>(&new.plain(), "PRAGMA auto_vacuum"), 0);
}

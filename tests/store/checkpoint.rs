//! Proves that the write-ahead log does not grow without bound, that a checkpoint says what it has reached and hangs on
//! nobody, and that the log is left alone where another program takes care of it.

use std::thread;
use std::time::Duration;

use agent_session_store::{
    CheckpointReport, Export, FileMaintenance, JournalMode, Json, ListEventsRequest, Selection, SessionEvent,
    SessionStore,
};

use crate::common::process::{Process, child, say, task, wait};
use crate::common::{TempDb, event};

/// The database file alone. (Reading it here would release the locks of this process, so nothing is opened for it.)
fn file(db: &TempDb) -> (u64, std::time::SystemTime) {
    let found = std::fs::metadata(db.path()).unwrap();
    (found.len(), found.modified().unwrap())
}

/// About 100 kB of events, which replace those of the last round.
fn batch(round: i64) -> Vec<SessionEvent> {
    let payload = |index: i64| Json::new(&format!("{round}-{index}-{}", "x".repeat(1_000))).unwrap();
    (0..100).map(|index| with!(event(&format!("e{index}"), "one", index), payload: payload(index))).collect()
}

/// Does nothing by itself; the tests below run it in a process of its own.
#[test]
fn another_process() {
    let Some(task) = task() else { return };
    let [path, role] = task.try_into().unwrap();
    let begin = "BEGIN; SELECT count(*) FROM events";
    let mut readers = [(); 2].map(|()| rusqlite::Connection::open(&path).unwrap());
    for reader in &readers {
        reader.execute_batch(begin).unwrap();
    }
    let is_over = thread::spawn(wait);
    say("reads");
    while !is_over.is_finished() {
        thread::sleep(Duration::from_millis(2));
        if role == "in turns" {
            // The other one goes on meanwhile: somebody always reads.
            readers[0].execute_batch("COMMIT").unwrap();
            readers[0].execute_batch(begin).unwrap();
            readers.swap(0, 1);
        }
    }
}

fn start(db: &TempDb, role: &str) -> Process {
    let process = Process::start(child(another_process, &format!("{}|{role}", db.path().display())));
    process.wait_for("reads");
    process
}

#[test]
fn a_checkpoint_moves_everything_into_the_file() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    store.insert_events(&batch(0)).unwrap();
    let before = file(&db);
    assert!(db.log_size() > 0);
    let report = store.checkpoint().unwrap();
    assert!(report.is_complete, "{report:?}");
    assert_eq!(report.log_frames, report.moved_frames);
    assert_eq!(db.log_size(), 0);
    assert!(file(&db).0 > before.0);
    // The file alone has it all, while the store is open.
    let copy = TempDb::new();
    std::fs::copy(db.path(), copy.path()).unwrap();
    assert_eq!(copy.event_ids().len(), 100);

    store.insert_event(&event("later", "one", 100)).unwrap();
    assert!(db.log_size() > 0);
    let mut conn = db.connect();
    assert!(conn.checkpoint().unwrap().is_complete);
    assert_eq!(db.log_size(), 0);
    assert_eq!(store.list_events(&ListEventsRequest::new("one").limit(1_000)).unwrap().items.len(), 101);
}

#[test]
fn without_a_log_there_is_nothing_to_do() {
    let nothing = CheckpointReport { is_complete: true, log_frames: 0, moved_frames: 0 };
    let db = TempDb::new();
    let store = SessionStore::builder().journal_mode(JournalMode::Rollback).open(db.path()).unwrap();
    store.insert_events(&batch(0)).unwrap();
    assert_eq!(store.checkpoint().unwrap(), nothing);
    assert_eq!(SessionStore::open_in_memory().unwrap().checkpoint().unwrap(), nothing);
}

#[test]
fn a_checkpoint_says_that_a_reader_holds_it_up() {
    let db = TempDb::new();
    // It would wait that long if the reader could make it.
    let store = SessionStore::builder().busy_timeout(Duration::from_secs(3_600)).open(db.path()).unwrap();
    store.insert_events(&batch(0)).unwrap();
    let reader = start(&db, "for long");
    // What it reads is the end of the log: everything can be moved, but the log cannot be emptied.
    let report = store.checkpoint().unwrap();
    assert!(!report.is_complete && report.moved_frames == report.log_frames, "{report:?}");
    // Now there is more after it.
    store.insert_events(&batch(1)).unwrap();
    let report = store.checkpoint().unwrap();
    assert!(!report.is_complete && report.moved_frames < report.log_frames, "{report:?}");
    assert!(db.log_size() > 0);
    store.reclaim_space().unwrap();
    reader.end();
    assert!(store.checkpoint().unwrap().is_complete);
    assert_eq!(db.log_size(), 0);
}

/// A callback that asks for a checkpoint does so while the store itself reads.
#[test]
fn a_checkpoint_inside_an_export_is_told_that_it_is_held_up() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    store.insert_events(&batch(0)).unwrap();
    let mut reports = Vec::new();
    let heard = |_| reports.push(store.checkpoint().unwrap());
    store.export(std::io::sink(), Export::of(Selection::all()).progress(heard)).unwrap();
    assert!(reports.iter().any(|report| !report.is_complete), "{reports:?}");
    assert!(store.checkpoint().unwrap().is_complete);
}

const LIMIT: u64 = 2 << 20;

/// There is no moment without a reader, so SQLite by itself never begins the log anew.
#[test]
fn the_log_is_emptied_beside_readers_that_overlap() {
    let db = TempDb::new();
    let store = SessionStore::builder().log_size_limit(LIMIT).open(db.path()).unwrap();
    store.insert_events(&batch(0)).unwrap();
    let readers = start(&db, "in turns");
    // On a busy machine a reader may take long, and then the store tries again later.
    let mut last = 0;
    let emptied = (1..50_000).any(|round| {
        store.insert_events(&batch(round)).unwrap();
        let before = std::mem::replace(&mut last, db.log_size());
        last < before
    });
    assert!(emptied, "it has {} bytes", db.log_size());
    readers.end();
}

/// A reader that stays is no reason to stop writing; when it has gone, the log shrinks by itself.
#[test]
fn the_log_shrinks_after_a_long_reader_has_gone() {
    let db = TempDb::new();
    let store = SessionStore::builder().log_size_limit(LIMIT).open(db.path()).unwrap();
    store.insert_events(&batch(0)).unwrap();
    let reader = start(&db, "for long");
    for round in 1..100 {
        store.insert_events(&batch(round)).unwrap();
    }
    assert!(db.log_size() > 2 * LIMIT);
    reader.end();
    // The first moves what is in the log, the second begins it anew, whether or not the store has another look.
    store.insert_event(&event("first", "two", 1)).unwrap();
    store.insert_event(&event("second", "two", 2)).unwrap();
    assert!(db.log_size() <= LIMIT, "{}", db.log_size());
}

#[test]
fn a_log_that_another_program_takes_care_of_is_left_alone() {
    for how in ["close", "drop", "reclaim"] {
        let db = TempDb::new();
        SessionStore::open(db.path()).unwrap().close().unwrap();
        let before = std::fs::read(db.path()).unwrap();
        let store = SessionStore::builder().auto_checkpoint(false).log_size_limit(0).open(db.path()).unwrap();
        // Far more than SQLite's thousand frames.
        for round in 0..50 {
            store.insert_events(&batch(round)).unwrap();
        }
        assert_eq!(store.list_events(&ListEventsRequest::new("one")).unwrap().items.len(), 100);
        let size = db.log_size();
        assert!(size > 5 << 20);
        match how {
            "close" => store.close().unwrap(),
            "drop" => drop(store),
            _ => {
                store.reclaim_space().unwrap();
                store.close().unwrap();
            }
        }
        assert!(db.log_size() >= size, "{how}");
        assert!(std::fs::read(db.path()).unwrap() == before, "{how}");
        // Everything is there, and whoever takes care of the log can do so.
        let store = SessionStore::builder().auto_checkpoint(false).open(db.path()).unwrap();
        assert_eq!(store.list_events(&ListEventsRequest::new("one")).unwrap().items, batch(49));
        assert!(store.checkpoint().unwrap().is_complete);
        assert_eq!(db.log_size(), 0);
        store.close().unwrap();
        assert_eq!(db.event_ids().len(), 100);
    }
}

#[cfg(feature = "async")]
#[test]
fn tasks_have_the_options_and_the_verb_as_well() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let db = TempDb::new();
        let builder = SessionStore::builder().auto_checkpoint(false).log_size_limit(LIMIT);
        let store = builder.open_async(db.path()).await.unwrap();
        store.insert_events(&batch(0)).await.unwrap();
        store.close().await.unwrap();
        assert!(db.log_size() > 0);
        let store = SessionStore::builder().log_size_limit(LIMIT).open_async(db.path()).await.unwrap();
        assert!(store.checkpoint().await.unwrap().is_complete);
        assert_eq!(db.log_size(), 0);
        store.close().await.unwrap();
    });
}

//! Proves that closing a store, or dropping its last clone, finishes what was begun, leaves one file, and answers
//! everybody afterwards.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use agent_session_store::{Error, JournalMode, ListEventsRequest, ListSessionsRequest, SessionStore};

use crate::common::instrumentation::{Moment, Watch};
use crate::common::process::{Process, child, say, task, wait};
use crate::common::{TempDb, event, session};

fn is_closed<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Closed))
}

fn assert_closed(store: &SessionStore) {
    assert!(is_closed(store.get_session("one")));
    assert!(is_closed(store.list_sessions(&ListSessionsRequest::new())));
    assert!(is_closed(store.list_events(&ListEventsRequest::new("one"))));
    assert!(is_closed(store.update_session(&session("one"))));
    assert!(is_closed(store.insert_event(&event("late", "one", 1))));
    assert!(is_closed(store.insert_events(&[event("late", "one", 1)])));
    store.close().unwrap();
}

#[test]
fn closing_moves_the_log_into_the_file_for_every_clone() {
    for journal_mode in [JournalMode::Wal, JournalMode::Rollback] {
        let db = TempDb::new();
        let store = SessionStore::builder().journal_mode(journal_mode).open(db.path()).unwrap();
        let clone = store.clone();
        store.insert_event(&event("e1", "one", 1)).unwrap();
        assert_eq!(clone.list_events(&ListEventsRequest::new("one")).unwrap().items.len(), 1);
        store.close().unwrap();
        assert_eq!(db.files(), ["sessions.db"]);
        assert_closed(&store);
        assert_closed(&clone);
        assert_eq!(db.event_ids(), ["e1"]);
    }
    let store = SessionStore::open_in_memory().unwrap();
    store.close().unwrap();
    assert_closed(&store);
}

#[test]
fn dropping_the_last_clone_does_the_same() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    thread::scope(|scope| {
        for number in 0..16 {
            let store = store.clone();
            scope.spawn(move || {
                for index in 0..20 {
                    store.insert_event(&event(&format!("e{number:02}-{index:02}"), "one", index)).unwrap();
                    store.get_session("one").unwrap();
                }
            });
        }
    });
    assert!(db.files().len() > 1);
    drop(store);
    assert_eq!(db.files(), ["sessions.db"]);
    assert_eq!(db.event_ids().len(), 16 * 20);
}

#[test]
fn others_keep_the_log_that_they_use() {
    let db = TempDb::new();
    let (first, second) = (SessionStore::open(db.path()).unwrap(), SessionStore::open(db.path()).unwrap());
    first.insert_event(&event("e1", "one", 1)).unwrap();
    second.insert_event(&event("e2", "one", 2)).unwrap();
    first.close().unwrap();
    assert_eq!(db.log_size(), 0);
    second.insert_event(&event("e3", "one", 3)).unwrap();
    drop(second);
    assert_eq!(db.files(), ["sessions.db"]);
    assert_eq!(db.event_ids(), ["e1", "e2", "e3"]);
}

/// A transaction that reads in another process keeps a part of the log in use: that is no error, and nothing is lost.
#[test]
fn closing_beside_a_reader_does_not_fail() {
    let db = TempDb::new();
    let store = SessionStore::builder().busy_timeout(Duration::from_millis(50)).open(db.path()).unwrap();
    store.insert_event(&event("e1", "one", 1)).unwrap();
    let other = db.plain();
    other.execute_batch("BEGIN; SELECT * FROM events").unwrap();
    store.insert_event(&event("e2", "one", 2)).unwrap();
    store.close().unwrap();
    assert_eq!(db.event_ids(), ["e1", "e2"]);
}

#[test]
fn closing_while_many_write_and_read_keeps_what_was_acknowledged() {
    for round in 0..20 {
        let db = TempDb::new();
        let store = SessionStore::open(db.path()).unwrap();
        let acknowledged = Mutex::new(Vec::new());
        let count = AtomicUsize::new(0);
        thread::scope(|scope| {
            for number in 0..32 {
                let (store, acknowledged, count) = (store.clone(), &acknowledged, &count);
                scope.spawn(move || {
                    for index in 0.. {
                        let id = format!("e{number:02}-{index:04}");
                        let result = match number % 4 {
                            0 => store.insert_events(&[event(&id, "one", index)]),
                            1 => match store.get_session("one") {
                                Ok(_) => store.insert_event(&event(&id, "one", index)),
                                Err(error) => Err(error),
                            },
                            _ => store.insert_event(&event(&id, "one", index)),
                        };
                        match result {
                            Ok(()) => acknowledged.lock().unwrap().push(id),
                            Err(Error::Closed) => break,
                            Err(other) => panic!("{other}"),
                        }
                        count.fetch_add(1, SeqCst);
                    }
                });
            }
            while count.load(SeqCst) < 10 * round {
                thread::yield_now();
            }
            // Several at once: whichever returns, the store is closed.
            for _ in 0..3 {
                scope.spawn(|| {
                    store.close().unwrap();
                    assert_eq!(db.files(), ["sessions.db"]);
                });
            }
        });
        // Everything that was answered, and nothing that was refused.
        let mut acknowledged = acknowledged.into_inner().unwrap();
        acknowledged.sort();
        assert_eq!(db.event_ids(), acknowledged);
    }
}

#[test]
fn writes_that_wait_are_done_before_the_store_closes() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    let other = db.plain();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..50)
            .map(|number| {
                let store = &store;
                scope.spawn(move || store.insert_event(&event(&format!("e{number}"), "one", number)))
            })
            .collect();
        thread::sleep(Duration::from_millis(200));
        let closing: Vec<_> = (0..2).map(|_| scope.spawn(|| store.close())).collect();
        thread::sleep(Duration::from_millis(100));
        other.execute_batch("COMMIT").unwrap();
        closing.into_iter().for_each(|closing| closing.join().unwrap().unwrap());
        // A thread that was late may have been refused.
        let done = waiting.into_iter().map(|caller| caller.join().unwrap());
        let stored = done.map(|result| assert!(result.is_ok() || is_closed(result))).count();
        assert_eq!(stored, 50);
    });
    assert!(db.event_ids().len() > 1, "the queue was thrown away");
}

/// Closing waits for a read that is under way: when it returns, the file is nobody's.
#[test]
fn closing_waits_for_reads() {
    let db = TempDb::new();
    let (reading, may_go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (inside, go) = (Arc::clone(&reading), Arc::clone(&may_go_on));
    let once = AtomicBool::new(false);
    let _watch = Watch::with_hook(&db, move |moment, sql| {
        if moment == Moment::Start && sql.starts_with("SELECT id, event_index") && !once.swap(true, SeqCst) {
            inside.wait();
            go.wait();
        }
    });
    let store = SessionStore::open(db.path()).unwrap();
    store.insert_event(&event("e1", "one", 1)).unwrap();
    thread::scope(|scope| {
        let read = scope.spawn(|| store.list_events(&ListEventsRequest::new("one")));
        reading.wait();
        let closing = scope.spawn(|| {
            store.close().unwrap();
            assert_eq!(db.files(), ["sessions.db"]);
        });
        thread::sleep(Duration::from_millis(100));
        assert!(!closing.is_finished());
        may_go_on.wait();
        assert_eq!(read.join().unwrap().unwrap().items.len(), 1);
        closing.join().unwrap();
    });
}

/// Does nothing by itself; the test below runs it in processes of their own.
#[test]
fn another_process() {
    let Some(task) = task() else { return };
    let [path, role] = task.try_into().unwrap();
    match &*role {
        "reads" => {
            let conn = rusqlite::Connection::open(path).unwrap();
            conn.execute_batch("BEGIN; SELECT * FROM events").unwrap();
            say("reads");
            wait();
        }
        "writes" => {
            let store = SessionStore::builder().busy_timeout(Duration::from_millis(1_500)).open(path).unwrap();
            let is_over = thread::spawn(wait);
            for index in 0.. {
                store.insert_event(&event(&format!("bystander-{index}"), "bystander", index)).unwrap();
                if index == 0 {
                    say("writes");
                }
                if is_over.is_finished() {
                    break;
                }
                // Others have to find the lock free now and then: they only look for it.
                thread::sleep(Duration::from_millis(1));
            }
        }
        other => panic!("{other}"),
    }
}

fn start(db: &TempDb, role: &str) -> Process {
    let process = Process::start(child(another_process, &format!("{}|{role}", db.path().display())));
    process.wait_for(role);
    process
}

/// A process that reads for long keeps the log in use. Who closes a store, or gives space back, must not wait for that
/// with the right to write: another process that writes without a pause would fail.
#[test]
fn closing_beside_a_long_reader_holds_up_nobody() {
    let db = TempDb::new();
    let keeps_it_open = SessionStore::open(db.path()).unwrap();
    keeps_it_open.insert_event(&event("before", "one", 1)).unwrap();
    let reader = start(&db, "reads");
    let bystander = start(&db, "writes");
    for round in 0..6 {
        let store = SessionStore::builder().busy_timeout(Duration::from_secs(10)).open(db.path()).unwrap();
        store.insert_event(&event(&format!("e{round}"), "one", round)).unwrap();
        match round % 3 {
            0 => store.close().unwrap(),
            1 => drop(store),
            _ => store.reclaim_space().unwrap(),
        }
    }
    bystander.end();
    reader.end();
    keeps_it_open.close().unwrap();
    assert_eq!(db.files(), ["sessions.db"]);
    let ids = db.event_ids();
    assert_eq!(ids.iter().filter(|id| !id.starts_with("bystander")).count(), 7);
    assert!(ids.iter().any(|id| id.starts_with("bystander")));
}

//! Proves that processes that use one file at the same time do not disturb each other, and that one which keeps the
//! others waiting for too long gets them a typed error and nothing worse.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use agent_session_store::{Error, ListEventsRequest, SessionStore};

use crate::common::process::{Process, child, say, task, wait};
use crate::common::{TempDb, event, session};

const PROCESSES: usize = 8;
const THREADS: usize = 4;
const EVENTS: i64 = 40;

/// Does nothing by itself; the tests below run it in processes of their own.
#[test]
fn one_of_many_processes() {
    let Some(task) = task() else { return };
    let [folder, who, role] = task.try_into().unwrap();
    let folder = PathBuf::from(folder);
    let path = folder.join("sessions.db");
    match &*role {
        "writes" => {
            while !folder.join("start").exists() {
                thread::yield_now();
            }
            let store = SessionStore::open(path).unwrap();
            store.update_session(&session(&format!("newcomer-{who}"))).unwrap();
            thread::scope(|scope| {
                for number in 0..THREADS {
                    let (store, session) = (&store, format!("newcomer-{who}-{number}"));
                    scope.spawn(move || {
                        for index in 0..EVENTS {
                            let id = |part| format!("{session}-{index:03}-{part}");
                            store.insert_event(&event(&id(0), &session, 2 * index)).unwrap();
                            store.insert_events(&[event(&id(1), &session, 2 * index + 1)]).unwrap();
                            let request = ListEventsRequest::new(&session).limit(1_000);
                            let seen = store.list_events(&request).unwrap().items;
                            assert_eq!(seen.len() as i64, 2 * index + 2);
                        }
                    });
                }
            });
            store.close().unwrap();
        }
        "locks" => {
            let conn = rusqlite::Connection::open(path).unwrap();
            conn.execute_batch("BEGIN IMMEDIATE").unwrap();
            say("locked");
            wait();
            conn.execute_batch("COMMIT").unwrap();
        }
        other => panic!("{other}"),
    }
}

fn start(db: &TempDb, who: usize, role: &str) -> Process {
    Process::start(child(one_of_many_processes, &format!("{}|{who}|{role}", db.folder().display())))
}

#[test]
fn eight_processes_of_several_threads_write_one_file() {
    for make in
        [TempDb::new, || TempDb::fixture("sdk-0.4.2.db"), || TempDb::fixture("server-0.4.2.db")] as [fn() -> TempDb; 3]
    {
        let db = make();
        let processes: Vec<_> = (0..PROCESSES).map(|who| start(&db, who, "writes")).collect();
        std::fs::write(db.folder().join("start"), "").unwrap();
        processes.into_iter().for_each(|process| drop(process.end()));
        let newcomers = db.event_ids().into_iter().filter(|id| id.starts_with("newcomer-")).collect::<Vec<_>>();
        assert_eq!(newcomers.len(), PROCESSES * THREADS * EVENTS as usize * 2);
        let store = SessionStore::open(db.path()).unwrap();
        for who in 0..PROCESSES {
            assert!(store.get_session(&format!("newcomer-{who}")).unwrap().is_some());
            for number in 0..THREADS {
                let request = ListEventsRequest::new(format!("newcomer-{who}-{number}")).limit(1_000);
                let events = store.list_events(&request).unwrap().items;
                let indices: Vec<_> = events.iter().map(|event| event.event_index).collect();
                assert_eq!(indices, (0..2 * EVENTS).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn a_lock_held_for_too_long_is_a_busy_error_for_writers_alone() {
    let db = TempDb::new();
    let store = SessionStore::builder().busy_timeout(Duration::from_millis(200)).open(db.path()).unwrap();
    store.insert_event(&event("before", "one", 1)).unwrap();
    for killed in [false, true] {
        let locking = start(&db, 0, "locks");
        locking.wait_for("locked");

        let busy = |result| matches!(result, Err(Error::Busy { .. }));
        assert!(busy(store.insert_event(&event("refused", "one", 2))));
        assert!(busy(store.insert_events(&[event("refused", "one", 2)])));
        assert!(busy(store.update_session(&session("refused"))));
        thread::scope(|scope| {
            for number in 0..32 {
                let (store, busy) = (&store, &busy);
                scope.spawn(move || {
                    assert!(busy(store.insert_event(&event(&format!("refused-{number}"), "one", number))));
                    assert!(!store.list_events(&ListEventsRequest::new("one")).unwrap().items.is_empty());
                });
            }
        });
        assert!(store.get_session("refused").unwrap().is_none());

        if killed {
            locking.kill();
        } else {
            locking.end();
        }
        thread::scope(|scope| {
            for number in 0..32 {
                let store = &store;
                let id = format!("after-{killed}-{number}");
                scope.spawn(move || store.insert_event(&event(&id, "one", number)).unwrap());
            }
        });
    }
    store.close().unwrap();
    let ids = db.event_ids();
    assert_eq!(ids.len(), 1 + 2 * 32);
    assert!(!ids.iter().any(|id| id.starts_with("refused")));
}

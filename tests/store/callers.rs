//! Proves what a store promises its many callers: writes share commits and keep their order, each caller sees what it
//! wrote, nobody waits who need not, and several stores, or one in memory, work the same.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use agent_session_store::{ListEventsRequest, ListSessionsRequest, SessionEvent, SessionStore, SessionStoreBuilder};

use crate::common::instrumentation::Watch;
use crate::common::{TempDb, column, event, session};

#[test]
fn it_is_shared_between_threads() {
    fn shared<T: Clone + Debug + Send + Sync + 'static>() {}
    fn sent<T: Clone + Debug + Send + Sync + 'static>() {}
    shared::<SessionStore>();
    sent::<SessionStoreBuilder>();
}

/// How many transactions wrote events: those in a group, and statements that are one by themselves.
fn transactions(ran: &[String]) -> usize {
    let (mut count, mut inside) = (0, false);
    for sql in ran {
        match &**sql {
            "BEGIN IMMEDIATE" => inside = true,
            "COMMIT" | "ROLLBACK" => {
                inside = false;
                count += 1;
            }
            insert if insert.starts_with("INSERT INTO main.events") && !inside => count += 1,
            _ => {}
        }
    }
    count
}

/// The events of many threads, each with a session of its own.
fn streams(threads: usize, each: i64) -> Vec<Vec<SessionEvent>> {
    let stream = |thread: usize| {
        let session = format!("session-{thread:04}");
        (0..each).map(|index| event(&format!("{session}-{index:04}"), &session, index)).collect()
    };
    (0..threads).map(stream).collect()
}

fn assert_stored(db: &TempDb, streams: &[Vec<SessionEvent>]) {
    let mut wanted: Vec<_> = streams.iter().flatten().map(|event| event.id.clone()).collect();
    wanted.sort();
    assert_eq!(db.event_ids(), wanted);
}

#[test]
fn threads_share_commits_and_each_keeps_its_order_and_sees_its_writes() {
    let db = TempDb::new();
    let watch = Watch::on(&db);
    let store = SessionStore::open(db.path()).unwrap();
    watch.take();
    let streams = streams(32, 50);
    thread::scope(|scope| {
        for stream in &streams {
            let store = store.clone();
            scope.spawn(move || {
                for event in stream {
                    store.insert_event(event).unwrap();
                    let request = ListEventsRequest::new(&event.session_id).limit(1000);
                    let seen = store.list_events(&request).unwrap().items;
                    assert_eq!(seen.last(), Some(event));
                    assert_eq!(seen.len() as i64, event.event_index + 1);
                }
            });
        }
    });
    let count = transactions(&watch.take());
    assert!(count < 32 * 50 / 2, "{count} transactions");
    assert_stored(&db, &streams);
    let in_order: Vec<String> = column(&db.plain(), "SELECT id FROM events ORDER BY rowid");
    for stream in &streams {
        let session = &stream[0].session_id;
        let mine: Vec<_> = in_order.iter().filter(|id| id.contains(session.as_str())).collect();
        assert!(mine.is_sorted(), "{mine:?}");
    }
}

#[test]
fn what_waits_for_the_lock_becomes_one_transaction() {
    let db = TempDb::new();
    let watch = Watch::on(&db);
    let store = SessionStore::open(db.path()).unwrap();
    watch.take();
    let streams = streams(64, 1);
    let other = db.plain();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        for stream in &streams {
            let store = &store;
            scope.spawn(move || store.insert_event(&stream[0]).unwrap());
        }
        // Time for all of them to get in line; some may be late.
        thread::sleep(Duration::from_millis(500));
        other.execute_batch("COMMIT").unwrap();
    });
    let count = transactions(&watch.take());
    assert!(count <= 16, "{count} transactions for 64 events");
    assert_stored(&db, &streams);
}

#[test]
fn reads_do_not_wait_for_writes() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    store.update_session(&session("one")).unwrap();
    store.insert_event(&event("e1", "one", 1)).unwrap();
    let other = db.plain();
    other.execute_batch("BEGIN IMMEDIATE; DELETE FROM events").unwrap();
    thread::scope(|scope| {
        let writing = scope.spawn(|| store.insert_event(&event("e2", "one", 2)));
        // The lock is only let go after these.
        for _ in 0..20 {
            assert_eq!(store.get_session("one").unwrap(), Some(session("one")));
            assert_eq!(store.list_sessions(&ListSessionsRequest::new()).unwrap().items.len(), 1);
            assert_eq!(store.list_events(&ListEventsRequest::new("one")).unwrap().items, [event("e1", "one", 1)]);
        }
        assert!(!writing.is_finished());
        other.execute_batch("ROLLBACK").unwrap();
        writing.join().unwrap().unwrap();
    });
    assert_eq!(db.event_ids(), ["e1", "e2"]);
}

#[test]
fn more_callers_than_the_queue_holds_wait_and_all_finish() {
    let db = TempDb::new();
    let store = SessionStore::builder().busy_timeout(Duration::from_secs(600)).open(db.path()).unwrap();
    let streams = streams(1300, 2);
    let other = db.plain();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Barrier::new(1301);
    thread::scope(|scope| {
        for stream in &streams {
            let (store, begun) = (&store, &begun);
            let work = move || {
                begun.wait();
                stream.iter().for_each(|event| store.insert_event(event).unwrap());
            };
            thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, work).unwrap();
        }
        begun.wait();
        thread::sleep(Duration::from_millis(300));
        other.execute_batch("COMMIT").unwrap();
    });
    assert_stored(&db, &streams);
}

#[test]
fn several_stores_work_on_one_file() {
    let db = TempDb::new();
    let streams = streams(16, 40);
    let stores: Vec<_> = (0..4).map(|_| SessionStore::open(db.path()).unwrap()).collect();
    thread::scope(|scope| {
        for (number, stream) in streams.iter().enumerate() {
            let (writes, reads) = (&stores[number % 4], &stores[(number + 1) % 4]);
            scope.spawn(move || {
                for event in stream {
                    writes.insert_event(event).unwrap();
                    let page = reads.list_events(&ListEventsRequest::new(&event.session_id)).unwrap();
                    assert_eq!(page.items.last(), Some(event));
                }
            });
        }
    });
    assert_stored(&db, &streams);
}

#[test]
fn a_store_in_memory_does_the_same() {
    let store = SessionStore::open_in_memory().unwrap();
    let streams = streams(16, 40);
    let mut seen = HashSet::new();
    thread::scope(|scope| {
        for stream in &streams {
            let store = &store;
            scope.spawn(move || {
                store.insert_events(&stream[..20]).unwrap();
                for event in &stream[20..] {
                    store.insert_event(event).unwrap();
                    let page = store.list_events(&ListEventsRequest::new(&event.session_id)).unwrap();
                    assert_eq!(page.items.last(), Some(event));
                }
            });
        }
    });
    for stream in &streams {
        let page = store.list_events(&ListEventsRequest::new(&stream[0].session_id)).unwrap();
        assert_eq!(&page.items, stream);
        seen.extend(page.items.into_iter().map(|event| event.id));
    }
    assert_eq!(seen.len(), 16 * 40);
    // It is not the database of another store in memory.
    let other = SessionStore::open_in_memory().unwrap();
    assert!(other.list_events(&ListEventsRequest::new("session-0000")).unwrap().items.is_empty());
}

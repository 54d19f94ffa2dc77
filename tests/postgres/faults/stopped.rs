//! Proves that a store goes on after its server was stopped and started again: calls in flight are told that the
//! connection was lost, and later ones succeed, on the same store.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

#[cfg(feature = "async")]
use agent_session_store::AsyncSessionStore;
use agent_session_store::{Error, ListEventsRequest, SessionStore};

use crate::common::own_server::OwnServer;
use crate::common::{event, new_event, session};

fn is_lost(error: &Error) -> bool {
    // While there is no server, it cannot be connected to either.
    matches!(error, Error::Disconnected { .. } | Error::Open { .. })
}

/// Repeats a call until it succeeds, as a caller may; every failure is one that says that the server was away.
fn until_it_works<T>(mut call: impl FnMut() -> Result<T, Error>) -> T {
    for _ in 0..1_000 {
        match call() {
            Ok(value) => return value,
            Err(error) => assert!(is_lost(&error), "{error:?}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it never works again");
}

/// Uses a store from many threads while something happens, and for a while after it. Returns the ids that were stored.
fn in_use(store: &SessionStore, name: &str, happens: impl FnOnce()) -> BTreeSet<String> {
    let (over, stored) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    thread::scope(|scope| {
        for number in 0..8 {
            let (over, stored) = (&over, &stored);
            scope.spawn(move || {
                for index in 0.. {
                    // One more, so that each thread sees that it goes on.
                    let is_last = over.load(Ordering::SeqCst);
                    let id = format!("{name}-{number}-{index:05}");
                    let session = format!("session-{}", number % 4);
                    // Repeating it does no harm.
                    let written = until_it_works(|| store.append_events(&session, &[new_event(&id)]));
                    let last = until_it_works(|| store.last_event_index(&session));
                    assert!(last >= Some(written[0]), "{id}");
                    stored.lock().unwrap().insert(id);
                    if is_last {
                        break;
                    }
                }
            });
        }
        happens();
        over.store(true, Ordering::SeqCst);
    });
    stored.into_inner().unwrap()
}

/// Every event is there once, and the sessions' indexes have no gap.
fn assert_stored(store: &SessionStore, wanted: &BTreeSet<String>) {
    let mut found = BTreeSet::new();
    for number in 0..4 {
        let events = store.events(ListEventsRequest::new(format!("session-{number}")));
        for (event, index) in events.map(Result::unwrap).zip(1..) {
            assert_eq!(event.event_index, index);
            assert!(found.insert(event.id));
        }
    }
    assert_eq!(&found, wanted);
}

#[test]
fn a_store_goes_on_after_its_server_was_restarted_under_it() {
    let Some(mut server) = OwnServer::new("") else { return };
    let store = SessionStore::connect(&server.url("postgres")).unwrap();
    let mut wanted = BTreeSet::new();
    for signal in ["INT", "QUIT", "KILL"] {
        wanted.extend(in_use(&store, signal, || {
            thread::sleep(Duration::from_millis(100));
            server.stop(signal);
            thread::sleep(Duration::from_millis(50));
            server.start();
            thread::sleep(Duration::from_millis(50));
        }));
    }
    assert_stored(&store, &wanted);
}

#[test]
fn a_store_that_nobody_used_during_the_restart_notices_nothing() {
    let Some(mut server) = OwnServer::new("") else { return };
    let store = SessionStore::connect(&server.url("postgres")).unwrap();
    store.update_session(&session("session")).unwrap();
    store.get_session("session").unwrap();
    server.stop("INT");
    // Both connections have been idle for long enough to be asked first.
    thread::sleep(Duration::from_millis(600));
    server.start();
    assert!(store.get_session("session").unwrap().is_some());
    store.insert_event(&event("event", "session", 1)).unwrap();
}

#[cfg(feature = "async")]
#[test]
fn an_async_store_goes_on_as_well() {
    let Some(mut server) = OwnServer::new("") else { return };
    let store = AsyncSessionStore::from(SessionStore::connect(&server.url("postgres")).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let over = std::sync::Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let (store, over) = (store.clone(), std::sync::Arc::clone(&over));
            runtime.spawn(async move {
                let (session, mut ids) = (format!("session-{}", number % 4), Vec::new());
                let (mut is_last, mut failures) = (false, 0);
                while !is_last {
                    is_last = over.load(Ordering::SeqCst);
                    let id = format!("{number}-{:05}", ids.len());
                    loop {
                        let written = store.append_events(&session, &[new_event(&id)]).await;
                        let read = store.last_event_index(&session).await;
                        for error in [written.as_ref().err(), read.as_ref().err()].into_iter().flatten() {
                            assert!(is_lost(error), "{error:?}");
                            failures += 1;
                        }
                        if written.is_ok() && read.is_ok() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    ids.push(id);
                }
                (ids, failures)
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(100));
    server.stop("INT");
    thread::sleep(Duration::from_millis(50));
    server.start();
    over.store(true, Ordering::SeqCst);
    let (mut wanted, mut failures) = (BTreeSet::new(), 0);
    for task in tasks {
        let (ids, failed) = runtime.block_on(task).unwrap();
        wanted.extend(ids);
        failures += failed;
    }
    assert!(failures > 0, "nobody noticed");
    assert_stored(&SessionStore::connect(&server.url("postgres")).unwrap(), &wanted);
}

//! Proves that an application's instrumentation may call the store in the middle of a statement: it works, or it is an
//! error at once.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use agent_session_store::{ListEventsRequest, PruneRequest, Selection, SessionStore};

use super::callbacks::{ends, is_reentrant, read_everything, write_everything};
use crate::common::instrumentation::{Moment, Watch};
use crate::common::{TempDb, child, event, new_event, output, session, task};

/// Calls something once, in the middle of a statement that begins like this.
fn at_statement(db: &TempDb, sql: &'static str, call: impl Fn(&SessionStore) + Send + Sync + 'static) -> Inside {
    let store = Arc::new(OnceLock::<SessionStore>::new());
    let (inside, called) = (Arc::clone(&store), Arc::new(AtomicBool::new(false)));
    let once = Arc::clone(&called);
    let _watch = Watch::with_hook(db, move |moment, run| {
        if moment == Moment::Start
            && run.starts_with(sql)
            && let Some(store) = inside.get()
            && !once.swap(true, SeqCst)
        {
            call(store);
        }
    });
    Inside { store, called }
}

struct Inside {
    store: Arc<OnceLock<SessionStore>>,
    called: Arc<AtomicBool>,
}

impl Inside {
    fn arm(&self, store: &SessionStore) {
        self.store.set(store.clone()).unwrap();
    }

    fn was_called(&self) -> bool {
        self.called.load(SeqCst)
    }
}

#[test]
fn instrumentation_of_a_write_may_read_and_gets_an_error_for_what_would_wait() {
    ends(|| {
        for (alone, sql) in
            [(true, "INSERT INTO main.events"), (false, "INSERT INTO main.events"), (false, "BEGIN IMMEDIATE")]
        {
            let db = TempDb::new();
            let inside = at_statement(&db, sql, |store| {
                assert_eq!(store.get_session("one").unwrap(), Some(session("one")));
                assert!(is_reentrant(store.update_session(&session("refused"))));
                assert!(is_reentrant(store.append_events("one", &[new_event("refused")])));
                assert!(is_reentrant(store.prune(&PruneRequest::new().max_events_per_session(0))));
                assert!(is_reentrant(store.reclaim_space()));
                assert!(is_reentrant(store.close()));
            });
            let store = SessionStore::builder().readers(1).open(db.path()).unwrap();
            store.update_session(&session("one")).unwrap();
            store.insert_event(&event("e1", "one", 1)).unwrap();
            inside.arm(&store);
            if alone {
                store.insert_events(&[event("e2", "one", 2)]).unwrap();
            }
            thread::scope(|scope| {
                for number in 0..16 {
                    let store = &store;
                    scope.spawn(move || {
                        for part in 0..10 {
                            store.insert_event(&event(&format!("t{number}-{part}"), "one", 3)).unwrap();
                        }
                    });
                }
            });
            assert!(inside.was_called(), "{sql}");
            store.close().unwrap();
            assert_eq!(db.event_ids().len(), 161 + usize::from(alone));
        }
    });
}

#[test]
fn instrumentation_of_a_read_may_read_and_write() {
    ends(|| {
        let db = TempDb::new();
        let inside = at_statement(&db, "SELECT id, event_index", |store| {
            read_everything(store);
            write_everything(store, "inside");
            assert!(is_reentrant(store.reclaim_space()));
            let everything = PruneRequest::new().max_events_per_session(0).reclaim_space();
            assert!(is_reentrant(store.prune(&everything)));
            assert!(is_reentrant(store.close()));
        });
        let store = SessionStore::builder().readers(1).open(db.path()).unwrap();
        store.update_session(&session("one")).unwrap();
        store.insert_event(&event("e1", "one", 1)).unwrap();
        inside.arm(&store);
        assert_eq!(store.list_events(&ListEventsRequest::new("one")).unwrap().items.len(), 1);
        assert!(inside.was_called());
        store.close().unwrap();
    });
}

#[test]
fn a_store_in_memory_answers_its_instrumentation_with_an_error() {
    use agent_session_store::diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};

    static STORE: Mutex<Option<SessionStore>> = Mutex::new(None);
    static ANSWERS: Mutex<Vec<bool>> = Mutex::new(Vec::new());
    struct Calls(bool);
    impl Instrumentation for Calls {
        fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
            match event {
                InstrumentationEvent::StartEstablishConnection { url, .. } => self.0 = url == ":memory:",
                InstrumentationEvent::StartQuery { .. } if self.0 => {
                    let Some(store) = STORE.lock().unwrap().take() else { return };
                    let answers = [
                        is_reentrant(store.get_session("one")),
                        is_reentrant(store.update_session(&session("two"))),
                        is_reentrant(store.export(std::io::sink(), Selection::all())),
                        is_reentrant(store.close()),
                    ];
                    ANSWERS.lock().unwrap().extend(answers);
                }
                _ => {}
            }
        }
    }

    // In a process of its own: instrumentation is for all.
    if task().is_none() {
        output(&mut child(a_store_in_memory_answers_its_instrumentation_with_an_error, "memory"));
        return;
    }
    ends(|| {
        set_default_instrumentation(|| Some(Box::new(Calls(false)))).unwrap();
        let store = SessionStore::open_in_memory().unwrap();
        *STORE.lock().unwrap() = Some(store.clone());
        store.update_session(&session("one")).unwrap();
        assert_eq!(*ANSWERS.lock().unwrap(), [true; 4]);
        assert_eq!(store.get_session("one").unwrap(), Some(session("one")));
        store.close().unwrap();
    });
}

/// Another thread reads, and drops the last clone while it does so.
#[cfg(feature = "async")]
#[test]
fn the_last_clone_may_go_in_the_middle_of_a_read() {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Barrier;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use agent_session_store::AsyncSessionStore;

    ends(|| {
        let db = TempDb::new();
        let last = Arc::new(Mutex::new(None::<SessionStore>));
        let (taken, gone) = (Arc::clone(&last), Arc::new(Barrier::new(2)));
        let others_gone = Arc::clone(&gone);
        let _watch = Watch::with_hook(&db, move |moment, run| {
            if moment == Moment::Start && run.starts_with("SELECT id, event_index") {
                let store = taken.lock().unwrap().take();
                if store.is_some() {
                    others_gone.wait();
                }
                drop(store);
            }
        });
        let store = SessionStore::open(db.path()).unwrap();
        store.insert_event(&event("e1", "one", 1)).unwrap();
        *last.lock().unwrap() = Some(store.clone());
        let tasks = AsyncSessionStore::from(store);
        let request = ListEventsRequest::new("one");
        let mut read = Box::pin(tasks.list_events(&request));
        let waker = Waker::noop();
        assert!(pin!(&mut read).as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        // Only one thread takes the clone; wait until it has.
        while last.lock().unwrap().is_some() {
            thread::sleep(Duration::from_millis(1));
        }
        drop(read);
        drop(tasks);
        gone.wait();
        // It closes by itself, and leaves one file.
        while std::fs::read_dir(db.folder()).unwrap().count() > 1 {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

//! Proves that what the store's own threads call, callbacks and wakers, may use the store as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Wake, Waker};
use std::time::Duration;

use agent_session_store::{AsyncSessionStore, Error, Export, ListEventsRequest, Selection, SessionStore};

use crate::common::tasks::{block_on, poll};
use crate::common::{TempDb, event, session};

/// Callbacks on the store's threads wait for calls of the same kind, more of them than there are threads.
#[test]
fn a_callback_may_wait_for_calls_of_its_own_kind() {
    let db = TempDb::new();
    let store = SessionStore::builder().readers(1).open(db.path()).unwrap();
    let store = AsyncSessionStore::from(store);
    block_on(store.update_session(&session("one"))).unwrap();
    let meet = Arc::new(std::sync::Barrier::new(16));
    let mut exports: Vec<_> = (0..16)
        .map(|number| {
            let (inside, folder, meet) = (store.clone(), db.folder().to_owned(), Arc::clone(&meet));
            Box::pin(store.export(
                std::io::sink(),
                Export::of(Selection::all()).progress(move |_| {
                    meet.wait();
                    let one = block_on(inside.get_session("one")).unwrap();
                    assert_eq!(one, Some(session("one")));
                    block_on(inside.export(std::io::sink(), Selection::all())).unwrap();
                    block_on(inside.backup_to(folder.join(format!("copy-{number}.db")))).unwrap();
                    block_on(inside.insert_event(&event(&format!("e{number}"), "one", number))).unwrap();
                    assert!(matches!(block_on(inside.close()), Err(Error::Reentrant)));
                }),
            ))
        })
        .collect();
    for export in &mut exports {
        assert!(poll(export, Waker::noop()).is_pending());
    }
    for export in exports {
        block_on(export).unwrap();
    }
    assert_eq!(block_on(store.list_events(&ListEventsRequest::new("one"))).unwrap().items.len(), 16);
    block_on(store.close()).unwrap();
}

/// A waker is called on the store's own thread, and may use the store as well.
#[test]
fn a_waker_may_call_the_store() {
    #[derive(Default)]
    struct Calls {
        store: Option<SessionStore>,
        begun: AtomicUsize,
        done: AtomicUsize,
    }
    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            let number = self.begun.fetch_add(1, SeqCst);
            let Some(store) = self.store.as_ref().filter(|_| number.is_multiple_of(16)) else { return };
            let event = event(&format!("waker-{number}"), &format!("waker-{number}"), 1);
            store.insert_event(&event).unwrap();
            assert!(store.get_session("one").unwrap().is_some());
            assert_eq!(store.list_events(&ListEventsRequest::new(&event.session_id)).unwrap().items, [event]);
            // The thread that writes would wait for its own end.
            assert!(matches!(store.close(), Err(Error::Reentrant)));
            self.done.fetch_add(1, SeqCst);
        }
    }
    let db = TempDb::new();
    let builder = SessionStore::builder().readers(1).busy_timeout(Duration::from_secs(600));
    let blocking = builder.open(db.path()).unwrap();
    blocking.update_session(&session("one")).unwrap();
    let calls = Arc::new(Calls { store: Some(blocking.clone()), ..Calls::default() });
    let (store, waker) = (AsyncSessionStore::from(blocking), Waker::from(Arc::clone(&calls)));
    let other = db.plain();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Some wait for their answer, some for room.
    let events: Vec<_> =
        (0..2_000).map(|number| event(&format!("e{number:06}"), &format!("session-{number}"), number)).collect();
    let mut futures: Vec<_> = events.iter().map(|event| Box::pin(store.insert_event(event))).collect();
    for future in &mut futures {
        assert!(poll(future, &waker).is_pending());
    }
    other.execute_batch("COMMIT").unwrap();
    for future in futures {
        block_on(future).unwrap();
    }
    block_on(store.close()).unwrap();
    let (begun, done) = (calls.begun.load(SeqCst), calls.done.load(SeqCst));
    assert!(done > 10, "{done}");
    assert_eq!(done, begun.div_ceil(16));
    assert_eq!(db.event_ids().len(), 2_000 + done);
}

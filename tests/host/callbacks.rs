//! Proves that what an export calls, its progress and its writer, may call the store: it works, or it is an error at
//! once. Nothing hangs, and nothing else is held up.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use agent_session_store::{
    Error, Export, JournalMode, ListEventsRequest, ListSessionsRequest, PruneRequest, Selection, SessionPersistDriver,
    SessionStore,
};

use crate::common::{TempDb, event, millis, new_event, session};

/// Does the work on a thread, and fails if it hangs.
pub(super) fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, is_done) = mpsc::channel();
    let worker = thread::spawn(move || {
        let value = work();
        let _ = done.send(());
        value
    });
    match is_done.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        _ => worker.join().unwrap(),
    }
}

pub(super) fn is_reentrant<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Reentrant))
}

/// Every verb that reads, each of which has to find what was stored.
pub(super) fn read_everything(store: &SessionStore) {
    assert_eq!(store.get_session("one").unwrap(), Some(session("one")));
    assert!(!store.list_sessions(&ListSessionsRequest::new()).unwrap().items.is_empty());
    assert!(!store.list_events(&ListEventsRequest::new("one")).unwrap().items.is_empty());
    assert!(!store.latest_events("one", 1, None).unwrap().is_empty());
    assert!(store.last_event_index("one").unwrap().is_some());
    assert!(store.events(ListEventsRequest::new("one")).all(|event| event.is_ok()));
    assert!(store.stats().unwrap().events > 0);
    assert!(!store.session_stats().unwrap().is_empty());
    assert!(store.check().unwrap().is_sound());
    assert!(store.prune(&PruneRequest::new().max_events_per_session(1).dry_run()).is_ok());
    store.export(std::io::sink(), Selection::all()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    store.backup_to(folder.path().join("copy.db")).unwrap();
}

/// Every verb that writes.
pub(super) fn write_everything(store: &SessionStore, name: &str) {
    let other = format!("session-{name}");
    store.update_session(&session(&other)).unwrap();
    store.insert_event(&event(&format!("{name}-1"), &other, 1)).unwrap();
    store.insert_events(&[event(&format!("{name}-2"), &other, 2)]).unwrap();
    store.append_events(&other, &[new_event(&format!("{name}-3"))]).unwrap();
    assert!(store.destroy_session(&other, millis(1)).unwrap());
    store.fork_session(&other, None, &session(&format!("fork-{name}"))).unwrap();
    assert!(store.delete_session(&format!("fork-{name}")).unwrap());
    store.prune(&PruneRequest::new().max_events_per_session(1_000)).unwrap();
    let mut lines = Vec::new();
    store.export(&mut lines, Selection::session(&other)).unwrap();
    assert_eq!(store.import(&*lines).unwrap().events, 3);
}

/// A file in each journal mode with one reader, and a store in memory.
fn stores() -> Vec<(Option<JournalMode>, Option<TempDb>, SessionStore)> {
    let mut stores = vec![(None, None, SessionStore::open_in_memory().unwrap())];
    for mode in [JournalMode::Wal, JournalMode::Rollback] {
        let db = TempDb::new();
        let store = SessionStore::builder().readers(1).journal_mode(mode).open(db.path()).unwrap();
        stores.push((Some(mode), Some(db), store));
    }
    for (_, _, store) in &stores {
        store.update_session(&session("one")).unwrap();
        store.insert_event(&event("e1", "one", 1)).unwrap();
    }
    stores
}

/// A writer that does something before it takes what it is given.
struct Calls<F>(F, Vec<u8>);

impl<F: FnMut()> Write for Calls<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (self.0)();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        (self.0)();
        Ok(())
    }
}

#[test]
fn what_an_export_calls_may_use_the_store() {
    ends(|| {
        for (mode, _db, store) in stores() {
            let calls = AtomicUsize::new(0);
            let call = || {
                let number = calls.fetch_add(1, SeqCst);
                read_everything(&store);
                if mode == Some(JournalMode::Rollback) {
                    // The export's own lock is in the way, and would be until the busy timeout.
                    assert!(is_reentrant(store.insert_event(&event("refused", "one", 2))));
                    assert!(is_reentrant(store.append_events("one", &[new_event("refused")])));
                    assert!(is_reentrant(store.delete_session("one")));
                    assert!(is_reentrant(store.reclaim_space()));
                } else {
                    write_everything(&store, &number.to_string());
                }
            };
            let mut writer = Calls(&call, Vec::new());
            let done = store.export(&mut writer, Export::of(Selection::all()).progress(|_| call())).unwrap();
            assert_eq!((done.sessions, done.events), (1, 1));
            assert_eq!(writer.1.iter().filter(|&&byte| byte == b'\n').count(), 3);
            assert_eq!(calls.load(SeqCst), 3);
            store.insert_event(&event("after", "one", 2)).unwrap();
            read_everything(&store);
            store.close().unwrap();
        }
    });
}

/// As many exports as there are readers, each of which needs one more.
#[test]
fn exports_do_not_take_the_readers() {
    ends(|| {
        let db = TempDb::new();
        let store = SessionStore::builder().readers(4).open(db.path()).unwrap();
        store.update_session(&session("one")).unwrap();
        let meet = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let progress = |_| {
                        meet.wait();
                        assert!(store.get_session("one").unwrap().is_some());
                        // Others read as well, also where an export waits for them.
                        thread::scope(|scope| drop(scope.spawn(|| store.get_session("one").unwrap().unwrap())));
                        meet.wait();
                    };
                    store.export(std::io::sink(), Export::of(Selection::all()).progress(progress)).unwrap();
                });
            }
        });
        store.close().unwrap();
        assert_eq!(db.bytes().len(), 1);
    });
}

#[test]
fn closing_inside_is_an_error_at_once() {
    ends(|| {
        for (mode, _db, store) in stores() {
            let mut calls = 0;
            let done = store.export(
                std::io::sink(),
                Export::of(Selection::all()).progress(|_| {
                    calls += 1;
                    if mode.is_some() {
                        assert!(is_reentrant(store.close()));
                    }
                    // It is as open as before.
                    read_everything(&store);
                }),
            );
            assert_eq!(done.unwrap().events, 1);
            assert_eq!(calls, 1);
            store.insert_event(&event("after", "one", 2)).unwrap();
            store.close().unwrap();
            assert!(matches!(store.get_session("one"), Err(Error::Closed)));
        }
    });
}

/// Nothing is held where a store in memory calls, so that it can be closed.
#[test]
fn a_store_in_memory_can_be_closed_inside_its_export() {
    ends(|| {
        let store = SessionStore::open_in_memory().unwrap();
        store.update_session(&session("one")).unwrap();
        let mut lines = Vec::new();
        let done = store.export(&mut lines, Export::of(Selection::all()).progress(|_| store.close().unwrap())).unwrap();
        assert_eq!(done.sessions, 1);
        assert!(lines.ends_with(b"\n"));
        assert!(matches!(store.get_session("one"), Err(Error::Closed)));
    });
}

/// A store in memory exports what it is at one moment, whatever its writer does meanwhile, and fails where the writer
/// does.
#[test]
fn an_export_of_a_store_in_memory_is_of_one_moment() {
    ends(|| {
        let store = SessionStore::open_in_memory().unwrap();
        let reference = TempDb::ours();
        let mut conn = reference.connect();
        for number in 0..3 {
            let id = format!("s{number}");
            let events: Vec<_> = (0..1_500).map(|index| event(&format!("{id}-{index}"), &id, index)).collect();
            for driver in [&mut store.clone() as &mut dyn Fill, &mut conn] {
                driver.fill(&id, &events);
            }
        }
        let (mut wanted, mut told) = (Vec::new(), Vec::new());
        let done = conn.export(&mut wanted, Export::of(Selection::all()).progress(|done| told.push(done))).unwrap();
        let (mut lines, mut heard) = (Vec::new(), Vec::new());
        let progress = |done| {
            heard.push(done);
            store.delete_session("s1").unwrap();
        };
        assert_eq!(store.export(&mut lines, Export::of(Selection::all()).progress(progress)).unwrap(), done);
        assert_eq!(heard, told);
        assert!(lines == wanted);

        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        assert!(matches!(store.export(Full, Selection::all()), Err(Error::Io { .. })));
    });
}

trait Fill {
    fn fill(&mut self, id: &str, events: &[agent_session_store::SessionEvent]);
}

impl<D: SessionPersistDriver> Fill for D {
    fn fill(&mut self, id: &str, events: &[agent_session_store::SessionEvent]) {
        self.update_session(&session(id)).unwrap();
        self.insert_events(events).unwrap();
    }
}

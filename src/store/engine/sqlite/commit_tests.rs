//! Proves that every write's commit, whichever way the write takes, passes the one place that reports commits exactly
//! once, and that a failed write does not. The witness is SQLite's own result of each `COMMIT`.
#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use diesel::SqliteConnection;
use diesel::connection::{Connection, InstrumentationEvent, SimpleConnection};
use tempfile::TempDir;

use crate::driver::SessionPersistDriver;
use crate::error::{Error, Result};
use crate::model::event::NewEvent;
use crate::model::event::Sender;
use crate::model::json::Json;
use crate::model::request::ListSessionsRequest;
use crate::model::retention::PruneRequest;
use crate::model::transfer::Selection;
use crate::store::blocking::SessionStore;
use crate::store::changes::change::Change;
use crate::store::engine::StoreEngine;

struct Watched {
    store: SessionStore,
    commits_seen: Arc<AtomicUsize>,
    folder: TempDir,
}

impl Watched {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store =
            SessionStore::builder().busy_timeout(Duration::ZERO).open(folder.path().join("sessions.db")).unwrap();
        let commits_seen = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&commits_seen);
        let watch = move |conn: &mut SqliteConnection| {
            conn.batch_execute(
                "CREATE TEMP TRIGGER refused BEFORE INSERT ON main.events WHEN NEW.id LIKE 'refused%' \
                    BEGIN SELECT RAISE(ABORT, 'refused'); END; \
                 CREATE TEMP TRIGGER ruinous BEFORE INSERT ON main.events WHEN NEW.id LIKE 'ruinous%' \
                    BEGIN SELECT RAISE(ROLLBACK, 'ruinous'); END;",
            )?;
            conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
                if let InstrumentationEvent::FinishQuery { query, error: None, .. } = event
                    && query.to_string() == "COMMIT"
                {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            });
            Ok(())
        };
        store.0.engine.sqlite().writer().read(watch).unwrap();
        Self { store, commits_seen, folder }
    }

    fn noticed(&self) -> usize {
        self.store.0.engine.sqlite().writer().commits()
    }

    /// How many commits were noticed while some work ran. Checks that it is the actual number.
    fn during<T>(&self, work: impl FnOnce(&SessionStore) -> T) -> (usize, T) {
        let seen = || self.commits_seen.load(Ordering::SeqCst);
        let announced = || self.store.0.engine.sqlite().changes().count() as usize;
        let before = (self.noticed(), seen(), announced());
        let done = work(&self.store);
        let commits = self.noticed() - before.0;
        assert_eq!(commits, seen() - before.1);
        assert!(announced() - before.2 >= commits, "{commits} commits");
        (commits, done)
    }

    /// Appends events, one per thread, all of which wait in the queue before the first of them is written.
    fn queue(&self, ids: &[&str]) -> Vec<bool> {
        let writer = self.store.0.engine.sqlite().writer();
        thread::scope(|scope| {
            let append = |id: &str| self.store.append_events("queued", &[event(id)]).is_ok();
            let threads = writer.read(|_| {
                let threads: Vec<_> = ids.iter().map(|id| scope.spawn(move || append(id))).collect();
                while writer.queued() < ids.len() {
                    thread::yield_now();
                }
                Ok(threads)
            });
            threads.unwrap().into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }
}

fn event(id: &str) -> NewEvent {
    NewEvent {
        id: id.to_owned(),
        created_at: Default::default(),
        connection_id: "connection".to_owned(),
        sender: Sender::Agent,
        payload: Json::parse("{}").unwrap(),
    }
}

#[test]
fn a_write_at_once() {
    let watched = Watched::new();
    assert_eq!(watched.during(|store| store.append_events("s", &[event("a"), event("b")]).unwrap().len()), (1, 2));
    assert_eq!(watched.during(|store| store.append_events("s", &[event("c"), event("refused")]).is_ok()), (0, false));
    assert_eq!(watched.during(|store| store.append_events("s", &[event("ruinous")]).is_ok()), (0, false));
    assert_eq!(watched.during(|store| store.append_events_after("s", 7, &[event("d")]).is_ok()), (0, false));
}

#[test]
fn a_group_from_the_queue() {
    let watched = Watched::new();
    assert_eq!(watched.during(|_| watched.queue(&["a"])), (1, vec![true]));
    assert_eq!(watched.during(|_| watched.queue(&["b", "refused", "c"])), (1, vec![true, false, true]));
    assert_eq!(watched.during(|_| watched.queue(&["refused"])), (0, vec![false]));
}

#[test]
fn a_group_that_is_lost_and_written_one_by_one() {
    let watched = Watched::new();
    let group = &["a", "ruinous", "b", "refused"];
    assert_eq!(watched.during(|_| watched.queue(group)), (2, vec![true, false, true, false]));
}

#[test]
fn a_group_of_failures() {
    let watched = Watched::new();
    // Its transaction commits, but is empty.
    assert_eq!(watched.queue(&["refused 1", "refused 2"]), [false, false]);
    assert_eq!(watched.noticed(), 0);
    let path = watched.folder.path().join("sessions.db");
    let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    assert_eq!(watched.during(|_| watched.queue(&["a", "b"])), (0, vec![false, false]));
}

#[test]
fn the_steps_of_an_import_and_of_a_prune() {
    let watched = Watched::new();
    let events: Vec<_> = (0..1500).map(|id| event(&format!("event-{id}"))).collect();
    watched.store.append_events("s", &events).unwrap();
    let mut lines = Vec::new();
    let (commits, _) = watched.during(|store| store.export(&mut lines, Selection::all()).unwrap());
    assert_eq!(commits, 0);
    let prune = |store: &SessionStore| store.prune(&PruneRequest::new().session("s")).unwrap().events;
    let (commits, gone) = watched.during(prune);
    assert_eq!(gone, 1500);
    assert!(commits >= 3, "a step has 500 rows at first: {commits}");
    let (commits, done) = watched.during(|store| store.import(&*lines).unwrap());
    assert_eq!(done.events, 1500);
    assert!(commits >= 2, "{commits}");
    let dry = |store: &SessionStore| store.prune(&PruneRequest::new().session("s").dry_run()).unwrap().events;
    assert_eq!(watched.during(dry), (0, 1500));
}

#[test]
fn space_that_is_reclaimed() {
    let watched = Watched::new();
    watched.store.reclaim_space().unwrap();
    // VACUUM commits without a COMMIT statement.
    assert_eq!(watched.noticed(), 1);
}

#[test]
fn what_only_reads() {
    let watched = Watched::new();
    let (commits, _) = watched.during(|store| {
        store.list_sessions(&ListSessionsRequest::new()).unwrap();
        store.checkpoint().unwrap()
    });
    assert_eq!(commits, 0);
    let memory = SessionStore::open_in_memory().unwrap();
    memory.last_event_index("s").unwrap();
    assert_eq!(memory.0.engine.sqlite().writer().commits(), 0);
    memory.append_events("s", &[event("a")]).unwrap();
    assert_eq!(memory.0.engine.sqlite().writer().commits(), 1);
}

#[test]
fn a_transaction_that_was_left_open() {
    let watched = Watched::new();
    let leave = |conn: &mut SqliteConnection| crate::database::sqlite::transaction::begin(conn);
    assert!(watched.during(|store| store.0.engine.sqlite().writer().write_alone(&Change::Anything, leave)).1.is_ok());
    assert_eq!(watched.during(|store| store.append_events("s", &[event("a")]).unwrap()), (1, vec![1]));
}

#[test]
fn a_write_that_finds_the_connection_free_is_not_copied() {
    let watched = Watched::new();
    let copies = Cell::new(0);
    let id = "s".to_owned();
    let delete = |store: &SessionStore| {
        store.0.engine.sqlite().write(
            &Change::NoEvents,
            |conn| conn.delete_session(&id),
            || {
                copies.set(copies.get() + 1);
                let id = id.clone();
                move |conn: &mut SqliteConnection| conn.delete_session(&id)
            },
        )
    };
    assert!(!watched.during(delete).1.unwrap());
    assert_eq!(copies.get(), 0);
    watched.store.close().unwrap();
    let closed: Result<bool> = delete(&watched.store);
    assert!(matches!(closed, Err(Error::Closed)));
    assert_eq!(copies.get(), 0);
}

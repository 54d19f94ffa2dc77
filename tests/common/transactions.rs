//! What a transaction of a store does on every database: each check takes an empty store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use agent_session_store::{
    Error, ListEventsRequest, ListSessionsRequest, PruneRequest, Selection, SessionPersistDriver, SessionRecord,
    SessionStore,
};

use super::samples::HEADER;
use super::{event, hush, millis, new_event, session};

/// An application's own error.
#[derive(Debug)]
pub enum Failure {
    Store(Error),
    Refused(u8),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

fn ids(store: &SessionStore, session_id: &str) -> Vec<String> {
    store.events(ListEventsRequest::new(session_id)).map(|event| event.unwrap().id).collect()
}

/// Every verb, each of which sees what the others wrote; `outside` is another store on the same database.
pub fn every_verb_is_part_of_one_commit(store: &SessionStore, outside: Option<&SessionStore>) {
    let done = store.transaction(|tx| {
        tx.update_session(&session("one"))?;
        assert_eq!(tx.get_session("one")?, Some(session("one")));
        assert_eq!(tx.list_sessions(&ListSessionsRequest::new())?.items, [session("one")]);
        tx.insert_event(&event("a", "one", 1))?;
        tx.insert_events(&[event("b", "one", 2)])?;
        assert_eq!(tx.append_events("one", &[new_event("c")])?, [3]);
        assert_eq!(tx.append_events_after("one", 3, &[new_event("d")])?, [4]);
        assert_eq!(tx.last_event_index("one")?, Some(4));
        assert_eq!(tx.list_events(&ListEventsRequest::new("one"))?.items.len(), 4);
        assert_eq!(tx.latest_events("one", 2, None)?.len(), 2);
        assert_eq!(tx.events(ListEventsRequest::new("one").limit(1)).count(), 4);
        assert_eq!(tx.sessions(ListSessionsRequest::new()).count(), 1);
        assert_eq!(tx.get_event("b")?, Some(event("b", "one", 2)));
        assert!(tx.destroy_session("one", millis(7))?);
        assert_eq!(tx.fork_session("one", Some(2), &session("two"))?, 2);
        assert_eq!(tx.fork_session("one", None, &session("three"))?, 4);
        assert!(tx.delete_session("three")?);
        assert_eq!(tx.prune(&PruneRequest::new().max_events_per_session(3))?.events, 1);
        let mut lines = Vec::new();
        assert_eq!(tx.export(&mut lines, Selection::session("two"))?.events, 2);
        assert!(tx.delete_session("two")?);
        assert_eq!(tx.import(&*lines)?.events, 2);
        assert_eq!(tx.import(HEADER.as_bytes())?.sessions, 0);
        assert_eq!(tx.stats()?.sessions, 2);
        assert_eq!(tx.session_stats()?.len(), 2);
        assert_eq!(tx.get_session_stats("one")?.map(|stats| stats.events), Some(3));
        let summaries = tx.list_session_summaries(&ListSessionsRequest::new())?.items;
        assert_eq!(summaries.iter().filter_map(|summary| summary.last_index).max(), tx.last_event_index("one")?);
        assert!(tx.check()?.is_sound());
        if let Some(outside) = outside {
            assert_eq!(outside.stats()?.sessions, 0);
        }
        generic(tx)
    });
    assert_eq!(done.unwrap(), 2);
    for store in [Some(store), outside].into_iter().flatten() {
        assert_eq!(ids(store, "one"), ["b", "c", "d"]);
        assert_eq!(ids(store, "two"), ["two:a", "two:b"]);
        assert_eq!(store.get_session("one").unwrap().unwrap().destroyed_at, Some(millis(7)));
    }
}

/// For any driver.
fn generic(driver: &mut impl SessionPersistDriver) -> Result<usize, Error> {
    Ok(driver.list_sessions(&ListSessionsRequest::new())?.items.len())
}

pub fn an_error_rolls_back_and_is_the_callers(store: &SessionStore) {
    store.append_events("one", &[new_event("a")]).unwrap();
    let refused = store.transaction(|tx| {
        tx.append_events("one", &[new_event("b")])?;
        tx.update_session(&session("one"))?;
        Err::<(), _>(Failure::Refused(7))
    });
    assert!(matches!(refused, Err(Failure::Refused(7))));
    let failed = store.transaction::<(), Failure>(|tx| {
        tx.append_events("one", &[new_event("b")])?;
        tx.append_events_after("one", 9, &[new_event("c")])?;
        unreachable!("it conflicts")
    });
    assert!(matches!(failed, Err(Failure::Store(Error::AppendConflict { last_index: Some(2), .. }))), "{failed:?}");
    assert_eq!(ids(store, "one"), ["a"]);
    assert_eq!(store.get_session("one").unwrap(), None);
    // An error that the store finds itself leaves the transaction as it was.
    let gone_on = store.transaction(|tx| {
        assert!(matches!(tx.append_events_after("one", 9, &[new_event("c")]), Err(Error::AppendConflict { .. })));
        assert!(matches!(tx.fork_session("none", None, &session("two")), Err(Error::SessionNotFound { .. })));
        tx.append_events("one", &[new_event("b")])
    });
    assert_eq!(gone_on.unwrap(), [2]);
    assert_eq!(ids(store, "one"), ["a", "b"]);
}

pub fn a_panic_rolls_back_and_goes_on(store: &SessionStore) {
    hush("in the middle of a transaction");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        store.transaction(|tx| -> Result<(), Error> {
            tx.append_events("one", &[new_event("a")])?;
            panic!("in the middle of a transaction")
        })
    }));
    let payload = panicked.unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"in the middle of a transaction"));
    assert_eq!(ids(store, "one"), [""; 0]);
    assert_eq!(store.append_events("one", &[new_event("b")]).unwrap(), [1]);
    assert_eq!(store.transaction(|tx| tx.append_events("one", &[new_event("c")])).unwrap(), [2]);
}

/// An append of another caller comes after the whole of it.
pub fn an_append_to_the_same_session_waits(store: &SessionStore, has_begun_to_wait: impl FnOnce()) {
    let (begin, begun) = mpsc::channel();
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            begun.recv().unwrap();
            store.append_events("one", &[new_event("other")])
        });
        let indexes = store.transaction(|tx| {
            let mut indexes = tx.append_events("one", &[new_event("a")])?;
            begin.send(()).unwrap();
            has_begun_to_wait();
            indexes.extend(tx.append_events("one", &[new_event("b")])?);
            Ok::<_, Error>(indexes)
        });
        assert_eq!(indexes.unwrap(), [1, 2]);
        assert_eq!(other.join().unwrap().unwrap(), [3]);
    });
    assert_eq!(ids(store, "one"), ["a", "b", "other"]);
}

/// Transactions of three appends among many others: each finds its three together.
pub fn nobody_comes_in_between(store: &SessionStore) {
    let each = 20;
    thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                for round in 0..each {
                    store.append_events("one", &[new_event(&format!("single-{number}-{round}"))]).unwrap();
                }
            });
            scope.spawn(move || {
                for round in 0..each {
                    let append = |tx: &mut agent_session_store::StoreTransaction<'_>| {
                        let mut indexes = Vec::new();
                        for part in ["x", "y", "z"] {
                            indexes.extend(tx.append_events("one", &[new_event(&format!("{number}-{round}-{part}"))])?);
                        }
                        Ok::<_, Error>(indexes)
                    };
                    let indexes = store.transaction(append).unwrap();
                    assert_eq!(indexes, [indexes[0], indexes[0] + 1, indexes[0] + 2]);
                }
            });
        }
    });
    assert_eq!(store.last_event_index("one").unwrap(), Some(4 * each * 4));
    assert!(store.check().unwrap().is_sound());
}

/// What it read of a session stays as it is until it has written what depends on that, whoever else writes.
pub fn what_it_has_read_stays_as_it_is(store: &SessionStore) {
    let (threads, each) = (4, 15);
    store.update_session(&with!(session("one"), sandbox_id: Some("0".to_owned()))).unwrap();
    store.append_events("one", &[new_event("first")]).unwrap();
    thread::scope(|scope| {
        for number in 0..threads {
            scope.spawn(move || {
                for round in 0..each {
                    let counted = store.transaction(|tx| {
                        let mut record = tx.get_session("one")?.unwrap();
                        let count: i64 = record.sandbox_id.unwrap().parse().unwrap();
                        record.sandbox_id = Some((count + 1).to_string());
                        tx.update_session(&record)
                    });
                    counted.unwrap();
                    let followed = store.transaction(|tx| {
                        let last = match round % 3 {
                            0 => tx.last_event_index("one")?.unwrap(),
                            1 => tx.latest_events("one", 1, None)?[0].event_index,
                            _ => {
                                tx.list_events(&ListEventsRequest::new("one").descending().limit(1))?.items[0]
                                    .event_index
                            }
                        };
                        tx.append_events_after("one", last, &[new_event(&format!("tx-{number}-{round}"))])
                    });
                    followed.unwrap();
                    store.append_events("one", &[new_event(&format!("single-{number}-{round}"))]).unwrap();
                }
            });
        }
    });
    let record = store.get_session("one").unwrap().unwrap();
    assert_eq!(record.sandbox_id, Some((threads * each).to_string()));
    assert_eq!(store.last_event_index("one").unwrap(), Some(1 + 2 * threads * each));
}

/// Every call of the store inside fails at once, and the transaction goes on.
pub fn the_store_cannot_be_called_inside(store: &SessionStore, has_files: bool) {
    store.update_session(&session("one")).unwrap();
    let is_reentrant = |result: Result<(), Error>| assert!(matches!(result, Err(Error::Reentrant)), "{result:?}");
    let done = store.transaction(|tx| {
        tx.insert_event(&event("a", "one", 1))?;
        is_reentrant(store.get_session("one").map(drop));
        is_reentrant(store.list_sessions(&ListSessionsRequest::new()).map(drop));
        is_reentrant(store.list_events(&ListEventsRequest::new("one")).map(drop));
        is_reentrant(store.events(ListEventsRequest::new("one")).next().unwrap().map(drop));
        is_reentrant(store.last_event_index("one").map(drop));
        is_reentrant(store.latest_events("one", 1, None).map(drop));
        is_reentrant(store.stats().map(drop));
        is_reentrant(store.session_stats().map(drop));
        is_reentrant(store.check().map(drop));
        is_reentrant(store.export(std::io::sink(), Selection::all()).map(drop));
        is_reentrant(store.update_session(&session("two")));
        is_reentrant(store.insert_event(&event("b", "one", 2)));
        is_reentrant(store.insert_events(&[event("b", "one", 2)]));
        is_reentrant(store.append_events("two", &[new_event("b")]).map(drop));
        is_reentrant(store.append_events_after("two", 0, &[new_event("b")]).map(drop));
        is_reentrant(store.destroy_session("one", millis(1)).map(drop));
        is_reentrant(store.delete_session("one").map(drop));
        is_reentrant(store.fork_session("one", None, &session("two")).map(drop));
        is_reentrant(store.prune(&PruneRequest::new().max_events_per_session(1)).map(drop));
        is_reentrant(store.prune(&PruneRequest::new().max_events_per_session(1).dry_run()).map(drop));
        is_reentrant(store.import(HEADER.as_bytes()).map(drop));
        is_reentrant(store.transaction(|_| Ok(())));
        is_reentrant(store.close());
        if has_files {
            is_reentrant(store.checkpoint().map(drop));
            is_reentrant(store.reclaim_space());
            is_reentrant(store.backup_to(std::env::temp_dir().join("never.db")));
        }
        let mut told = Vec::new();
        let export = agent_session_store::Export::of(Selection::all()).progress(|_| told.push(store.stats().map(drop)));
        tx.export(std::io::sink(), export)?;
        assert!(!told.is_empty());
        told.into_iter().for_each(is_reentrant);
        tx.append_events("one", &[new_event("c")])
    });
    assert_eq!(done.unwrap(), [2]);
    assert_eq!(ids(store, "one"), ["a", "c"]);
    // A last clone that is dropped there closes the store after it.
    let clone = store.clone();
    store
        .transaction(|_| {
            drop(clone);
            Ok::<_, Error>(())
        })
        .unwrap();
    assert_eq!(store.append_events("one", &[new_event("d")]).unwrap(), [3]);
}

/// After an error that ended it, nothing more is written, whatever the code makes of the error: `end` does that.
pub fn nothing_follows_an_error_that_ended_it(
    store: &SessionStore,
    end: impl Fn(&mut agent_session_store::StoreTransaction<'_>) -> Error,
) {
    store.append_events("one", &[new_event("a")]).unwrap();
    let ended = store.transaction(|tx| {
        tx.append_events("one", &[new_event("b")])?;
        let first = end(tx).to_string();
        let further = [
            tx.append_events("two", &[new_event("c")]).map(drop),
            tx.insert_event(&event("d", "two", 1)),
            tx.get_session("one").map(drop),
        ];
        for further in further {
            assert_eq!(further.unwrap_err().to_string(), first);
        }
        Ok::<_, Error>(first)
    });
    let first = ended.unwrap_err().to_string();
    assert!(!first.is_empty());
    assert_eq!(ids(store, "one"), ["a"]);
    assert_eq!(ids(store, "two"), [""; 0]);
    assert_eq!(store.transaction(|tx| tx.append_events("one", &[new_event("e")])).unwrap(), [2]);
}

pub fn a_closed_store_has_no_transactions(store: &SessionStore) {
    let (begin, begun) = mpsc::channel();
    thread::scope(|scope| {
        let closing = scope.spawn(move || {
            begun.recv().unwrap();
            store.close()
        });
        let done = store.transaction(|tx| {
            begin.send(()).unwrap();
            tx.append_events("one", &[new_event("a")])
        });
        assert_eq!(done.unwrap(), [1]);
        closing.join().unwrap().unwrap();
    });
    let closed = store.transaction::<(), _>(|_| unreachable!("it does not begin"));
    assert!(matches!(closed, Err(Error::Closed)));
}

#[cfg(feature = "async")]
pub mod for_tasks {
    use std::future::Future;
    use std::task::Waker;

    use agent_session_store::AsyncSessionStore;

    use super::*;
    use crate::common::tasks::{block_on, poll};

    pub fn it_is_committed_or_rolled_back(store: &AsyncSessionStore) {
        hush("in the middle of a task's transaction");
        block_on(async {
            let done = store.transaction(|tx| {
                tx.update_session(&session("one"))?;
                tx.append_events("one", &[new_event("a")])
            });
            assert_eq!(done.await.unwrap(), [1]);
            let refused = store.transaction(|tx| {
                tx.append_events("one", &[new_event("b")])?;
                Err::<(), _>(Failure::Refused(7))
            });
            assert!(matches!(refused.await, Err(Failure::Refused(7))));
            let inside = store.clone();
            let done = store.transaction(move |_| {
                let calls: [Result<(), Error>; 4] = [
                    block_on(inside.get_session("one")).map(drop),
                    block_on(inside.append_events("one", &[new_event("c")])).map(drop),
                    block_on(inside.export(std::io::sink(), Selection::all())).map(drop),
                    block_on(inside.transaction(|_| Ok(()))),
                ];
                calls.iter().for_each(|call| assert!(matches!(call, Err(Error::Reentrant)), "{call:?}"));
                block_on(inside.close())
            });
            assert!(matches!(done.await, Err(Error::Reentrant)));
            assert_eq!(store.last_event_index("one").await.unwrap(), Some(1));
        });
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            block_on(store.transaction(|tx| -> Result<(), Error> {
                tx.append_events("one", &[new_event("b")])?;
                panic!("in the middle of a task's transaction")
            }))
        }));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"in the middle of a task's transaction"));
        assert_eq!(block_on(store.append_events("one", &[new_event("b")])).unwrap(), [2]);
    }

    /// A store with one reading connection, so one transaction at a time.
    pub fn a_dropped_future_runs_to_its_end_or_never(store: &AsyncSessionStore) {
        let (begin, begun) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let mut first = Box::pin(store.transaction(move |tx| {
            begin.send(()).unwrap();
            released.recv().unwrap();
            tx.append_events("one", &[new_event("first")])
        }));
        let mut second = Box::pin(store.transaction(|tx| tx.append_events("one", &[new_event("second")])));
        assert!(poll(&mut first, Waker::noop()).is_pending());
        begun.recv().unwrap();
        assert!(poll(&mut second, Waker::noop()).is_pending());
        drop((first, second));
        release.send(()).unwrap();
        let last = block_on(store.transaction(|tx| tx.append_events("one", &[new_event("last")])));
        assert_eq!(last.unwrap(), [2]);
    }

    pub fn its_future_can_be_sent(store: &AsyncSessionStore) {
        fn sent<F: Future + Send>(_: F) {}
        sent(store.transaction(|tx| tx.stats()));
    }
}

/// Ending only what was left open inside would look like a commit.
pub fn what_is_left_open_inside_is_an_error(store: &SessionStore) {
    use agent_session_store::StoreConnection;
    use agent_session_store::diesel::connection::{AnsiTransactionManager as Manager, TransactionManager};

    let left_open = store.transaction(|tx| {
        tx.append_events("one", &[new_event("before")])?;
        match &mut tx.connection() {
            StoreConnection::Sqlite(conn) => Manager::begin_transaction(*conn)?,
            #[cfg(feature = "postgres")]
            StoreConnection::Postgres(conn) => Manager::begin_transaction(*conn)?,
            #[allow(unreachable_patterns, reason = "there may be more")]
            _ => unreachable!(),
        }
        tx.append_events("one", &[new_event("after")])
    });
    assert!(matches!(left_open, Err(Error::Database { .. })), "{left_open:?}");
    assert_eq!(ids(store, "one"), [""; 0]);
    assert_eq!(store.transaction(|tx| tx.append_events("one", &[new_event("next")])).unwrap(), [1]);
    assert_eq!(ids(store, "one"), ["next"]);
}

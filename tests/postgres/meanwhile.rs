//! Proves that a verb which finds out something and acts on it is not overtaken by another that was at it before.

use std::thread;

use agent_session_store::diesel::PgConnection;
use agent_session_store::diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use agent_session_store::{AppendRequest, Error, PruneReport, PruneRequest, SessionPersistDriver, SessionStore};

use crate::common::samples::bare_session;
use crate::common::{PgDb, event, millis, new_event, session};

/// Runs a call that has to wait for what this connection has not committed yet, and commits it once the call waits.
fn while_waiting<T: Send>(db: &PgDb, mut first: PgConnection, call: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let waiting = scope.spawn(call);
        db.wait_until_one_waits();
        AnsiTransactionManager::commit_transaction(&mut first).unwrap();
        waiting.join().unwrap()
    })
}

fn begun(db: &PgDb) -> PgConnection {
    let mut conn = db.connect();
    AnsiTransactionManager::begin_transaction(&mut conn).unwrap();
    conn
}

#[test]
fn a_session_that_is_taken_up_again_is_not_pruned() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    let ended = with!(session("one"), destroyed_at: Some(millis(1)));
    conn.update_session(&ended).unwrap();
    conn.append_events("one", &[new_event("a"), new_event("b")]).unwrap();
    let mut first = begun(&db);
    let reopened = with!(session("one"), destroyed_at: None);
    first.update_session(&reopened).unwrap();
    let request = PruneRequest::new().destroyed_before(millis(1_000));
    let pruned = while_waiting(&db, first, || conn.prune(&request).unwrap());
    assert_eq!(pruned, PruneReport::default());
    assert_eq!(conn.get_session("one").unwrap(), Some(reopened));
    assert_eq!(conn.last_event_index("one").unwrap(), Some(2));
}

#[test]
fn a_fork_does_not_overwrite_a_record_that_was_stored_meanwhile() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    conn.append_events("one", &[new_event("a")]).unwrap();
    let mut first = begun(&db);
    let theirs = bare_session("copy");
    first.update_session(&theirs).unwrap();
    let forked: Result<u64, Error> = while_waiting(&db, first, || conn.fork_session("one", None, &session("copy")));
    assert!(matches!(&forked, Err(Error::SessionExists { id }) if id == "copy"), "{forked:?}");
    assert_eq!(conn.get_session("copy").unwrap(), Some(theirs));
    assert_eq!(conn.last_event_index("copy").unwrap(), None);
}

#[test]
fn an_append_that_needs_a_live_session_waits_for_whoever_is_ending_it() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    conn.update_session(&bare_session("one")).unwrap();
    let request = AppendRequest::new("one").must_be_live();
    assert_eq!(conn.append(&request, &[new_event("a")]).unwrap(), [1]);
    let mut first = begun(&db);
    first.destroy_session("one", millis(5)).unwrap();
    let refused = while_waiting(&db, first, || conn.append(&request, &[new_event("b")]));
    assert!(matches!(&refused, Err(Error::SessionEnded { id }) if id == "one"), "{refused:?}");
    assert_eq!(conn.last_event_index("one").unwrap(), Some(1));
}

#[test]
fn a_session_does_not_end_while_an_append_needs_it_to_be_live() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    conn.update_session(&bare_session("one")).unwrap();
    let mut first = begun(&db);
    assert_eq!(first.append(&AppendRequest::new("one").must_be_live(), &[new_event("a")]).unwrap(), [1]);
    assert!(while_waiting(&db, first, || conn.destroy_session("one", millis(5)).unwrap()));
    assert_eq!(conn.last_event_index("one").unwrap(), Some(1));
}

/// The server breaks such a circle at the prune, which waited first.
#[test]
fn a_prune_that_meets_an_append_in_a_circle_goes_on() {
    let Some(db) = PgDb::ours() else { return };
    let store = SessionStore::connect(&db.url()).unwrap();
    for id in ["a", "b"] {
        store.append_events(id, &[new_event(&format!("{id}1"))]).unwrap();
    }
    let mut first = begun(&db);
    first.append_events("b", &[new_event("b2")]).unwrap();
    let pruned = thread::scope(|scope| {
        let pruning = scope.spawn(|| store.prune(&PruneRequest::new().session("a").session("b")).unwrap());
        db.wait_until_one_waits();
        first.append_events("a", &[new_event("a2")]).unwrap();
        AnsiTransactionManager::commit_transaction(&mut first).unwrap();
        pruning.join().unwrap()
    });
    assert_eq!(pruned.events, 3, "all but what was appended after it had been there");
    assert_eq!(store.last_event_index("b").unwrap(), None);
}

/// Also where they wait together, and are written together.
#[cfg(feature = "async")]
#[test]
fn the_writes_of_one_task_stay_in_order() {
    use agent_session_store::AsyncSessionStore;

    let Some(db) = PgDb::ours() else { return };
    let store = AsyncSessionStore::from(SessionStore::connect(&db.url()).unwrap());
    let mut locking = db.connect();
    for round in 0..5 {
        let id = |part: &str| format!("{round}-{part}");
        locking.batch_execute("BEGIN; LOCK TABLE events IN SHARE MODE").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let session = format!("session-{round}");
            let events = [event(&id("put"), &session, 7)];
            let batch = |part: &str| [new_event(&id(part))];
            let (before, first, second) = (batch("before"), batch("first"), batch("second"));
            let release = async {
                // Everything is in the queue by now.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                locking.batch_execute("COMMIT").unwrap();
            };
            let (_, before, deleted, first, put, second) = tokio::join!(
                release,
                store.append_events(&session, &before),
                store.delete_session(&session),
                store.append_events(&session, &first),
                store.insert_events(&events),
                store.append_events(&session, &second)
            );
            assert_eq!(before.unwrap(), [1]);
            assert!(deleted.unwrap());
            assert_eq!(first.unwrap(), [1]);
            put.unwrap();
            assert_eq!(second.unwrap(), [8]);
        });
    }
}

//! Proves that a prune by activity and by size deletes the same on PostgreSQL, is not overtaken by an append, and archives
//! first.

use std::io::ErrorKind;
use std::thread;

use agent_session_store::diesel::connection::{AnsiTransactionManager, TransactionManager};
use agent_session_store::{
    Error, Import, ListEventsRequest, PruneReport, PruneRequest, SessionPersistDriver, SessionStore,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

use crate::common::retention::{any_sample, check};
use crate::common::{PgDb, event, millis, new_event, session};

#[test]
fn all_rules_together_are_the_model() {
    for db in [PgDb::new(), PgDb::in_english()] {
        let Some(db) = db else { return };
        let folder = TempDir::new().unwrap();
        let number = std::cell::Cell::new(0);
        let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
        TestRunner::new(config)
            .run(&(any_sample(), any::<bool>()), |(sample, archives)| {
                number.set(number.get() + 1);
                let path = folder.path().join(format!("{}.jsonl", number.get()));
                let (mut conn, mut empty) = (db.connect_to_schema(), db.connect_to_schema());
                check(&sample, &mut conn, &mut empty, archives.then_some(&*path));
                Ok(())
            })
            .unwrap();
    }
}

/// An append that has not been committed when the session is found, and is when it would be deleted.
#[test]
fn a_session_that_is_appended_to_meanwhile_is_left_alone() {
    let Some(db) = PgDb::ours() else { return };
    let folder = TempDir::new().unwrap();
    let mut conn = db.connect();
    let by_activity = PruneRequest::new().inactive_before(millis(1_700_000_000_001));
    let by_size = PruneRequest::new().max_total_bytes(1);
    for (round, request) in [&by_activity, &by_activity, &by_size, &by_size].into_iter().enumerate() {
        // With a row of its own in the table of heads, and without.
        for (way, is_appended) in [("appended", true), ("inserted", false)] {
            for has_record in [true, false] {
                let id = format!("{way}-{has_record}");
                if has_record {
                    let record = with!(session(&id), created_at: millis(1), destroyed_at: None);
                    conn.update_session(&record).unwrap();
                }
                if is_appended {
                    conn.append_events(&id, &[new_event(&format!("{id}-a"))]).unwrap();
                } else {
                    conn.insert_event(&with!(event(&format!("{id}-a"), &id, 1), created_at: millis(1))).unwrap();
                }
                let mut first = db.connect();
                AnsiTransactionManager::begin_transaction(&mut first).unwrap();
                let late = with!(new_event(&format!("{id}-b")), created_at: millis(1_800_000_000_000));
                first.append_events(&id, &[late]).unwrap();
                let archive = folder.path().join(format!("{round}-{id}.jsonl"));
                let request = if round % 2 == 1 { request.clone().archive_to(archive) } else { request.clone() };
                let pruned = thread::scope(|scope| {
                    let waiting = scope.spawn(|| conn.prune(&request).unwrap());
                    db.wait_until_one_waits();
                    AnsiTransactionManager::commit_transaction(&mut first).unwrap();
                    waiting.join().unwrap()
                });
                assert_eq!(pruned, PruneReport::default(), "{request:?} {id}");
                assert_eq!(conn.last_event_index(&id).unwrap(), Some(2));
                assert_eq!(conn.get_session(&id).unwrap().is_some(), has_record);
                assert!(conn.delete_session(&id).unwrap());
            }
        }
    }
    // Nothing is left of those that were only looked at.
    assert_eq!(db.other().query_one("SELECT count(*) FROM event_heads", &[]).unwrap().get::<_, i64>(0), 0);
}

#[test]
fn what_is_not_as_it_was_archived_stays() {
    let Some(db) = PgDb::ours() else { return };
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("archive.jsonl");
    let mut conn = db.connect();
    conn.update_session(&session("one")).unwrap();
    conn.append_events("one", &[new_event("a"), new_event("b"), new_event("c")]).unwrap();
    let mut first = db.connect();
    AnsiTransactionManager::begin_transaction(&mut first).unwrap();
    let changed = event("b", "one", 2);
    first.insert_event(&changed).unwrap();
    let request = PruneRequest::new().session("one").archive_to(&path);
    let pruned = thread::scope(|scope| {
        let waiting = scope.spawn(|| conn.prune(&request).unwrap());
        db.wait_until_one_waits();
        AnsiTransactionManager::commit_transaction(&mut first).unwrap();
        waiting.join().unwrap()
    });
    assert_eq!(pruned, PruneReport { sessions: 0, events: 2 });
    assert_eq!(conn.list_events(&ListEventsRequest::new("one")).unwrap().items, [changed]);
    assert_eq!(conn.get_session("one").unwrap(), Some(session("one")));
    let again = conn.prune(&request);
    assert!(matches!(&again, Err(Error::Io { source }) if source.kind() == ErrorKind::AlreadyExists), "{again:?}");
    assert_eq!(conn.import(Import::from_path(&path).unwrap()).unwrap().events, 3);
}

/// More than fits into one step, on both faces.
#[test]
fn a_long_session_is_archived_and_deleted() {
    let Some(db) = PgDb::ours() else { return };
    let folder = TempDir::new().unwrap();
    let store = SessionStore::connect(&db.url()).unwrap();
    let mut conn = db.connect();
    for (number, name) in ["conn.jsonl", "store.jsonl"].iter().enumerate() {
        store.update_session(&session("one")).unwrap();
        let events: Vec<_> = (1..=3_000).map(|index| event(&format!("e{index}"), "one", index)).collect();
        store.insert_events(&events).unwrap();
        let request = PruneRequest::new().max_total_bytes(0).archive_to(folder.path().join(name));
        let done = if number == 0 { conn.prune(&request).unwrap() } else { store.prune(&request).unwrap() };
        assert_eq!(done, PruneReport { sessions: 1, events: 3_000 });
        assert_eq!(store.stats().unwrap().events, 0);
        let import = Import::from_path(folder.path().join(name)).unwrap();
        assert_eq!(store.import(import).unwrap().events, 3_000);
        assert_eq!(store.list_events(&ListEventsRequest::new("one").limit(5_000)).unwrap().items, events);
    }
}

/// A step holds 500 rows, and sessions are examined in pieces of what is left of a step.
#[test]
fn by_size_a_session_goes_with_its_record_also_if_it_fills_a_step() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    let by_size = PruneRequest::new().max_total_bytes(0);
    for events in [499, 500, 501, 1_000] {
        conn.update_session(&session("full")).unwrap();
        let all: Vec<_> = (0..events).map(|number| new_event(&format!("e{number}"))).collect();
        conn.append_events("full", &all).unwrap();
        let expected = PruneReport { sessions: 1, events };
        assert_eq!(conn.prune(&by_size.clone().dry_run()).unwrap(), expected);
        assert_eq!(conn.prune(&by_size).unwrap(), expected);
        assert_eq!(conn.get_session("full").unwrap(), None);
    }
    for number in 0..400 {
        let id = format!("small-{number}");
        conn.update_session(&session(&id)).unwrap();
        conn.append_events(&id, &["a", "b"].map(|event| new_event(&format!("{id}-{event}")))).unwrap();
    }
    assert_eq!(conn.prune(&by_size).unwrap(), PruneReport { sessions: 400, events: 800 });
}

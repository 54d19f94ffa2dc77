//! Proves that pruning deletes what its rules say and no more, in steps that others get in between of, and that the
//! space goes back to the file system when asked.

use std::sync::atomic::{AtomicBool, Ordering};

use agent_session_store::diesel::Connection;
use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{
    Done, Error, ListEventsRequest, PruneReport, PruneRequest, SessionPersistDriver, SessionStore,
};
use proptest::prelude::*;

use crate::common::samples::far_future;
use crate::common::{Statements, TempDb, event, lines, millis, session};

fn report(sessions: u64, events: u64) -> PruneReport {
    PruneReport { sessions, events }
}

/// Sessions that began at 10, 20 and 30, of which the first two ended at 15 and 40, with 1, 2 and 3 events; and two
/// events without a session, from 10 and 20.
fn filled() -> TempDb {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for (id, created_at, destroyed_at, events) in [("a", 10, Some(15), 1), ("b", 20, Some(40), 2), ("c", 30, None, 3)] {
        let (created_at, destroyed_at) = (millis(created_at), destroyed_at.map(millis));
        conn.update_session(&with!(session(id), created_at: created_at, destroyed_at: destroyed_at)).unwrap();
        for index in 1..=events {
            conn.insert_event(&event(&format!("{id}{index}"), id, index)).unwrap();
        }
    }
    for index in 1..=2 {
        let created_at = millis(index * 10);
        conn.insert_event(&with!(event(&format!("x{index}"), "x", index), created_at: created_at)).unwrap();
    }
    db
}

fn left(db: &TempDb) -> String {
    lines(&db.plain(), "SELECT id FROM sessions UNION ALL SELECT id FROM events ORDER BY 1").join(" ")
}

#[test]
fn each_rule_deletes_what_it_says() {
    let new = PruneRequest::new;
    let everything = "a a1 b b1 b2 c c1 c2 c3 x1 x2";
    for (request, sessions, events, rest) in [
        (new(), 0, 0, everything),
        (new().destroyed_before(millis(15)), 0, 0, everything),
        (new().destroyed_before(millis(16)), 1, 1, "b b1 b2 c c1 c2 c3 x1 x2"),
        (new().destroyed_before(millis(99)), 2, 3, "c c1 c2 c3 x1 x2"),
        (new().created_before(millis(10)), 0, 0, everything),
        (new().created_before(millis(21)), 2, 3, "c c1 c2 c3 x1 x2"),
        (new().created_before(millis(99)), 3, 6, "x1 x2"),
        (new().max_events_per_session(3), 0, 0, everything),
        (new().max_events_per_session(2), 0, 1, "a a1 b b1 b2 c c2 c3 x1 x2"),
        (new().max_events_per_session(1), 0, 4, "a a1 b b2 c c3 x2"),
        (new().max_events_per_session(0), 0, 8, "a b c"),
        (new().orphans_before(millis(10)), 0, 0, everything),
        (new().orphans_before(millis(11)), 0, 1, "a a1 b b1 b2 c c1 c2 c3 x2"),
        (new().orphans_before(millis(99)), 0, 2, "a a1 b b1 b2 c c1 c2 c3"),
        (new().orphans_before(millis(11)).max_events_per_session(1), 0, 4, "a a1 b b2 c c3 x2"),
        (new().orphans_before(millis(11)).max_events_per_session(0).created_before(millis(11)), 1, 8, "b c"),
        (new().destroyed_before(millis(16)).created_before(millis(21)), 2, 3, "c c1 c2 c3 x1 x2"),
    ] {
        let db = filled();
        let mut conn = db.connect();
        let before = db.bytes();
        assert_eq!(
            conn.prune(&request.clone().dry_run().reclaim_space()).unwrap(),
            report(sessions, events),
            "{request:?}"
        );
        assert_eq!(db.bytes(), before, "{request:?}");
        assert_eq!(conn.prune(&request).unwrap(), report(sessions, events), "{request:?}");
        assert_eq!(left(&db), rest, "{request:?}");
        assert_eq!(conn.prune(&request).unwrap(), report(0, 0), "{request:?}, once more");

        let db = filled();
        let store = SessionStore::open(db.path()).unwrap();
        assert_eq!(store.prune(&request.clone().dry_run()).unwrap(), report(sessions, events));
        assert_eq!(store.prune(&request).unwrap(), report(sessions, events));
        assert_eq!(left(&db), rest, "{request:?}, by the store");
    }
}

#[test]
fn the_oldest_events_go_first_and_a_tie_is_decided_by_the_id() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for (id, index) in [("z", -5), ("b", 3), ("a", 3), ("c", 3), ("y", 9)] {
        conn.insert_event(&event(id, "one", index)).unwrap();
    }
    for rest in ["b c y", "c y", "y"] {
        conn.prune(&PruneRequest::new().max_events_per_session(rest.split(' ').count() as u32)).unwrap();
        assert_eq!(left(&db), rest);
    }
}

type Session = (u8, i64, Option<i64>);
type Event = (u8, i64, i64);

fn any_rows() -> impl Strategy<Value = (Vec<Session>, Vec<Event>)> {
    let sessions = prop::collection::vec((0..6_u8, 0..6_i64, prop::option::of(0..6_i64)), 0..6);
    (sessions, prop::collection::vec((0..6_u8, 0..9_i64, 0..6_i64), 0..30))
}

fn any_request() -> impl Strategy<Value = [Option<i64>; 4]> {
    let rule = || prop::option::of(0..6_i64);
    [rule(), rule(), rule(), rule()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_rules_together_are_the_model((sessions, events) in any_rows(), rules in any_request()) {
        let [destroyed_before, created_before, most, orphans_before] = rules;
        let db = TempDb::ours();
        let mut conn = db.connect_fast();
        let mut model = std::collections::BTreeMap::new();
        for (id, created_at, destroyed_at) in sessions {
            let id = format!("s{id}");
            let times = (millis(created_at), destroyed_at.map(millis));
            conn.update_session(&with!(session(&id), created_at: times.0, destroyed_at: times.1)).unwrap();
            model.insert(id, (created_at, destroyed_at));
        }
        let mut all = Vec::new();
        for (place, (session, index, created_at)) in events.into_iter().enumerate() {
            let (id, session) = (format!("{place:02}"), format!("s{session}"));
            conn.insert_event(&with!(event(&id, &session, index), created_at: millis(created_at))).unwrap();
            all.push((session, index, id, created_at));
        }
        let mut request = PruneRequest::new();
        if let Some(time) = destroyed_before { request = request.destroyed_before(millis(time)); }
        if let Some(time) = created_before { request = request.created_before(millis(time)); }
        if let Some(most) = most { request = request.max_events_per_session(most as u32); }
        if let Some(time) = orphans_before { request = request.orphans_before(millis(time)); }

        let before = (model.len(), all.len());
        let known = model.clone();
        model.retain(|_, (created_at, destroyed_at)| {
            !(created_before.is_some_and(|time| *created_at < time)
                || destroyed_before.zip(*destroyed_at).is_some_and(|(time, at)| at < time))
        });
        all.retain(|(session, _, _, created_at)| {
            let is_orphan = !known.contains_key(session);
            (is_orphan || model.contains_key(session)) && !(is_orphan && orphans_before.is_some_and(|time| *created_at < time))
        });
        all.sort();
        if let Some(most) = most {
            let mut kept = std::collections::HashMap::new();
            let mut newest = Vec::new();
            for row in all.into_iter().rev() {
                let count = kept.entry(row.0.clone()).or_insert(0);
                *count += 1;
                if *count <= most { newest.push(row); }
            }
            all = newest;
        }
        let expected = report((before.0 - model.len()) as u64, (before.1 - all.len()) as u64);
        prop_assert_eq!(conn.prune(&request.clone().dry_run()).unwrap(), expected);
        prop_assert_eq!(conn.prune(&request).unwrap(), expected);
        let mut rest: Vec<String> = model.into_keys().chain(all.into_iter().map(|row| row.2)).collect();
        rest.sort();
        prop_assert_eq!(left(&db), rest.join(" "));
    }
}

/// A session of many events, in one statement of another library.
fn long_session(db: &TempDb, id: &str, events: i64) {
    db.plain()
        .execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) \
             INSERT INTO events SELECT ?1 || '-' || i, i, ?1, i, 'c', 'agent', '\"' || hex(zeroblob(100)) || '\"' FROM n",
            rusqlite::params![id, events],
        )
        .unwrap();
}

#[test]
fn every_step_is_a_transaction_of_at_most_500_events() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for request in [
        PruneRequest::new().max_events_per_session(100),
        PruneRequest::new().orphans_before(far_future()),
        PruneRequest::new().destroyed_before(far_future()),
    ] {
        conn.batch_execute("DELETE FROM events").unwrap();
        long_session(&db, "one", 2_600);
        if request == PruneRequest::new().destroyed_before(far_future()) {
            conn.update_session(&session("one")).unwrap();
        }
        let [_, before] = db.counts();
        let statements = Statements::of(&mut conn);
        let done = conn.prune(&request).unwrap();
        let run = statements.take_run();
        let begun = run.iter().filter(|sql| *sql == "BEGIN IMMEDIATE").count();
        assert!(begun >= (done.events as usize).div_ceil(500), "{begun}: {run:?}");
        assert_eq!(done.events, before - db.counts()[1]);
    }
}

/// A trigger that stops the third step stands for a crash: what was done is done, and the next run goes on.
#[test]
fn an_interrupted_prune_goes_on() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.update_session(&session("one")).unwrap();
    long_session(&db, "one", 2_200);
    db.plain()
        .execute_batch(
            "CREATE TRIGGER stop BEFORE DELETE ON events WHEN (SELECT count(*) FROM events) <= 1200 \
             BEGIN SELECT RAISE(ABORT, 'stopped'); END",
        )
        .unwrap();
    let request = PruneRequest::new().destroyed_before(millis(1_800_000_000_000));
    let would_go = conn.prune(&request.clone().dry_run()).unwrap();
    let error = conn.prune(&request).unwrap_err();
    assert!(
        error.to_string().ends_with("events were deleted, then it failed: the database reported an error: stopped")
    );
    let Error::Unfinished { done: Done::Pruned(done), source } = error else { panic!("{error}") };
    assert!(matches!(*source, Error::Database { .. }), "{source}");
    let rest = conn.stats().unwrap().events;
    assert!((1_200..=1_700).contains(&rest), "{rest}");
    assert_eq!(done, report(0, 2_200 - rest), "whole steps");
    assert!(conn.get_session("one").unwrap().is_some(), "the record goes with the last event");
    db.plain().execute_batch("DROP TRIGGER stop").unwrap();
    let rest = conn.prune(&request).unwrap();
    assert_eq!((rest.sessions, rest.events + done.events), (would_go.sessions, would_go.events));
    assert_eq!(left(&db), "");
}

#[test]
fn a_session_that_is_taken_up_again_meanwhile_is_left_alone() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.update_session(&session("one")).unwrap();
    long_session(&db, "one", 1_200);
    // As soon as events go, the session lives again.
    db.plain()
        .execute_batch(
            "CREATE TRIGGER revive AFTER DELETE ON events BEGIN UPDATE sessions SET destroyed_at = NULL; END",
        )
        .unwrap();
    let done = conn.prune(&PruneRequest::new().destroyed_before(millis(1_800_000_000_000))).unwrap();
    assert_eq!(done.sessions, 0);
    assert!(done.events <= 500);
    assert!(conn.get_session("one").unwrap().is_some());
}

#[test]
fn a_prune_in_a_transaction_is_undone_with_it() {
    let db = filled();
    let mut conn = db.connect();
    let before = left(&db);
    let request = PruneRequest::new().created_before(millis(99)).orphans_before(millis(99));
    let undone: Result<(), Error> = conn.transaction(|conn| {
        assert_eq!(conn.prune(&request)?, report(3, 8));
        assert_eq!(conn.stats()?.events, 0);
        Err(Error::Closed)
    });
    assert!(undone.is_err());
    assert_eq!(left(&db), before);
    let inside = conn.transaction(|conn| conn.prune(&request.clone().reclaim_space()));
    assert!(matches!(inside, Err(Error::Database { .. })), "space cannot be reclaimed there: {inside:?}");
    assert_eq!(left(&db), before);
}

#[test]
fn other_writers_get_in_between_the_steps() {
    let db = TempDb::ours();
    long_session(&db, "long", 30_000);
    let store = SessionStore::open(db.path()).unwrap();
    let is_done = AtomicBool::new(false);
    let (mut other, mut written) = (db.connect(), 0);
    other.batch_execute("PRAGMA busy_timeout = 60000").unwrap();
    std::thread::scope(|scope| {
        let prune = scope.spawn(|| {
            let done = store.prune(&PruneRequest::new().max_events_per_session(1_000));
            is_done.store(true, Ordering::Relaxed);
            done.unwrap()
        });
        // By the same store, and by a connection as of another process.
        while !is_done.load(Ordering::Relaxed) {
            written += 1;
            store.insert_event(&event(&format!("store-{written}"), "short", written)).unwrap();
            other.insert_event(&event(&format!("other-{written}"), "other", written)).unwrap();
        }
        assert_eq!(prune.join().unwrap(), report(0, 29_000));
    });
    assert!(written >= 3, "{written}");
    let rest = store.list_events(&ListEventsRequest::new("long").limit(2_000)).unwrap().items;
    assert_eq!((rest.len(), rest[0].event_index), (1_000, 29_001));
    assert_eq!(store.stats().unwrap().events, 1_000 + 2 * written as u64);
}

#[test]
fn space_goes_back_when_asked() {
    for of_store in [false, true] {
        let db = TempDb::ours();
        long_session(&db, "one", 10_000);
        let store = of_store.then(|| SessionStore::open(db.path()).unwrap());
        let mut conn = db.connect();
        let mut prune = |request: &PruneRequest| match &store {
            Some(store) => store.prune(request).unwrap(),
            None => conn.prune(request).unwrap(),
        };
        let size = || std::fs::metadata(db.path()).unwrap().len();
        let full = size();
        assert_eq!(prune(&PruneRequest::new().max_events_per_session(5_000)), report(0, 5_000));
        assert_eq!(size(), full, "unused pages stay in the file");
        assert_eq!(prune(&PruneRequest::new().max_events_per_session(100).reclaim_space()), report(0, 4_900));
        assert!(size() < full / 20, "{} of {full}", size());
        let stats = db.connect().stats().unwrap();
        assert_eq!((stats.events, stats.unused_bytes, stats.bytes), (100, 0, size()));
    }
}

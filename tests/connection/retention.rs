//! Proves that a prune by activity and by size deletes what its rules say and no more, and that an archive gives
//! everything back.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{Error, PruneReport, PruneRequest, SessionPersistDriver, SessionStore};
use proptest::prelude::*;

use crate::common::instrumentation::{Moment, Watch};
use crate::common::retention::{any_sample, check};
use crate::common::{Statements, TempDb, event, json, lines, millis, new_event, plan, session};

fn report(sessions: u64, events: u64) -> PruneReport {
    PruneReport { sessions, events }
}

fn left(db: &TempDb) -> String {
    lines(&db.plain(), "SELECT id FROM sessions UNION ALL SELECT id FROM events ORDER BY 1").join(" ")
}

/// Four sessions, and one without a record, that were last active at 10, 20, 30, 40 and 50. Each event weighs ten bytes.
fn filled() -> TempDb {
    let db = TempDb::ours();
    let mut conn = db.connect_fast();
    // By its record, which is younger than its event.
    conn.update_session(&with!(session("a"), created_at: millis(10), destroyed_at: None)).unwrap();
    // By its end.
    conn.update_session(&with!(session("b"), created_at: millis(1), destroyed_at: Some(millis(20)))).unwrap();
    // By its last event, which is not the one with the latest time.
    conn.update_session(&with!(session("c"), created_at: millis(2), destroyed_at: Some(millis(29)))).unwrap();
    // Without events.
    conn.update_session(&with!(session("d"), created_at: millis(3), destroyed_at: Some(millis(40)))).unwrap();
    for (id, session, index, at) in [
        ("a1", "a", 1, 9),
        ("b1", "b", 1, 2),
        ("b2", "b", 2, 3),
        ("c1", "c", 1, 99),
        ("c2", "c", 2, 30),
        ("x1", "x", 1, 50),
    ] {
        let event = with!(event(id, session, index), created_at: millis(at), payload: json("\"12345678\""));
        conn.insert_event(&event).unwrap();
    }
    db
}

type Prune = Box<dyn FnMut(&PruneRequest) -> Result<PruneReport, Error>>;

fn both(db: &TempDb) -> [Prune; 2] {
    let (mut conn, store) = (db.connect_fast(), SessionStore::open(db.path()).unwrap());
    [Box::new(move |request| conn.prune(request)), Box::new(move |request| store.prune(request))]
}

#[test]
fn each_rule_deletes_what_it_says() {
    let new = PruneRequest::new;
    let everything = "a a1 b b1 b2 c c1 c2 d x1";
    for (request, sessions, events, rest) in [
        (new().inactive_before(millis(10)), 0, 0, everything),
        (new().inactive_before(millis(11)), 1, 1, "b b1 b2 c c1 c2 d x1"),
        (new().inactive_before(millis(21)), 2, 3, "c c1 c2 d x1"),
        (new().inactive_before(millis(30)), 2, 3, "c c1 c2 d x1"),
        (new().inactive_before(millis(31)), 3, 5, "d x1"),
        (new().inactive_before(millis(50)), 4, 5, "x1"),
        (new().inactive_before(millis(51)), 4, 6, ""),
        (new().max_total_bytes(60), 0, 0, everything),
        (new().max_total_bytes(59), 1, 1, "b b1 b2 c c1 c2 d x1"),
        (new().max_total_bytes(50), 1, 1, "b b1 b2 c c1 c2 d x1"),
        (new().max_total_bytes(49), 2, 3, "c c1 c2 d x1"),
        (new().max_total_bytes(11), 3, 5, "d x1"),
        (new().max_total_bytes(9), 3, 6, "d"),
        (new().max_total_bytes(0), 3, 6, "d"),
        (new().max_total_bytes(30).max_events_per_session(1), 1, 3, "b b2 c c2 d x1"),
        (new().max_total_bytes(30).inactive_before(millis(21)), 2, 3, "c c1 c2 d x1"),
        (new().max_total_bytes(20).session("x"), 2, 4, "c c1 c2 d"),
    ] {
        for face in 0..2 {
            let db = filled();
            let prune = &mut both(&db)[face];
            assert_eq!(prune(&request.clone().dry_run()).unwrap(), report(sessions, events), "{request:?}");
            assert_eq!(left(&db), everything, "{request:?}");
            assert_eq!(prune(&request).unwrap(), report(sessions, events), "{request:?}");
            assert_eq!(left(&db), rest, "{request:?}");
            assert_eq!(prune(&request).unwrap(), report(0, 0), "{request:?}, once more");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_rules_together_are_the_model(sample in any_sample(), archives in any::<bool>()) {
        let (db, other) = (TempDb::ours(), TempDb::ours());
        let path = db.folder().join("archive.jsonl");
        check(&sample, &mut db.connect_fast(), &mut other.connect_fast(), archives.then_some(&*path));
    }
}

/// Runs before the second transaction of the prune that writes; the first one deletes a part of a long session.
fn meanwhile(db: &TempDb, work: impl Fn() + Send + Sync + 'static) -> std::sync::Arc<Watch> {
    let begun = std::sync::atomic::AtomicUsize::new(0);
    Watch::with_hook(db, move |moment, sql| {
        if moment == Moment::Start
            && sql == "BEGIN IMMEDIATE"
            && begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1
        {
            work();
        }
    })
}

#[test]
fn a_session_that_becomes_active_meanwhile_is_left_alone() {
    for request in
        [PruneRequest::new().inactive_before(millis(1_700_000_999_999)), PruneRequest::new().max_total_bytes(5)]
    {
        for archives in [false, true] {
            let db = TempDb::ours();
            let events: Vec<_> = (1..=1_500).map(|index| event(&format!("{index:04}"), "one", index)).collect();
            db.connect_fast().insert_events(&events).unwrap();
            let path = db.path();
            let _watch = meanwhile(&db, move || {
                let late = "INSERT INTO events VALUES ('late', 9999, 'one', 1800000000000, 'c', 'agent', '{}')";
                rusqlite::Connection::open(&path).unwrap().execute(late, []).unwrap();
            });
            let mut conn = db.connect_fast();
            let archive = db.folder().join("archive.jsonl");
            let request = if archives { request.clone().archive_to(&archive) } else { request.clone() };
            let done = conn.prune(&request).unwrap();
            assert!((1..=500).contains(&done.events), "{request:?}: {done:?}");
            assert_eq!(conn.stats().unwrap().events, 1_501 - done.events);
            assert_eq!(conn.last_event_index("one").unwrap(), Some(9_999));
        }
    }
}

/// Large payloads are read in pieces, and each session is weighed once.
#[test]
fn a_long_session_is_weighed_piece_by_piece() {
    let db = TempDb::ours();
    let mut conn = db.connect_fast();
    conn.batch_execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
         INSERT INTO events SELECT 'a-' || i, i, 'a', 5, 'c', 'agent', '\"' || hex(zeroblob(4)) || '\"' FROM n; \
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) \
         INSERT INTO events SELECT 'b-' || i, 7, 'b', 6, 'c', 'agent', '\"' || hex(zeroblob(500000)) || '\"' FROM n",
    )
    .unwrap();
    conn.append_events("c", &[new_event("c")]).unwrap();
    let bytes: i64 = conn.session_stats().unwrap().iter().map(|session| session.payload_bytes).sum();
    assert_eq!(conn.prune(&PruneRequest::new().max_total_bytes(bytes as u64)).unwrap(), report(0, 0));
    assert_eq!(conn.prune(&PruneRequest::new().max_total_bytes(bytes as u64 - 1)).unwrap(), report(0, 2_500));
    assert_eq!(conn.prune(&PruneRequest::new().max_total_bytes(9_000_000)).unwrap(), report(0, 9));
}

/// The last event is found by a seek, also where it decides between sessions.
#[test]
fn nothing_is_sorted_to_find_the_last_activity() {
    let db = filled();
    let mut conn = db.connect_fast();
    let statements = Statements::of(&mut conn);
    let request = PruneRequest::new().inactive_before(millis(15)).max_total_bytes(30);
    assert_eq!(conn.prune(&request).unwrap(), report(2, 3));
    let ran: Vec<_> = statements.take_run().into_iter().filter(|sql| sql.contains("e.event_index DESC")).collect();
    assert!(ran.len() > 5, "{ran:?}");
    for sql in ran {
        let plan = plan(&db.plain(), &sql).join("\n");
        assert!(plan.contains("idx_events_session_order (session_id=?)"), "{sql}: {plan}");
        assert!(!plan.contains("SCAN e") && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

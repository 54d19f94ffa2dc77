//! Proves that a page costs what it holds, whichever bounds it has.

use agent_session_store::SessionPersistDriver;
use agent_session_store::diesel::SqliteConnection;

use super::bounded::{event_requests, filled, session_requests};
use crate::common::{Statements, plan};

/// The plan of every listing, alone and with a cursor: what it seeks in, by the request's words.
#[test]
fn every_bound_is_a_seek_in_an_index_and_nothing_is_sorted() {
    let (db, mut conn) = filled();
    let statements = Statements::of(&mut conn);
    let plain = db.plain();
    let plan = |sql: &str| {
        let [step] = plan(&plain, sql).try_into().unwrap();
        step
    };
    let mut found = Vec::new();
    for request in event_requests() {
        let cursor = conn.list_events(&request).unwrap().next_cursor.unwrap();
        let first = plan(&statements.take_run().pop().unwrap());
        conn.list_events(&request.clone().cursor(cursor)).unwrap();
        let next = plan(&statements.take_run().pop().unwrap());
        found.push((format!("{request:?}"), first, next));
    }
    for (request, first, next) in &found {
        let seek = "SEARCH main.events USING INDEX idx_events_session_order (session_id=?";
        assert!(first.starts_with(seek) && next.starts_with(seek), "{request}: {first} / {next}");
        // Both ends are the index's business, so that it stops there.
        let (after, before) = (request.contains("after: Some"), request.contains("before: Some"));
        assert_eq!(
            (first.contains("event_index>?"), first.contains("event_index<?")),
            (after, before),
            "{request}: {first}"
        );
        let is_descending = request.contains("descending: true");
        let (side, end, other) = if is_descending {
            ("(event_index,id)<(?,?)", "event_index>?", after)
        } else {
            ("(event_index,id)>(?,?)", "event_index<?", before)
        };
        assert!(next.contains(side), "{request}: {next}");
        assert_eq!(next.contains(end), other, "{request}: {next}");
    }

    for request in session_requests() {
        let cursor = conn.list_sessions(&request).unwrap().next_cursor.unwrap();
        let first = plan(&statements.take_run().pop().unwrap());
        conn.list_sessions(&request.clone().cursor(cursor)).unwrap();
        let next = plan(&statements.take_run().pop().unwrap());
        let text = format!("{request:?}");
        let [agent, sandbox, live, ended] =
            ["agent: Some", "sandbox_id: Some", "is_live: Some(true)", "is_live: Some(false)"]
                .map(|word| text.contains(word));
        let (from, before) = (text.contains("created_from: Some"), text.contains("created_before: Some"));
        let indexes: &[&str] = match (agent, sandbox, live, ended) {
            (false, false, false, false) => &["idx_sessions_order"],
            (true, false, false, false) => &["idx_sessions_agent"],
            (false, true, false, false) => &["idx_sessions_sandbox"],
            (false, false, true, false) => &["idx_sessions_live"],
            (false, false, false, true) => &["idx_sessions_destroyed"],
            _ => &["idx_sessions_agent", "idx_sessions_sandbox", "idx_sessions_live", "idx_sessions_destroyed"],
        };
        for plan in [&first, &next] {
            assert!(indexes.iter().any(|index| plan.contains(&format!("USING INDEX {index}"))), "{text}: {plan}");
        }
        assert_eq!((first.contains("created_at>?"), first.contains("created_at<?")), (from, before), "{text}: {first}");
        let (side, end, other) = if text.contains("descending: true") {
            ("(created_at,id)<(?,?)", "created_at>?", from)
        } else {
            ("(created_at,id)>(?,?)", "created_at<?", before)
        };
        assert!(next.contains(side), "{text}: {next}");
        assert_eq!(next.contains(end), other, "{text}: {next}");
    }
}

#[test]
fn every_listing_is_prepared_once_per_connection() {
    let (_db, mut conn) = filled();
    let statements = Statements::of(&mut conn);
    let read_all = |conn: &mut SqliteConnection| {
        for request in event_requests() {
            let cursor = conn.list_events(&request).unwrap().next_cursor.unwrap();
            conn.list_events(&request.cursor(cursor)).unwrap();
        }
        for request in session_requests() {
            let cursor = conn.list_sessions(&request).unwrap().next_cursor.unwrap();
            conn.list_sessions(&request.cursor(cursor)).unwrap();
        }
        conn.latest_events("one", 5, Some(100)).unwrap();
        conn.last_event_index("one").unwrap();
    };
    read_all(&mut conn);
    let mut run = statements.take_run();
    run.sort();
    run.dedup();
    let mut cached = statements.take_cached();
    cached.sort();
    // A page after a cursor can have the text of another listing's, which Diesel keeps beside it.
    cached.dedup();
    assert!(cached == run, "every one of them is kept");
    read_all(&mut conn);
    assert_eq!(statements.take_cached(), [""; 0]);
}

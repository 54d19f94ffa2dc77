//! Proves that bounded reads return what they say in every combination, and that a cursor fits no other filter.

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::{
    Error, ListEventsRequest, ListSessionsRequest, SessionEvent, SessionPersistDriver, SessionStore,
};
use proptest::prelude::*;

use crate::common::model::sort;
#[cfg(feature = "async")]
use crate::common::tasks::on_one_thread;
use crate::common::{Statements, TempDb, event, json, millis, session, walk_events, walk_sessions};

/// How many of these, from the first one on, fit on a page.
fn fitting(events: &[SessionEvent], limit: usize, max_bytes: Option<usize>) -> usize {
    let mut bytes = 0;
    let fits = events.iter().take(limit).enumerate().take_while(|(place, event)| {
        bytes += event.payload.get().len();
        *place == 0 || max_bytes.is_none_or(|most| bytes <= most)
    });
    fits.count()
}

fn any_index() -> impl Strategy<Value = i64> {
    prop_oneof![Just(i64::MIN), -3..4_i64, Just(i64::MAX)]
}

type Filters = (Option<bool>, Option<bool>, Option<bool>, Option<i64>, Option<i64>, bool);

fn any_filters() -> impl Strategy<Value = Filters> {
    let flag = || prop::option::of(any::<bool>());
    (flag(), flag(), flag(), prop::option::of(-1..4_i64), prop::option::of(-1..4_i64), any::<bool>())
}

fn filtered(filters: Filters, limit: u32) -> ListSessionsRequest {
    let (agent, sandbox, is_live, from, before, descending) = filters;
    let mut request = ListSessionsRequest::new().limit(limit);
    if let Some(which) = agent {
        request = request.agent(format!("agent-{which}"));
    }
    if let Some(which) = sandbox {
        request = request.sandbox_id(format!("sandbox-{which}"));
    }
    if let Some(is_live) = is_live {
        request = if is_live { request.live() } else { request.destroyed() };
    }
    if let Some(time) = from {
        request = request.created_from(millis(time));
    }
    if let Some(time) = before {
        request = request.created_before(millis(time));
    }
    if descending { request.descending() } else { request }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn events_within_all_bounds_are_the_models(
        rows in prop::collection::vec((any_index(), 0..30_usize), 0..25),
        after in prop::option::of(any_index()),
        before in prop::option::of(any_index()),
        max_bytes in prop::option::of(0..70_usize),
        descending: bool,
        limit in 1..9_u32,
        count in 0..9_u32,
    ) {
        let db = TempDb::ours();
        let mut conn = db.connect_fast();
        let mut all: Vec<SessionEvent> = rows.into_iter().enumerate().map(|(place, (event_index, size))| {
            let payload = json(&format!("\"{}\"", "x".repeat(size)));
            with!(event(&format!("{:02}", (place * 7) % 26), "one", 0), event_index: event_index, payload: payload)
        }).collect();
        conn.insert_events(&all).unwrap();
        conn.insert_event(&event("else", "other", 0)).unwrap();
        sort(&mut all);

        let newest: Vec<_> = all.iter().rev().cloned().collect();
        let mut latest = newest[..fitting(&newest, count as usize, max_bytes)].to_vec();
        latest.reverse();
        prop_assert_eq!(conn.latest_events("one", count, max_bytes).unwrap(), latest);

        let mut request = ListEventsRequest::new("one").limit(limit);
        if let Some(index) = after { request = request.after(index); }
        if let Some(index) = before { request = request.before(index); }
        if let Some(bytes) = max_bytes { request = request.max_bytes(bytes); }
        if descending { request = request.descending(); all.reverse(); }
        all.retain(|event| after.is_none_or(|index| event.event_index > index)
            && before.is_none_or(|index| event.event_index < index));
        let whole: Vec<SessionEvent> = conn.events(request.clone()).map(Result::unwrap).collect();
        prop_assert_eq!(&whole, &all);
        let mut rest = &all[..];
        for page in walk_events(&mut conn, request) {
            let (expected, others) = rest.split_at(fitting(rest, limit as usize, max_bytes));
            prop_assert_eq!(page, expected.iter().map(|event| event.id.clone()).collect::<Vec<_>>());
            rest = others;
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn sessions_within_all_filters_are_the_models(
        rows in prop::collection::vec((any::<bool>(), prop::option::of(any::<bool>()), any::<bool>(), -8..16_i32), 0..25),
        filters in any_filters(),
        limit in 1..6_u32,
    ) {
        let db = TempDb::ours();
        let mut conn = db.connect_fast();
        let plain = db.plain();
        plain.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let mut all = Vec::new();
        for (place, (agent, sandbox, is_live, quarters)) in rows.into_iter().enumerate() {
            let id = format!("{:02}", (place * 7) % 26);
            conn.update_session(&with!(session(&id), agent: format!("agent-{agent}"), sandbox_id: sandbox.map(|which| format!("sandbox-{which}")), destroyed_at: (!is_live).then(|| millis(1)))).unwrap();
            // Some of them fractions, which only REAL can hold.
            let time = f64::from(quarters) / 4.0;
            plain.execute("UPDATE sessions SET created_at = ? WHERE id = ?", rusqlite::params![time, id]).unwrap();
            all.push((time, id, agent, sandbox, is_live));
        }
        let (agent, sandbox, is_live, from, before, descending) = filters;
        all.retain(|row| agent.is_none_or(|which| row.2 == which)
            && sandbox.is_none_or(|which| row.3 == Some(which))
            && is_live.is_none_or(|is_live| row.4 == is_live)
            && from.is_none_or(|time| row.0 >= time as f64)
            && before.is_none_or(|time| row.0 < time as f64));
        all.sort_by(|one, other| one.0.total_cmp(&other.0).then_with(|| one.1.cmp(&other.1)));
        if descending { all.reverse(); }
        let expected: Vec<_> = all.into_iter().map(|row| row.1).collect();
        prop_assert_eq!(walk_sessions(&mut conn, filtered(filters, limit)).concat(), expected);
    }
}

/// A database in which every listing of these has a second page.
pub(super) fn filled() -> (TempDb, SqliteConnection) {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for place in 0..12 {
        let destroyed_at = (place % 2 == 0).then(|| millis(1));
        let record = with!(session(&format!("{place:02}")), created_at: millis(place), destroyed_at: destroyed_at);
        conn.update_session(&record).unwrap();
        conn.insert_event(&event(&format!("{place:02}"), "one", place)).unwrap();
    }
    (db, conn)
}

pub(super) fn event_requests() -> Vec<ListEventsRequest> {
    let all = || ListEventsRequest::new("one").limit(1);
    let upward = [all(), all().after(1), all().before(9), all().after(1).before(9), all().after(2), all().before(8)];
    let downward = upward.clone().map(ListEventsRequest::descending);
    upward.into_iter().chain(downward).collect()
}

pub(super) fn session_requests() -> Vec<ListSessionsRequest> {
    let all = || ListSessionsRequest::new().limit(1);
    let upward = [
        all(),
        all().agent("claude"),
        all().sandbox_id("sandbox-1"),
        all().live(),
        all().destroyed(),
        all().created_from(millis(1)),
        all().created_before(millis(9)),
        all().created_from(millis(1)).created_before(millis(9)),
        all().agent("claude").created_from(millis(1)).created_before(millis(9)),
        all().sandbox_id("sandbox-1").created_from(millis(1)).created_before(millis(9)),
        all().live().created_from(millis(1)).created_before(millis(9)),
        all().destroyed().created_from(millis(1)).created_before(millis(9)),
        all().agent("claude").live(),
        all().agent("claude").sandbox_id("sandbox-1").destroyed(),
    ];
    let downward = upward.clone().map(ListSessionsRequest::descending);
    upward.into_iter().chain(downward).collect()
}

#[test]
fn a_cursor_fits_no_other_filter() {
    let (_db, mut conn) = filled();
    for (place, request) in event_requests().iter().enumerate() {
        let cursor = conn.list_events(request).unwrap().next_cursor.unwrap();
        for (other_place, other) in event_requests().into_iter().enumerate() {
            let result = conn.list_events(&other.cursor(cursor.clone()));
            assert_eq!(result.is_ok(), place == other_place);
            assert!(matches!(result, Ok(_) | Err(Error::InvalidCursor { .. })));
        }
    }
    for (place, request) in session_requests().iter().enumerate() {
        let cursor = conn.list_sessions(request).unwrap().next_cursor.unwrap();
        for (other_place, other) in session_requests().into_iter().enumerate() {
            let result = conn.list_sessions(&other.cursor(cursor.clone()));
            assert_eq!(result.is_ok(), place == other_place);
            assert!(matches!(result, Ok(_) | Err(Error::InvalidCursor { .. })));
        }
    }
    // The limits may change on the way.
    let request = ListEventsRequest::new("one").limit(1).max_bytes(1);
    let cursor = conn.list_events(&request).unwrap().next_cursor.unwrap();
    assert_eq!(conn.list_events(&ListEventsRequest::new("one").limit(3).cursor(cursor)).unwrap().items.len(), 3);
}

/// One page at a time: what comes later is not read before it is asked for. A row that cannot be decoded is an error in
/// its place, any other error the last item.
#[test]
fn the_iterator_reads_page_by_page_and_past_rows_that_cannot_be_decoded() {
    let (db, mut conn) = filled();
    db.plain().execute("UPDATE events SET payload_json = '{' WHERE id = '07'", []).unwrap();
    let statements = Statements::of(&mut conn);
    let mut events = conn.events(ListEventsRequest::new("one").limit(3));
    for place in 0..6 {
        assert_eq!(events.next().unwrap().unwrap().event_index, place);
        assert_eq!(statements.take_run().len(), usize::from(place % 3 == 0), "{place}");
    }
    assert_eq!(events.next().unwrap().unwrap().event_index, 6);
    assert!(matches!(events.next(), Some(Err(Error::Decode { column: "payload_json", .. }))));
    for place in 8..12 {
        assert_eq!(events.next().unwrap().unwrap().event_index, place);
    }
    assert!(events.next().is_none() && events.next().is_none());
    drop(events);
    let foreign = conn.list_sessions(&ListSessionsRequest::new().limit(1)).unwrap().next_cursor.unwrap();
    let mut events = conn.events(ListEventsRequest::new("one").cursor(foreign));
    assert!(matches!(events.next(), Some(Err(Error::InvalidCursor { .. }))));
    assert!(events.next().is_none());
    drop(events);

    let store = SessionStore::open(db.path()).unwrap();
    let results: Vec<_> = store.events(ListEventsRequest::new("one").limit(3)).map(|event| event.is_ok()).collect();
    assert_eq!(results, [true, true, true, true, true, true, true, false, true, true, true, true]);
    let newest = ListEventsRequest::new("one").descending().after(7).limit(2);
    let ids: Vec<_> = store.events(newest).map(|event| event.unwrap().id).collect();
    assert_eq!(ids, ["11", "10", "09", "08"]);
}

#[cfg(feature = "async")]
#[test]
fn the_async_iterator_does_the_same() {
    use agent_session_store::AsyncSessionStore;
    let (db, _) = filled();
    db.plain().execute("UPDATE events SET payload_json = '{' WHERE id = '07'", []).unwrap();
    let newest = ListEventsRequest::new("one").descending().after(7).limit(2);
    on_one_thread(async {
        let store = AsyncSessionStore::open(db.path()).await.unwrap();
        let mut events = store.events(ListEventsRequest::new("one").limit(3));
        for place in 0..6 {
            assert_eq!(events.next().await.unwrap().unwrap().event_index, place);
        }
        assert_eq!(events.next().await.unwrap().unwrap().event_index, 6);
        assert!(matches!(events.next().await, Err(Error::Decode { .. })));
        for place in 8..12 {
            assert_eq!(events.next().await.unwrap().unwrap().event_index, place);
        }
        assert!(events.next().await.unwrap().is_none() && events.next().await.unwrap().is_none());
        let mut events = store.events(newest);
        let mut ids = Vec::new();
        while let Some(event) = events.next().await.unwrap() {
            ids.push(event.id);
        }
        assert_eq!(ids, ["11", "10", "09", "08"]);
    });
}

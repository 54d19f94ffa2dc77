//! Proves that walking the cursors returns every row once and in order, whatever others write meanwhile and whatever
//! the rows hold, and that a page carries a cursor exactly when a row follows it.

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::{
    Cursor, Error, ListEventsRequest, ListPage, ListSessionsRequest, SessionEvent, SessionPersistDriver, SessionRecord,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::common::{self, TempDb, event, millis, session};

/// The ids of a session's events, page by page, with something done between the pages.
fn walk_events(
    conn: &mut SqliteConnection,
    session_id: &str,
    limit: u32,
    mut between: impl FnMut(&mut SqliteConnection, &[SessionEvent]),
) -> Vec<String> {
    let mut request = ListEventsRequest::new(session_id).limit(limit);
    let mut ids = Vec::new();
    loop {
        let page = conn.list_events(&request).unwrap();
        assert!(page.items.len() <= limit as usize);
        ids.extend(page.items.iter().map(|event| event.id.clone()));
        let Some(cursor) = page.next_cursor else { return ids };
        assert_eq!(page.items.len(), limit as usize, "a page before the last is full");
        between(conn, &page.items);
        request = request.cursor(through_text(&cursor));
    }
}

/// Every page of the sessions but the last must be full.
fn walk_sessions(conn: &mut SqliteConnection, limit: u32) -> Vec<String> {
    let pages = common::walk_sessions(conn, ListSessionsRequest::new().limit(limit));
    let (_, full) = pages.split_last().unwrap();
    assert!(full.iter().all(|page| page.len() == limit as usize), "{pages:?}");
    pages.concat()
}

/// Every cursor goes the way a client would send it.
fn through_text(cursor: &Cursor) -> Cursor {
    let text = cursor.to_string();
    let parsed: Cursor = text.parse().unwrap();
    assert_eq!(&parsed, cursor);
    let json = serde_json::to_string(cursor).unwrap();
    assert_eq!(json, format!("\"{text}\""));
    assert_eq!(serde_json::from_str::<Cursor>(&json).unwrap(), parsed);
    parsed
}

fn ids(events: &[SessionEvent]) -> Vec<&str> {
    events.iter().map(|event| &*event.id).collect()
}

#[test]
fn ids_break_ties_in_byte_order() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let in_order = ["", "\0", "10", "2", "A", "Z", "_", "a", "aa", "b", "é", "\u{ffff}", "😀"];
    for id in in_order.iter().rev() {
        conn.insert_event(&event(id, "one", 1)).unwrap();
        conn.update_session(&session(id)).unwrap();
    }
    for limit in [1, 2, 5, 13, 100] {
        assert_eq!(walk_events(&mut conn, "one", limit, |_, _| ()), in_order);
        assert_eq!(walk_sessions(&mut conn, limit), in_order);
    }
}

#[test]
fn the_first_key_goes_before_the_id() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for (place, id) in ["z", "b", "a"].into_iter().enumerate() {
        conn.insert_event(&event(id, "one", place as i64 * 10)).unwrap();
        conn.update_session(&with!(session(id), created_at: millis(place as i64 * 10))).unwrap();
    }
    assert_eq!(walk_events(&mut conn, "one", 1, |_, _| ()), ["z", "b", "a"]);
    assert_eq!(walk_sessions(&mut conn, 1), ["z", "b", "a"]);
}

#[test]
fn a_page_holds_100_rows_unless_a_limit_is_given() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for place in 0..100 {
        conn.insert_event(&event(&format!("{place:03}"), "one", place)).unwrap();
        conn.update_session(&session(&format!("{place:03}"))).unwrap();
    }
    let events = ListEventsRequest::new("one");
    let sessions = ListSessionsRequest::new();
    let sizes = |conn: &mut SqliteConnection| {
        let size = |page: ListPage<SessionEvent>| (page.items.len(), page.next_cursor.is_some());
        let session_size = |page: ListPage<SessionRecord>| (page.items.len(), page.next_cursor.is_some());
        [
            size(conn.list_events(&events).unwrap()),
            size(conn.list_events(&events.clone().limit(0)).unwrap()),
            session_size(conn.list_sessions(&sessions).unwrap()),
            session_size(conn.list_sessions(&sessions.clone().limit(0)).unwrap()),
        ]
    };
    assert_eq!(sizes(&mut conn), [(100, false); 4]);
    conn.insert_event(&event("100", "one", 100)).unwrap();
    conn.update_session(&session("100")).unwrap();
    assert_eq!(sizes(&mut conn), [(100, true); 4]);

    let whole = conn.list_events(&events.clone().limit(u32::MAX)).unwrap();
    assert_eq!((whole.items.len(), whole.next_cursor), (101, None));
    let whole = conn.list_sessions(&sessions.clone().limit(u32::MAX)).unwrap();
    assert_eq!((whole.items.len(), whole.next_cursor), (101, None));
}

#[test]
fn a_cursor_is_there_exactly_when_a_row_follows() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    // Rows of others that lie behind in the same index do not count.
    conn.insert_event(&event("other", "two", 9)).unwrap();
    for rows in 0..=4 {
        for limit in 1..=5 {
            let page = conn.list_events(&ListEventsRequest::new("one").limit(limit)).unwrap();
            assert_eq!(page.next_cursor.is_some(), rows > i64::from(limit), "{rows} rows, limit {limit}");
            let page = conn.list_sessions(&ListSessionsRequest::new().limit(limit)).unwrap();
            assert_eq!(page.next_cursor.is_some(), rows > i64::from(limit), "{rows} rows, limit {limit}");
        }
        conn.insert_event(&event(&rows.to_string(), "one", rows)).unwrap();
        conn.update_session(&session(&rows.to_string())).unwrap();
    }
}

#[test]
fn others_may_append_between_the_pages() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let mut other = db.connect();
    for place in 0..20 {
        conn.insert_event(&event(&format!("old-{place:02}"), "one", place)).unwrap();
    }
    let mut appended = Vec::new();
    let walked = walk_events(&mut conn, "one", 3, |_, page| {
        let place = appended.len() as i64;
        if place < 8 {
            // At the end, in another session, and before what has been read already.
            let id = format!("new-{place}");
            other.insert_event(&event(&id, "one", 100 + place)).unwrap();
            appended.push(id);
            other.insert_event(&event(&format!("two-{place}"), "two", place)).unwrap();
            other.insert_event(&event(&format!("early-{place}"), "one", page[0].event_index - 1000)).unwrap();
        }
    });
    let mut expected: Vec<_> = (0..20).map(|place| format!("old-{place:02}")).collect();
    expected.extend(appended);
    assert_eq!(walked, expected);
}

#[test]
fn others_may_delete_between_the_pages_even_the_row_of_the_cursor() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for place in 0..9 {
        conn.insert_event(&event(&place.to_string(), "one", place)).unwrap();
    }
    let plain = db.plain();
    let walked = walk_events(&mut conn, "one", 3, |_, page| {
        for event in page {
            plain.execute("DELETE FROM events WHERE id = ?", [&event.id]).unwrap();
        }
    });
    assert_eq!(walked, (0..9).map(|place| place.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_page_after_the_last_row_was_deleted_is_empty() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for place in 0..2 {
        conn.insert_event(&event(&place.to_string(), "one", place)).unwrap();
    }
    let request = ListEventsRequest::new("one").limit(1);
    let cursor = conn.list_events(&request).unwrap().next_cursor.unwrap();
    db.plain().execute("DELETE FROM events", []).unwrap();
    let page = conn.list_events(&request.cursor(cursor)).unwrap();
    assert_eq!(page, ListPage { items: vec![], next_cursor: None });
}

#[test]
fn the_page_size_may_change_on_the_way() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for place in 0..6 {
        conn.insert_event(&event(&place.to_string(), "one", 1)).unwrap();
    }
    let request = ListEventsRequest::new("one");
    let first = conn.list_events(&request.clone().limit(1)).unwrap();
    let second = conn.list_events(&request.clone().limit(3).cursor(first.next_cursor.unwrap())).unwrap();
    let third = conn.list_events(&request.cursor(second.next_cursor.unwrap())).unwrap();
    assert_eq!(
        (ids(&first.items), ids(&second.items), ids(&third.items), third.next_cursor),
        (vec!["0"], vec!["1", "2", "3"], vec!["4", "5"], None)
    );
}

/// INTEGER affinity keeps a fraction as REAL; several of them round to the same millisecond.
#[test]
fn sessions_with_fractional_times_are_walked_once_each() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let in_order = [
        ("early", "-1.5"),
        ("z", "1700000000000"),
        ("y", "1700000000000.25"),
        ("x", "1700000000000.5"),
        ("w", "1700000000000.5"),
        ("v", "1700000000001"),
        ("u", "1700000000001.001"),
    ];
    for (id, time) in in_order.iter().rev() {
        conn.update_session(&session(id)).unwrap();
        db.plain().execute(&format!("UPDATE sessions SET created_at = {time} WHERE id = ?"), [id]).unwrap();
    }
    let expected = ["early", "z", "y", "w", "x", "v", "u"];
    for limit in 1..=7 {
        assert_eq!(walk_sessions(&mut conn, limit), expected, "limit {limit}");
    }
    let first = conn.list_sessions(&ListSessionsRequest::new().limit(1)).unwrap();
    assert_eq!(first.items[0].created_at, millis(-2), "a fraction is floored");
}

#[test]
fn a_cursor_of_another_listing_is_refused() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for place in 0..2 {
        conn.insert_event(&event(&format!("one-{place}"), "one", place)).unwrap();
        conn.insert_event(&event(&format!("two-{place}"), "two", place)).unwrap();
        conn.update_session(&session(&place.to_string())).unwrap();
    }
    let of_sessions = conn.list_sessions(&ListSessionsRequest::new().limit(1)).unwrap().next_cursor.unwrap();
    let of_one = conn.list_events(&ListEventsRequest::new("one").limit(1)).unwrap().next_cursor.unwrap();

    let refused = |result: Result<(), Error>| assert!(matches!(result, Err(Error::InvalidCursor { .. })));
    refused(conn.list_events(&ListEventsRequest::new("one").cursor(of_sessions.clone())).map(drop));
    refused(conn.list_events(&ListEventsRequest::new("two").cursor(of_one.clone())).map(drop));
    refused(conn.list_events(&ListEventsRequest::new("").cursor(of_sessions)).map(drop));
    refused(conn.list_sessions(&ListSessionsRequest::new().cursor(of_one)).map(drop));
}

#[test]
fn a_broken_row_stops_its_own_page_and_no_other() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for place in 0..4 {
        conn.insert_event(&event(&format!("one-{place}"), "one", place)).unwrap();
        conn.insert_event(&event(&format!("two-{place}"), "two", place)).unwrap();
        conn.update_session(&with!(session(&place.to_string()), created_at: millis(place))).unwrap();
    }
    db.plain().execute("UPDATE events SET sender = 'nobody' WHERE id = 'one-2'", []).unwrap();
    db.plain().execute("UPDATE sessions SET modes_json = '{' WHERE id = '2'", []).unwrap();

    // It is the row after the first page, and says only that there is one.
    let request = ListEventsRequest::new("one").limit(2);
    let page = conn.list_events(&request).unwrap();
    assert_eq!(ids(&page.items), ["one-0", "one-1"]);
    let next = conn.list_events(&request.cursor(page.next_cursor.unwrap()));
    assert!(matches!(next, Err(Error::Decode { table: "events", column: "sender", .. })));

    let request = ListSessionsRequest::new().limit(2);
    let page = conn.list_sessions(&request).unwrap();
    assert_eq!(page.items.len(), 2);
    let next = conn.list_sessions(&request.cursor(page.next_cursor.unwrap()));
    assert!(matches!(next, Err(Error::Decode { table: "sessions", column: "modes_json", .. })));

    assert_eq!(conn.list_events(&ListEventsRequest::new("two")).unwrap().items.len(), 4);
    assert!(conn.get_session("2").is_err());
    for id in ["0", "1", "3"] {
        assert!(conn.get_session(id).unwrap().is_some());
    }
}

/// A row of whose keys many are equal, close, or at the ends of the range.
fn any_row() -> impl Strategy<Value = (u8, i64, String)> {
    let key = prop_oneof![Just(i64::MIN), -2..3_i64, Just(i64::MAX)];
    (0..3_u8, key, "[a-cA-C\0é😀]{0,3}")
}

/// A time in milliseconds as SQL would spell it, whole or not, and as a number to compare.
fn any_time() -> impl Strategy<Value = f64> {
    prop_oneof![(-2..3_i32).prop_map(f64::from), (-8..8_i32).prop_map(|quarters| f64::from(quarters) / 4.0)]
}

/// A host may have declared the column with a collation; a page then has events of every session that is equal by it.
#[test]
fn each_event_keeps_its_own_session_where_several_are_equal() {
    let db = TempDb::with(
        "CREATE TABLE events (id TEXT PRIMARY KEY, event_index BIGINT NOT NULL, \
             session_id TEXT NOT NULL COLLATE NOCASE, created_at BIGINT NOT NULL, connection_id TEXT NOT NULL, \
             sender TEXT NOT NULL, payload_json TEXT NOT NULL, of_the_host TEXT)",
    );
    let mut conn = db.migrated();
    let events = [event("a", "one", 1), event("b", "ONE", 2), event("c", "one", 3), event("d", "One", 4)];
    events.iter().for_each(|event| conn.insert_event(event).unwrap());
    for limit in 1..=5 {
        let mut request = ListEventsRequest::new("one").limit(limit);
        let mut found = Vec::new();
        loop {
            let page = conn.list_events(&request).unwrap();
            found.extend(page.items);
            let Some(cursor) = page.next_cursor else { break };
            request = request.cursor(cursor);
        }
        assert_eq!(found, events, "{limit} a page");
    }
}

/// Clients keep cursors: a later release, with more filters, has to take those of this one.
#[test]
fn the_cursors_of_plain_listings_stay_what_they_are() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for id in ["one", "two"] {
        conn.update_session(&session(id)).unwrap();
        conn.insert_event(&event(id, "one", 1)).unwrap();
    }
    let sessions = conn.list_sessions(&ListSessionsRequest::new().limit(1)).unwrap();
    assert_eq!(sessions.next_cursor.unwrap().to_string(), "c1.0fb15295fb4a8f57.i1700000000000.6f6e65");
    let events = conn.list_events(&ListEventsRequest::new("one").limit(1)).unwrap();
    assert_eq!(events.next_cursor.unwrap().to_string(), "c1.5f474a0c892c71a3.i1.6f6e65");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_put_together_are_the_sorted_events(rows in prop::collection::vec(any_row(), 0..40), limit in 1..9_u32) {
        let db = TempDb::ours();
        let mut conn = db.connect_fast();
        let mut expected: Vec<(String, i64, String)> = Vec::new();
        for (session, key, id) in rows {
            let session = format!("session-{session}");
            conn.insert_event(&with!(event(&id, &session, 0), event_index: key))
                .map_err(|error| TestCaseError::fail(error.to_string()))?;
            expected.retain(|(_, _, earlier)| *earlier != id);
            expected.push((session, key, id));
        }
        expected.sort();
        for session in 0..3 {
            let session = format!("session-{session}");
            let ids: Vec<_> =
                expected.iter().filter(|row| row.0 == session).map(|(_, _, id)| id.clone()).collect();
            prop_assert_eq!(walk_events(&mut conn, &session, limit, |_, _| ()), ids);
        }
    }

    #[test]
    fn pages_put_together_are_the_sorted_sessions(times in prop::collection::vec(any_time(), 0..30), limit in 1..9_u32) {
        let db = TempDb::ours();
        let mut conn = db.connect_fast();
        let plain = db.plain();
        plain.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let mut expected = Vec::new();
        for (place, time) in times.into_iter().enumerate() {
            // Ids that do not rise with the rows.
            let id = format!("{:02}", (place * 7) % 31);
            conn.update_session(&session(&id)).map_err(|error| TestCaseError::fail(error.to_string()))?;
            plain.execute("UPDATE sessions SET created_at = ? WHERE id = ?", rusqlite::params![time, id]).unwrap();
            expected.push((time, id));
        }
        expected.sort_by(|one, other| one.0.total_cmp(&other.0).then_with(|| one.1.cmp(&other.1)));
        let ids: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
        prop_assert_eq!(walk_sessions(&mut conn, limit), ids);
    }
}

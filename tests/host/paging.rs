//! Proves that a host can page through a query of its own: every row once, ties included, along an index.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::dsl::exists;
use agent_session_store::diesel::prelude::*;
use agent_session_store::diesel::{self, debug_query, sql_query, sqlite::Sqlite};
use agent_session_store::schema::{events, sessions};
use agent_session_store::{
    Error, ListEventsRequest, ListSessionsRequest, SessionEvent, SessionPersistDriver, SessionRecord, migrate,
};

use crate::common::{event, in_memory, session};

diesel::table! {
    members (project_id, session_id) {
        project_id -> BigInt,
        session_id -> Text,
    }
}

diesel::joinable!(members -> sessions (session_id));
agent_session_store::allow_joins!(members);

const PROJECT: i64 = 7;

/// Every second session of seven is the project's. Many rows share an index or a time.
fn filled() -> SqliteConnection {
    let mut conn = in_memory();
    conn.batch_execute(
        "CREATE TABLE members (project_id INTEGER NOT NULL, session_id TEXT NOT NULL, PRIMARY KEY (project_id, session_id))",
    )
    .unwrap();
    for number in 0..7_i64 {
        let id = format!("s{number}");
        let mut session = session(&id);
        session.destroyed_at = None;
        session.created_at = chrono::DateTime::from_timestamp_millis(number / 3).unwrap();
        conn.update_session(&session).unwrap();
        let project = if number % 2 == 0 { PROJECT } else { 8 };
        let member = (members::project_id.eq(project), members::session_id.eq(&id));
        diesel::insert_into(members::table).values(member).execute(&mut conn).unwrap();
        for index in 0..23 {
            conn.insert_event(&event(&format!("{id}-e{index}"), &id, index / 5)).unwrap();
        }
    }
    conn
}

/// A page of a session's events, if the session is the project's.
fn page(conn: &mut SqliteConnection, request: &ListEventsRequest, rows: i64) -> Result<Vec<SessionEvent>, Error> {
    Ok(events::table
        .inner_join(members::table.on(members::session_id.eq(events::session_id)))
        .filter(members::project_id.eq(PROJECT))
        .filter(request.predicate()?)
        .order(request.order())
        .limit(rows)
        .select(SessionEvent::as_select())
        .load(conn)?)
}

macro_rules! is_member {
    () => {
        exists(members::table.filter(members::project_id.eq(PROJECT)).filter(members::session_id.eq(sessions::id)))
    };
}

fn page_of_sessions(conn: &mut SqliteConnection, request: &ListSessionsRequest, rows: i64) -> Vec<SessionRecord> {
    let query = sessions::table.filter(is_member!()).filter(request.predicate().unwrap()).order(request.order());
    query.limit(rows).select(SessionRecord::as_select()).load(conn).unwrap()
}

#[test]
fn a_walk_of_a_joined_query_returns_every_event_once() {
    let mut conn = filled();
    for request in [
        ListEventsRequest::new("s2"),
        ListEventsRequest::new("s2").descending(),
        ListEventsRequest::new("s2").after(0).before(4),
        ListEventsRequest::new("s2").after(0).before(4).descending(),
    ] {
        let expected = conn.list_events(&request).unwrap().items;
        assert!(expected.len() > 10);
        for rows in 1..7 {
            let (mut walked, mut next) = (Vec::new(), request.clone());
            loop {
                let page = page(&mut conn, &next, rows).unwrap();
                let Some(last) = page.last() else { break };
                next = next.cursor(request.cursor_after(last));
                walked.extend(page);
            }
            assert_eq!(walked, expected, "{request:?}, {rows} rows");
        }
    }
    assert_eq!(page(&mut conn, &ListEventsRequest::new("s1"), 100).unwrap(), [], "another project's");
}

#[test]
fn a_walk_of_a_projects_sessions_returns_each_once() {
    let mut conn = filled();
    for request in [
        ListSessionsRequest::new(),
        ListSessionsRequest::new().descending().live(),
        ListSessionsRequest::new().agent("claude").created_before(chrono::DateTime::from_timestamp_millis(2)),
    ] {
        let all = conn.list_sessions(&request).unwrap().items;
        let is_even = |session: &SessionRecord| session.id[1..].parse::<u8>().unwrap().is_multiple_of(2);
        let expected: Vec<_> = all.into_iter().filter(is_even).collect();
        assert!(expected.len() >= 3, "{request:?}");
        for rows in 1..4 {
            let (mut walked, mut next) = (Vec::new(), request.clone());
            loop {
                let page = page_of_sessions(&mut conn, &next, rows);
                let Some(last) = page.last() else { break };
                next = next.cursor(request.cursor_after(last));
                walked.extend(page);
            }
            assert_eq!(walked, expected, "{request:?}, {rows} rows");
        }
    }
}

/// A foreign program may have written a time with a fraction, which a record does not show.
#[test]
fn a_walk_of_sessions_gets_past_times_with_fractions() {
    let mut conn = filled();
    conn.batch_execute("UPDATE sessions SET created_at = created_at + 0.25 WHERE id <> 's4'").unwrap();
    for request in [ListSessionsRequest::new(), ListSessionsRequest::new().descending()] {
        let mut ids = Vec::new();
        let mut next = request.clone();
        while let [session] = &page_of_sessions(&mut conn, &next, 1)[..] {
            next = next.cursor(request.cursor_after(session));
            ids.push(session.id.clone());
            assert!(ids.len() <= 4, "{ids:?}");
        }
        let ascending = ["s0", "s2", "s4", "s6"];
        let expected = if request == ListSessionsRequest::new() {
            ascending.to_vec()
        } else {
            ascending.into_iter().rev().collect()
        };
        assert_eq!(ids, expected);
    }
}

#[test]
fn a_record_gives_the_cursor_that_its_page_gives() {
    let mut conn = filled();
    let request = ListEventsRequest::new("s1").limit(7);
    let page = conn.list_events(&request).unwrap();
    assert_eq!(Some(request.cursor_after(page.items.last().unwrap())), page.next_cursor);
    let request = ListSessionsRequest::new().limit(3).agent("claude");
    let page = conn.list_sessions(&request).unwrap();
    assert_eq!(Some(request.cursor_after(page.items.last().unwrap())), page.next_cursor);
}

#[test]
fn a_reader_at_the_end_continues_with_what_comes_later() {
    let mut conn = filled();
    let request = ListEventsRequest::new("s1");
    let last = conn.latest_events("s1", 1, None).unwrap().pop().unwrap();
    let end = request.clone().cursor(request.cursor_after(&last));
    assert_eq!(conn.list_events(&end).unwrap().items, []);
    // It shares its index with the last one.
    let tied = event("s1-z", "s1", last.event_index);
    conn.insert_event(&tied).unwrap();
    assert_eq!(conn.list_events(&end).unwrap().items, [tied]);
}

#[test]
fn a_cursor_of_another_listing_is_refused() {
    let mut conn = filled();
    let theirs = ListEventsRequest::new("s1");
    let cursor = theirs.cursor_after(&event("e", "s1", 1));
    let request = ListEventsRequest::new("s2").cursor(cursor);
    assert!(matches!(page(&mut conn, &request, 1), Err(Error::InvalidCursor { .. })));
}

/// The steps of a query's plan.
fn plan<T>(conn: &mut SqliteConnection, query: &T) -> String
where
    T: diesel::query_builder::QueryFragment<Sqlite>,
{
    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = diesel::sql_types::Text)]
        detail: String,
    }
    let text = debug_query::<Sqlite, _>(query).to_string();
    let (sql, _) = text.split_once(" -- binds").unwrap();
    let steps: Vec<Step> = sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(conn).unwrap();
    steps.into_iter().map(|step| step.detail + "\n").collect()
}

#[test]
fn a_page_walks_along_an_index_and_sorts_nothing() {
    let mut conn = filled();
    for is_analyzed in [false, true] {
        for is_descending in [false, true] {
            let request = ListEventsRequest::new("s2");
            let request = if is_descending { request.descending() } else { request };
            let request = request.clone().cursor(request.cursor_after(&event("s2-e7", "s2", 1)));
            let query = events::table
                .inner_join(members::table.on(members::session_id.eq(events::session_id)))
                .filter(members::project_id.eq(PROJECT))
                .filter(request.predicate().unwrap())
                .order(request.order())
                .limit(10)
                .select(SessionEvent::as_select());
            let steps = plan(&mut conn, &query);
            assert!(!steps.contains("TEMP B-TREE"), "{steps}");
            assert!(steps.contains("idx_events_session_order (session_id=? AND (event_index,id)"), "{steps}");

            let request = ListSessionsRequest::new();
            let request = if is_descending { request.descending() } else { request };
            let request = request.clone().cursor(request.cursor_after(&session("s2")));
            let query = sessions::table
                .filter(is_member!())
                .filter(request.predicate().unwrap())
                .order(request.order())
                .limit(10)
                .select(SessionRecord::as_select());
            let steps = plan(&mut conn, &query);
            assert!(!steps.contains("TEMP B-TREE"), "{steps}");
            assert!(steps.contains("USING INDEX idx_sessions_order ((created_at,id)"), "{steps}");
        }
        if !is_analyzed {
            migrate(&mut conn).unwrap();
            conn.batch_execute("ANALYZE").unwrap();
        }
    }
}

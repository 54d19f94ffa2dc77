//! Proves that a host can page through a query of its own here too: every row once, in byte order, along an index.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::dsl::exists;
use agent_session_store::diesel::pg::Pg;
use agent_session_store::diesel::prelude::*;
use agent_session_store::diesel::{self, debug_query};
use agent_session_store::schema::{events, sessions};
use agent_session_store::{
    ListEventsRequest, ListSessionsRequest, SessionEvent, SessionPersistDriver, SessionRecord, migrate,
};

use super::looking::lines;
use crate::common::{PgDb, event, millis, session};

diesel::table! {
    members (project_id, session_id) {
        project_id -> BigInt,
        session_id -> Text,
    }
}

agent_session_store::allow_joins!(members);

/// Ids that another collation would order otherwise.
const NAMES: [&str; 6] = ["a", "B", "c", "Z", "é", "z"];

fn filled(db: &PgDb) -> PgConnection {
    let mut conn = db.connect();
    migrate(&mut conn).unwrap();
    conn.batch_execute(
        "CREATE TABLE members (project_id BIGINT, session_id TEXT, PRIMARY KEY (project_id, session_id));
         CREATE INDEX ON members (session_id)",
    )
    .unwrap();
    for (number, name) in NAMES.into_iter().enumerate() {
        let record = with!(session(name), created_at: millis(number as i64 / 4), destroyed_at: None);
        conn.update_session(&record).unwrap();
        let member = (members::project_id.eq(7), members::session_id.eq(name));
        diesel::insert_into(members::table).values(member).execute(&mut conn).unwrap();
    }
    for index in 0..4 {
        for name in NAMES {
            conn.insert_event(&event(&format!("{name}-{index}"), "a", index / 2)).unwrap();
        }
    }
    conn
}

macro_rules! page {
    ($request:expr) => {
        events::table
            .inner_join(members::table.on(members::session_id.eq(events::session_id)))
            .filter(members::project_id.eq(7))
            .filter($request.predicate().unwrap())
            .order($request.order())
            .limit(5)
            .select(SessionEvent::as_select())
    };
}

macro_rules! page_of_sessions {
    ($request:expr) => {
        sessions::table
            .filter(exists(
                members::table.filter(members::project_id.eq(7)).filter(members::session_id.eq(sessions::id)),
            ))
            .filter($request.predicate().unwrap())
            .order($request.order())
            .limit(2)
            .select(SessionRecord::as_select())
    };
}

#[test]
fn a_walk_of_a_hosts_query_returns_every_row_once() {
    for db in [PgDb::new(), PgDb::in_english()] {
        let Some(db) = db else { return };
        let mut conn = filled(&db);
        for request in [ListEventsRequest::new("a"), ListEventsRequest::new("a").descending()] {
            let (mut walked, mut next) = (Vec::new(), request.clone());
            loop {
                let page: Vec<SessionEvent> = page!(next).load(&mut conn).unwrap();
                let Some(last) = page.last() else { break };
                next = next.cursor(request.cursor_after(last));
                walked.extend(page);
            }
            assert_eq!(walked, conn.list_events(&request).unwrap().items);
            assert_eq!(walked.len(), 24);
        }
        for request in [ListSessionsRequest::new().live(), ListSessionsRequest::new().descending()] {
            let (mut walked, mut next) = (Vec::new(), request.clone());
            loop {
                let page: Vec<SessionRecord> = page_of_sessions!(next).load(&mut conn).unwrap();
                let Some(last) = page.last() else { break };
                next = next.cursor(request.cursor_after(last));
                walked.extend(page);
            }
            assert_eq!(walked, conn.list_sessions(&request).unwrap().items);
            assert_eq!(walked.len(), NAMES.len());
        }
    }
}

/// Diesel shows the values after the text; the server takes any.
fn plan<T: diesel::query_builder::QueryFragment<Pg>>(db: &PgDb, query: &T, values: &str) -> String {
    let text = debug_query::<Pg, _>(query).to_string();
    let (sql, _) = text.split_once(" -- binds").unwrap();
    let mut client = db.other();
    client.batch_execute(&format!("SET plan_cache_mode = force_generic_plan; PREPARE asked AS {sql}")).unwrap();
    lines(&mut client, &format!("EXPLAIN (COSTS OFF) EXECUTE asked ({values})")).join("\n")
}

#[test]
fn a_page_of_a_hosts_query_walks_along_an_index_and_sorts_nothing() {
    let Some(db) = PgDb::new() else { return };
    let mut conn = filled(&db);
    conn.batch_execute(
        "INSERT INTO events SELECT 'e' || n, n / 3, 's' || n % 3, n, 'c', 'agent', '{}' FROM generate_series(1, 20000) AS n;
         INSERT INTO sessions (id, agent, agent_session_id, last_connection_id, created_at)
             SELECT 's' || n, 'claude', 'a', 'c', n / 3 FROM generate_series(1, 20000) AS n;
         INSERT INTO members SELECT n % 2 + 7, 's' || n FROM generate_series(1, 20000) AS n;
         ANALYZE",
    )
    .unwrap();
    let request = ListEventsRequest::new("s1");
    let request = request.clone().cursor(request.cursor_after(&event("e9000", "s1", 3_000)));
    let steps = plan(&db, &page!(request), "7, 's1', 3000, 'e9000', 5");
    assert!(steps.contains("idx_events_session_order") && !steps.contains("Sort"), "{steps}");
    let request = ListSessionsRequest::new();
    let request = request.clone().cursor(request.cursor_after(&with!(session("s9000"), created_at: millis(3_000))));
    let steps = plan(&db, &page_of_sessions!(request), "7, 3000, 's9000', 2");
    assert!(steps.contains("idx_sessions_order") && !steps.contains("Sort"), "{steps}");
}

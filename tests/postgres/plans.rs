//! Proves what a page costs: however deep it is, and whatever its filter, it is a walk along an index. On tables of ours
//! nothing is sorted; on the reference driver's index only events that share an index are.

use std::sync::{Arc, Mutex};

use agent_session_store::diesel::connection::{Instrumentation, InstrumentationEvent};
use agent_session_store::diesel::{Connection, PgConnection};
use agent_session_store::{
    Cursor, ListEventsRequest, ListSessionsRequest, PruneRequest, SessionPersistDriver, migrate,
};
use postgres::Client;

use super::looking::lines;
use super::reference::{Reference, Version};
use crate::common::{PgDb, millis};

const ROWS: i64 = 20_000;

/// The statements that a connection sends, each with its values.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<String>>>);

impl Instrumentation for Sent {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            self.0.lock().unwrap().push(query.to_string());
        }
    }
}

impl Sent {
    fn of(conn: &mut PgConnection) -> Self {
        let sent = Self::default();
        conn.set_instrumentation(sent.clone());
        sent
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// The steps of a statement's plan: for its values, and for any values, which the server chooses after a few executions.
fn plans(client: &mut Client, sent: &str) -> [Vec<String>; 2] {
    let (sql, values) = sent.split_once(" -- binds: ").unwrap();
    let values: Vec<serde_json::Value> =
        serde_json::from_str(&values.replace("None", "null")).unwrap_or_else(|error| panic!("{error}: {values}"));
    let literal = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => format!("'{text}'"),
        serde_json::Value::Array(texts) => {
            format!("'{{{}}}'", texts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
        number => number.to_string(),
    };
    let values = values.iter().map(literal).collect::<Vec<_>>().join(", ");
    let values = if values.is_empty() { values } else { format!("({values})") };
    client.batch_execute(&format!("PREPARE asked AS {sql}")).unwrap();
    let plans = ["force_custom_plan", "force_generic_plan"].map(|mode| {
        client.batch_execute(&format!("SET plan_cache_mode = {mode}")).unwrap();
        lines(client, &format!("EXPLAIN (COSTS OFF) EXECUTE asked {values}"))
    });
    client.batch_execute("DEALLOCATE asked").unwrap();
    plans
}

/// Rows in no order: few agents and sandboxes, every second session live, and one long session of events.
fn fill(client: &mut Client) {
    client
        .batch_execute(&format!(
            "INSERT INTO sessions (id, agent, agent_session_id, last_connection_id, created_at, destroyed_at, sandbox_id)
             SELECT 's' || n, 'agent-' || n % 10, 'a', 'c', n / 3, CASE WHEN n % 2 = 0 THEN n END, 'box-' || n % 7
             FROM generate_series(1, {ROWS}) AS n ORDER BY md5(n::text);
             INSERT INTO events SELECT 'e' || n, n / 3, CASE WHEN n % 2 = 0 THEN 'one' ELSE 's' || n % 50 END, n, 'c', 'agent',
                 '{{\"method\": \"session/update\"}}'
             FROM generate_series(1, {ROWS}) AS n ORDER BY md5(n::text);
             ANALYZE sessions, events"
        ))
        .unwrap();
}

/// Lists a page after a cursor, and returns the next one.
type List = Box<dyn Fn(&mut PgConnection, Option<Cursor>) -> Option<Cursor>>;
/// A kind of listing by name, the index that it should use, and its request.
type Kind<R> = (&'static str, &'static str, fn() -> R);

const SESSIONS: [Kind<ListSessionsRequest>; 9] = [
    ("all", "idx_sessions_order", ListSessionsRequest::new),
    ("an agent's", "idx_sessions_agent", || ListSessionsRequest::new().agent("agent-3")),
    ("a sandbox's", "idx_sessions_sandbox", || ListSessionsRequest::new().sandbox_id("box-3")),
    // Where half of all are live, the index of all serves as well.
    ("live", "idx_sessions_", || ListSessionsRequest::new().live()),
    ("destroyed", "idx_sessions_", || ListSessionsRequest::new().destroyed()),
    ("in a range", "idx_sessions_order", || in_range(ListSessionsRequest::new())),
    ("an agent's in a range", "idx_sessions_agent", || in_range(ListSessionsRequest::new().agent("agent-3"))),
    ("live in a range", "idx_sessions_", || in_range(ListSessionsRequest::new().live())),
    ("an agent's live", "idx_sessions_", || ListSessionsRequest::new().agent("agent-3").live()),
];

const EVENTS: [Kind<ListEventsRequest>; 2] = [
    ("events", "idx_events_session_order", || ListEventsRequest::new("one")),
    ("events in a range", "idx_events_session_order", || ListEventsRequest::new("one").after(1_000).before(5_000)),
];

fn in_range(request: ListSessionsRequest) -> ListSessionsRequest {
    request.created_from(millis(2_000)).created_before(millis(4_000))
}

/// Every kind of listing, from its beginning and from its end. Far more rows follow than a page holds; a few that fit on
/// it the server may read and sort as well.
fn listings() -> Vec<(&'static str, &'static str, List)> {
    let mut listings: Vec<(&str, &str, List)> = Vec::new();
    for is_descending in [false, true] {
        for (name, index, request) in SESSIONS {
            let list: List = Box::new(move |conn, cursor| {
                let request = if is_descending { request().descending() } else { request() };
                let request = match cursor {
                    Some(cursor) => request.cursor(cursor),
                    None => request,
                };
                conn.list_sessions(&request).unwrap().next_cursor
            });
            listings.push((name, index, list));
        }
        for (name, index, request) in EVENTS {
            let list: List = Box::new(move |conn, cursor| {
                let request = if is_descending { request().descending() } else { request() };
                let request = match cursor {
                    Some(cursor) => request.cursor(cursor),
                    None => request,
                };
                conn.list_events(&request).unwrap().next_cursor
            });
            listings.push((name, index, list));
        }
    }
    listings
}

/// Asks for some pages of every listing, and looks at the plans of each.
fn for_every_page(db: &PgDb, look: impl Fn(&str, &str, &str)) {
    let (mut conn, mut client) = (db.connect(), db.other());
    migrate(&mut conn).unwrap();
    fill(&mut client);
    let sent = Sent::of(&mut conn);
    for (name, index, list) in listings() {
        let mut cursor = None;
        for page in 0..3 {
            cursor = list(&mut conn, cursor);
            assert!(cursor.is_some(), "{name}: more follows");
            let statement = sent.take().pop().unwrap();
            for plan in plans(&mut client, &statement) {
                look(index, &plan.join("\n"), &format!("{name}, page {page}: {statement}"));
            }
        }
    }
}

fn assert_sorts_nothing(index: &str, plan: &str, page: &str) {
    assert!(plan.starts_with("Limit\n  ->  Index Scan") && plan.contains(index), "{page}\n{plan}");
    assert!(!plan.contains("Sort") && !plan.contains("Seq Scan"), "{page}\n{plan}");
}

#[test]
fn every_page_is_a_walk_along_an_index_and_sorts_nothing() {
    for db in [PgDb::new(), PgDb::in_english()] {
        let Some(db) = db else { return };
        for_every_page(&db, assert_sorts_nothing);
    }
}

#[test]
fn on_the_reference_drivers_index_only_events_that_share_an_index_are_sorted() {
    for db in [PgDb::new(), PgDb::in_english()] {
        let Some(db) = db else { return };
        Reference::start(db.other(), "public", Version::Overwrites);
        for_every_page(&db, |index, plan, page| {
            if !index.contains("events") {
                return assert_sorts_nothing(index, plan, page);
            }
            assert!(plan.starts_with("Limit\n  ->  Incremental Sort"), "{page}\n{plan}");
            assert!(plan.contains("Presorted Key: event_index\n        ->  Index Scan"), "{page}\n{plan}");
            assert!(plan.contains(index) && plan.contains("(session_id = "), "{page}\n{plan}");
            // A deep page does not begin at the first event.
            assert_eq!(page.contains("(events.event_index, id"), plan.contains("ROW(event_index"), "{page}\n{plan}");
        });
    }
}

/// What a verb asks for besides pages.
#[test]
fn the_last_index_and_one_record_are_one_seek() {
    for is_theirs in [false, true] {
        let Some(db) = PgDb::new() else { return };
        if is_theirs {
            Reference::start(db.other(), "public", Version::Overwrites);
        }
        let (mut conn, mut client) = (db.connect(), db.other());
        migrate(&mut conn).unwrap();
        fill(&mut client);
        let sent = Sent::of(&mut conn);
        conn.last_event_index("one").unwrap();
        conn.get_session("s3").unwrap();
        for statement in sent.take() {
            for plan in plans(&mut client, &statement) {
                let plan = plan.join("\n");
                assert!(
                    plan.contains("Index") && !plan.contains("Sort") && !plan.contains("Seq Scan"),
                    "{statement}\n{plan}"
                );
            }
        }
    }
}

/// Each of the two ends of a session is a seek of its own, whatever the server believes about the lengths of sessions: with
/// statistics of many short ones, of a few long ones, and with none.
#[test]
fn a_page_of_summaries_seeks_twice_for_each_session_and_reads_few_rows_of_it() {
    for (is_theirs, lengths) in
        [(false, "short"), (false, "long"), (false, "none"), (true, "short"), (true, "long"), (true, "none")]
    {
        let Some(db) = PgDb::new() else { return };
        if is_theirs {
            Reference::start(db.other(), "public", Version::Overwrites);
        }
        let (mut conn, mut client) = (db.connect(), db.other());
        migrate(&mut conn).unwrap();
        // The statistics are of the first rows.
        let session = if lengths == "long" { "n % 3" } else { "n / 5" };
        let statistics = if lengths == "none" { "" } else { "ANALYZE events;" };
        client
            .batch_execute(&format!(
                "ALTER TABLE events SET (autovacuum_enabled = false);
                 INSERT INTO sessions (id, agent, agent_session_id, last_connection_id, created_at)
                 SELECT 's' || n, 'a', 'a', 'c', n FROM generate_series(0, 40) AS n;
                 INSERT INTO events SELECT 'e' || n, n, 's' || {session}, n, 'c', 'agent', '{{}}'
                 FROM generate_series(1, {ROWS}) AS n ORDER BY md5(n::text); {statistics}
                 INSERT INTO events SELECT 'l' || n, n, 's7', n, 'c', 'agent', '{{}}'
                 FROM generate_series(1, {ROWS}) AS n ORDER BY md5(n::text)"
            ))
            .unwrap();
        let sent = Sent::of(&mut conn);
        let page = conn.list_session_summaries(&ListSessionsRequest::new()).unwrap();
        assert_eq!(page.items[7].last_index, Some(ROWS));
        let sent = sent.take();
        let [begin, _, statement, commit] = &sent[..] else { panic!("{sent:?}") };
        assert!(begin.starts_with("BEGIN") && commit.starts_with("COMMIT"), "{sent:?}");
        for plan in plans(&mut client, statement) {
            let plan = plan.join("\n");
            let case = format!("{is_theirs} {lengths}\n{plan}");
            assert_eq!(plan.matches("using idx_events_session_order on events").count(), 2, "{case}");
            assert!(!plan.contains("Seq Scan") && !plan.contains("Bitmap"), "{case}");
            // On the reference driver's index, only events that share an index are sorted.
            assert_eq!(plan.matches("Incremental Sort").count(), if is_theirs { 2 } else { 0 }, "{case}");
            assert_eq!(plan.matches("Sort\n").count(), if is_theirs { 2 } else { 0 }, "{case}");
        }
        // What is really read, of the session that is longer than all.
        let (sql, _) = statement.split_once(" -- binds: ").unwrap();
        let sql = sql.replace("$1", "ARRAY['s7']");
        let read =
            lines(&mut client, &format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql}")).join("\n");
        let scans = read.lines().filter_map(|line| line.split_once("Index Scan")?.1.split_once("rows="));
        // A later server prints fractions.
        let rows = scans.map(|(_, rows)| rows.split(' ').next().unwrap().parse::<f64>().unwrap() as usize);
        let rows: Vec<_> = rows.collect();
        // In an incremental sort, one or two more tell that a group is over.
        assert!(rows.len() == 2 && rows.iter().all(|rows| (16..=18).contains(rows)), "{read}");
    }
}

/// It did so on a server that had no statistics yet, at every step.
#[test]
fn a_prune_does_not_read_the_whole_session_to_delete_a_part_of_it() {
    for is_theirs in [false, true] {
        let Some(db) = PgDb::new() else { return };
        if is_theirs {
            Reference::start(db.other(), "public", Version::Overwrites);
        }
        let (mut conn, mut client) = (db.connect(), db.other());
        migrate(&mut conn).unwrap();
        client.batch_execute("ALTER TABLE events SET (autovacuum_enabled = false)").unwrap();
        let insert =
            "INSERT INTO events SELECT 'e' || n, n, 'one', n, 'c', 'agent', '{}' FROM generate_series(1, 5000) AS n";
        client.batch_execute(insert).unwrap();
        let sent = Sent::of(&mut conn);
        assert_eq!(conn.prune(&PruneRequest::new().session("one")).unwrap().events, 5_000);
        client.batch_execute(insert).unwrap();
        let is_deletion = |statement: &String| statement.starts_with("DELETE FROM events");
        let deletions: Vec<String> = sent.take().into_iter().filter(is_deletion).collect();
        assert!(deletions.len() >= 10, "{}", deletions.len());
        // The server needs to be told the type here.
        for plan in plans(&mut client, &deletions[5].replace(" IS NULL", "::bigint IS NULL")) {
            let plan = plan.join("\n");
            let condition = plan.lines().find(|line| line.contains("Index Cond")).unwrap_or_else(|| panic!("{plan}"));
            assert!(
                condition.contains("id = ANY")
                    || condition.contains("event_index >=")
                    || condition.contains("ROW(event_index"),
                "{plan}"
            );
        }
    }
}

//! Proves what a verb costs: every reading verb seeks in an index and sorts nothing, both upserts are the SQL pinned
//! here, and the statements that Diesel can keep are prepared once per connection.

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::{ListEventsRequest, ListSessionsRequest, SessionPersistDriver};

use crate::common::samples::bare_session;
use crate::common::{Statements, TempDb, event, plan, session};

/// Each reading verb, by name.
type Read = (&'static str, fn(&mut SqliteConnection));

const READS: [Read; 5] = [
    ("get_session", |conn| drop(conn.get_session("one").unwrap())),
    ("list_sessions", |conn| drop(conn.list_sessions(&ListSessionsRequest::new().limit(2)).unwrap())),
    ("list_sessions, with a cursor", |conn| {
        let request = ListSessionsRequest::new().limit(2);
        let cursor = conn.list_sessions(&request).unwrap().next_cursor.unwrap();
        conn.list_sessions(&request.cursor(cursor)).unwrap();
    }),
    ("list_events", |conn| drop(conn.list_events(&ListEventsRequest::new("one").limit(2)).unwrap())),
    ("list_events, with a cursor", |conn| {
        let request = ListEventsRequest::new("one").limit(2);
        let cursor = conn.list_events(&request).unwrap().next_cursor.unwrap();
        conn.list_events(&request.cursor(cursor)).unwrap();
    }),
];

/// A database with a few rows, so that every page but the last has a next one.
fn filled() -> (TempDb, SqliteConnection) {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for place in 0..9 {
        conn.update_session(&session(&format!("session-{place}"))).unwrap();
        conn.insert_event(&event(&format!("event-{place}"), "one", place)).unwrap();
    }
    (db, conn)
}

/// The plan of the last statement of each reading verb, as Diesel really sent it.
fn plans(db: &TempDb, conn: &mut SqliteConnection) -> Vec<(&'static str, Vec<String>)> {
    let statements = Statements::of(conn);
    let plain = db.plain();
    READS
        .iter()
        .map(|(name, read)| {
            read(conn);
            (*name, plan(&plain, &statements.take_run().pop().unwrap()))
        })
        .collect()
}

#[test]
fn every_reading_verb_seeks_in_an_index_and_sorts_nothing() {
    let (db, mut conn) = filled();
    let expected = [
        ("get_session", "SEARCH main.sessions USING INDEX sqlite_autoindex_sessions_1 (id=?)"),
        // In the order of the index, until the page is full.
        ("list_sessions", "SCAN main.sessions USING INDEX idx_sessions_order"),
        ("list_sessions, with a cursor", "SEARCH main.sessions USING INDEX idx_sessions_order ((created_at,id)>(?,?))"),
        ("list_events", "SEARCH main.events USING INDEX idx_events_session_order (session_id=?)"),
        (
            "list_events, with a cursor",
            "SEARCH main.events USING INDEX idx_events_session_order (session_id=? AND (event_index,id)>(?,?))",
        ),
    ];
    let expected = expected.map(|(name, step)| (name, vec![step.to_owned()])).to_vec();
    assert_eq!(plans(&db, &mut conn), expected);

    // Statistics that make an index look useless do not change it.
    let plain = db.plain();
    for place in 0..2000 {
        plain
            .execute(
                "INSERT INTO events SELECT ? || 'x', event_index, session_id, created_at, connection_id, sender, \
                 payload_json FROM events WHERE id = 'event-1'",
                [place],
            )
            .unwrap();
    }
    plain.execute_batch("ANALYZE").unwrap();
    assert_eq!(plans(&db, &mut conn), expected);
}

#[test]
fn reading_never_counts_or_skips_rows() {
    let (_db, mut conn) = filled();
    let statements = Statements::of(&mut conn);
    for (name, read) in READS {
        read(&mut conn);
        for sql in statements.take_run() {
            let sql = sql.to_uppercase();
            // SQLite reads what an OFFSET skips.
            assert!(!sql.contains("COUNT(") && !sql.contains("OFFSET"), "{name}: {sql}");
        }
    }
}

/// The order is asked for: that the index happens to have it is not enough.
#[test]
fn the_listings_name_their_whole_order() {
    let (_db, mut conn) = filled();
    let statements = Statements::of(&mut conn);
    for (name, read) in &READS[1..] {
        read(&mut conn);
        let sql = statements.take_run().pop().unwrap();
        let (keys, end) = if name.starts_with("list_sessions") {
            ("(sessions.created_at, id)", "sessions.created_at ASC, id ASC")
        } else {
            ("(events.event_index, id)", "events.event_index ASC, id ASC")
        };
        let sql = sql.trim_end_matches(" LIMIT ?");
        assert!(sql.ends_with(&format!(" ORDER BY {end}")), "{name}: {sql}");
        assert_eq!(sql.contains(&format!("{keys} > (?, ?)")), name.ends_with("with a cursor"), "{name}: {sql}");
    }
}

#[test]
fn the_upserts_are_these_statements() {
    let (_db, mut conn) = filled();
    let statements = Statements::of(&mut conn);
    conn.update_session(&session("new")).unwrap();
    assert_eq!(
        statements.take_run(),
        ["INSERT INTO main.sessions (id, agent, agent_session_id, last_connection_id, created_at, \
          destroyed_at, sandbox_id, session_init_json, config_options_json, modes_json) \
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET \
          agent = excluded.agent, agent_session_id = excluded.agent_session_id, \
          last_connection_id = excluded.last_connection_id, created_at = excluded.created_at, \
          destroyed_at = excluded.destroyed_at, sandbox_id = excluded.sandbox_id, \
          session_init_json = excluded.session_init_json, \
          config_options_json = excluded.config_options_json, modes_json = excluded.modes_json"]
    );

    let insert = "INSERT INTO main.events (id, event_index, session_id, created_at, connection_id, \
                  sender, payload_json) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id)";
    let insert_new = format!("{insert} DO NOTHING");
    let overwrite = format!(
        "{insert} DO UPDATE SET event_index = excluded.event_index, session_id = excluded.session_id, \
         created_at = excluded.created_at, connection_id = excluded.connection_id, \
         sender = excluded.sender, payload_json = excluded.payload_json"
    );
    // Nearly every event is new; only one that is not costs a second statement.
    conn.insert_event(&event("new", "one", 1)).unwrap();
    assert_eq!(statements.take_run(), [insert_new.as_str()]);
    conn.insert_event(&event("new", "one", 2)).unwrap();
    assert_eq!(statements.take_run(), [insert_new, overwrite]);
}

#[test]
fn absent_fields_do_not_make_another_statement() {
    let (_db, mut conn) = filled();
    let statements = Statements::of(&mut conn);
    for record in [session("one"), bare_session("one")] {
        conn.update_session(&record).unwrap();
    }
    let run = statements.take_run();
    assert_eq!(run.len(), 2);
    assert_eq!(run[0], run[1]);
}

/// Diesel reports a statement when it puts it into the connection's cache; one that it prepares anew at every call it
/// never reports, so each has to turn up exactly once.
#[test]
fn reading_and_writing_a_new_event_are_prepared_once_per_connection() {
    let (db, _) = filled();
    let mut conn = db.connect();
    let statements = Statements::of(&mut conn);
    for (name, read) in READS {
        read(&mut conn);
        let run = statements.take_run();
        let cached = statements.take_cached();
        assert_eq!(cached, run[run.len() - 1..], "{name}: the statement that it adds is kept");
        for _ in 0..3 {
            read(&mut conn);
        }
        assert_eq!(statements.take_cached(), [""; 0], "{name}: the second time, it is there");
    }
    // Another page size and another session are other values, not other statements.
    conn.list_sessions(&ListSessionsRequest::new()).unwrap();
    let page = conn.list_events(&ListEventsRequest::new("one").limit(5)).unwrap();
    conn.list_events(&ListEventsRequest::new("one").limit(7).cursor(page.next_cursor.unwrap())).unwrap();
    conn.list_events(&ListEventsRequest::new("two")).unwrap();
    assert_eq!(statements.take_cached(), [""; 0]);

    statements.take_run();
    for place in 100..104 {
        conn.insert_event(&event(&place.to_string(), "one", place)).unwrap();
    }
    let run = statements.take_run();
    assert_eq!(run.len(), 4);
    assert_eq!(statements.take_cached(), run[..1]);
}

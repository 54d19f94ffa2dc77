//! What one of the two programs writes, the other reads, value for value.

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::{Json, ListEventsRequest, ListSessionsRequest, SessionEvent, SessionPersistDriver};
use proptest::prelude::*;

use crate::common::legacy::{legacy_file, listed, shapes, ways};
use crate::common::model::sort;
use crate::common::records::{some_event, some_session};
use crate::common::{TempDb, fixture_path, lines, reference};

const TEXTS: &[&str] = &[
    r#"{"b":1.0,"a":1e+21,"a":2}"#,
    "[]",
    "{}",
    "0",
    "false",
    r#""""#,
    r#""\ud83d \u0000 \u2028""#,
    "12345678901234567000",
    "{\"ä\" : [1 ,\n2]}",
];

fn database() -> (TempDb, SqliteConnection, rusqlite::Connection) {
    let db = TempDb::ours();
    let plain = db.plain();
    plain.execute_batch("PRAGMA synchronous = OFF").unwrap();
    let conn = db.connect_fast();
    (db, conn, plain)
}

fn sorted(events: &[SessionEvent], session: &str) -> Vec<SessionEvent> {
    // The last of the events with one id counts.
    let mut kept: Vec<SessionEvent> = Vec::new();
    for event in events {
        kept.retain(|other| other.id != event.id);
        kept.push(event.clone());
    }
    kept.retain(|event| event.session_id == session);
    sort(&mut kept);
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_reference_driver_reads_what_is_written_here(
        sessions in prop::collection::vec(some_session(TEXTS), 1..6),
        events in prop::collection::vec(some_event(TEXTS), 1..12),
    ) {
        let (_db, mut conn, plain) = database();
        for session in &sessions {
            conn.update_session(session).unwrap();
            let text = |json: &Option<Json>| json.as_ref().map(|json| json.get().to_owned());
            prop_assert_eq!(reference::get_session(&plain, &session.id), reference::Session {
                texts: [&session.id, &session.agent, &session.agent_session_id, &session.last_connection_id].map(Clone::clone),
                created_at: session.created_at.timestamp_millis() as f64,
                destroyed_at: session.destroyed_at.map(|time| time.timestamp_millis() as f64),
                sandbox_id: session.sandbox_id.clone(),
                session_init: text(&session.session_init),
                config_options: text(&session.config_options),
                modes: text(&session.modes),
            });
        }
        for event in &events {
            conn.insert_event(event).unwrap();
        }
        for session in ["s1", "s2"] {
            let expected: Vec<_> = sorted(&events, session).into_iter().map(|event| (
                event.id, event.event_index as f64, event.created_at.timestamp_millis() as f64, event.connection_id,
                event.sender.to_string(), event.payload.get().to_owned(),
            )).collect();
            prop_assert_eq!(reference::list_events(&plain, session), expected);
        }
        let types = "SELECT DISTINCT typeof(created_at), typeof(event_index), typeof(payload_json) FROM events";
        prop_assert_eq!(lines(&plain, types), ["integer integer text"]);
    }

    #[test]
    fn what_the_reference_driver_writes_is_read_here(
        sessions in prop::collection::vec(some_session(TEXTS), 1..6),
        events in prop::collection::vec(some_event(TEXTS), 1..12),
    ) {
        let (_db, mut conn, plain) = database();
        for session in &sessions {
            reference::update_session(&plain, session);
            prop_assert_eq!(conn.get_session(&session.id).unwrap(), Some(session.clone()));
        }
        let mut listed = conn.list_sessions(&ListSessionsRequest::new()).unwrap().items;
        let reference = lines(&plain, "SELECT id FROM sessions ORDER BY created_at ASC, id ASC");
        prop_assert_eq!(listed.iter().map(|session| session.id.clone()).collect::<Vec<_>>(), reference);
        // Written over from here, nothing of the old row stays.
        if let Some(session) = listed.first_mut() {
            session.modes = None;
            session.destroyed_at = None;
            conn.update_session(session).unwrap();
            let read = reference::get_session(&plain, &session.id);
            prop_assert_eq!((read.modes, read.destroyed_at), (None, None));
        }
        for event in &events {
            reference::insert_event(&plain, event);
        }
        for session in ["s1", "s2"] {
            let page = conn.list_events(&ListEventsRequest::new(session)).unwrap();
            prop_assert_eq!(page.items, sorted(&events, session));
        }
    }
}

#[test]
fn the_reference_driver_finds_nothing_to_do_in_a_migrated_file() {
    let start_up = [reference::SESSIONS, reference::INDEX].concat();
    for shape in shapes() {
        for way in ways() {
            let db = legacy_file(&shape);
            way.go(&db).unwrap();
            let conn = db.plain();
            let everything = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master";
            let (before, kept) = (lines(&conn, everything), listed(&conn));
            assert_eq!(reference::finds_to_do(&conn), [""; 0], "{shape} by {way:?}");
            conn.execute_batch(&start_up).unwrap();
            assert_eq!(lines(&conn, everything), before, "{shape} by {way:?}");
            assert_eq!(listed(&conn), kept, "{shape} by {way:?}");
            let index = "SELECT name FROM pragma_index_info('idx_events_session_order') ORDER BY seqno";
            assert_eq!(lines(&conn, index), ["session_id", "event_index", "id"]);
        }
    }
}

#[test]
fn files_of_published_programs_read_here_as_the_reference_driver_reads_them() {
    for name in ["sdk-0.4.2", "server-0.4.2"] {
        let expected = std::fs::read_to_string(fixture_path(&format!("{name}.expected.json"))).unwrap();
        // The escape of half a character is valid JSON, which a tree of values cannot hold.
        let expected = expected.replace(r"\ud83d", r"\\ud83d");
        let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
        for way in ways() {
            let db = TempDb::fixture(&format!("{name}.db"));
            way.go(&db).unwrap();
            let mut conn = db.connect();
            let sessions = conn.list_sessions(&ListSessionsRequest::new().limit(1000)).unwrap().items;
            let tree = |text: String| -> serde_json::Value {
                serde_json::from_str(&text.replace(r"\ud83d", r"\\ud83d")).unwrap()
            };
            assert_eq!(tree(serde_json::to_string(&sessions).unwrap()), expected["sessions"], "{name} by {way:?}");
            for (session, events) in expected["events"].as_object().unwrap() {
                let found = conn.list_events(&ListEventsRequest::new(session).limit(1000)).unwrap().items;
                assert_eq!(tree(serde_json::to_string(&found).unwrap()), *events, "{name} by {way:?}");
            }
        }
    }
}

//! Proves that databases written by the published server and SDK are read value for value, and that a host's table
//! in the same file stays as it is, whether the embedded migrations open them or the plain SQL does.

use std::collections::BTreeMap;

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::{ListEventsRequest, ListSessionsRequest, SessionEvent, SessionPersistDriver, migrate};
use diesel_migrations::MigrationHarness;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::common::legacy::plain_sql;
use crate::common::{TempDb, fixture_path, rows};

/// What the reference driver returned, with every value as the text it is written as.
#[derive(Deserialize)]
struct Expected {
    sessions: Vec<Box<RawValue>>,
    events: BTreeMap<String, Vec<Box<RawValue>>>,
}

/// JSON without the white space between its tokens, and each token as it is.
fn tokens(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    json.chars()
        .filter(|character| {
            let keep = in_string || !character.is_ascii_whitespace();
            match character {
                '"' if !escaped => in_string = !in_string,
                _ => {}
            }
            escaped = in_string && !escaped && *character == '\\';
            keep
        })
        .collect()
}

/// A way to bring a file to the schema, by name.
type Way = (&'static str, fn(&mut SqliteConnection));

const WAYS: [Way; 2] = [
    ("migrate", |conn| migrate(conn).unwrap()),
    ("diesel migration run", |conn| drop(conn.run_pending_migrations(plain_sql()).unwrap())),
];

fn all_events(conn: &mut SqliteConnection, session_id: &str) -> Vec<SessionEvent> {
    let mut request = ListEventsRequest::new(session_id).limit(7);
    let mut events = Vec::new();
    loop {
        let page = conn.list_events(&request).unwrap();
        events.extend(page.items);
        let Some(cursor) = page.next_cursor else { return events };
        request = request.cursor(cursor);
    }
}

/// Compares everything in the database with what the reference driver returned, as JSON text.
fn assert_holds(conn: &mut SqliteConnection, db: &TempDb, expected: &Expected) {
    let sessions = conn.list_sessions(&ListSessionsRequest::new()).unwrap();
    assert_eq!(sessions.next_cursor, None);
    let found: Vec<_> = sessions.items.iter().map(|session| serde_json::to_string(session).unwrap()).collect();
    let wanted: Vec<_> = expected.sessions.iter().map(|session| tokens(session.get())).collect();
    assert_eq!(found, wanted);

    let mut compared = 0;
    for session in &sessions.items {
        assert_eq!(conn.get_session(&session.id).unwrap().as_ref(), Some(session));
        let events = all_events(conn, &session.id);
        let wanted = expected.events.get(&session.id).map_or(&[][..], Vec::as_slice);
        assert_eq!(events.len(), wanted.len(), "{}", session.id);
        for (event, wanted) in events.iter().zip(wanted) {
            assert_eq!(serde_json::to_string(event).unwrap(), tokens(wanted.get()));
        }
        compared += events.len();
    }
    let [_, stored] = db.counts();
    assert_eq!((compared as u64, compared > 0), (stored, true), "every event was compared");
}

fn check(name: &str) {
    let expected = std::fs::read_to_string(fixture_path(&format!("{name}.expected.json"))).unwrap();
    let expected: Expected = serde_json::from_str(&expected).unwrap();
    let original = std::fs::read(fixture_path(&format!("{name}.db"))).unwrap();
    for (way, bring) in WAYS {
        let db = TempDb::fixture(&format!("{name}.db"));
        let texts = "SELECT id, payload_json FROM events ORDER BY id";
        let before = rows(&db.plain(), texts);
        let mut conn = db.connect();
        bring(&mut conn);
        assert_holds(&mut conn, &db, &expected);
        assert_eq!(rows(&db.plain(), texts), before, "{way}: payloads are the same bytes");

        // Both ways are one: the other then has nothing to do.
        drop(conn);
        let mut conn = db.connect();
        for (_, bring) in WAYS {
            bring(&mut conn);
        }
        assert_holds(&mut conn, &db, &expected);
    }
    assert!(std::fs::read(fixture_path(&format!("{name}.db"))).unwrap() == original, "the fixture is data");
}

#[test]
fn the_server_database_is_read_value_for_value() {
    check("server-0.4.2");
}

#[test]
fn the_sdk_database_is_read_value_for_value() {
    check("sdk-0.4.2");
}

/// What a parser would lose is there, so that the comparison above means something.
#[test]
fn the_fixtures_hold_what_a_parser_would_lose() {
    let db = TempDb::fixture("sdk-0.4.2.db");
    let mut conn = db.migrated();
    let sessions = conn.list_sessions(&ListSessionsRequest::new()).unwrap().items;
    let payloads: Vec<_> = sessions
        .iter()
        .flat_map(|session| all_events(&mut conn, &session.id))
        .map(|event| event.payload.get().to_owned())
        .collect();
    let half = payloads.iter().find(|payload| payload.contains(r#""half of an emoji: \ud83d""#)).unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(half).is_err());
    assert!(payloads.iter().any(|payload| payload.contains(r#""used":12345678901234567000"#)));

    let nulls = conn.get_session("nulls").unwrap().unwrap();
    let init = nulls.session_init.unwrap();
    assert!(init.get().contains(r#""z":1,"a":[1.5,1e+21,12345678901234567000,0,0.1]"#), "{init}");
    assert_eq!(nulls.modes.unwrap().get(), "null");
    assert_eq!(nulls.config_options.unwrap().get(), "[]");
    let plain = conn.get_session("plain").unwrap().unwrap();
    assert_eq!((plain.session_init, plain.config_options, plain.modes), (None, None, None));
}

#[test]
fn the_hosts_table_stays_as_it_is() {
    for (way, bring) in WAYS {
        let db = TempDb::fixture("server-0.4.2.db");
        let look = || {
            let plain = db.plain();
            (
                rows(&plain, "SELECT rowid, * FROM opencode_session_metadata ORDER BY rowid"),
                rows(&plain, "SELECT * FROM sqlite_master WHERE tbl_name = 'opencode_session_metadata' ORDER BY name"),
                rows(&plain, "PRAGMA journal_mode"),
            )
        };
        let before = look();
        assert!(!before.0.is_empty(), "there is something to lose");
        bring(&mut db.connect());
        assert_eq!(look(), before, "{way}");
    }
}

#[test]
fn tokens_are_compared_and_white_space_is_not() {
    assert_eq!(tokens("{\n \"a b\" : [ 1.0 , \"\\\" \\\\\" , \" \" ]\r\n}"), r#"{"a b":[1.0,"\" \\"," "]}"#);
}

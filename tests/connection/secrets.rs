//! Proves that no error quotes what is stored or imported: neither in its message, nor in its causes, nor in the debug
//! form that ends up in a log. Ids are no secrets.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{
    Error, Export, ListEventsRequest, ListSessionsRequest, PruneRequest, Selection, SessionPersistDriver, SessionStore,
};

use crate::common::samples::{HEADER, unplaced};
use crate::common::{TempDb, event, millis, session};

const SECRET: &str = "sk-secret-123";

/// Everything that an error tells anybody.
fn told(error: &Error) -> String {
    let mut told = format!("{error} {error:?} {error:#?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        told += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    told
}

/// What every verb fails with.
fn errors(db: &TempDb) -> Vec<Error> {
    let mut conn = db.connect();
    conn.batch_execute("PRAGMA synchronous = OFF").unwrap();
    let mut errors: Vec<Error> = Vec::new();
    for request in [ListSessionsRequest::new(), ListSessionsRequest::new().live().descending()] {
        errors.extend(conn.list_sessions(&request).err());
    }
    errors.extend(conn.get_session("one").err());
    errors.extend(conn.events(ListEventsRequest::new("one")).filter_map(Result::err));
    errors.extend(conn.events(ListEventsRequest::new("one").descending()).filter_map(Result::err));
    errors.extend(conn.list_events(&ListEventsRequest::new("one").after(-5)).err());
    errors.extend(conn.latest_events("one", 9, None).err());
    errors.extend(conn.last_event_index("one").err());
    errors.extend(conn.append_events("one", &[unplaced(event("e1", "one", 1))]).err());
    errors.extend(conn.append_events_after("one", 99, &[unplaced(event("e9", "one", 1))]).err());
    errors.extend(conn.append_events("two", &[unplaced(event("e1", "one", 1))]).err());
    errors.extend(conn.export(std::io::sink(), Selection::all()).err());
    errors.extend(conn.export(std::io::sink(), Selection::session("one")).err());
    let mut left_out = String::new();
    errors.extend(
        conn.export(std::io::sink(), Export::of(Selection::all()).skip_undecodable(|error| left_out += &told(&error)))
            .err(),
    );
    assert!(!left_out.contains(SECRET), "{left_out}");
    let report = conn.check().unwrap();
    // The sessions that it lists are named by their ids.
    let found = [report.integrity, report.undecodable].concat();
    assert!(found.iter().all(|line| !line.contains(SECRET)), "{found:?}");
    errors.extend(conn.prune(&PruneRequest::new().created_before(millis(0)).dry_run()).err());
    errors.extend(conn.fork_session("one", None, &session("fork")).err());
    errors.extend(conn.fork_session("one", None, &session("one")).err());
    let line = "{\"event\":{\"id\":\"e1\",\"eventIndex\":1,\"sessionId\":\"two\",\"createdAt\":0,\"connectionId\":\"c\",\
        \"sender\":\"agent\",\"payloadJson\":\"1\"}}\n";
    errors.extend(conn.import([HEADER, line].concat().as_bytes()).err());
    drop(conn);
    let store = SessionStore::open(db.path()).unwrap();
    errors.extend(store.events(ListEventsRequest::new("one")).filter_map(Result::err));
    errors.extend(store.get_session("one").err());
    errors
}

#[test]
fn no_error_quotes_what_is_stored() {
    let columns = [
        (
            "sessions",
            "agent agent_session_id last_connection_id created_at destroyed_at sandbox_id session_init_json \
          config_options_json modes_json",
        ),
        ("events", "event_index created_at connection_id sender payload_json session_id"),
    ];
    // As text, as a BLOB, as broken text, in JSON of every kind of brokenness, and as a number.
    let json = |text: &str| format!("'{text}'");
    let values = [
        json(SECRET),
        format!("CAST('{SECRET}' AS BLOB)"),
        format!("CAST(CAST('{SECRET}' AS BLOB) || x'ff' AS TEXT)"),
        json(&format!("{{\"{SECRET}\":}}")),
        json(&format!("[\"{SECRET}\", {SECRET}]")),
        json(&format!("\"{SECRET}")),
        json(&format!("{{\"a\":\"{SECRET}\\x\"}}")),
        "4711.4711".to_owned(),
        "47114711e99".to_owned(),
        "8888888888888888888".to_owned(),
    ];
    let sound = TempDb::ours();
    let mut conn = sound.connect();
    conn.update_session(&session("one")).unwrap();
    conn.insert_events(&[event("e1", "one", 1), event("e2", "one", 2)]).unwrap();
    drop(conn);
    let mut seen = 0;
    for (table, columns) in columns {
        for column in columns.split_whitespace() {
            for value in &values {
                let db = TempDb::copy_of(&sound.path());
                let which = if table == "events" { "e1" } else { "one" };
                let update = format!("UPDATE {table} SET {column} = {value} WHERE id = '{which}'");
                db.plain().execute_batch(&update).unwrap();
                for error in errors(&db) {
                    seen += usize::from(matches!(error, Error::Decode { .. }));
                    let told = told(&error);
                    for secret in [SECRET, "47114711", "4711.4711", "8888888888888888888"] {
                        // An id that is text is one, whatever it says, and an index an index.
                        let is_allowed = match column {
                            "session_id" => error.to_string().contains("is taken by a different event of session"),
                            "event_index" => matches!(error, Error::AppendConflict { .. }),
                            _ => false,
                        };
                        assert!(is_allowed || !told.contains(secret), "{update}: {told}");
                    }
                }
            }
        }
    }
    assert!(seen > 500, "{seen}");
}

/// The lines of an import are content as well.
#[test]
fn no_error_quotes_what_is_imported() {
    let event = "{\"event\":{\"id\":\"e\",\"eventIndex\":1,\"sessionId\":\"s\",\"createdAt\":0,\"connectionId\":\"c\",\
                 \"sender\":\"agent\",\"payloadJson\":\"1\"}}\n";
    let secret = format!("\"{SECRET}\"");
    let replaced = |from: &str, to: &str| {
        assert!(event.contains(from));
        format!("{HEADER}{}", event.replace(from, to))
    };
    for lines in [
        HEADER.replace("agent-session-store", SECRET),
        HEADER.replace("\"version\":1", &format!("\"version\":{secret}")),
        format!("{HEADER}{secret}"),
        format!("{HEADER}{{{secret}:1}}"),
        format!("{HEADER}{SECRET}"),
        format!("{HEADER}[{secret}]"),
        replaced("\"eventIndex\":1", &format!("\"eventIndex\":{secret}")),
        replaced("\"createdAt\":0", &format!("\"createdAt\":{secret}")),
        replaced("\"agent\"", &secret),
        replaced("\"payloadJson\":\"1\"", &format!("\"payloadJson\":\"{SECRET}\"")),
        replaced("\"payloadJson\":\"1\"", &format!("\"payloadJson\":[{secret}]")),
        replaced("\"connectionId\":\"c\"", &format!("\"connectionId\":{{{secret}:{secret}}}")),
        replaced("{\"event\":", &format!("{{{secret}:")),
    ] {
        let error = TempDb::ours().connect().import(lines.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Import { .. }), "{error}");
        assert!(!told(&error).contains(SECRET), "{}", told(&error));
    }
}

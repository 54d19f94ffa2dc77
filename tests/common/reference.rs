//! The reference driver's side: its tables, its statements and its decoding rules, through another library.

use agent_session_store::{Json, SessionEvent, SessionRecord};
use rusqlite::types::Value;

use super::{column, lines};

/// The tables and the index that the reference driver makes when it opens a file.
pub const SESSIONS: &str = "CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, agent TEXT NOT NULL, \
    agent_session_id TEXT NOT NULL, last_connection_id TEXT NOT NULL, created_at INTEGER NOT NULL, \
    destroyed_at INTEGER, sandbox_id TEXT, session_init_json TEXT, config_options_json TEXT, modes_json TEXT);";
pub const EVENTS: &str = "CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, event_index INTEGER NOT NULL, \
    session_id TEXT NOT NULL, created_at INTEGER NOT NULL, connection_id TEXT NOT NULL, sender TEXT NOT NULL, \
    payload_json TEXT NOT NULL);";
pub const INDEX: &str = "CREATE INDEX IF NOT EXISTS idx_events_session_order ON events(session_id, event_index, id);";

/// A record as the reference driver holds it: its JSON decoded from text, or absent.
#[derive(Debug, PartialEq)]
pub struct Session {
    pub texts: [String; 4],
    pub created_at: f64,
    pub destroyed_at: Option<f64>,
    pub sandbox_id: Option<String>,
    pub session_init: Option<String>,
    pub config_options: Option<String>,
    pub modes: Option<String>,
}

/// The reference driver takes an empty text in a JSON column for an absent value.
fn json_or_absent(column: Option<String>) -> Option<String> {
    column.filter(|text| !text.is_empty()).inspect(|text| {
        serde_json::from_str::<&serde_json::value::RawValue>(text).unwrap();
    })
}

/// A number as JavaScript has it.
fn number(value: Value) -> f64 {
    match value {
        Value::Integer(value) => value as f64,
        Value::Real(value) => value,
        other => panic!("{other:?} is no number"),
    }
}

pub fn get_session(conn: &rusqlite::Connection, id: &str) -> Session {
    let sql = "SELECT id, agent, agent_session_id, last_connection_id, created_at, destroyed_at, sandbox_id,
            session_init_json, config_options_json, modes_json
        FROM sessions WHERE id = ?";
    conn.query_row(sql, [id], |row| {
        Ok(Session {
            texts: [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?],
            created_at: number(row.get(4)?),
            destroyed_at: row.get::<_, Option<Value>>(5)?.map(number),
            sandbox_id: row.get(6)?,
            session_init: json_or_absent(row.get(7)?),
            config_options: json_or_absent(row.get(8)?),
            modes: json_or_absent(row.get(9)?),
        })
    })
    .unwrap()
}

/// The rows of a session's events: id, index, time, connection, sender, payload.
pub fn list_events(conn: &rusqlite::Connection, session: &str) -> Vec<(String, f64, f64, String, String, String)> {
    let sql = "SELECT id, event_index, created_at, connection_id, sender, payload_json
        FROM events WHERE session_id = ? ORDER BY event_index ASC, id ASC LIMIT ? OFFSET ?";
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map((session, 1000.0, 0.0), |row| {
        Ok((row.get(0)?, number(row.get(1)?), number(row.get(2)?), row.get(3)?, row.get(4)?, row.get(5)?))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

pub fn update_session(conn: &rusqlite::Connection, session: &SessionRecord) {
    let text = |json: &Option<Json>| json.as_ref().map(|json| json.get().to_owned());
    // What is null there counts as absent; only modes tells the two apart.
    let unless_null = |json: &Option<Json>| text(json).filter(|text| text != "null");
    conn.execute(
        "INSERT INTO sessions (
             id, agent, agent_session_id, last_connection_id, created_at, destroyed_at, sandbox_id,
             session_init_json, config_options_json, modes_json
         ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT(id) DO UPDATE SET agent = excluded.agent, agent_session_id = excluded.agent_session_id,
             last_connection_id = excluded.last_connection_id, created_at = excluded.created_at,
             destroyed_at = excluded.destroyed_at, sandbox_id = excluded.sandbox_id,
             session_init_json = excluded.session_init_json, config_options_json = excluded.config_options_json,
             modes_json = excluded.modes_json",
        (
            &session.id,
            &session.agent,
            &session.agent_session_id,
            &session.last_connection_id,
            // JavaScript has no integers; every number arrives as a double.
            session.created_at.timestamp_millis() as f64,
            session.destroyed_at.map(|time| time.timestamp_millis() as f64),
            &session.sandbox_id,
            unless_null(&session.session_init),
            unless_null(&session.config_options),
            text(&session.modes),
        ),
    )
    .unwrap();
}

pub fn insert_event(conn: &rusqlite::Connection, event: &SessionEvent) {
    conn.execute(
        "INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, payload_json)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT(id) DO UPDATE SET event_index = excluded.event_index, session_id = excluded.session_id,
             created_at = excluded.created_at, connection_id = excluded.connection_id, sender = excluded.sender,
             payload_json = excluded.payload_json",
        (
            &event.id,
            event.event_index as f64,
            &event.session_id,
            event.created_at.timestamp_millis() as f64,
            &event.connection_id,
            event.sender.as_str(),
            event.payload.get(),
        ),
    )
    .unwrap();
}

/// What the reference driver looks at when it opens a file, and would change.
pub fn finds_to_do(conn: &rusqlite::Connection) -> Vec<&'static str> {
    let columns = |table: &str| column::<String>(conn, &format!("SELECT name FROM pragma_table_info('{table}')"));
    let (sessions, events) = (columns("sessions"), columns("events"));
    let mut to_do = Vec::new();
    for column in ["sandbox_id", "config_options_json", "modes_json"] {
        if !sessions.iter().any(|name| name == column) {
            to_do.push(column);
        }
    }
    if !events.iter().any(|name| name == "event_index") {
        to_do.push("event_index");
    }
    if lines(conn, "SELECT upper(trim(type)) FROM pragma_table_info('events') WHERE name = 'id'") != ["TEXT"] {
        to_do.push("the type of events.id");
    }
    to_do
}

//! Sample rows, and where the fixtures are.

use std::path::{Path, PathBuf};

use agent_session_store::{Json, NewEvent, Sender, SessionEvent, SessionRecord};
use chrono::DateTime;

pub fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The first line of an export.
pub const HEADER: &str = "{\"format\":\"agent-session-store\",\"version\":1}\n";

pub fn millis(value: i64) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp_millis(value).unwrap()
}

/// Later than any row of these tests.
pub fn far_future() -> DateTime<chrono::Utc> {
    millis(i64::MAX >> 12)
}

pub fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

/// A session with every field filled.
pub fn session(id: &str) -> SessionRecord {
    with!(SessionRecord::new(id, "claude", format!("agent-{id}"), "connection-1", millis(1_700_000_000_000)), destroyed_at: Some(millis(1_700_000_000_999)), sandbox_id: Some("sandbox-1".to_owned()), session_init: Some(json(r#"{"cwd":"/srv/app","mcpServers":[]}"#)), config_options: Some(json("[]")), modes: Some(json(r#"{"currentModeId":"plan"}"#)))
}

/// A session with no field filled that may be absent.
pub fn bare_session(id: &str) -> SessionRecord {
    with!(session(id), destroyed_at: None, sandbox_id: None, session_init: None, config_options: None, modes: None)
}

pub fn event(id: &str, session_id: &str, event_index: i64) -> SessionEvent {
    SessionEvent::new(
        id,
        event_index,
        session_id,
        millis(1_700_000_000_000 + event_index),
        "connection-1",
        if event_index % 2 == 0 { Sender::Agent } else { Sender::Client },
        json(&format!(r#"{{"jsonrpc":"2.0","id":{event_index},"method":"session/prompt"}}"#)),
    )
}

/// An event to append, which says who it is.
pub fn new_event(id: &str) -> NewEvent {
    NewEvent::new(
        id,
        millis(1_700_000_000_000),
        "connection-1",
        Sender::Agent,
        json(&format!(r#"{{"id": "{}"}}"#, id.escape_default())),
    )
}

/// The same event, before it had a session and an index.
pub fn unplaced(event: SessionEvent) -> NewEvent {
    let SessionEvent { id, created_at, connection_id, sender, payload, .. } = event;
    NewEvent::new(id, created_at, connection_id, sender, payload)
}

/// What a new event becomes when it is appended.
pub fn placed(new: &NewEvent, session_id: &str, event_index: i64) -> SessionEvent {
    let NewEvent { id, created_at, connection_id, sender, payload, .. } = new.clone();
    SessionEvent::new(id, event_index, session_id, created_at, connection_id, sender, payload)
}

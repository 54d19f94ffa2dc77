//! Temporary databases and sample rows, shared by the tests.
#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::{Path, PathBuf};

use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Json, Sender, SessionEvent, SessionRecord, migrate};
use chrono::DateTime;
use tempfile::TempDir;

/// A folder with the path of a database in it, which may not exist yet. No connection is held open.
pub struct TempDb {
    folder: TempDir,
}

impl TempDb {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    /// A copy of a database from `tests/fixtures/`.
    pub fn fixture(name: &str) -> Self {
        let db = Self::new();
        std::fs::copy(fixture_path(name), db.path()).unwrap();
        db
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("sessions.db")
    }

    /// A Diesel connection, as it comes.
    pub fn connect(&self) -> SqliteConnection {
        SqliteConnection::establish(self.path().to_str().unwrap()).unwrap()
    }

    /// A Diesel connection to the migrated database.
    pub fn migrated(&self) -> SqliteConnection {
        let mut conn = self.connect();
        migrate(&mut conn).unwrap();
        conn
    }

    /// A connection through another library, for what the reference driver would do and see.
    pub fn plain(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

pub fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub fn millis(value: i64) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp_millis(value).unwrap()
}

pub fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

/// A session with every field filled.
pub fn session(id: &str) -> SessionRecord {
    SessionRecord {
        id: id.to_owned(),
        agent: "claude".to_owned(),
        agent_session_id: format!("agent-{id}"),
        last_connection_id: "connection-1".to_owned(),
        created_at: millis(1_700_000_000_000),
        destroyed_at: Some(millis(1_700_000_000_999)),
        sandbox_id: Some("sandbox-1".to_owned()),
        session_init: Some(json(r#"{"cwd":"/srv/app","mcpServers":[]}"#)),
        config_options: Some(json("[]")),
        modes: Some(json(r#"{"currentModeId":"plan"}"#)),
    }
}

pub fn event(id: &str, session_id: &str, event_index: i64) -> SessionEvent {
    SessionEvent {
        id: id.to_owned(),
        event_index,
        session_id: session_id.to_owned(),
        created_at: millis(1_700_000_000_000 + event_index),
        connection_id: "connection-1".to_owned(),
        sender: if event_index % 2 == 0 { Sender::Agent } else { Sender::Client },
        payload: json(&format!(r#"{{"jsonrpc":"2.0","id":{event_index},"method":"session/prompt"}}"#)),
    }
}

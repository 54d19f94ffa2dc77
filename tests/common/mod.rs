//! Temporary databases and sample rows, shared by the tests.
#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

#[cfg(unix)]
pub mod faults;
pub mod watch;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_session_store::diesel::connection::InstrumentationEvent;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{
    Json, ListSessionsRequest, Sender, SessionEvent, SessionPersistDriver, SessionRecord, SessionStore, migrate,
};
use chrono::DateTime;
use rusqlite::types::ValueRef;
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

impl TempDb {
    /// Everything in the folder, byte for byte: whether anything was written.
    pub fn bytes(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = std::fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let bytes = if path.is_dir() { Vec::new() } else { std::fs::read(&path).unwrap() };
                (name, bytes)
            })
            .collect();
        files.sort();
        files
    }
}

/// What Diesel reports about the statements of a connection.
#[derive(Clone, Default)]
pub struct Statements(Arc<Mutex<(Vec<String>, Vec<String>)>>);

impl Statements {
    /// Listens to the connection from now on.
    pub fn of(conn: &mut SqliteConnection) -> Self {
        let statements = Self::default();
        let heard = statements.clone();
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            let mut heard = heard.0.lock().unwrap();
            match event {
                InstrumentationEvent::StartQuery { query, .. } => {
                    let text = query.to_string();
                    let sql = text.split_once(" -- binds:").map_or(&*text, |(sql, _)| sql);
                    heard.0.push(sql.trim().to_owned());
                }
                InstrumentationEvent::CacheQuery { sql, .. } => heard.1.push(sql.to_owned()),
                _ => {}
            }
        });
        statements
    }

    /// The SQL of what ran since this was asked last.
    pub fn take_run(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().0)
    }

    /// The SQL of what was prepared and kept in the connection's cache since this was asked last.
    pub fn take_cached(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

impl TempDb {
    /// The ids of all events, sorted, as another library sees them.
    pub fn event_ids(&self) -> Vec<String> {
        event_ids(&self.path())
    }
}

/// The ids of all events in a file, sorted, as another library sees them; the file must be sound.
pub fn event_ids(path: &Path) -> Vec<String> {
    let conn = rusqlite::Connection::open(path).unwrap();
    let check: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let mut statement = conn.prepare("SELECT id FROM events ORDER BY id").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Keeps panics that say this out of the output.
pub fn hush(message: &'static str) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.to_string().contains(message) {
            before(panic);
        }
    }));
}

const TASK: &str = "AGENT_SESSION_STORE_TEST_TASK";

/// This program once more, to run one test of it as a process of its own.
pub fn child(test: &str, task: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(TASK, task);
    command
}

/// What the child is to do; nothing if this process is none.
pub fn task() -> Option<Vec<String>> {
    Some(std::env::var(TASK).ok()?.split('|').map(str::to_owned).collect())
}

/// Every row of a query, each value in the form of a literal of its type, through a connection of another library.
pub fn rows(conn: &rusqlite::Connection, sql: &str) -> Vec<Vec<String>> {
    let mut statement = conn.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows =
        statement.query_map([], |row| Ok((0..columns).map(|column| shown(row.get_ref_unwrap(column))).collect()));
    rows.unwrap().map(Result::unwrap).collect()
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => format!("{value:?}"),
        ValueRef::Text(bytes) => format!("'{}'", bytes.escape_ascii()),
        ValueRef::Blob(bytes) => format!("x'{}'", bytes.escape_ascii()),
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

/// Another connection takes the lock before this statement runs for the time given, and keeps it.
fn locked_before(db: &TempDb, statement: &'static str, time: usize) -> impl FnMut(&str) + use<> {
    let (path, mut left, mut lock) = (db.path(), time, None);
    move |sql| {
        if sql == statement {
            left = left.saturating_sub(1);
            if left == 0 && lock.is_none() {
                let other = rusqlite::Connection::open(&path).unwrap();
                other.execute_batch("BEGIN IMMEDIATE").unwrap();
                lock = Some(other);
            }
        }
    }
}

/// A store that waits for 10 ms, and finds the lock held from such a statement of its own on.
pub fn store_locked_before(db: &TempDb, statement: &'static str, time: usize) -> SessionStore {
    let (look, is_open) = (Mutex::new(locked_before(db, statement, time)), Arc::new(AtomicBool::new(false)));
    let is_opened = Arc::clone(&is_open);
    watch::Watch::with_hook(db, move |moment, sql| {
        if moment == watch::Moment::Start && is_opened.load(Ordering::Relaxed) {
            look.lock().unwrap()(sql);
        }
    });
    let store = SessionStore::builder().busy_timeout(Duration::from_millis(10)).open(db.path()).unwrap();
    is_open.store(true, Ordering::Relaxed);
    store
}

/// The same as a connection, which does not wait.
pub fn connection_locked_before(db: &TempDb, statement: &'static str, time: usize) -> SqliteConnection {
    let (mut conn, mut look) = (db.connect(), locked_before(db, statement, time));
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            look(&query.to_string());
        }
    });
    conn
}

/// The ids on all pages of a listing, each page by the text of its cursor.
pub fn walk_sessions(conn: &mut SqliteConnection, mut request: ListSessionsRequest) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = conn.list_sessions(&request).unwrap();
        ids.extend(page.items.into_iter().map(|session| session.id));
        let Some(cursor) = page.next_cursor else { return ids };
        request = request.cursor(cursor.to_string().parse().unwrap());
    }
}

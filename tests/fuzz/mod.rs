//! What the fuzz targets of `fuzz/` do with the bytes they are given. The ordinary tests in `connection/fuzz_corpus.rs`
//! run the same functions on what was found, and on random bytes.
#![allow(dead_code, reason = "every target uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a target that cannot set itself up has failed")]

pub mod columns;
pub mod cursor;
pub mod database;
pub mod import;
pub mod legacy;

use std::cell::RefCell;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::prelude::*;
use agent_session_store::diesel::sql_types::Text;
use agent_session_store::diesel::{self, SqliteConnection};
use agent_session_store::{Error, Json, Selection, Sender, SessionEvent, SessionPersistDriver, SessionRecord, migrate};

/// A target: its name, and what it does with bytes. It panics where something is wrong.
pub type Target = (&'static str, fn(&[u8]));

pub const TARGETS: [Target; 5] = [
    ("cursor", cursor::run),
    ("import", import::run),
    ("columns", columns::run),
    ("legacy", legacy::run),
    ("database", database::run),
];

/// Choices made by bytes; where they have run out, the first choice.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn is_left(&self) -> bool {
        !self.0.is_empty()
    }
}

fn in_memory() -> SqliteConnection {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    migrate(&mut conn).unwrap();
    conn
}

thread_local! {
    static TWO: RefCell<(SqliteConnection, SqliteConnection)> = RefCell::new((in_memory(), in_memory()));
}

/// Two empty databases. Making one takes longer than most inputs do.
fn with_two(work: impl FnOnce(&mut SqliteConnection, &mut SqliteConnection)) {
    TWO.with_borrow_mut(|(one, other)| {
        empty(one);
        empty(other);
        work(one, other);
    });
}

fn empty(conn: &mut SqliteConnection) {
    execute(conn, "DELETE FROM sessions; DELETE FROM events");
}

fn session(id: &str, created_at: i64) -> SessionRecord {
    let created_at = chrono::DateTime::from_timestamp_millis(created_at).unwrap();
    let mut session = SessionRecord::new(id, "claude", "a", "c", created_at);
    session.session_init = Some(Json::parse("{}").unwrap());
    session
}

fn event(id: &str, session_id: &str, event_index: i64) -> SessionEvent {
    SessionEvent::new(
        id,
        event_index,
        session_id,
        Default::default(),
        "c",
        Sender::Agent,
        Json::parse(format!("[{event_index}]")).unwrap(),
    )
}

fn exported(conn: &mut SqliteConnection) -> Result<Vec<u8>, Error> {
    let mut lines = Vec::new();
    conn.export(&mut lines, Selection::all())?;
    Ok(lines)
}

/// Everything that an error says, causes included.
fn message(error: &Error) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message += &format!(" / {error}");
        cause = error.source();
    }
    message
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// The rows of a query with one column, `line`.
fn lines(conn: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let lines: Vec<Line> = diesel::sql_query(sql).load(conn).unwrap();
    lines.into_iter().map(|line| line.line).collect()
}

fn execute(conn: &mut SqliteConnection, sql: &str) {
    conn.batch_execute(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
}

//! The events of one session, between being read and being written: in memory, or in a file if they are many.

use std::collections::VecDeque;
use std::io;

use diesel::connection::{DefaultLoadingMode, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::lines::wrong_line;
use crate::error::{Error, Result};
use crate::event::{Sender, SessionEvent};
use crate::json::Json;
use crate::statement::statement;

/// What of a session is kept in memory at most, unless that is one event.
const MEMORY_BYTES: usize = 2 << 20;
/// What an event takes beside its texts, in memory as in the database.
const EVENT_BYTES: usize = 64;

/// An event with the number of its line.
pub(super) type Numbered = (u64, SessionEvent);

/// About what an event takes.
pub(super) fn bytes(event: &SessionEvent) -> usize {
    EVENT_BYTES + event.id.len() + event.connection_id.len() + event.payload.get().len()
}

/// They come out in the order in which they went in.
pub(super) struct Spool {
    session_id: String,
    memory: VecDeque<Numbered>,
    memory_bytes: usize,
    file: Option<File>,
    events: usize,
    bytes: usize,
    taken: usize,
}

/// A database of SQLite's own making: in a temporary file without a name that is gone when it is closed.
struct File {
    conn: SqliteConnection,
    /// How many were taken out again.
    taken: i64,
}

statement! {
    Keep {
        line: i64, id: &'a str, event_index: i64, created_at: i64, connection_id: &'a str, sender: &'a str,
        payload: &'a str,
    },
    "INSERT INTO events (line, id, event_index, session_id, created_at, connection_id, sender, payload) VALUES ("
    { line as BigInt } ", " { id as Text } ", " { event_index as BigInt } ", " { session_id as Text } ", "
    { created_at as BigInt } ", " { connection_id as Text } ", " { sender as Text } ", " { payload as Text } ")"
}

type Row = (BigInt, BigInt, Text, BigInt, BigInt, Text, Text, Text);
type FoundRow = (i64, i64, String, i64, i64, String, String, String);

statement! {
    Kept { after: i64 } -> Row,
    "SELECT place, line, id, event_index, created_at, connection_id, sender, payload FROM events WHERE place > "
    { after as BigInt } " AND session_id = " { session_id as Text } " ORDER BY place"
}

statement! {
    KeptIds { after: i64 } -> (BigInt, BigInt, Text),
    "SELECT place, line, id FROM events WHERE place > "
    { after as BigInt } " AND session_id = " { session_id as Text } " ORDER BY place"
}

impl Spool {
    pub(super) fn new(session_id: String) -> Self {
        Self { session_id, memory: VecDeque::new(), memory_bytes: 0, file: None, events: 0, bytes: 0, taken: 0 }
    }

    pub(super) fn session_id(&self) -> &str {
        &self.session_id
    }

    /// How many events there are, those that were taken out included.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    /// Whether all of them were taken out.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.events
    }

    /// About what they take, those that were taken out included.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, line: u64, event: SessionEvent) -> Result<()> {
        self.events += 1;
        self.bytes += bytes(&event);
        self.memory_bytes += bytes(&event);
        self.memory.push_back((line, event));
        if self.memory_bytes <= MEMORY_BYTES {
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(File::new().map_err(out_of_place)?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        self.memory_bytes = 0;
        self.memory.drain(..).try_for_each(|(line, event)| file.keep(line, &event))
    }

    /// Takes some of them out, up to so many and so much, but one at least; none when all are out.
    pub(super) fn take(&mut self, events: usize, most_bytes: usize) -> Result<Vec<Numbered>> {
        let taken = self.take_next(events, most_bytes)?;
        self.taken += taken.len();
        Ok(taken)
    }

    fn take_next(&mut self, events: usize, most_bytes: usize) -> Result<Vec<Numbered>> {
        let mut taken = Vec::new();
        let mut size = 0;
        if let Some(file) = &mut self.file {
            let session_id = &*self.session_id;
            let rows = Kept { after: file.taken, session_id };
            let rows = rows.load_iter::<FoundRow, DefaultLoadingMode>(&mut file.conn).map_err(Error::from);
            for row in rows.map_err(out_of_place)? {
                let (place, line, event) = restored(row?, session_id)?;
                size += bytes(&event);
                if !taken.is_empty() && (taken.len() >= events || size > most_bytes) {
                    return Ok(taken);
                }
                taken.push((line, event));
                file.taken = place;
            }
        }
        while let Some((_, event)) = self.memory.front() {
            size += bytes(event);
            if !taken.is_empty() && (taken.len() >= events || size > most_bytes) {
                break;
            }
            taken.extend(self.memory.pop_front());
        }
        Ok(taken)
    }

    /// The lines and ids of all that are in it, some at a time.
    pub(super) fn ids(&mut self, chunk: usize, mut work: impl FnMut(&[(u64, String)]) -> Result<()>) -> Result<()> {
        if let Some(file) = &mut self.file {
            let mut after = file.taken;
            loop {
                let rows = KeptIds { after, session_id: &self.session_id };
                let rows = rows.load_iter::<(i64, i64, String), DefaultLoadingMode>(&mut file.conn);
                let rows: QueryResult<Vec<_>> = rows.map_err(Error::from).map_err(out_of_place)?.take(chunk).collect();
                let rows = rows?;
                let Some(last) = rows.last() else { break };
                after = last.0;
                work(&rows.into_iter().map(|(_, line, id)| (line as u64, id)).collect::<Vec<_>>())?;
            }
        }
        let (first, second) = self.memory.as_slices();
        let ids: Vec<_> = first.iter().chain(second).map(|(line, event)| (*line, event.id.clone())).collect();
        ids.chunks(chunk).try_for_each(work)
    }
}

impl File {
    fn new() -> Result<Self> {
        let establish = |source| Error::Open { path: String::new(), source };
        let mut conn = SqliteConnection::establish("").map_err(establish)?;
        conn.batch_execute(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN; \
             CREATE TABLE events (place INTEGER PRIMARY KEY, line INTEGER, id TEXT, event_index INTEGER, \
                 session_id TEXT, created_at INTEGER, connection_id TEXT, sender TEXT, payload TEXT)",
        )?;
        Ok(Self { conn, taken: 0 })
    }

    fn keep(&mut self, line: u64, event: &SessionEvent) -> Result<()> {
        let kept = Keep {
            line: line as i64,
            id: &event.id,
            event_index: event.event_index,
            session_id: &event.session_id,
            created_at: event.created_at.timestamp_millis(),
            connection_id: &event.connection_id,
            sender: event.sender.as_str(),
            payload: event.payload.get(),
        };
        let kept = kept.execute(&mut self.conn).map_err(Error::from);
        kept.map(drop).map_err(|error| match error {
            // The database could not hold it either.
            Error::Database { source } if source.to_string() == "string or blob too big" => wrong_line(line, source),
            error => out_of_place(error),
        })
    }
}

fn restored(row: FoundRow, session_id: &str) -> Result<(i64, u64, SessionEvent)> {
    let (place, line, id, event_index, created_at, connection_id, sender, payload) = row;
    let unknown = |error: crate::event::UnknownSender| out_of_place(Error::Io { source: io::Error::other(error) });
    let event = SessionEvent {
        id,
        event_index,
        session_id: session_id.to_owned(),
        created_at: chrono::DateTime::from_timestamp_millis(created_at).unwrap_or_default(),
        connection_id,
        sender: sender.parse::<Sender>().map_err(unknown)?,
        payload: Json::parse(payload)?,
    };
    Ok((place, line as u64, event))
}

/// What is wrong with the temporary file is nothing that is wrong with the database.
fn out_of_place(error: Error) -> Error {
    let kind = match &error {
        Error::DiskFull { .. } => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    Error::Io { source: io::Error::new(kind, format!("the temporary file of an import: {error}")) }
}

//! Getting data out and in: JSON Lines, and whole files.
//!
//! The format, one JSON object a line:
//!
//! ```text
//! {"format":"agent-session-store","version":1}
//! {"session":{"id":"s","agent":"claude",…,"createdAt":1700000000000,"modesJson":"null","events":1}}
//! {"event":{"id":"e","eventIndex":1,"sessionId":"s",…,"payloadJson":"{\"jsonrpc\":\"2.0\"}"}}
//! ```
//!
//! A session's record comes before its events, these in order, and says how many there are, so that a file which was cut
//! short is noticed; a session without a record has events only. The JSON
//! columns are strings here: so they come back byte for byte, white space and line breaks included, whatever reads
//! and writes the lines in between.

use std::io::{BufRead, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::event::{self, Sender, SessionEvent};
use crate::json::Json;
use crate::page::ListPage;
use crate::pragma;
use crate::request::{ListEventsRequest, ListSessionsRequest};
use crate::session::{self, SessionRecord};
use crate::transaction;

const FORMAT: &str = "agent-session-store";
const VERSION: u32 = 1;

/// Which sessions to export.
///
/// ```
/// use agent_session_store::{ListSessionsRequest, Selection};
///
/// let everything = Selection::all();
/// let one = Selection::session("session-1");
/// let some = Selection::matching(ListSessionsRequest::new().agent("claude").destroyed());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Selection(Selected);

#[derive(Clone, Debug, PartialEq)]
enum Selected {
    All,
    One(String),
    Matching(ListSessionsRequest),
}

impl Selection {
    /// Every session, those that have events and no record included.
    ///
    /// ```
    /// # use agent_session_store::Selection;
    /// let selection = Selection::all();
    /// ```
    pub fn all() -> Self {
        Self(Selected::All)
    }

    /// The session with this id.
    ///
    /// ```
    /// # use agent_session_store::Selection;
    /// let selection = Selection::session("session-1");
    /// ```
    pub fn session(id: impl Into<String>) -> Self {
        Self(Selected::One(id.into()))
    }

    /// The sessions on all pages of a listing. Its limit is the size of the pages that are read.
    ///
    /// ```
    /// # use agent_session_store::{ListSessionsRequest, Selection};
    /// let selection = Selection::matching(ListSessionsRequest::new().live());
    /// ```
    pub fn matching(request: ListSessionsRequest) -> Self {
        Self(Selected::Matching(request))
    }
}

/// How much has been exported or imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Sessions: records, and those that have events only.
    pub sessions: u64,
    /// Events.
    pub events: u64,
}

/// What a progress callback is called after: this many events, and every session.
const EVENTS_PER_CALL: u64 = 1_000;

/// What an export reads at a time, so that large payloads do not make it large.
const PAGE_EVENTS: u32 = 1_000;
const PAGE_BYTES: usize = 1_000_000;
/// What its writer gets at a time.
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Session(SessionLine),
    Event(EventLine),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionLine {
    id: String,
    agent: String,
    agent_session_id: String,
    last_connection_id: String,
    #[serde(with = "crate::time::millis")]
    created_at: DateTime<Utc>,
    #[serde(default, with = "crate::time::optional_millis", skip_serializing_if = "Option::is_none")]
    destroyed_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sandbox_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_init_json: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config_options_json: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modes_json: Option<String>,
    /// How many of its events follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventLine {
    id: String,
    event_index: i64,
    session_id: String,
    #[serde(with = "crate::time::millis")]
    created_at: DateTime<Utc>,
    connection_id: String,
    sender: Sender,
    payload_json: String,
}

impl From<SessionRecord> for SessionLine {
    fn from(session: SessionRecord) -> Self {
        let text = |json: Option<Json>| json.map(Json::into_text);
        Self {
            id: session.id,
            agent: session.agent,
            agent_session_id: session.agent_session_id,
            last_connection_id: session.last_connection_id,
            created_at: session.created_at,
            destroyed_at: session.destroyed_at,
            sandbox_id: session.sandbox_id,
            session_init_json: text(session.session_init),
            config_options_json: text(session.config_options),
            modes_json: text(session.modes),
            events: None,
        }
    }
}

impl TryFrom<SessionLine> for SessionRecord {
    type Error = Error;

    fn try_from(line: SessionLine) -> Result<Self> {
        let json = |text: Option<String>| text.map(Json::parse).transpose();
        Ok(Self {
            id: line.id,
            agent: line.agent,
            agent_session_id: line.agent_session_id,
            last_connection_id: line.last_connection_id,
            created_at: line.created_at,
            destroyed_at: line.destroyed_at,
            sandbox_id: line.sandbox_id,
            session_init: json(line.session_init_json)?,
            config_options: json(line.config_options_json)?,
            modes: json(line.modes_json)?,
        })
    }
}

impl From<SessionEvent> for EventLine {
    fn from(event: SessionEvent) -> Self {
        Self {
            id: event.id,
            event_index: event.event_index,
            session_id: event.session_id,
            created_at: event.created_at,
            connection_id: event.connection_id,
            sender: event.sender,
            payload_json: event.payload.into_text(),
        }
    }
}

impl TryFrom<EventLine> for SessionEvent {
    type Error = Error;

    fn try_from(line: EventLine) -> Result<Self> {
        Ok(Self {
            id: line.id,
            event_index: line.event_index,
            session_id: line.session_id,
            created_at: line.created_at,
            connection_id: line.connection_id,
            sender: line.sender,
            payload: Json::parse(line.payload_json)?,
        })
    }
}

// ---- out ----

struct Export<'a, W> {
    writer: W,
    /// Lines that the writer does not have yet.
    text: Vec<u8>,
    progress: Progress,
    report: &'a mut dyn FnMut(Progress),
}

/// Writes the selection, as it is at one moment, page by page.
pub(crate) fn export<W: Write>(
    conn: &mut SqliteConnection,
    writer: W,
    selection: &Selection,
    report: &mut dyn FnMut(Progress),
) -> Result<Progress> {
    transaction::reading(conn, |conn| {
        let mut export = Export { writer, text: Vec::new(), progress: Progress::default(), report };
        export.line(&Header { format: FORMAT.to_owned(), version: VERSION })?;
        match &selection.0 {
            Selected::All => {
                export.sessions(conn, ListSessionsRequest::new())?;
                export.without_record(conn)?;
            }
            Selected::One(id) => {
                let record = session::get(conn, id)?;
                export.session(conn, id, record)?;
            }
            Selected::Matching(request) => export.sessions(conn, request.clone())?,
        }
        export.hand_over()?;
        export.writer.flush()?;
        Ok(export.progress)
    })
}

impl<W: Write> Export<'_, W> {
    fn line<T: Serialize>(&mut self, line: &T) -> Result<()> {
        serde_json::to_writer(&mut self.text, line).map_err(std::io::Error::from)?;
        self.text.push(b'\n');
        if self.text.len() < CHUNK_BYTES { Ok(()) } else { self.hand_over() }
    }

    fn hand_over(&mut self) -> Result<()> {
        self.writer.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }

    fn sessions(&mut self, conn: &mut SqliteConnection, mut request: ListSessionsRequest) -> Result<()> {
        loop {
            let page = session::list(conn, &request)?;
            for session in page.items {
                let id = session.id.clone();
                self.session(conn, &id, Some(session))?;
            }
            let Some(cursor) = page.next_cursor else { return Ok(()) };
            request = request.cursor(cursor);
        }
    }

    /// One id at a time, each a seek, so that their number does not matter.
    fn without_record(&mut self, conn: &mut SqliteConnection) -> Result<()> {
        let mut next = event::first_session_after(conn, None)?;
        while let Some(id) = next {
            if session::get(conn, &id)?.is_none() {
                self.session(conn, &id, None)?;
            }
            next = event::first_session_after(conn, Some(&id))?;
        }
        Ok(())
    }

    fn session(&mut self, conn: &mut SqliteConnection, id: &str, record: Option<SessionRecord>) -> Result<()> {
        let is_known = record.is_some();
        if let Some(record) = record {
            let events = Some(event::count(conn, id)?);
            self.line(&Line::Session(SessionLine { events, ..record.into() }))?;
        }
        let mut request = ListEventsRequest::new(id).limit(PAGE_EVENTS).max_bytes(PAGE_BYTES);
        let before = self.progress.events;
        loop {
            let ListPage { items, next_cursor } = event::list(conn, &request)?;
            for event in items {
                self.line(&Line::Event(event.into()))?;
                self.progress.events += 1;
                if self.progress.events.is_multiple_of(EVENTS_PER_CALL) {
                    (self.report)(self.progress);
                }
            }
            let Some(cursor) = next_cursor else { break };
            request = request.cursor(cursor);
        }
        if is_known || self.progress.events > before {
            self.progress.sessions += 1;
            (self.report)(self.progress);
        }
        Ok(())
    }
}

// ---- in ----

/// An import, session by session.
pub(crate) struct Import<R> {
    reader: R,
    /// The number of the line that was read last.
    line: u64,
    /// A line that was read and not used yet, or why it could not be.
    next: Option<Result<Line>>,
    pub(crate) progress: Progress,
}

impl<R: BufRead> Import<R> {
    pub(crate) fn new(reader: R) -> Result<Self> {
        let mut import = Self { reader, line: 0, next: None, progress: Progress::default() };
        let header: Option<Header> = import.read()?;
        match header {
            Some(header) if header.format == FORMAT && header.version == VERSION => {}
            Some(Header { format, version }) => {
                return Err(
                    import.error(format!("it says {format:?} version {version}, not {FORMAT:?} version {VERSION}"))
                );
            }
            None => return Err(import.error("there is no header")),
        }
        import.next = import.read().transpose();
        Ok(import)
    }

    /// The next line that is not blank.
    fn read<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let mut text = Vec::new();
        loop {
            text.clear();
            if self.reader.read_until(b'\n', &mut text)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if !text.trim_ascii().is_empty() {
                return serde_json::from_slice(&text).map(Some).map_err(|error| self.error(error));
            }
        }
    }

    fn error(&self, source: impl Into<crate::error::Cause>) -> Error {
        // An empty file lacks its first line.
        Error::Import { line: self.line.max(1), source: source.into() }
    }

    /// Brings in one session, all or nothing. Says whether there was one.
    pub(crate) fn session(&mut self, conn: &mut SqliteConnection, report: &mut dyn FnMut(Progress)) -> Result<bool> {
        let before = self.progress;
        let result = transaction::atomically(conn, |conn| self.session_lines(conn, report));
        match result {
            Ok(true) => report(self.progress),
            Ok(false) => {}
            Err(_) => self.progress = before,
        }
        result
    }

    fn session_lines(&mut self, conn: &mut SqliteConnection, report: &mut dyn FnMut(Progress)) -> Result<bool> {
        let (id, announced) = match self.next.take().transpose()? {
            None => return Ok(false),
            Some(Line::Session(line)) => {
                let of_session = (line.id.clone(), line.events);
                SessionRecord::try_from(line)
                    .and_then(|record| session::restore(conn, &record))
                    .map_err(|error| self.about_line(error))?;
                self.next = self.read().transpose();
                of_session
            }
            Some(Line::Event(line)) => {
                let of_session = (line.session_id.clone(), None);
                self.next = Some(Ok(Line::Event(line)));
                of_session
            }
        };
        self.progress.sessions += 1;
        let before = self.progress.events;
        loop {
            let found = self.progress.events - before;
            match self.next.take() {
                Some(Ok(Line::Event(line))) if line.session_id == id => {
                    SessionEvent::try_from(line)
                        .and_then(|event| event::restore(conn, &event))
                        .map_err(|error| self.about_line(error))?;
                }
                // It may be one of this session's, unless those are all there.
                Some(Err(error)) if announced != Some(found) => return Err(error),
                next => {
                    self.next = next;
                    return match announced {
                        Some(events) if events != found => {
                            Err(self.error(format!("session {id:?} has {found} of its {events} events")))
                        }
                        _ => Ok(true),
                    };
                }
            }
            self.progress.events += 1;
            if self.progress.events.is_multiple_of(EVENTS_PER_CALL) {
                report(self.progress);
            }
            self.next = self.read().transpose();
        }
    }

    /// What a line holds is that line's error; the state of the database is not.
    fn about_line(&self, error: Error) -> Error {
        match error {
            Error::Busy { .. } | Error::DiskFull { .. } | Error::ReadOnly { .. } | Error::NotMigrated { .. } => error,
            error => self.error(error),
        }
    }
}

pub(crate) fn import<R: BufRead>(
    conn: &mut SqliteConnection,
    reader: R,
    report: &mut dyn FnMut(Progress),
) -> Result<Progress> {
    let mut import = Import::new(reader)?;
    while import.session(conn, report)? {}
    Ok(import.progress)
}

// ---- whole files ----

/// Copies the database as it is at one moment, into a file that must not exist.
pub(crate) fn backup(conn: &mut SqliteConnection, path: &Path) -> Result<()> {
    let Some(name) = path.to_str() else {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "SQLite needs a path that is UTF-8");
        return Err(Error::Io { source });
    };
    // The name is taken first, so that nothing is overwritten; SQLite accepts an empty file.
    std::fs::File::create_new(path)?;
    // A connection that may only read its own database may write another one only without this.
    let copied = pragma::with(conn, "query_only", 0, |conn| {
        diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(plain_file(name)).execute(conn)
    });
    let result = match copied {
        Ok(_) => sync(path).map_err(Error::from),
        Err(error) => Err(error.into()),
    };
    if result.is_err() {
        // Nothing but what was begun here.
        let _ = std::fs::remove_file(path);
    }
    result
}

/// Puts a new file on the disk: what is in it and, where folders can be opened, its name.
fn sync(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// A path that SQLite does not take for a URI or for memory.
fn plain_file(name: &str) -> String {
    if name.starts_with("file:") || name.starts_with(':') { format!("./{name}") } else { name.to_owned() }
}

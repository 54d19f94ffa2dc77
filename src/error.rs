//! The one error type of the crate.

use std::error::Error as StdError;
use std::fmt;

use diesel::result::ConnectionError;
use serde_json::error::Category;

use crate::model::cursor::Cursor;
use crate::model::report::{Progress, PruneReport};

/// A `Result` whose error is this crate's [`enum@Error`] unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of a failure that can be of any type.
pub(crate) type Cause = Box<dyn StdError + Send + Sync>;

/// Everything that can go wrong.
///
/// There is a variant for everything a caller might act on; the rest is [`Error::Database`]. The message says what
/// failed, and [`source`](StdError::source) is the error from the database, Diesel or the JSON parser.
///
/// Errors end up in logs, so neither the message nor its causes, nor their `Debug` forms, quote stored values or JSON
/// text. They name tables, columns, positions and the kind of problem, and identify rows and sessions by id.
///
/// ```
/// use agent_session_store::{Error, Json};
///
/// let error = Json::parse("{oops").unwrap_err();
/// assert!(matches!(error, Error::InvalidJson { .. }));
/// assert_eq!(error.to_string(), "the text is not JSON: key must be a string at line 1 column 2");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A text is not valid JSON, a value cannot be written as JSON, or JSON does not match the type you decode it to or
    /// is nested too deeply for that. Nothing was stored.
    InvalidJson {
        /// Where the parser stopped, and why.
        source: serde_json::Error,
    },
    /// The cursor was not made by this crate, or belongs to another listing.
    InvalidCursor {
        /// What is wrong with the cursor.
        reason: &'static str,
    },
    /// A stored value cannot be decoded. The row is still there, unchanged.
    ///
    /// A page that contains such a row fails as a whole. To read the rows before it, repeat the request with a smaller
    /// limit, down to 1; to read the rows after it, continue from `after`.
    /// [`events`](crate::SessionPersistDriver::events) does both for you.
    Decode {
        /// The table the row is in.
        table: &'static str,
        /// The row's id, as far as it can be shown: the beginning of an id that is not text, or `NULL` for a missing
        /// one, with the rowid if it is known.
        id: String,
        /// The column that holds the value.
        column: &'static str,
        /// Why it cannot be decoded.
        source: Cause,
        /// If the error comes from a listing: a cursor that continues after the row. For
        /// [`latest_events`](crate::SessionPersistDriver::latest_events) it belongs to the
        /// [`descending`](crate::ListEventsRequest::descending) listing.
        after: Option<Cursor>,
    },
    /// An append expected the session to end elsewhere: another writer was faster. Nothing was written.
    AppendConflict {
        /// The session that was appended to.
        session_id: String,
        /// The index the session was expected to end at; 0 for a session without events.
        expected: i64,
        /// The index the session ends at; `None` if it has no events.
        last_index: Option<i64>,
    },
    /// The event id is taken, by an event with another sender or payload, or in another session. Nothing was written.
    EventIdTaken {
        /// The id.
        id: String,
        /// The session of the event that has the id.
        session_id: String,
    },
    /// The session already ends at the greatest possible index, so nothing can be appended. Nothing was written.
    IndexesExhausted {
        /// The session.
        session_id: String,
    },
    /// No session has this id: there is no record and there are no events. For an append that
    /// [requires](crate::AppendRequest::must_exist) a record, there is no record; nothing was written.
    SessionNotFound {
        /// The id.
        id: String,
    },
    /// An append required a live session, and this one has ended. Nothing was written.
    SessionEnded {
        /// The id.
        id: String,
    },
    /// A session with this id already has a record or events. Nothing was written.
    SessionExists {
        /// The id.
        id: String,
    },
    /// A line of an import cannot be used. The sessions before it were imported; the session of this line was not,
    /// except that if one of your triggers or constraints refuses an event in the middle of a long session, the events
    /// before it may have been stored. `done` counts them.
    Import {
        /// The line number, starting at 1.
        line: u64,
        /// What was imported before the error.
        done: Progress,
        /// What is wrong with the line.
        source: Cause,
    },
    /// A call that works in steps failed after some of them. Completed steps stay; call it again to continue. Inside
    /// your own transaction they stay only if you commit.
    Unfinished {
        /// What was done.
        done: Done,
        /// Why it stopped.
        source: Box<Error>,
    },
    /// A file could not be read or written.
    Io {
        /// The error from the operating system.
        source: std::io::Error,
    },
    /// The tables do not exist: the database has not been [migrated](crate::migrate).
    NotMigrated {
        /// The error from SQLite.
        source: diesel::result::Error,
    },
    /// The tables have to be migrated before they can be used, and the store was opened read-only.
    MigrationNeeded {
        /// What is outdated about them.
        reason: String,
    },
    /// The tables cannot be migrated to this crate's schema without losing data, or are something else's. Nothing was
    /// changed.
    CannotMigrate {
        /// What prevents it, down to the row if it is a row.
        reason: String,
    },
    /// A migration failed and was rolled back.
    Migration {
        /// The error from Diesel's migration harness.
        source: Cause,
    },
    /// The file could not be opened, or the path is not one of a database file; or the server could not be connected to.
    /// Or your [`on_open`](crate::SessionStoreBuilder::on_open) failed on a connection to it, which may be one for reading.
    Open {
        /// The requested path, or the URL without its password and parameters.
        path: String,
        /// The error from SQLite or the server, or what is at the path instead.
        source: ConnectionError,
    },
    /// The file is not an SQLite database, or an encrypted one of another key; see
    /// [`on_open`](crate::SessionStoreBuilder::on_open).
    NotADatabase {
        /// The error from SQLite.
        source: diesel::result::Error,
    },
    /// The file, or its folder, is not writable; or the server's role must not do that, or the server is a replica.
    ReadOnly {
        /// The error from the database.
        source: diesel::result::Error,
    },
    /// Another connection held a lock for longer than the busy timeout. On PostgreSQL also a deadlock, and a transaction at
    /// REPEATABLE READ or SERIALIZABLE that another one was faster than. This call stored nothing: try again. (A call
    /// that opens a file may already have migrated it. As the source of [`Error::Unfinished`], this is about the last
    /// step only.)
    Busy {
        /// The error from SQLite.
        source: diesel::result::Error,
    },
    /// The disk or quota is full, or the file has reached a size limit. Nothing was written. (One exception: if the
    /// failure showed only when the write-ahead log was synced, and the process is killed before its next write,
    /// whoever opens the file next may find the write there.)
    DiskFull {
        /// The error from SQLite or the operating system.
        source: diesel::result::Error,
    },
    /// The connection to the server was lost, or could not be used any more. A store connects again by itself.
    Disconnected {
        /// Whether the write may have been committed all the same: the connection was lost after the commit was sent
        /// and before its answer arrived. Find out by reading, or repeat the call if that does no harm (an append does
        /// none). If false, nothing was written.
        may_be_stored: bool,
        /// The error from Diesel or the server.
        source: diesel::result::Error,
    },
    /// The server stopped the statement because it took longer than `statement_timeout` allows. Nothing was written.
    TimedOut {
        /// The error from the server.
        source: diesel::result::Error,
    },
    /// The database cannot hold a value that is valid here, such as a text with a NUL character on PostgreSQL. Nothing
    /// was written.
    NotStorable {
        /// What it cannot hold.
        reason: &'static str,
        /// The error from the database.
        source: diesel::result::Error,
    },
    /// The database does not have this at all, whatever its state. Nothing was done.
    Unsupported {
        /// What it does not have, and what to use instead.
        reason: &'static str,
    },
    /// The store has been closed.
    Closed,
    /// The call came from code that the store is running (a callback, a writer, instrumentation, a transaction) and would
    /// have waited forever for that code to return. Nothing was done; repeat the call once that code has returned. In a
    /// [`transaction`](crate::SessionStore::transaction), call the verbs of the transaction instead, also for reading.
    Reentrant,
    /// Your code panicked on another thread: Diesel's instrumentation, or the reader, writer or callback of an async export
    /// or import. A write may or may not have been stored. A wrapped connection of diesel-async also says so when its
    /// runtime is shut down.
    Panicked,
    /// The operating system refused to start a thread.
    Thread {
        /// The error from the operating system.
        source: std::io::Error,
    },
    /// Anything else that the database or Diesel reports.
    Database {
        /// The error from Diesel or the database.
        source: diesel::result::Error,
    },
}

/// What a call that works in steps had done when it failed; see [`Error::Unfinished`].
///
/// ```
/// use agent_session_store::{Done, PruneReport};
///
/// let done = Done::Pruned(PruneReport { sessions: 0, events: 500 });
/// assert_eq!(done.to_string(), "0 sessions and 500 events were deleted");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Done {
    /// These sessions and events were deleted.
    Pruned(PruneReport),
    /// These sessions and events were stored.
    Imported(Progress),
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pruned(PruneReport { sessions, events }) => {
                write!(f, "{sessions} sessions and {events} events were deleted")
            }
            Self::Imported(Progress { sessions, events }) => {
                write!(f, "{sessions} sessions and {events} events were imported")
            }
        }
    }
}

impl Error {
    /// The same error, with the cursor that continues after its row.
    pub(crate) fn with_after(mut self, cursor: Cursor) -> Self {
        if let Self::Decode { after, .. } = &mut self {
            *after = Some(cursor);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidJson { source } => match source.classify() {
                // Only what was read has a place.
                _ if source.line() == 0 => write!(f, "the value cannot be written as JSON: {source}"),
                _ if is_too_deep(source) => {
                    write!(f, "the JSON is nested too deeply to be decoded: {source}")
                }
                Category::Data => write!(f, "the JSON does not match the requested type: {source}"),
                _ => write!(f, "the text is not JSON: {source}"),
            },
            Self::InvalidCursor { reason } => write!(f, "the cursor cannot be used: {reason}"),
            Self::Decode { table, id, column, source, .. } => {
                write!(f, "cannot decode column {column} of the {table} row with id {id:?}: {source}")
            }
            Self::AppendConflict { session_id, expected, last_index } => {
                write!(f, "session {session_id:?} does not end at index {expected}: ")?;
                match last_index {
                    Some(index) => write!(f, "it ends at {index}"),
                    None => f.write_str("it has no events"),
                }
            }
            Self::EventIdTaken { id, session_id } => {
                write!(f, "the id {id:?} is taken by a different event of session {session_id:?}")
            }
            Self::IndexesExhausted { session_id } => {
                write!(f, "session {session_id:?} already ends at the greatest possible index")
            }
            Self::SessionNotFound { id } => write!(f, "there is no session {id:?}"),
            Self::SessionEnded { id } => write!(f, "session {id:?} has ended"),
            Self::SessionExists { id } => write!(f, "session {id:?} already exists"),
            Self::Import { line, source, .. } => write!(f, "cannot import line {line}: {source}"),
            Self::Unfinished { done, source } => write!(f, "{done}, then it failed: {source}"),
            Self::Io { source } => write!(f, "reading or writing failed: {source}"),
            Self::NotMigrated { source } => write!(
                f,
                "the database has not been migrated ({source}): call agent_session_store::migrate \
                 or run the crate's MIGRATIONS first"
            ),
            Self::MigrationNeeded { reason } => write!(
                f,
                "the database has to be migrated before it can be read ({reason}): open it for writing once, or call \
                 agent_session_store::migrate"
            ),
            Self::CannotMigrate { reason } => write!(f, "cannot migrate the database, nothing was changed: {reason}"),
            Self::Migration { source } => write!(f, "the migration failed and was rolled back: {source}"),
            Self::Open { path, source } => write!(f, "cannot open {path:?}: {source}"),
            Self::NotADatabase { source } => {
                write!(f, "the file is not an SQLite database, or is encrypted with another key: {source}")
            }
            Self::ReadOnly { source } => write!(f, "the database cannot be written to: {source}"),
            Self::Busy { source } => write!(f, "another connection kept the database locked for too long: {source}"),
            Self::DiskFull { source } => write!(f, "there is no space left for the database: {source}"),
            Self::Disconnected { may_be_stored: true, source } => write!(
                f,
                "the connection to the database was lost, and a write may or may not have been stored: {source}"
            ),
            Self::Disconnected { may_be_stored: false, source } => {
                write!(f, "the connection to the database was lost, and nothing was written: {source}")
            }
            Self::TimedOut { source } => write!(f, "the database stopped the statement: {source}"),
            Self::NotStorable { reason, source } => write!(f, "the value cannot be stored: {reason}: {source}"),
            Self::Unsupported { reason } => write!(f, "this database cannot do that: {reason}"),
            Self::Closed => f.write_str("the store is closed"),
            Self::Reentrant => f.write_str(
                "a call of the store came from inside another one and would wait for it forever: \
                 make it after the other has returned; in a transaction, call the verbs of the transaction",
            ),
            Self::Panicked => {
                f.write_str("the thread that did the work panicked; a write may or may not have been stored")
            }
            Self::Thread { source } => write!(f, "cannot start a thread: {source}"),
            Self::Database { source } => write!(f, "the database reported an error: {source}"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::InvalidJson { source } => Some(source),
            Self::Decode { source, .. } | Self::Migration { source } | Self::Import { source, .. } => Some(&**source),
            Self::Open { source, .. } => Some(source),
            Self::Unfinished { source, .. } => Some(&**source),
            Self::NotMigrated { source }
            | Self::NotADatabase { source }
            | Self::ReadOnly { source }
            | Self::Busy { source }
            | Self::DiskFull { source }
            | Self::Disconnected { source, .. }
            | Self::TimedOut { source }
            | Self::NotStorable { source, .. }
            | Self::Database { source } => Some(source),
            Self::Thread { source } | Self::Io { source } => Some(source),
            Self::InvalidCursor { .. }
            | Self::AppendConflict { .. }
            | Self::EventIdTaken { .. }
            | Self::IndexesExhausted { .. }
            | Self::MigrationNeeded { .. }
            | Self::SessionNotFound { .. }
            | Self::SessionEnded { .. }
            | Self::SessionExists { .. }
            | Self::CannotMigrate { .. }
            | Self::Unsupported { .. }
            | Self::Closed
            | Self::Reentrant
            | Self::Panicked => None,
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(source: std::io::Error) -> Self {
        Self::Io { source }
    }
}

/// Unwraps an error of ours that Diesel has wrapped while reading a row's columns.
impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        match cause.downcast::<Self>() {
            Ok(error) => *error,
            Err(cause) => Self::Database { source: diesel::result::Error::DeserializationError(cause) },
        }
    }
}

/// Whether the text is JSON and only too deep to become a value.
fn is_too_deep(error: &serde_json::Error) -> bool {
    error.is_syntax() && error.to_string().starts_with("recursion limit exceeded")
}

#[cfg(test)]
#[path = "error_messages.rs"]
mod messages;

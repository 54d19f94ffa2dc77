//! The one error type of the crate.

use std::error::Error as StdError;
use std::fmt;

use diesel::result::{ConnectionError, DatabaseErrorKind};
use serde_json::error::Category;

use crate::cursor::Cursor;
use crate::disk;
use crate::json;
use crate::prune::PruneReport;
use crate::transfer::Progress;

/// A `Result` whose error is this crate's [`enum@Error`] unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of a failure, where it can be of any type.
pub(crate) type Cause = Box<dyn StdError + Send + Sync>;

/// Everything that can go wrong.
///
/// A variant exists where a caller would act on it; what is left is [`Error::Database`]. The message says what
/// happened to whom, and [`source`](StdError::source) what SQLite, Diesel or the JSON parser said.
///
/// Errors end up in logs: neither the message nor its causes, nor their `Debug` forms, quote a stored value or a JSON
/// text. They name tables, columns, positions and the kind of trouble, and rows and sessions by their ids.
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
    /// A text that should become a [`Json`](crate::Json) is not JSON, a value has no form in JSON, or the JSON is not of
    /// the type asked for, or too deep to be read as one. Nothing was stored.
    InvalidJson {
        /// Where and why it stopped.
        source: serde_json::Error,
    },
    /// A cursor that this crate did not make, or that belongs to another listing.
    InvalidCursor {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A stored value that cannot be decoded. The row is still there, untouched.
    ///
    /// A page of a listing fails as a whole. Its other rows can be read: those up to this one on smaller pages from where
    /// it began, down to a limit of 1, those behind it from `after`;
    /// [`events`](crate::SessionPersistDriver::events) does so by itself.
    Decode {
        /// The table the row is in.
        table: &'static str,
        /// The row's id, as far as it can be shown: the beginning of one that is no text, and `NULL`, with the rowid if it
        /// is known, where there is none.
        id: String,
        /// The column that holds the value.
        column: &'static str,
        /// Why it cannot be decoded.
        source: Cause,
        /// Where the listing goes on after the row, if the error comes from one: a cursor of that listing. For
        /// [`latest_events`](crate::SessionPersistDriver::latest_events) that is
        /// [`ListEventsRequest::descending`](crate::ListEventsRequest::descending).
        after: Option<Cursor>,
    },
    /// An append that asked for a certain end found another one: somebody else was faster. Nothing was written.
    AppendConflict {
        /// The session that was appended to.
        session_id: String,
        /// The index it was expected to end at; 0 stands for a session without events.
        expected: i64,
        /// The index it ends at; `None` if it has no events.
        last_index: Option<i64>,
    },
    /// An event's id is taken, by an event with other content or in another session. Nothing was written.
    EventIdTaken {
        /// The id.
        id: String,
        /// The session of the event that has it.
        session_id: String,
    },
    /// The session ends at the greatest index there is, so nothing can be appended to it. Nothing was written.
    IndexesExhausted {
        /// The session.
        session_id: String,
    },
    /// There is no session with this id, neither a record nor events.
    SessionNotFound {
        /// The id.
        id: String,
    },
    /// There is a session with this id already, or there are events of one. Nothing was written.
    SessionExists {
        /// The id.
        id: String,
    },
    /// A line of an import cannot be used. The sessions before it were imported, and its own was not. But if a trigger or
    /// constraint of yours refuses an event in the middle of a long session, the events before it may have been stored;
    /// `done` counts them.
    Import {
        /// The number of the line, from 1.
        line: u64,
        /// What was imported before.
        done: Progress,
        /// What is wrong with it.
        source: Cause,
    },
    /// A call that works in steps failed after some of them; what they did stays. Called again, it goes on from there.
    /// In a transaction of yours, it stays only if you commit.
    Unfinished {
        /// What was done.
        done: Done,
        /// Why it did not get further.
        source: Box<Error>,
    },
    /// A file could not be read or written.
    Io {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The tables are not there: the database has not been [migrated](crate::migrate).
    NotMigrated {
        /// What SQLite said.
        source: diesel::result::Error,
    },
    /// The tables have a form that can only be used once they are migrated, and the store was opened for reading alone.
    MigrationNeeded {
        /// What is old about them.
        reason: String,
    },
    /// The file cannot be brought to this crate's schema without losing something. Nothing was changed.
    CannotMigrate {
        /// What stands in the way, down to the row where it is a row.
        reason: String,
    },
    /// A migration failed and was rolled back.
    Migration {
        /// What Diesel's migration harness said.
        source: Cause,
    },
    /// The file could not be opened, or what is there can be no database.
    Open {
        /// The path that was asked for.
        path: String,
        /// What SQLite said, or what is there instead.
        source: ConnectionError,
    },
    /// The file is not an SQLite database.
    NotADatabase {
        /// What SQLite said.
        source: diesel::result::Error,
    },
    /// The file, or the folder it is in, cannot be written to.
    ReadOnly {
        /// What SQLite said.
        source: diesel::result::Error,
    },
    /// Another connection held the lock for longer than the busy timeout. This call stored nothing: try again. (One that
    /// opens a file may have migrated it by then. As the source of [`Error::Unfinished`] it speaks of the last step.)
    Busy {
        /// What SQLite said.
        source: diesel::result::Error,
    },
    /// The disk or the quota is full, or the file has reached a limit on its size. Nothing was written. (If that showed
    /// only when a write-ahead log was put on the disk, and the process is killed before it writes again, whoever opens
    /// the file next may find it written.)
    DiskFull {
        /// What SQLite said, or the operating system.
        source: diesel::result::Error,
    },
    /// The store has been closed.
    Closed,
    /// The call came from code that the store is running (a callback, a writer, instrumentation), and would have waited
    /// for that to end, for ever. Nothing was done; call when it has ended.
    Reentrant,
    /// The call was ended by a panic in code of yours that a thread of the store was running: Diesel's instrumentation, or
    /// the reader, writer or callback of an async export or import. Whether a write was stored is not known.
    Panicked,
    /// The operating system gave the store no thread.
    Thread {
        /// What it said.
        source: std::io::Error,
    },
    /// Anything else that the database or Diesel reports.
    Database {
        /// What it said.
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
    /// The same, with the place where a listing goes on after the row that it is about.
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
                _ if json::is_too_deep(source) => {
                    write!(f, "the JSON is nested too deeply to be decoded: {source}")
                }
                Category::Data => write!(f, "the JSON is of another type than asked for: {source}"),
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
                write!(f, "the id {id:?} is taken by an event of session {session_id:?} that is not the same")
            }
            Self::IndexesExhausted { session_id } => {
                write!(f, "session {session_id:?} ends at the greatest index there is")
            }
            Self::SessionNotFound { id } => write!(f, "there is no session {id:?}"),
            Self::SessionExists { id } => write!(f, "there is a session {id:?} already"),
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
            Self::NotADatabase { source } => write!(f, "the file is not an SQLite database: {source}"),
            Self::ReadOnly { source } => write!(f, "the database cannot be written to: {source}"),
            Self::Busy { source } => write!(f, "another connection held the database for too long: {source}"),
            Self::DiskFull { source } => write!(f, "there is no space left for the database: {source}"),
            Self::Closed => f.write_str("the store is closed"),
            Self::Reentrant => f.write_str(
                "the store was called from inside another call of it, which this one would wait for: \
                 make it when that has returned",
            ),
            Self::Panicked => f.write_str("a thread of the store panicked; whether a write was stored is not known"),
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
            | Self::Database { source } => Some(source),
            Self::Thread { source } | Self::Io { source } => Some(source),
            Self::InvalidCursor { .. }
            | Self::AppendConflict { .. }
            | Self::EventIdTaken { .. }
            | Self::IndexesExhausted { .. }
            | Self::MigrationNeeded { .. }
            | Self::SessionNotFound { .. }
            | Self::SessionExists { .. }
            | Self::CannotMigrate { .. }
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

/// What the columns of a row are turned into a record with.
impl From<Cause> for Error {
    fn from(cause: Cause) -> Self {
        diesel::result::Error::DeserializationError(cause).into()
    }
}

/// Recognises what Diesel reports without a type of its own, by SQLite's fixed English messages.
impl From<diesel::result::Error> for Error {
    fn from(source: diesel::result::Error) -> Self {
        use diesel::result::Error as DieselError;
        let source = match source {
            DieselError::DeserializationError(cause) => match cause.downcast::<Error>() {
                Ok(error) => return *error,
                Err(cause) => DieselError::DeserializationError(cause),
            },
            other => other,
        };
        let DieselError::DatabaseError(DatabaseErrorKind::Unknown, information) = &source else {
            return Self::Database { source };
        };
        match information.message() {
            "no such table: sessions"
            | "no such table: main.sessions"
            | "no such table: events"
            | "no such table: main.events" => Self::NotMigrated { source },
            "file is not a database" | "unsupported file format" => Self::NotADatabase { source },
            "attempt to write a readonly database" => Self::ReadOnly { source },
            "database or disk is full" => Self::DiskFull { source },
            // SQLite knows one of the errors of a full disk. The others are left in the system's own error, which
            // this thread has from the call that failed.
            "disk I/O error" | disk::CANNOT_OPEN if disk::is_full(&std::io::Error::last_os_error()) => {
                Self::DiskFull { source }
            }
            message if message.starts_with("database is locked") || message.starts_with("database table is locked") => {
                Self::Busy { source }
            }
            _ => Self::Database { source },
        }
    }
}

//! Conversions from a database's or a client's values to this crate's types.

use std::str::FromStr;

use diesel::result::Error as DieselError;
use serde::{Deserialize, Deserializer};

use super::sqlite;
use crate::error::{Cause, Error};
use crate::model::commit_order::is_commit_position;
use crate::model::cursor::Cursor;

/// Recognises, by the database's messages, errors for which Diesel has no type.
impl From<DieselError> for Error {
    fn from(source: DieselError) -> Self {
        match source {
            DieselError::DeserializationError(cause) => Cause::into(cause),
            // One of ours on its way back.
            DieselError::QueryBuilderError(cause) if cause.is::<Self>() => Cause::into(cause),
            source => recognise(source),
        }
    }
}

/// For closures that return Diesel's error. A database's error is passed on as it is. Any other is the cause of a
/// `QueryBuilderError`, with its message, and [`Error::from`] gets it out again.
///
/// ```
/// use agent_session_store::diesel::result::Error as DieselError;
/// use agent_session_store::diesel::{Connection, SqliteConnection};
/// use agent_session_store::{Error, SessionPersistDriver, migrate};
///
/// let mut conn = SqliteConnection::establish(":memory:").unwrap();
/// migrate(&mut conn)?;
/// let last = conn.transaction::<_, DieselError, _>(|conn| Ok(conn.last_event_index("session-1")?))?;
/// assert_eq!(last, None);
///
/// let not_there = DieselError::from(Error::SessionNotFound { id: "session-1".into() });
/// assert!(matches!(Error::from(not_there), Error::SessionNotFound { .. }));
/// # Ok::<(), Error>(())
/// ```
impl From<Error> for DieselError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotMigrated { source }
            | Error::NotADatabase { source }
            | Error::ReadOnly { source }
            | Error::Busy { source }
            | Error::DiskFull { source }
            | Error::Disconnected { source, .. }
            | Error::TimedOut { source }
            | Error::NotStorable { source, .. }
            | Error::Database { source } => source,
            error => Self::QueryBuilderError(Box::new(error)),
        }
    }
}

/// The databases' messages have nothing in common, so the one that knows a message is right.
fn recognise(source: DieselError) -> Error {
    match sqlite::words::recognise(source) {
        #[cfg(feature = "postgres-backend")]
        Error::Database { source } => super::postgres::words::recognise(source),
        error => error,
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::InvalidCursor`] if the text is not a cursor.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text, |position| sqlite::is_odd_position(position) || is_commit_position(position))
            .ok_or(Error::InvalidCursor { reason: "it was not made by this crate" })
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

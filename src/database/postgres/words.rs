//! What PostgreSQL's errors mean. Diesel keeps the SQLSTATE to itself, except for a few, so the rest is told by the
//! English messages; a server that speaks another language to its clients reports those as errors of the database.

use std::error::Error as StdError;

use diesel::result::{DatabaseErrorKind as Kind, Error as DieselError};

use crate::error::Error;

/// What begins the message of a migration that refuses to run.
const REFUSED: &str = "agent-session-store: ";

/// Messages about a value that the server cannot store, and why.
const NOT_STORABLE: [(&str, &str); 10] = [
    ("invalid byte sequence for encoding \"UTF8\": 0x00", "PostgreSQL stores no NUL character in a text"),
    ("stack depth limit exceeded", "the JSON is nested more deeply than PostgreSQL's max_stack_depth allows"),
    (
        "unsupported Unicode escape sequence",
        "the column is JSONB, which cannot hold \\u0000; a column of type JSON can",
    ),
    (
        "invalid input syntax for type json",
        "the column is JSONB, which cannot hold half a surrogate pair; a column of type JSON can",
    ),
    (
        "value overflows numeric format",
        "the column is JSONB, which cannot hold so large a number; a column of type JSON can",
    ),
    ("string too long to represent as jsonb string", "the column is JSONB, which cannot hold so long a string"),
    ("total size of jsonb", "the column is JSONB, which cannot hold so large a value"),
    ("number of jsonb", "the column is JSONB, which cannot hold so many elements"),
    ("index row", "an id, or an agent's name, is longer than PostgreSQL's indexes can hold, about 2,700 bytes"),
    ("invalid memory alloc request size", "the value is larger than the 1 GB that PostgreSQL can hold"),
];

pub(crate) fn recognise(source: DieselError) -> Error {
    let DieselError::DatabaseError(kind, information) = &source else { return Error::Database { source } };
    let message = information.message();
    match kind {
        Kind::SerializationFailure => Error::Busy { source },
        Kind::ReadOnlyTransaction => Error::ReadOnly { source },
        Kind::ClosedConnection => Error::Disconnected { may_be_stored: true, source },
        // Diesel notices only now that the connection was lost before.
        Kind::UnableToSendCommand => Error::Disconnected { may_be_stored: false, source },
        Kind::Unknown => {
            if let Some(reason) = message.strip_prefix(REFUSED) {
                return Error::CannotMigrate { reason: reason.to_owned() };
            }
            if let Some((_, reason)) = NOT_STORABLE.iter().find(|(beginning, _)| message.starts_with(beginning)) {
                return Error::NotStorable { reason, source };
            }
            recognise_state(source)
        }
        _ => Error::Database { source },
    }
}

/// What the message says about the server's state.
fn recognise_state(source: DieselError) -> Error {
    let message = source.to_string();
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| message.starts_with(beginning));
    let contains = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    if begins(&["relation \""])
        && message.ends_with("does not exist")
        && contains(&["events\"", "sessions\"", "event_heads\""])
    {
        Error::NotMigrated { source }
    } else if begins(&["canceling statement due to lock timeout", "deadlock detected", "could not obtain lock on"]) {
        Error::Busy { source }
    } else if begins(&["canceling statement due to statement timeout"]) {
        Error::TimedOut { source }
    } else if begins(&["permission denied", "must be owner of"]) {
        Error::ReadOnly { source }
    } else if contains(&["No space left on device", "Disk quota exceeded"]) || is_half_a_page(&message) {
        Error::DiskFull { source }
    } else if begins(&["terminating connection"])
        || contains(&[
            "server closed the connection unexpectedly",
            "could not send data to server",
            "SSL connection has been closed unexpectedly",
            "connection not open",
        ])
    {
        Error::Disconnected { may_be_stored: true, source }
    } else {
        Error::Database { source }
    }
}

/// Whether a table could grow only by a part of a page: what the server makes of a disk with less space than that.
fn is_half_a_page(message: &str) -> bool {
    message.starts_with("could not extend file") && message.contains(": wrote only ")
}

/// Whether an error is about the server and its state, not about the data being written.
pub(crate) fn is_about_the_server(error: &Error) -> bool {
    matches!(
        error,
        Error::Busy { .. }
            | Error::Disconnected { .. }
            | Error::DiskFull { .. }
            | Error::Open { .. }
            | Error::TimedOut { .. }
    )
}

/// Whether the server broke a circle of transactions here.
pub(crate) fn is_deadlock(error: &Error) -> bool {
    matches!(error, Error::Busy { source } if source.to_string() == "deadlock detected")
}

/// Whether the cause is a statement that was prepared before a column's type changed.
pub(crate) fn is_stale_plan(error: &Error) -> bool {
    std::iter::successors(Some(error as &dyn StdError), |&cause| cause.source())
        .any(|cause| cause.to_string() == "cached plan must not change result type")
}

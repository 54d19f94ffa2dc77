//! Recognising a full disk where SQLite's message does not say so.

use std::fs::OpenOptions;
use std::io::{Error as IoError, ErrorKind};
use std::path::Path;

use diesel::SqliteConnection;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::pragma;
use crate::error::Error;

/// No space, no quota, or a file size limit.
pub(crate) fn is_full(error: &IoError) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// The error for a failure outside SQLite, on the database's disk.
pub(crate) fn error(error: IoError) -> Error {
    if is_full(&error) {
        let source = DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(error.to_string()));
        Error::DiskFull { source }
    } else {
        error.into()
    }
}

/// Finds out whether SQLite failed to create a file next to the connection's because the disk is full.
pub(crate) fn explain(conn: &mut SqliteConnection, error: Error) -> Error {
    if !is_about_creating(&error) {
        return error;
    }
    match pragma::file(conn) {
        Some(file) => explain_beside(&file, error),
        None => error,
    }
}

/// The same for a given file. When SQLite cannot create a file, it tries to open it as an existing one and reports that
/// error, so we find the reason by creating a file ourselves.
pub(crate) fn explain_beside(file: &Path, error: Error) -> Error {
    match error {
        Error::Database { source } if says_cannot_open(&source) && !has_room_beside(file) => Error::DiskFull { source },
        other => other,
    }
}

fn is_about_creating(error: &Error) -> bool {
    matches!(error, Error::Database { source } if says_cannot_open(source))
}

fn says_cannot_open(error: &DieselError) -> bool {
    matches!(error, DieselError::DatabaseError(_, information) if information.message() == CANNOT_OPEN)
}

/// SQLite's message.
pub(crate) const CANNOT_OPEN: &str = "unable to open database file";

/// Whether another file can be created there, or something other than space prevents it.
fn has_room_beside(file: &Path) -> bool {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".agent-session-store-probe-{}", std::process::id()));
    match OpenOptions::new().write(true).create_new(true).open(&name) {
        Ok(_) => {
            let _ = std::fs::remove_file(&name);
            true
        }
        Err(error) => !is_full(&error),
    }
}

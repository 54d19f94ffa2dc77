//! What SQLite's fixed English messages mean.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::disk;
use crate::error::Error;

pub(crate) fn recognise(source: DieselError) -> Error {
    let DieselError::DatabaseError(DatabaseErrorKind::Unknown, information) = &source else {
        return Error::Database { source };
    };
    match information.message() {
        "no such table: sessions"
        | "no such table: main.sessions"
        | "no such table: events"
        | "no such table: main.events" => Error::NotMigrated { source },
        "file is not a database" | "unsupported file format" => Error::NotADatabase { source },
        "attempt to write a readonly database" => Error::ReadOnly { source },
        "database or disk is full" => Error::DiskFull { source },
        // SQLite has a message for only one of the errors of a full disk. The others are in the operating system's last
        // error, which this thread still has from the failed call.
        "disk I/O error" | disk::CANNOT_OPEN if disk::is_full(&std::io::Error::last_os_error()) => {
            Error::DiskFull { source }
        }
        message if message.starts_with("database is locked") || message.starts_with("database table is locked") => {
            Error::Busy { source }
        }
        _ => Error::Database { source },
    }
}

/// Whether an error is about the file and its disk, not about the data being written.
pub(crate) fn is_about_the_file(error: &Error) -> bool {
    match error {
        Error::Busy { .. } | Error::DiskFull { .. } | Error::ReadOnly { .. } | Error::NotMigrated { .. } => true,
        Error::Database { source } => matches!(
            &*source.to_string(),
            "disk I/O error"
                | "database disk image is malformed"
                | "out of memory"
                | "interrupted"
                | "unable to open database file"
                | "locking protocol"
                | "large file support is disabled"
        ),
        _ => false,
    }
}

/// Whether the message says that what SQLite read is malformed: a page, the schema, or a column name in it.
pub(crate) fn is_about_damage(message: &str) -> bool {
    let beginnings = ["database disk image is malformed", "malformed database schema", "no such column: "];
    beginnings.iter().any(|beginning| message.starts_with(beginning))
}

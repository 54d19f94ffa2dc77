//! Opening a file read-only: as it is, and without leaving a trace.

use std::path::{Path, PathBuf};

use diesel::SqliteConnection;
use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};

use super::location::Location;
use super::opening;
use crate::error::{Error, Result};
use crate::store::options::Options;

/// What SQLite may leave next to a file that was only read.
#[derive(Debug)]
pub(super) struct Traces {
    location: Location,
    log: PathBuf,
}

/// A read-only connection to a file that can be read as it is, and what has to be removed on closing.
pub(super) fn open(location: &Location, options: &Options) -> Result<(SqliteConnection, Option<Traces>)> {
    // SQLite takes an empty file for a new one, and deletes a log next to it.
    if location.resolved().is_some_and(|file| is_empty(&file)) {
        return Err(Error::MigrationNeeded { reason: "the file is empty".to_owned() });
    }
    // If a file in WAL mode has no log, SQLite creates an empty one, with its index.
    let log = location.beside("-wal").filter(|log| !is_there(log));
    let traces = log.map(|log| Traces { location: location.clone(), log });
    match opening::unchanged(location, options) {
        Ok(conn) => Ok((conn, traces)),
        Err(error) => {
            traces.inspect(Traces::remove);
            Err(location.explain_reading(error))
        }
    }
}

impl Traces {
    /// Removes an empty log, unless another process uses it. Only SQLite can know that: the last connection that may
    /// write deletes the log when it closes. The log has nothing to be moved into the file.
    pub(super) fn remove(&self) {
        if is_empty(&self.log) {
            let _ = opening::remover(&self.location);
        }
    }
}

impl Location {
    /// Explains why reading fails if SQLite says that it could not write.
    pub(super) fn explain_reading(&self, error: Error) -> Error {
        let Self::File { path, .. } = self else { return error };
        let has = |suffix| self.beside(suffix).is_some_and(|file| is_there(&file));
        let reason = match &error {
            Error::ReadOnly { .. } if has("-journal") => {
                "an interrupted transaction has to be rolled back from the journal next to the file: open the file for \
                 writing once"
            }
            Error::ReadOnly { .. } if has("-wal") => {
                "its write-ahead log has to be recovered first: open it for writing once"
            }
            Error::Database { source } if source.to_string() != "unable to open database file" => return error,
            Error::ReadOnly { .. } | Error::Database { .. } => {
                "it has a write-ahead log, whose index (-shm) SQLite has to create next to the file, but the folder is \
                 not writable"
            }
            _ => return error,
        };
        Error::Open { path: path.clone(), source: ConnectionError::BadConnection(reason.to_owned()) }
    }
}

/// SQLite's error for a write. For a checkpoint it has none, and would empty the log.
pub(super) fn refusal() -> Error {
    let message = "attempt to write a readonly database".to_owned();
    DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message)).into()
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn is_empty(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.len() == 0)
}

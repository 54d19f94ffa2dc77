//! A file that is only read: as it is, and without a trace.

use std::path::{Path, PathBuf};

use diesel::SqliteConnection;
use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};

use super::location::Location;
use super::opening;
use crate::error::{Error, Result};
use crate::store::options::Options;

/// What SQLite may leave beside a file that only reads have been made from.
#[derive(Debug)]
pub(super) struct Traces {
    location: Location,
    log: PathBuf,
}

/// A connection that cannot write, to a file that can be read as it is, and what closing it will have to remove.
pub(super) fn open(location: &Location, options: &Options) -> Result<(SqliteConnection, Option<Traces>)> {
    // SQLite takes an empty file for a new one, and deletes a log that lies beside it.
    if location.resolved().is_some_and(|file| is_empty(&file)) {
        return Err(Error::MigrationNeeded { reason: "the file is empty".to_owned() });
    }
    // A file that says it has a write-ahead log gets an empty one, with its index, where there is none.
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
    /// Takes away an empty log, unless somebody uses it. Only SQLite can know that: the last connection that may write
    /// deletes the log when it closes. There is nothing in it to be moved into the file.
    pub(super) fn remove(&self) {
        if is_empty(&self.log) {
            let _ = opening::remover(&self.location);
        }
    }
}

impl Location {
    /// What stands in the way of reading, where SQLite says that it could not write.
    pub(super) fn explain_reading(&self, error: Error) -> Error {
        let Self::File { path, .. } = self else { return error };
        let has = |suffix| self.beside(suffix).is_some_and(|file| is_there(&file));
        let reason = match &error {
            Error::ReadOnly { .. } if has("-journal") => {
                "a transaction was interrupted and has to be rolled back, by its journal beside the file: open it for \
                 writing once"
            }
            Error::ReadOnly { .. } if has("-wal") => {
                "its write-ahead log has to be recovered first: open it for writing once"
            }
            Error::Database { source } if source.to_string() != "unable to open database file" => return error,
            Error::ReadOnly { .. } | Error::Database { .. } => {
                "it has a write-ahead log, of which SQLite needs an index beside the file (-shm), and the folder cannot \
                 be written to"
            }
            _ => return error,
        };
        Error::Open { path: path.clone(), source: ConnectionError::BadConnection(reason.to_owned()) }
    }
}

/// What SQLite says to a write. It does not say so to a checkpoint, and would empty the log.
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

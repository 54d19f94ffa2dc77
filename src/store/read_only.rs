//! Opening a file for reading alone: as it is, and without a trace.

use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::prelude::*;
use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};

use super::builder::Options;
use super::connection::Location;
use crate::adopt;
use crate::error::{Error, Result};
use crate::migrations::is_current;
use crate::pragma;
use crate::transaction;
use crate::uri::beside;

/// What SQLite may leave beside a file that only reads have been made from.
#[derive(Debug)]
pub(super) struct Traces {
    location: Location,
    log: PathBuf,
}

/// A connection that cannot write, to a file that can be read as it is. It waits for the busy timeout and no longer:
/// there is nothing to migrate.
pub(super) fn open(location: &Location, options: &Options) -> Result<(SqliteConnection, Option<Traces>)> {
    let file = location.resolved();
    // SQLite takes an empty file for a new one, and deletes a log that lies beside it.
    if file.as_deref().is_some_and(is_empty) {
        return Err(Error::MigrationNeeded { reason: "the file is empty".to_owned() });
    }
    // A file that says it has a write-ahead log gets an empty one, with its index, where there is none.
    let log = file.map(|file| beside(&file, "-wal")).filter(|log| !is_there(log));
    let traces = log.map(|log| Traces { location: location.clone(), log });
    let mut conn = location.establish("ro", options.busy_timeout)?;
    match check_readable(&mut conn) {
        Ok(()) => Ok((conn, traces)),
        Err(error) => {
            drop(conn);
            traces.inspect(Traces::remove);
            Err(location.explain_reading(error))
        }
    }
}

fn check_readable(conn: &mut SqliteConnection) -> Result<()> {
    transaction::reading(conn, |conn| if is_current(conn)? { Ok(()) } else { adopt::check_readable(conn) })
}

impl Traces {
    /// Takes away an empty log, unless somebody uses it. Only SQLite can know that: the last connection that may write
    /// deletes the log when it closes. There is nothing in it to be moved into the file.
    pub(super) fn remove(&self) {
        if is_empty(&self.log)
            && let Ok(mut conn) = self.location.establish("rw", Duration::ZERO)
        {
            let _ = pragma::read_schema(&mut conn);
        }
    }
}

impl Location {
    /// The file itself, where the path names a link: what belongs to it lies beside it.
    pub(super) fn resolved(&self) -> Option<PathBuf> {
        match self {
            Self::File { file, .. } => std::fs::canonicalize(file).ok(),
            Self::Memory => None,
        }
    }

    /// What stands in the way of reading, where SQLite says that it could not write.
    pub(super) fn explain_reading(&self, error: Error) -> Error {
        let Self::File { path, .. } = self else { return error };
        let has = |suffix| self.resolved().is_some_and(|file| is_there(&beside(&file, suffix)));
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

//! Writes what an import has read, in one transaction at a time.

use std::time::{Duration, Instant};

use diesel::SqliteConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::lines::wrong_line;
use super::spool::Numbered;
use crate::column::{Column, StoredText};
use crate::error::{Error, Result};
use crate::event;
use crate::session::{self, SessionRecord};
use crate::statement::statement;
use crate::transaction;

/// How long a step takes up one part after the other.
const WORK_TIME: Duration = Duration::from_millis(20);

/// A session, or a piece of a long one.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The session's record with the number of its line, if it has one; of a long session, with the last piece.
    pub(super) record: Option<(u64, SessionRecord)>,
    pub(super) events: Vec<Numbered>,
    /// Whether the session is whole with this.
    pub(super) is_last: bool,
}

/// What a step did.
pub(super) struct Written {
    /// How many parts have been written, those of the steps before included.
    pub(super) parts: usize,
    /// What kept it from writing more; the part that it struck has undone itself.
    pub(super) failure: Option<Error>,
    /// Since when the lock was held.
    pub(super) began: Instant,
}

/// Writes parts from this one on, each all or nothing: as many as have so many rows, but one at least.
pub(super) fn step(conn: &mut SqliteConnection, parts: &[Part], from: usize, most_rows: usize) -> Result<Written> {
    let (mut failure, mut struck) = (None, from);
    let is_inside = transaction::is_open(conn)?;
    let written = transaction::atomically(conn, |conn| {
        let mut written = Written { parts: from, failure: None, began: Instant::now() };
        let mut rows = 0;
        while let Some(part) = parts.get(written.parts) {
            rows += part.events.len() + 1;
            if written.parts > from && rows > most_rows {
                break;
            }
            if let Err(error) = transaction::atomically(conn, |conn| write(conn, part)) {
                (failure, struck) = (Some(error), written.parts);
                break;
            }
            written.parts += 1;
            if written.began.elapsed() >= WORK_TIME {
                break;
            }
        }
        Ok(written)
    });
    match (written, failure) {
        (Ok(written), failure) => Ok(Written { failure, ..written }),
        // It has ended the whole transaction, and so undone the parts before it, which are written once more.
        (Err(_), Some(failure)) if struck > from && !is_inside => {
            let again = step(conn, &parts[..struck], from, most_rows)?;
            let failure = again.failure.or((again.parts == struck).then_some(failure));
            Ok(Written { failure, ..again })
        }
        (Err(_), Some(failure)) => Err(failure),
        (Err(error), None) => Err(error),
    }
}

fn write(conn: &mut SqliteConnection, part: &Part) -> Result<()> {
    if let Some((line, record)) = &part.record {
        session::restore(conn, record).map_err(|error| about_line(*line, error))?;
    }
    let write = |(line, event): &Numbered| event::restore(conn, event).map_err(|error| about_line(*line, error));
    part.events.iter().try_for_each(write)
}

/// What a line holds is that line's error; the state of the database is not.
fn about_line(line: u64, error: Error) -> Error {
    match error {
        Error::Busy { .. } | Error::DiskFull { .. } | Error::ReadOnly { .. } | Error::NotMigrated { .. } => error,
        Error::Database { source } if is_trouble(&source.to_string()) => Error::Database { source },
        error => wrong_line(line, error),
    }
}

/// Messages of SQLite's that are about the file, and not about what is written to it.
fn is_trouble(message: &str) -> bool {
    matches!(
        message,
        "disk I/O error"
            | "database disk image is malformed"
            | "out of memory"
            | "interrupted"
            | "unable to open database file"
            | "locking protocol"
            | "large file support is disabled"
    )
}

statement! {
    /// The events of other sessions that have one of the ids in a list.
    Taken { ids: &'a str } -> (Text, Text),
    "SELECT events.id, session_id FROM json_each(" { ids as Text } ") AS new \
     CROSS JOIN main.events ON events.id = new.value WHERE session_id <> " { session_id as Text }
}

/// Whether another session has an event with one of these ids; then that is the error of its line.
pub(super) fn check_ids(conn: &mut SqliteConnection, session_id: &str, ids: &[(u64, String)]) -> Result<()> {
    let list: Vec<&str> = ids.iter().map(|(_, id)| &**id).collect();
    let list = serde_json::to_string(&list).map_err(|source| Error::InvalidJson { source })?;
    let taken: Vec<(Column<StoredText>, Column<StoredText>)> = Taken { ids: &list, session_id }.load(conn)?;
    for (id, session_id) in taken {
        let id = id.shown();
        // SQLite and JSON need not agree about every character.
        if let Some((line, _)) = ids.iter().find(|line| line.1 == id) {
            return Err(wrong_line(*line, Error::EventIdTaken { id, session_id: session_id.shown() }));
        }
    }
    Ok(())
}

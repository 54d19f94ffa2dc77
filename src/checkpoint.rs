//! Moving what the write-ahead log holds into the database file, without keeping anybody waiting for it.
//!
//! SQLite's checkpoint that empties the log takes the right to write and then waits for readers, as long as the busy
//! timeout says. Here, the one that waits for nobody goes first and does the work; the other one follows only when
//! nothing is left to be moved, and waits for tens of milliseconds at most.

use std::time::Duration;

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::BigInt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::{pragma, transaction};

/// How long the last step waits for readers while it has the right to write, in milliseconds. New readers do not need
/// the log by then, so short ones have ended after this even where they always overlap.
const LAST_WAIT: i64 = 50;

/// How often it is tried to move everything, with pauses of 1, 2, 4 … milliseconds in between: a reader that began
/// before the last commit has to end first.
const ATTEMPTS: u32 = 8;

/// What a checkpoint has reached; the answer of [`checkpoint`](crate::SessionPersistDriver::checkpoint).
///
/// ```
/// use agent_session_store::SessionStore;
///
/// let store = SessionStore::open_in_memory()?;
/// assert!(store.checkpoint()?.is_complete); // there is no log
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointReport {
    /// Whether everything is in the database file and the log is empty, which is always so without a write-ahead log.
    pub is_complete: bool,
    /// How many frames the log holds; a frame is one page as a commit left it.
    pub log_frames: u64,
    /// How many of these are in the database file as well. The rest is held back by a connection that still
    /// reads, or was written in the meantime.
    pub moved_frames: u64,
}

pub(crate) fn checkpoint(conn: &mut SqliteConnection) -> Result<CheckpointReport> {
    if transaction::is_open(conn)? {
        let message = "cannot checkpoint from within a transaction".to_owned();
        let source = DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message));
        return Err(Error::Database { source });
    }
    // Right after a migration SQLite has its view of the schema to renew. Where the checkpoint has to do it, it finds
    // itself in a read transaction of its own and gives up.
    pragma::read_schema(conn)?;
    let mut report = CheckpointReport::default();
    for attempt in 0..ATTEMPTS {
        match run(conn, "PASSIVE")? {
            Found::NoLog => return Ok(CheckpointReport { is_complete: true, ..report }),
            Found::Somebody => {}
            // Also where the log is empty: its file may be large.
            Found::Log { frames, moved, .. } if moved == frames => return empty(conn, frames),
            Found::Log { frames, moved, .. } => {
                report = CheckpointReport { is_complete: false, log_frames: frames, moved_frames: moved };
            }
        }
        if attempt + 1 < ATTEMPTS {
            std::thread::sleep(Duration::from_millis(1 << attempt));
        }
    }
    Ok(report)
}

/// The last step, when all frames have been moved.
fn empty(conn: &mut SqliteConnection, moved: u64) -> Result<CheckpointReport> {
    let found = pragma::with(conn, "busy_timeout", LAST_WAIT, |conn| run(conn, "TRUNCATE"))?;
    Ok(match found {
        Found::Log { frames, moved, is_held_up } => {
            CheckpointReport { is_complete: !is_held_up, log_frames: frames, moved_frames: moved }
        }
        Found::Somebody => CheckpointReport { is_complete: false, log_frames: moved, moved_frames: moved },
        Found::NoLog => CheckpointReport { is_complete: true, ..CheckpointReport::default() },
    })
}

/// As [`checkpoint`], where nobody has asked for it: not if the connection's automatic checkpoints are switched off.
/// Then another program takes care of the log.
pub(crate) fn unasked(conn: &mut SqliteConnection) -> Result<()> {
    if pragma::read(conn, "wal_autocheckpoint")? > 0 {
        checkpoint(conn)?;
    }
    Ok(())
}

enum Found {
    Log {
        frames: u64,
        moved: u64,
        is_held_up: bool,
    },
    /// Another connection is moving it.
    Somebody,
    NoLog,
}

/// One of SQLite's checkpoints.
fn run(conn: &mut SqliteConnection, mode: &str) -> QueryResult<Found> {
    let (busy, frames, moved): (i64, i64, i64) =
        diesel::dsl::sql::<(BigInt, BigInt, BigInt)>(&format!("PRAGMA main.wal_checkpoint({mode})"))
            .get_result(conn)?;
    Ok(match (u64::try_from(frames), u64::try_from(moved)) {
        (Ok(frames), Ok(moved)) => Found::Log { frames, moved, is_held_up: busy != 0 },
        _ if busy != 0 => Found::Somebody,
        _ => Found::NoLog,
    })
}

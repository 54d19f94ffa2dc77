//! Moving the contents of the write-ahead log into the database file, without making others wait.
//!
//! SQLite's truncating checkpoint takes the write lock and then waits for readers, as long as the busy timeout. Here,
//! the passive checkpoint, which waits for nobody, does the work first. The truncating one follows only when nothing is
//! left to move, and waits for tens of milliseconds at most.

use std::time::Duration;

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::BigInt;

use super::{pragma, transaction};
use crate::error::{Error, Result};
use crate::model::report::CheckpointReport;

/// How long the last step waits for readers while holding the write lock, in milliseconds. New readers no longer need
/// the log by then, so short ones end within this time even if they always overlap.
const LAST_WAIT: i64 = 50;

/// How often to try to move everything, with pauses of 1, 2, 4 … milliseconds in between: a reader that began before
/// the last commit has to end first.
const ATTEMPTS: u32 = 8;

pub(crate) fn checkpoint(conn: &mut SqliteConnection) -> Result<CheckpointReport> {
    if transaction::is_open(conn)? {
        let message = "cannot checkpoint from within a transaction".to_owned();
        let source = DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message));
        return Err(Error::Database { source });
    }
    // Right after a migration, SQLite has to reload its schema. If the checkpoint has to do that, it is inside a read
    // transaction of its own and gives up.
    pragma::read_schema(conn)?;
    let mut report = CheckpointReport::default();
    for attempt in 0..ATTEMPTS {
        match run(conn, "PASSIVE")? {
            LogState::NoLog => return Ok(CheckpointReport { is_complete: true, ..report }),
            LogState::Somebody => {}
            // Even if the log is empty: its file may be large.
            LogState::Log { frames, moved, .. } if moved == frames => return empty(conn, frames),
            LogState::Log { frames, moved, .. } => {
                report = CheckpointReport { is_complete: false, log_frames: frames, moved_frames: moved };
            }
        }
        if attempt + 1 < ATTEMPTS {
            std::thread::sleep(Duration::from_millis(1 << attempt));
        }
    }
    Ok(report)
}

/// The last step, once all frames have been moved.
fn empty(conn: &mut SqliteConnection, moved: u64) -> Result<CheckpointReport> {
    let found = pragma::with(conn, "busy_timeout", LAST_WAIT, |conn| run(conn, "TRUNCATE"))?;
    Ok(match found {
        LogState::Log { frames, moved, is_held_up } => {
            CheckpointReport { is_complete: !is_held_up, log_frames: frames, moved_frames: moved }
        }
        LogState::Somebody => CheckpointReport { is_complete: false, log_frames: moved, moved_frames: moved },
        LogState::NoLog => CheckpointReport { is_complete: true, ..CheckpointReport::default() },
    })
}

/// Like [`checkpoint`], but automatic: does nothing if the connection's automatic checkpoints are off, because another
/// program then takes care of the log.
pub(crate) fn unasked(conn: &mut SqliteConnection) -> Result<()> {
    if pragma::read(conn, "wal_autocheckpoint")? > 0 {
        checkpoint(conn)?;
    }
    Ok(())
}

enum LogState {
    Log {
        frames: u64,
        moved: u64,
        is_held_up: bool,
    },
    /// Another connection is running a checkpoint.
    Somebody,
    NoLog,
}

/// One of SQLite's checkpoints.
fn run(conn: &mut SqliteConnection, mode: &str) -> QueryResult<LogState> {
    let (busy, frames, moved): (i64, i64, i64) =
        diesel::dsl::sql::<(BigInt, BigInt, BigInt)>(&format!("PRAGMA main.wal_checkpoint({mode})"))
            .get_result(conn)?;
    Ok(match (u64::try_from(frames), u64::try_from(moved)) {
        (Ok(frames), Ok(moved)) => LogState::Log { frames, moved, is_held_up: busy != 0 },
        _ if busy != 0 => LogState::Somebody,
        _ => LogState::NoLog,
    })
}

//! Keeping the write-ahead log from growing without bound.
//!
//! SQLite checkpoints by itself once the log has 1,000 frames, but can only restart the log at a moment when nobody
//! reads from it. If readers always overlap there is none, and the log grows. So after a write the store checks the
//! size of the log, and if it is too large holds its own writes back for the tens of milliseconds that a
//! [checkpoint](crate::checkpoint) takes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use diesel::SqliteConnection;

use crate::database::sqlite::checkpoint;

/// The store checks at most this often, so that a commit does not cost an extra system call.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long it waits after a failed attempt if the readers change: the next moment may be better.
const SHORT_PAUSE: Duration = Duration::from_millis(100);

/// The same if one reader runs for long, so that nothing could be moved since the last attempt: at first, and at most.
const LONG_PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

pub(super) struct LogLimit {
    /// The log's path; `None` if it is not to be limited.
    path: Option<PathBuf>,
    limit: u64,
    next_look: Instant,
    /// How far the last attempt got, if it failed.
    moved_frames: Option<u64>,
    long_pause: Duration,
}

impl LogLimit {
    pub(super) fn new(path: Option<PathBuf>, limit: u64) -> Self {
        Self { path, limit, next_look: Instant::now(), moved_frames: None, long_pause: LONG_PAUSES.0 }
    }

    /// No limit.
    pub(super) fn none() -> Self {
        Self::new(None, 0)
    }

    /// Empties the log if it is too large. Call it between transactions.
    pub(super) fn tend(&mut self, conn: &mut SqliteConnection) {
        let Some(path) = &self.path else { return };
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        if path.metadata().is_ok_and(|log| log.len() > self.limit) {
            // An error here affects none of the writes. An explicit checkpoint will report it.
            let report = checkpoint::checkpoint(conn).unwrap_or_default();
            let moved_frames = (!report.is_complete).then_some(report.moved_frames);
            let pause = match moved_frames {
                Some(moved) if self.moved_frames == Some(moved) => {
                    let pause = self.long_pause;
                    self.long_pause = (2 * pause).min(LONG_PAUSES.1);
                    pause
                }
                _ => {
                    self.long_pause = LONG_PAUSES.0;
                    if report.is_complete { LOOK_EVERY } else { SHORT_PAUSE }
                }
            };
            self.moved_frames = moved_frames;
            self.next_look = Instant::now() + pause;
        }
    }
}

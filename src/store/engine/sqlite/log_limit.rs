//! Keeping the write-ahead log from growing without bound.
//!
//! SQLite moves the log into the file by itself once it holds 1,000 frames, but begins it anew only in a moment in which
//! nobody reads from it. Where readers always overlap there is none, and the log grows. So after a write the store looks
//! how large the file is, and if it is too large keeps its own writes back for the tens of milliseconds that a
//! [checkpoint](crate::checkpoint) takes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use diesel::SqliteConnection;

use crate::checkpoint;

/// The store looks this often at most, so that a commit does not cost a system call more.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long it lets go by after an attempt that failed, where the readers change: another moment may be better.
const SHORT_PAUSE: Duration = Duration::from_millis(100);

/// The same where somebody reads for long, so that nothing could be moved since the last attempt: at first, and at most.
const LONG_PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

pub(super) struct LogLimit {
    /// Where it is; `None` if nothing is to be done about it.
    path: Option<PathBuf>,
    limit: u64,
    next_look: Instant,
    /// How far the last attempt came, if it failed.
    moved_frames: Option<u64>,
    long_pause: Duration,
}

impl LogLimit {
    pub(super) fn new(path: Option<PathBuf>, limit: u64) -> Self {
        Self { path, limit, next_look: Instant::now(), moved_frames: None, long_pause: LONG_PAUSES.0 }
    }

    /// Nothing is done.
    pub(super) fn none() -> Self {
        Self::new(None, 0)
    }

    /// Empties it if it is too large; to be called between transactions.
    pub(super) fn tend(&mut self, conn: &mut SqliteConnection) {
        let Some(path) = &self.path else { return };
        let now = Instant::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_EVERY;
        if path.metadata().is_ok_and(|log| log.len() > self.limit) {
            // What goes wrong here concerns none of the writes. It will be reported when somebody asks for it.
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

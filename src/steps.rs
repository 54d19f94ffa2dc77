//! Work in steps: each holds the write lock for a moment, and others write in between.

use std::time::{Duration, Instant};

use diesel::SqliteConnection;

use crate::error::Result;

/// Rows that one step writes at most.
pub(crate) const STEP_ROWS: usize = 500;

/// How long a step works before it commits, however few rows that were.
pub(crate) const STEP_TIME: Duration = Duration::from_millis(10);

/// Rows that a step writes in any case: beyond that the time goes into the commit, which costs the same for fewer.
const FEWEST_ROWS: usize = 50;

/// A step that took this long, with its commit, was too large for this disk.
const SLOW: Duration = Duration::from_millis(50);

/// How long the lock may be held, in one step or in several that follow at once, before it is left free for a while.
const HELD: Duration = Duration::from_millis(50);

/// A connection that waits for the lock only looks now and then whether it is free: SQLite's busy handler does so every
/// 25 ms at most in the first 128 ms, and every 100 ms after 228 ms. It cannot miss that the lock is free for so long.
const WINDOW: Duration = Duration::from_millis(26);
const PATIENT: Duration = Duration::from_millis(100);
const WINDOW_OF_THE_PATIENT: Duration = Duration::from_millis(101);

/// Who reads and who writes.
pub(crate) trait Access {
    /// Reads, without the write lock.
    fn read<T>(&mut self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T>;

    /// Writes. What is given may be run again, if what it did was undone.
    fn write<T: Send + 'static>(
        &mut self,
        work: impl FnMut(&mut SqliteConnection) -> Result<T> + Send + 'static,
    ) -> Result<T>;
}

impl Access for SqliteConnection {
    fn read<T>(&mut self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        work(self)
    }

    fn write<T: Send + 'static>(
        &mut self,
        mut work: impl FnMut(&mut SqliteConnection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        work(self)
    }
}

/// How large the steps are, and how long the lock is left free between them.
#[derive(Debug)]
pub(crate) struct Pace {
    pauses: bool,
    rows: usize,
    /// How long the lock was held since it was last free for long enough.
    held: Duration,
    released: Option<Instant>,
}

impl Pace {
    /// In a transaction of the caller's, a pause would only hold the lock for longer.
    pub(crate) fn new(pauses: bool) -> Self {
        Self { pauses, rows: STEP_ROWS, held: Duration::ZERO, released: None }
    }

    /// How many rows the next step is to have.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Waits before a step, if others are to be let in.
    pub(crate) fn wait(&mut self) {
        let pause = self.released.and_then(|released| self.pause(released.elapsed()));
        if let Some(pause) = pause
            && self.pauses
        {
            std::thread::sleep(pause);
        }
    }

    /// How long the lock has to be free still, after it was for so long; work without the lock is as good as a pause.
    fn pause(&mut self, free: Duration) -> Option<Duration> {
        let window = if self.held < PATIENT { WINDOW } else { WINDOW_OF_THE_PATIENT };
        let missing = window.saturating_sub(free);
        if missing > Duration::ZERO && self.held < HELD {
            return None;
        }
        self.held = Duration::ZERO;
        Some(missing).filter(|missing| !missing.is_zero())
    }

    /// Reckons with a step that has held the lock since it began.
    pub(crate) fn took(&mut self, began: Instant) {
        self.released = Some(Instant::now());
        self.count(began.elapsed());
    }

    fn count(&mut self, held: Duration) {
        self.held += held;
        self.rows = if held > SLOW { (self.rows / 2).max(FEWEST_ROWS) } else { (self.rows * 2).min(STEP_ROWS) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn the_lock_is_left_free_after_50_ms_for_long_enough_to_be_seen() {
        let mut pace = Pace::new(true);
        for _ in 0..4 {
            assert_eq!(pace.pause(millis(1)), None);
            pace.count(millis(12));
        }
        assert_eq!(pace.pause(millis(1)), None);
        pace.count(millis(12));
        assert_eq!(pace.pause(millis(1)), Some(millis(25)), "what it was free already counts");
        assert_eq!(pace.pause(millis(1)), None, "and then it begins anew");
        pace.count(millis(49));
        assert_eq!(pace.pause(millis(26)), None, "work without the lock is as good as a pause");
        pace.count(millis(49));
        assert_eq!(pace.pause(millis(25)), None, "which was long enough");
        pace.count(millis(60));
        assert_eq!(pace.pause(millis(1)), Some(millis(100)), "who has waited for long looks seldom");
    }

    #[test]
    fn steps_that_take_long_become_smaller_and_grow_again() {
        let mut pace = Pace::new(true);
        let mut rows = |held| {
            pace.count(millis(held));
            pace.rows()
        };
        assert_eq!([rows(51), rows(51), rows(51), rows(900), rows(900)], [250, 125, 62, 50, 50]);
        assert_eq!([rows(50), rows(1), rows(9), rows(9), rows(9)], [100, 200, 400, 500, 500]);
    }
}

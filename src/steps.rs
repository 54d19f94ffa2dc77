//! Work in steps: each holds the write lock for a moment, and others write in between.

use std::time::{Duration, Instant};

use diesel::SqliteConnection;

use crate::error::Result;

/// Rows that one step writes at most, unless its disk is known to be fast.
pub(crate) const STEP_ROWS: usize = 500;

/// How long a step works before it commits, however few rows that were.
pub(crate) const STEP_TIME: Duration = Duration::from_millis(10);

/// Rows that a step writes in any case: beyond that the time goes into the commit, which costs the same for fewer.
const FEWEST_ROWS: usize = 50;

/// A step that took less than this, with its commit, might have been larger. Two in a row that took more than the
/// second were too large; one may have had bad luck, unless it took more than the third.
const QUICK: Duration = Duration::from_millis(25);
const SLOW: Duration = Duration::from_millis(60);
const TOO_SLOW: Duration = Duration::from_millis(120);

/// How long the lock may be held by several steps that follow at once, before it is left free for a while.
const HELD: Duration = Duration::from_millis(100);

/// How long it is left free. Who waits for the lock only looks now and then whether it is free: SQLite's busy handler
/// does so every 25 ms at most in the first 128 ms, and every 100 ms after 228 ms. A window of this length that begins by
/// then is never missed, and neither is one of the second length by those who had to wait longer.
const SOON: Duration = Duration::from_millis(125);
const WINDOW: Duration = Duration::from_millis(26);
const LONG_WINDOW: Duration = Duration::from_millis(101);

/// Who reads and who writes.
pub(crate) trait Access {
    /// Whether a write is committed when it returns.
    const COMMITS: bool = true;

    /// Reads, without the write lock.
    fn read<T>(&mut self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T>;

    /// Writes. What is given may be run again, if what it did was undone.
    fn write<T: Send + 'static>(
        &mut self,
        work: impl FnMut(&mut SqliteConnection) -> Result<T> + Send + 'static,
    ) -> Result<T>;

    /// Makes several writes one, where they are not committed anyway.
    fn together<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        work(self)
    }
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
    most_rows: usize,
    /// How long the lock was held since it was last free for long enough, and by the last step.
    held: Duration,
    last: Duration,
    released: Option<Instant>,
}

impl Pace {
    /// Steps of up to so many rows. In a transaction of the caller's there are no pauses, which would only hold the lock
    /// for longer.
    pub(crate) fn new(pauses: bool, most_rows: usize) -> Self {
        let (held, last) = (Duration::ZERO, Duration::ZERO);
        Self { pauses, rows: STEP_ROWS.min(most_rows), most_rows, held, last, released: None }
    }

    /// How many rows the next step is to have.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Waits before a step, if others are to be let in.
    pub(crate) fn wait(&mut self) {
        let pause = self.owes();
        std::thread::sleep(pause);
        if self.released.is_some_and(|released| released.elapsed() >= self.window()) {
            self.held = Duration::ZERO;
        }
    }

    /// How long the lock has to be free still before the next step. Work without the lock is as good as a pause.
    pub(crate) fn owes(&self) -> Duration {
        match self.released {
            Some(released) if self.pauses => self.owes_after(released.elapsed()),
            _ => Duration::ZERO,
        }
    }

    fn owes_after(&self, free: Duration) -> Duration {
        if self.held + self.last <= HELD { Duration::ZERO } else { self.window().saturating_sub(free) }
    }

    fn window(&self) -> Duration {
        if self.held <= SOON { WINDOW } else { LONG_WINDOW }
    }

    /// Reckons with a step that has held the lock since it began.
    pub(crate) fn took(&mut self, began: Instant) {
        self.released = Some(Instant::now());
        self.count(began.elapsed());
    }

    fn count(&mut self, held: Duration) {
        if held > TOO_SLOW || held.min(self.last) > SLOW {
            self.rows = (self.rows / 2).max(FEWEST_ROWS);
        } else if held < QUICK {
            self.rows = (self.rows * 2).min(self.most_rows);
        }
        self.held += held;
        self.last = held;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn the_lock_is_not_held_for_100_ms_without_a_window_that_is_seen() {
        let mut pace = Pace::new(true, STEP_ROWS);
        for _ in 0..4 {
            assert_eq!(pace.owes_after(millis(1)), millis(0));
            pace.count(millis(21));
        }
        assert_eq!(pace.owes_after(millis(1)), millis(25), "the next one would be too much");
        assert_eq!(pace.owes_after(millis(27)), millis(0), "work without the lock is as good as a pause");
        pace.count(millis(41));
        assert_eq!(pace.owes_after(millis(1)), millis(25));
        pace.count(millis(1));
        assert_eq!(pace.owes_after(millis(1)), millis(100), "who has waited for long looks seldom");
        assert_eq!(Pace { pauses: false, released: Some(Instant::now()), ..pace }.owes(), millis(0));
    }

    #[test]
    fn a_window_is_waited_for_once() {
        let mut pace = Pace::new(true, STEP_ROWS);
        pace.wait();
        pace.took(Instant::now() - millis(60));
        assert!(pace.owes() > millis(0));
        pace.wait();
        assert_eq!((pace.owes(), pace.held), (millis(0), millis(0)));
    }

    #[test]
    fn steps_that_take_long_become_smaller_and_grow_again() {
        let mut pace = Pace::new(true, STEP_ROWS);
        let mut rows = |held| {
            pace.count(millis(held));
            pace.rows()
        };
        assert_eq!([rows(61), rows(9), rows(61), rows(61), rows(61)], [500, 500, 500, 250, 125]);
        assert_eq!([rows(50), rows(121), rows(121), rows(121)], [125, 62, 50, 50]);
        assert_eq!(
            [rows(60), rows(25), rows(24), rows(1), rows(9), rows(9), rows(9)],
            [50, 50, 100, 200, 400, 500, 500]
        );
    }
}

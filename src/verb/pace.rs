//! How long each step holds the write lock, and how often others get to write in between.

use std::time::{Duration, Instant};

use crate::model::retention::STEP_ROWS;

/// The least number of rows in a step: with fewer, most time goes into the commit, which costs the same.
const FEWEST_ROWS: usize = 50;

/// A step that took less than the first of these, commit included, could have been larger. Two in a row that took more
/// than the second were too large. A single one may just have been unlucky, unless it took more than the third.
const QUICK: Duration = Duration::from_millis(25);
const SLOW: Duration = Duration::from_millis(60);
const TOO_SLOW: Duration = Duration::from_millis(120);

/// How long successive steps may hold the lock before it is left free for a while.
const HELD: Duration = Duration::from_millis(100);

/// How long it is left free. A connection that waits for the lock polls it: SQLite's busy handler does so at least
/// every 25 ms during the first 128 ms, and every 100 ms after 228 ms. So nobody misses a `WINDOW` that begins within
/// `SOON`, and a `LONG_WINDOW` serves those that have waited longer.
const SOON: Duration = Duration::from_millis(125);
const WINDOW: Duration = Duration::from_millis(26);
const LONG_WINDOW: Duration = Duration::from_millis(101);

/// The size of the steps, and how long the lock is left free between them.
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
    /// Steps of up to this many rows. Inside the caller's transaction there are no pauses, which would only hold the
    /// lock for longer.
    pub(crate) fn new(pauses: bool, most_rows: usize) -> Self {
        let (held, last) = (Duration::ZERO, Duration::ZERO);
        Self { pauses, rows: STEP_ROWS.min(most_rows), most_rows, held, last, released: None }
    }

    /// How many rows the next step should have.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Records that the next step begins, after the pause that was due.
    pub(crate) fn resume(&mut self) {
        if self.released.is_some_and(|released| released.elapsed() >= self.window()) {
            self.held = Duration::ZERO;
        }
    }

    /// How long the lock must still be free before the next step. Work without the lock counts as a pause.
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

    /// Accounts for a step that has held the lock since it began.
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
        pace.resume();
        pace.took(Instant::now() - millis(60));
        assert!(pace.owes() > millis(0));
        std::thread::sleep(pace.owes());
        pace.resume();
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

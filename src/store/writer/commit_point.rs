//! The one place where writes are committed, and that knows that something was.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::group_commit::GroupCommit;
use super::job::{Job, again};
use super::row_writes::Rows;
use crate::database::is_worth_repeating;
use crate::error::{Error, Result};
use crate::store::changes::Changes;
use crate::store::changes::change::Change;

/// The writing connection, or what is left of it.
pub(super) struct CommitPoint<W> {
    /// `None` once the store is closed.
    writer: Option<W>,
    /// Its last use ended in a panic, perhaps in the middle of a transaction.
    interrupted: bool,
    changes: Arc<Changes>,
    /// Somebody wants to know whether others have committed.
    look_is_due: Arc<AtomicBool>,
    #[cfg(test)]
    pub(super) commits: usize,
}

/// The outcome of a group in one transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Together {
    /// All calls have results, and something was committed, or may have been.
    Committed,
    /// All calls have results, and all are errors.
    Failed,
    /// Everything was rolled back.
    Undone,
}

impl<W: GroupCommit> CommitPoint<W> {
    pub(super) fn new(writer: W, changes: Arc<Changes>, look_is_due: Arc<AtomicBool>) -> Self {
        Self {
            writer: Some(writer),
            interrupted: false,
            changes,
            look_is_due,
            #[cfg(test)]
            commits: 0,
        }
    }

    /// Something has just been committed, in whatever way it was written; no caller has its result yet. A commit during
    /// which the application's instrumentation panics goes unnoticed.
    fn committed(&mut self) {
        #[cfg(test)]
        {
            self.commits += 1;
        }
        if let Some(writer) = &mut self.writer {
            writer.after_commit();
        }
    }

    /// Says what may have been committed. Nobody is woken while this holds the connection.
    fn announce(&mut self, change: &Change<'_>) {
        self.changes.announce(change);
        if let Some(writer) = &mut self.writer {
            writer.tell_others(change);
        }
    }

    /// Runs work on the connection, and then checks whether it has committed anything. `None` if the store is closed.
    fn using<T>(&mut self, work: impl FnOnce(&mut W) -> T, has_committed: impl FnOnce(&T) -> bool) -> Option<T> {
        let writer = self.writer.as_mut()?;
        if std::mem::replace(&mut self.interrupted, true) {
            writer.abandon_transaction();
        }
        let result = work(writer);
        // No use may leave a transaction open: what is written in there would only look stored.
        if writer.is_in_transaction() {
            writer.abandon_transaction();
        } else if has_committed(&result) {
            self.committed();
        }
        if self.look_is_due.swap(false, Ordering::Relaxed)
            && let Some(writer) = &mut self.writer
            && writer.others_have_committed()
        {
            self.changes.others_have_committed();
        }
        self.interrupted = false;
        Some(result)
    }

    /// Runs work that commits nothing.
    pub(super) fn read<T>(&mut self, work: impl FnOnce(&mut W::Connection) -> Result<T>) -> Result<T> {
        self.using(|writer| run(writer, work), |_| false).unwrap_or(Err(Error::Closed))
    }

    /// Runs one write, which is its own transaction.
    pub(super) fn write<T>(
        &mut self,
        change: &Change<'_>,
        work: impl FnOnce(&mut W::Connection) -> Result<T>,
    ) -> Result<T> {
        let result = self.using(|writer| run(writer, work), Result::is_ok).unwrap_or(Err(Error::Closed));
        if may_be_stored(result.as_ref().err()) {
            self.announce(change);
        }
        result
    }

    /// Looks whether others have committed.
    pub(super) fn look(&mut self) {
        self.using(|_| (), |()| false);
    }

    /// Writes a group: in one transaction if possible, otherwise each write by itself.
    pub(super) fn write_group(&mut self, group: &mut [Box<dyn Job<W::Connection>>]) {
        if group.len() > 1 {
            match self.using(|writer| write_together(writer, group), |became| *became == Together::Committed) {
                Some(Together::Committed) => {
                    self.announce(&Change::of_all(
                        group.iter().filter(|job| may_be_stored(job.error())).map(|job| job.change()),
                    ));
                    return;
                }
                Some(Together::Failed) => return,
                Some(Together::Undone) | None => {}
            }
        }
        let mut jobs = group.iter_mut();
        let mut hurries = false;
        while let Some(job) = jobs.next() {
            let attempt = |writer: &mut W| {
                match writer.make_ready() {
                    Ok(()) => attempt_alone::<W>(job, writer.connection()),
                    Err(error) => job.fail(error),
                }
                job.is_done()
            };
            if self.using(attempt, |is_done| *is_done).is_none() {
                job.fail(Error::Closed);
            }
            if may_be_stored(job.error()) {
                self.announce(&job.change());
            }
            // It has already waited for the lock, so the others need not do so one after the other.
            if let Some(busy @ Error::Busy { .. }) = job.error()
                && !hurries
            {
                hurries = self.writer.as_mut().is_some_and(|writer| writer.hurry(jobs.len()));
                if !hurries {
                    let busy = again(busy);
                    jobs.for_each(|job| job.fail(again(&busy)));
                    return;
                }
            }
        }
        if hurries && let Some(writer) = &mut self.writer {
            writer.take_time();
        }
    }

    /// Ends all use of the connection, and returns it; `None` if that was done before.
    pub(super) fn close(&mut self) -> Option<W> {
        self.using(|_| (), |()| false)?;
        self.writer.take()
    }
}

/// How often a write is tried that the database gives up for others.
const ATTEMPTS: usize = 5;

/// Whether a write with this result is stored, or nobody knows.
pub(in crate::store) fn may_be_stored(error: Option<&Error>) -> bool {
    matches!(error, None | Some(Error::Disconnected { may_be_stored: true, .. }))
}

fn attempt_alone<W: GroupCommit>(job: &mut Box<dyn Job<W::Connection>>, connection: &mut W::Connection) {
    for _ in 0..ATTEMPTS {
        job.attempt(connection);
        if !job.error().is_some_and(is_worth_repeating) {
            break;
        }
    }
}

fn run<W: GroupCommit, T>(writer: &mut W, work: impl FnOnce(&mut W::Connection) -> Result<T>) -> Result<T> {
    writer.make_ready()?;
    work(writer.connection())
}

fn write_together<W: GroupCommit>(writer: &mut W, group: &mut [Box<dyn Job<W::Connection>>]) -> Together {
    if let Err(error) = writer.make_ready().and_then(|()| writer.begin()) {
        group.iter_mut().for_each(|job| job.fail(again(&error)));
        return Together::Failed;
    }
    let finished = writer.finish(|connection| {
        let mut rest = &mut *group;
        let mut go_on = true;
        while go_on && !rest.is_empty() {
            let (jobs, others) = rest.split_at_mut(if W::MERGES_ROWS { alike(rest) } else { rest.len() });
            rest = others;
            if W::MERGES_ROWS && jobs.len() > 1 && write_rows::<W>(connection, jobs)? {
                continue;
            }
            go_on = jobs.iter_mut().all(|job| {
                job.attempt(connection);
                W::can_go_on(connection, job.error())
            });
        }
        // The error does not matter: each job finds out for itself.
        if go_on { Ok(()) } else { Err(Error::Panicked) }
    });
    match finished {
        Ok(()) if group.iter().any(|job| job.is_done()) => Together::Committed,
        Ok(()) => Together::Failed,
        // Writing again could do harm: whether the first time counts is unknown.
        Err(error @ Error::Disconnected { may_be_stored: true, .. }) => {
            group.iter_mut().for_each(|job| job.fail(again(&error)));
            Together::Committed
        }
        Err(_) => Together::Undone,
    }
}

/// How many jobs at the front write rows of one kind; at least one.
fn alike<C>(jobs: &[Box<dyn Job<C>>]) -> usize {
    let Some(first) = jobs[0].rows() else { return 1 };
    jobs.iter().take_while(|job| job.rows().is_some_and(|rows| rows.is_like(&first))).count()
}

/// Writes the jobs' rows at once, if that is possible.
fn write_rows<W: GroupCommit>(
    connection: &mut W::Connection,
    jobs: &mut [Box<dyn Job<W::Connection>>],
) -> Result<bool> {
    let rows: Vec<Rows<'_>> = jobs.iter().filter_map(|job| job.rows()).collect();
    let Some(written) = W::write_rows(connection, &rows)? else { return Ok(false) };
    jobs.iter_mut().zip(written).for_each(|(job, indexes)| job.rows_written(indexes));
    Ok(true)
}

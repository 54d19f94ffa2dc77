//! The one place where writes are committed, and where it is known that something has been.

use super::group_commit::GroupCommit;
use super::job::{Job, again};
use crate::error::{Error, Result};

/// The connection that writes, or what is left of it.
pub(super) struct CommitPoint<W> {
    /// `None` once the store is closed.
    writer: Option<W>,
    /// A panic ended its last use, perhaps in the middle of a transaction.
    interrupted: bool,
    #[cfg(test)]
    pub(super) commits: usize,
}

/// What became of a group in one transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Together {
    /// All of it is answered for, and something was committed.
    Committed,
    /// All of it is answered for, with errors.
    Failed,
    /// Nothing of it was kept.
    Undone,
}

impl<W: GroupCommit> CommitPoint<W> {
    pub(super) fn new(writer: W) -> Self {
        Self {
            writer: Some(writer),
            interrupted: false,
            #[cfg(test)]
            commits: 0,
        }
    }

    /// Something has just been committed, in whatever way it was written; nobody has been answered yet. A commit during
    /// which the host's instrumentation panics is not noticed.
    fn committed(&mut self) {
        #[cfg(test)]
        {
            self.commits += 1;
        }
        if let Some(writer) = &mut self.writer {
            writer.after_commit();
        }
    }

    /// Lets some work use the connection, and asks afterwards whether that has committed anything. `None` if the store
    /// is closed.
    fn using<T>(&mut self, work: impl FnOnce(&mut W) -> T, has_committed: impl FnOnce(&T) -> bool) -> Option<T> {
        let writer = self.writer.as_mut()?;
        if std::mem::replace(&mut self.interrupted, true) {
            writer.abandon_transaction();
        }
        let result = work(writer);
        // No use of it leaves a transaction open; what is written in there would only look stored.
        if writer.is_in_transaction() {
            writer.abandon_transaction();
        } else if has_committed(&result) {
            self.committed();
        }
        self.interrupted = false;
        Some(result)
    }

    /// Does what commits nothing.
    pub(super) fn read<T>(&mut self, work: impl FnOnce(&mut W::Connection) -> Result<T>) -> Result<T> {
        self.using(|writer| work(writer.connection()), |_| false).unwrap_or(Err(Error::Closed))
    }

    /// Runs one write, which is a transaction of its own.
    pub(super) fn write<T>(&mut self, work: impl FnOnce(&mut W::Connection) -> Result<T>) -> Result<T> {
        self.using(|writer| work(writer.connection()), Result::is_ok).unwrap_or(Err(Error::Closed))
    }

    /// Writes a group: all of it in one transaction if nothing is in the way, and else each by itself.
    pub(super) fn write_group(&mut self, group: &mut [Box<dyn Job<W::Connection>>]) {
        if group.len() > 1 {
            match self.using(|writer| write_together(writer, group), |became| *became == Together::Committed) {
                Some(Together::Committed | Together::Failed) => return,
                Some(Together::Undone) | None => {}
            }
        }
        let mut jobs = group.iter_mut();
        while let Some(job) = jobs.next() {
            let attempt = |writer: &mut W| {
                job.attempt(writer.connection());
                job.is_done()
            };
            if self.using(attempt, |is_done| *is_done).is_none() {
                job.fail(Error::Closed);
            }
            // It has waited for the lock; then the others need not wait as well, one after the other.
            if let Some(busy @ Error::Busy { .. }) = job.error() {
                let busy = again(busy);
                jobs.for_each(|job| job.fail(again(&busy)));
                return;
            }
        }
    }

    /// Ends all use of the connection, and hands it out; `None` if that was done before.
    pub(super) fn close(&mut self) -> Option<W> {
        self.using(|_| (), |()| false)?;
        self.writer.take()
    }
}

fn write_together<W: GroupCommit>(writer: &mut W, group: &mut [Box<dyn Job<W::Connection>>]) -> Together {
    if let Err(error) = writer.begin() {
        group.iter_mut().for_each(|job| job.fail(again(&error)));
        return Together::Failed;
    }
    let finished = writer.finish(|connection| {
        let go_on = group.iter_mut().all(|job| {
            job.attempt(connection);
            W::can_go_on(connection, job.error())
        });
        // What stopped it does not matter: each job finds out for itself.
        if go_on { Ok(()) } else { Err(Error::Panicked) }
    });
    match finished {
        Ok(()) if group.iter().any(|job| job.is_done()) => Together::Committed,
        Ok(()) => Together::Failed,
        Err(_) => Together::Undone,
    }
}

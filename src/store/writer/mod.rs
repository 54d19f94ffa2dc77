//! Group commit: whatever waits when the writing connection is free becomes one transaction.
//!
//! A write that finds the connection free runs at once, on its caller's thread and with its caller's data. Otherwise a
//! copy of it waits in a queue, which one of the store's threads empties: everything in it runs in order, in one
//! transaction, with one commit (one disk sync). Callers get their results after that commit.

mod commit_point;
mod group_commit;
mod job;
mod queue;
pub(in crate::store) mod row_writes;

#[cfg(feature = "async")]
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;

use self::commit_point::CommitPoint;
#[cfg(feature = "postgres")]
pub(super) use self::commit_point::may_be_stored;
pub(super) use self::group_commit::GroupCommit;
pub(super) use self::job::again;
use self::job::queued;
use self::queue::WriteQueue;
use self::row_writes::Write;
use super::changes::Changes;
use super::changes::change::Change;
use super::reentrance::{Activity, ActivityGuard, StoreId, is_inside, refuse, undisturbed};
use crate::database::is_worth_repeating;
use crate::error::{Error, Result};

/// The writing connection, and its queue.
pub(super) struct Writer<W: GroupCommit> {
    id: StoreId,
    /// Activities during which a thread must not wait for the connection.
    refused_inside: &'static [Activity],
    queue: WriteQueue<W::Connection>,
    connection: Mutex<CommitPoint<W>>,
    changes: Arc<Changes>,
    look_is_due: Arc<AtomicBool>,
}

/// Wakes those who wait for a commit, also if the application's instrumentation panics, perhaps after one.
struct WakesOnDrop<'a>(&'a Changes);

impl Drop for WakesOnDrop<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.announce(&Change::Anything);
        }
        self.0.wake();
    }
}

/// The connection while this thread holds it.
struct Held<'a, W> {
    connection: MutexGuard<'a, CommitPoint<W>>,
    _inside: ActivityGuard,
}

impl<W: GroupCommit> Writer<W> {
    /// A commit may have to wait for all readers.
    pub(super) fn new(id: StoreId, waits_for_readers: bool, connection: W, changes: Arc<Changes>) -> Self {
        let refused_inside: &[Activity] = if waits_for_readers {
            &[Activity::Writing, Activity::Transacting, Activity::Reading]
        } else {
            &[Activity::Writing, Activity::Transacting]
        };
        let look_is_due = Arc::default();
        let connection = CommitPoint::new(connection, Arc::clone(&changes), Arc::clone(&look_is_due));
        let connection = Mutex::new(connection);
        Self { id, refused_inside, queue: WriteQueue::new(), connection, changes, look_is_due }
    }

    fn hold(&self) -> Held<'_, W> {
        self.held(self.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn held<'a>(&self, connection: MutexGuard<'a, CommitPoint<W>>) -> Held<'a, W> {
        Held { connection, _inside: ActivityGuard::enter(self.id, Activity::Writing) }
    }

    /// Uses the connection, and then wakes those who wait for what was committed.
    fn using<T>(&self, held: Held<'_, W>, work: impl FnOnce(&mut CommitPoint<W>) -> T) -> T {
        // Dropped in the opposite order.
        let _waking = WakesOnDrop(&self.changes);
        let mut held = held;
        work(&mut held.connection)
    }

    /// Returns an error if this thread would wait for itself.
    fn refuse_inside(&self) -> Result<()> {
        refuse(self.id, self.refused_inside)
    }

    /// Runs work that commits nothing on the connection, as soon as it is free.
    pub(super) fn read<T>(&self, work: impl FnOnce(&mut W::Connection) -> Result<T>) -> Result<T> {
        self.refuse_inside()?;
        self.using(self.hold(), |connection| connection.read(work))
    }

    /// Writes without the queue, as soon as the connection is free.
    pub(super) fn write_alone<T>(
        &self,
        change: &Change<'_>,
        work: impl FnOnce(&mut W::Connection) -> Result<T>,
    ) -> Result<T> {
        self.refuse_inside()?;
        self.using(self.hold(), |connection| connection.write(change, work))
    }

    /// Looks whether others have committed anything, and says so. It does not wait for the connection: whoever
    /// uses it looks afterwards. If nobody has since the last call, others may have committed before that long use
    /// began.
    pub(super) fn look(&self) {
        let is_overdue = self.look_is_due.swap(true, Ordering::Relaxed);
        if let Some(held) = self.try_hold() {
            self.using(held, CommitPoint::look);
            return;
        }
        if is_overdue {
            self.changes.others_have_committed();
        }
    }

    fn try_hold(&self) -> Option<Held<'_, W>> {
        match self.connection.try_lock() {
            Ok(connection) => Some(self.held(connection)),
            Err(TryLockError::Poisoned(poisoned)) => Some(self.held(poisoned.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Writes on this thread if nobody else is writing. If the write has to queue, it is made again with its own copy
    /// of the data.
    pub(super) fn write<T, L>(
        self: &Arc<Self>,
        change: &Change<'_>,
        now: impl FnOnce(&mut W::Connection) -> Result<T>,
        later: impl FnOnce() -> L,
    ) -> Result<T>
    where
        T: Send + 'static,
        L: Write<W::Connection, Answer = T> + Send + 'static,
    {
        match self.write_now(change, now) {
            Some(Err(error)) if is_worth_repeating(&error) => self.submit(later()),
            Some(result) => result,
            None => self.submit(later()),
        }
    }

    /// Like [`write`](Self::write), for writes that already have a copy.
    pub(super) fn write_owned<T: Send + 'static>(
        self: &Arc<Self>,
        mut work: impl Write<W::Connection, Answer = T> + Send + 'static,
    ) -> Result<T> {
        let change = work.change().into_owned();
        match self.write_now(&change, |connection| work.run(connection)) {
            Some(Err(error)) if is_worth_repeating(&error) => self.submit(work),
            Some(result) => result,
            None => self.submit(work),
        }
    }

    /// Writes if no wait is needed; `None` if it has to queue.
    fn write_now<T>(
        &self,
        change: &Change<'_>,
        work: impl FnOnce(&mut W::Connection) -> Result<T>,
    ) -> Option<Result<T>> {
        if let Err(error) = self.refuse_inside() {
            return Some(Err(error));
        }
        match self.queue.pass(|| self.try_hold()) {
            Ok(Some(held)) => Some(self.using(held, |connection| connection.write(change, work))),
            // A write by a waker: the queue would wait for this thread.
            Ok(None) if is_inside(self.id, &[Activity::Emptying]) => Some(self.write_alone(change, work)),
            Ok(None) => None,
            Err(closed) => Some(Err(closed)),
        }
    }

    fn submit<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Write<W::Connection, Answer = T> + Send + 'static,
    ) -> Result<T> {
        let (job, ticket) = queued(work);
        self.queue.submit(job, || self.start())?;
        ticket.wait()
    }

    /// Writes through the queue; the task waits while that is full.
    #[cfg(feature = "async")]
    pub(super) async fn write_queued<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Write<W::Connection, Answer = T> + Send + 'static,
    ) -> Result<T> {
        let (job, ticket) = queued(work);
        let (mut job, mut place) = (Some(job), self.queue.place());
        poll_fn(|context| {
            self.refuse_inside()?;
            self.queue.poll_submit(context, &mut place, &mut job, || self.start())
        })
        .await?;
        drop(place);
        ticket.await
    }

    fn start(self: &Arc<Self>) -> Result<JoinHandle<()>> {
        let writer = Arc::clone(self);
        let thread = std::thread::Builder::new().name("agent-session-store".to_owned());
        thread.spawn(move || writer.run()).map_err(|source| Error::Thread { source })
    }

    /// Empties the queue until the store is closed.
    fn run(&self) {
        let _inside = ActivityGuard::enter(self.id, Activity::Emptying);
        while self.queue.wait_for_work() {
            let mut held = self.hold();
            let mut group = self.queue.gather();
            let done = catch_unwind(AssertUnwindSafe(|| held.connection.write_group(&mut group)));
            drop(held);
            // Only now: what a waker runs may use the store.
            self.queue.wake_tasks();
            if done.is_err() {
                // The application's instrumentation panicked. Whether anything was committed is unknown.
                self.changes.announce(&Change::Anything);
                group.iter_mut().for_each(|job| job.fail(Error::Panicked));
            }
            group.into_iter().for_each(|job| undisturbed(|| job.answer()));
            self.changes.wake();
        }
    }

    /// Rejects new writes, and waits until everything in the queue has been written.
    pub(super) fn finish(&self) {
        self.queue.close();
    }

    /// The same, and returns the connection once nobody uses it; `None` if that was done before.
    pub(super) fn close(&self) -> Option<W> {
        self.finish();
        self.hold().connection.close()
    }

    /// The number of commits.
    #[cfg(test)]
    pub(super) fn commits(&self) -> usize {
        self.hold().connection.commits
    }

    /// The number of writes in the queue.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }
}

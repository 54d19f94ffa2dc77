//! Group commit: whatever waits when the writing connection is free becomes one transaction.
//!
//! A write that finds the connection free runs at once, on its own thread. One that does not waits in a queue, which
//! a thread of the store's empties: everything in it, in order, in one transaction, then one commit (one disk sync)
//! for all. A caller is answered after that commit.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
#[cfg(feature = "async")]
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::SqliteConnection;
use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::inside::{Inside, StoreId, Use, is_inside, refuse};
use super::log::Log;
use super::ticket::{Promise, Ticket, ticket};
use crate::error::{Error, Result};
use crate::transaction;

/// Calls that may wait. Each keeps a copy of what it writes; a further call waits outside, with what it has anyway.
const QUEUE_LENGTH: usize = 1024;

/// Calls in one transaction, so that none waits for too many others.
const GROUP_SIZE: usize = 512;

/// The longest that a group waits for callers that were in the last one and are about to come back.
const PATIENCE: Duration = Duration::from_micros(500);

/// A write in the queue, all or nothing by itself. It may be run again: where a transaction is lost, each of its
/// writes is tried alone.
trait Job: Send {
    /// Runs the write and keeps its result.
    fn attempt(&mut self, conn: &mut SqliteConnection);
    /// What it kept, if that is an error.
    fn error(&self) -> Option<&Error>;
    fn fail(&mut self, error: Error);
    /// Tells the caller.
    fn answer(self: Box<Self>);
}

struct Write<T, F> {
    work: F,
    result: Option<Result<T>>,
    promise: Promise<T>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnMut(&mut SqliteConnection) -> Result<T> + Send,
{
    fn attempt(&mut self, conn: &mut SqliteConnection) {
        self.result = Some((self.work)(conn));
    }

    fn error(&self) -> Option<&Error> {
        self.result.as_ref()?.as_ref().err()
    }

    fn fail(&mut self, error: Error) {
        self.result = Some(Err(error));
    }

    fn answer(self: Box<Self>) {
        self.promise.answer(self.result.unwrap_or(Err(Error::Panicked)));
    }
}

/// Whether the transaction of a group can go on after this write. Where it failed it has undone itself; but it may have
/// undone the others too, and then what comes next would be on its own.
fn can_go_on(conn: &mut SqliteConnection, error: Option<&Error>) -> bool {
    match error {
        None => transaction::is_open(conn).unwrap_or(false),
        // The next one would hardly fare better, and SQLite says to roll back.
        Some(Error::Busy { .. } | Error::DiskFull { .. } | Error::ReadOnly { .. } | Error::NotADatabase { .. }) => {
            false
        }
        Some(_) => transaction::survives(conn),
    }
}

/// The same error once more: a failed commit concerns every caller in it.
fn again(error: &Error) -> Error {
    let copy = |source: &DieselError| match source {
        DieselError::DatabaseError(kind, information) => {
            let kind = match kind {
                DatabaseErrorKind::UniqueViolation => DatabaseErrorKind::UniqueViolation,
                DatabaseErrorKind::ForeignKeyViolation => DatabaseErrorKind::ForeignKeyViolation,
                DatabaseErrorKind::NotNullViolation => DatabaseErrorKind::NotNullViolation,
                DatabaseErrorKind::CheckViolation => DatabaseErrorKind::CheckViolation,
                _ => DatabaseErrorKind::Unknown,
            };
            DieselError::DatabaseError(kind, Box::new(information.message().to_owned()))
        }
        other => DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(other.to_string())),
    };
    // The kind is not asked for again: of a full disk, the words do not say everything.
    match error {
        Error::Busy { source } => Error::Busy { source: copy(source) },
        Error::DiskFull { source } => Error::DiskFull { source: copy(source) },
        Error::ReadOnly { source } => Error::ReadOnly { source: copy(source) },
        Error::NotADatabase { source } => Error::NotADatabase { source: copy(source) },
        Error::Database { source } => Error::Database { source: copy(source) },
        _ => Error::Panicked,
    }
}

/// The connection that writes, and the queue for it.
pub(super) struct Writer {
    id: StoreId,
    /// Whether a commit waits for everybody who reads: there is no write-ahead log.
    waits_for_readers: bool,
    queue: Mutex<Queue>,
    /// Something was put into the queue, or it was closed.
    filled: Condvar,
    /// Something was taken out of the queue, or it was closed.
    drained: Condvar,
    connection: Mutex<Connection>,
}

/// The connection, or what is left of it.
struct Connection {
    /// `None` once the store is closed.
    conn: Option<SqliteConnection>,
    /// A panic ended its last use, perhaps in the middle of a transaction.
    interrupted: bool,
    log: Log,
}

impl Connection {
    /// `None` if the store is closed.
    fn work<T>(&mut self, work: impl FnOnce(&mut SqliteConnection) -> T) -> Option<T> {
        let conn = self.conn.as_mut()?;
        if std::mem::replace(&mut self.interrupted, true) {
            transaction::abandon(conn);
        }
        let result = work(conn);
        // No use of it leaves a transaction open; what is written in there would only look stored.
        if transaction::is_open(conn).unwrap_or(true) {
            transaction::abandon(conn);
        }
        self.log.tend(conn);
        self.interrupted = false;
        Some(result)
    }
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    is_closed: bool,
    /// How many were in the last group: as many may be about to come back.
    last_group: usize,
    /// How many the thread waits for.
    wanted: usize,
    thread: Option<JoinHandle<()>>,
    /// Tasks that found the queue full, by their place in the line. Where there are any, there are jobs.
    waiting_tasks: BTreeMap<u64, Waker>,
    #[cfg(feature = "async")]
    last_place: u64,
}

impl Queue {
    #[cfg(feature = "async")]
    fn next_place(&mut self) -> u64 {
        self.last_place += 1;
        self.last_place
    }

    /// The tasks for which there is room, first come, first served. They are not promised a part of it, since a task may
    /// never look again; whoever finds it taken waits on, in its old place. When nothing is left in the queue that would
    /// lead here once more, it is all of them.
    fn tasks_to_wake(&mut self) -> BTreeMap<u64, Waker> {
        let room = QUEUE_LENGTH.saturating_sub(self.jobs.len());
        match self.waiting_tasks.keys().nth(room).copied() {
            Some(first_to_wait) if !self.jobs.is_empty() => {
                let rest = self.waiting_tasks.split_off(&first_to_wait);
                std::mem::replace(&mut self.waiting_tasks, rest)
            }
            _ => std::mem::take(&mut self.waiting_tasks),
        }
    }
}

/// A task's place in the line before the full queue. It leaves the line when this is dropped.
#[cfg(feature = "async")]
pub(super) struct Place<'a> {
    writer: &'a Writer,
    number: Option<u64>,
}

#[cfg(feature = "async")]
impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // The waker goes after the lock.
            let _waker = self.writer.queue().waiting_tasks.remove(&number);
        }
    }
}

/// The connection, held by this thread.
struct Held<'a> {
    connection: MutexGuard<'a, Connection>,
    _inside: Inside,
}

impl Writer {
    pub(super) fn new(id: StoreId, waits_for_readers: bool, conn: SqliteConnection, log: Log) -> Self {
        Self {
            id,
            waits_for_readers,
            queue: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
            connection: Mutex::new(Connection { conn: Some(conn), interrupted: false, log }),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> Held<'_> {
        self.held(self.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn held<'a>(&self, connection: MutexGuard<'a, Connection>) -> Held<'a> {
        Held { connection, _inside: Inside::enter(self.id, Use::Writing) }
    }

    /// An error where this thread would wait for itself.
    fn refuse_inside(&self) -> Result<()> {
        let inside = if self.waits_for_readers { &[Use::Writing, Use::Reading][..] } else { &[Use::Writing] };
        refuse(self.id, inside)
    }

    /// Works with the connection itself, as soon as it is free.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        self.refuse_inside()?;
        self.connection().connection.work(work).unwrap_or(Err(Error::Closed))
    }

    /// Writes at once if nobody else is writing; `None` if the write has to queue.
    ///
    /// It has to as well where the last group was one of several: taking the connection now would make the others
    /// wait for a commit that they are not in.
    pub(super) fn write_now<T>(&self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Option<Result<T>> {
        if let Err(error) = self.refuse_inside() {
            return Some(Err(error));
        }
        let guard = {
            let queue = self.queue();
            if queue.is_closed {
                return Some(Err(Error::Closed));
            }
            if !queue.jobs.is_empty() || queue.last_group > 1 {
                None
            } else {
                match self.connection.try_lock() {
                    Ok(guard) => Some(guard),
                    Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                    Err(TryLockError::WouldBlock) => None,
                }
            }
        };
        match guard {
            Some(guard) => Some(self.held(guard).connection.work(work).unwrap_or(Err(Error::Closed))),
            // A waker's write: the queue would wait for this thread.
            None if is_inside(self.id, &[Use::Emptying]) => Some(self.with(work)),
            None => None,
        }
    }

    /// Puts a write into the queue, and waits while that is full.
    pub(super) fn submit<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnMut(&mut SqliteConnection) -> Result<T> + Send + 'static,
    ) -> Result<Ticket<T>> {
        let mut queue = self.queue();
        while queue.jobs.len() >= QUEUE_LENGTH && !queue.is_closed {
            queue = self.drained.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        self.push(queue, work)
    }

    /// A place in the line of the tasks that find the queue full.
    #[cfg(feature = "async")]
    pub(super) fn place(&self) -> Place<'_> {
        Place { writer: self, number: None }
    }

    /// Puts a write into the queue, or leaves word to be woken when there is room.
    #[cfg(feature = "async")]
    pub(super) fn poll_submit<T: Send + 'static, F>(
        self: &Arc<Self>,
        context: &Context<'_>,
        place: &mut Place<'_>,
        work: &mut Option<F>,
    ) -> Poll<Result<Ticket<T>>>
    where
        F: FnMut(&mut SqliteConnection) -> Result<T> + Send + 'static,
    {
        self.refuse_inside()?;
        let mut waker = None;
        loop {
            let mut queue = self.queue();
            if queue.jobs.len() < QUEUE_LENGTH || queue.is_closed {
                return Poll::Ready(match work.take() {
                    Some(work) => self.push(queue, work),
                    None => Err(Error::Panicked),
                });
            }
            let number = *place.number.get_or_insert_with(|| queue.next_place());
            if queue.waiting_tasks.get(&number).is_some_and(|known| known.will_wake(context.waker())) {
                return Poll::Pending;
            }
            // Cloned and dropped without the lock: a waker is somebody else's code.
            if let Some(waker) = waker.take() {
                let old = queue.waiting_tasks.insert(number, waker);
                drop(queue);
                drop(old);
                return Poll::Pending;
            }
            drop(queue);
            waker = Some(context.waker().clone());
        }
    }

    fn push<T: Send + 'static>(
        self: &Arc<Self>,
        mut queue: MutexGuard<'_, Queue>,
        work: impl FnMut(&mut SqliteConnection) -> Result<T> + Send + 'static,
    ) -> Result<Ticket<T>> {
        if queue.is_closed {
            return Err(Error::Closed);
        }
        if queue.thread.is_none() {
            let writer = Arc::clone(self);
            let thread = std::thread::Builder::new().name("agent-session-store".to_owned());
            let thread = thread.spawn(move || writer.run()).map_err(|source| Error::Thread { source })?;
            queue.thread = Some(thread);
        }
        let (promise, ticket) = ticket();
        queue.jobs.push_back(Box::new(Write { work, result: None, promise }));
        let enough = queue.jobs.len() >= queue.wanted;
        drop(queue);
        if enough {
            self.filled.notify_one();
        }
        Ok(ticket)
    }

    /// Empties the queue until the store is closed.
    fn run(&self) {
        let _inside = Inside::enter(self.id, Use::Emptying);
        while self.wait_for_work() {
            let mut held = self.connection();
            let mut group = self.gather();
            let done = catch_unwind(AssertUnwindSafe(|| held.connection.work(|conn| commit(conn, &mut group))));
            drop(held);
            // Not before: what a waker runs may use the store.
            let tasks = self.queue().tasks_to_wake();
            wake(tasks);
            match done {
                Ok(Some(())) => {}
                Ok(None) => group.iter_mut().for_each(|job| job.fail(Error::Closed)),
                // Some instrumentation of the host's panicked. Whether anything was committed is not known.
                Err(_) => group.iter_mut().for_each(|job| job.fail(Error::Panicked)),
            }
            group.into_iter().for_each(|job| undisturbed(|| job.answer()));
        }
    }

    /// Whether there is any; not if the store is closed.
    fn wait_for_work(&self) -> bool {
        let mut queue = self.queue();
        loop {
            if !queue.jobs.is_empty() {
                return true;
            }
            if queue.is_closed {
                return false;
            }
            queue.wanted = 1;
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the next group out of the queue. Callers that have just been answered come back in a moment; a commit
    /// without them would make them wait for the next one, so it waits for them, but not for long.
    fn gather(&self) -> Vec<Box<dyn Job>> {
        let mut queue = self.queue();
        let started = Instant::now();
        queue.wanted = queue.last_group;
        while queue.jobs.len() < queue.wanted && !queue.is_closed {
            let Some(left) = PATIENCE.checked_sub(started.elapsed()) else { break };
            queue = self.filled.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let size = queue.jobs.len().min(GROUP_SIZE);
        let group = queue.jobs.drain(..size).collect();
        queue.last_group = size;
        drop(queue);
        self.drained.notify_all();
        group
    }

    /// Lets nothing more in, waits until everything in the queue has been written, and hands out the connection.
    pub(super) fn close(&self) -> Option<SqliteConnection> {
        let (thread, waiting_tasks) = {
            let mut queue = self.queue();
            queue.is_closed = true;
            (queue.thread.take(), std::mem::take(&mut queue.waiting_tasks))
        };
        self.filled.notify_all();
        self.drained.notify_all();
        wake(waiting_tasks);
        if let Some(thread) = thread {
            // Its panics are caught inside.
            let _ = thread.join();
        }
        let connection = &mut self.connection().connection;
        connection.work(|_| ())?;
        connection.conn.take()
    }
}

fn wake(tasks: BTreeMap<u64, Waker>) {
    tasks.into_values().for_each(|task| undisturbed(|| task.wake()));
}

/// Runs what may be somebody else's code, a waker: whatever happens in there, the others are still to be served.
fn undisturbed(work: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(work));
}

/// Writes a group, all of it in one transaction if nothing is in the way.
fn commit(conn: &mut SqliteConnection, group: &mut [Box<dyn Job>]) {
    if let [job] = group {
        job.attempt(conn);
        return;
    }
    if let Err(error) = transaction::begin(conn) {
        return group.iter_mut().for_each(|job| job.fail(again(&error)));
    }
    let together = transaction::end(conn, |conn| {
        let go_on = group.iter_mut().all(|job| {
            job.attempt(conn);
            can_go_on(conn, job.error())
        });
        // What stopped it does not matter: each job finds out for itself.
        if go_on { Ok(()) } else { Err(Error::Panicked) }
    });
    if together.is_ok() {
        return;
    }
    let mut jobs = group.iter_mut();
    while let Some(job) = jobs.next() {
        job.attempt(conn);
        // It has waited for the lock; then the others need not wait as well, one after the other.
        if let Some(busy @ Error::Busy { .. }) = job.error() {
            let busy = again(busy);
            jobs.for_each(|job| job.fail(again(&busy)));
            return;
        }
    }
}

//! A pool of reading connections, opened on first use and then kept.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::reentrance::{Activity, ActivityGuard, StoreId, is_inside, refuse};
use crate::error::{Error, Result};

/// A connection that can be in a pool.
pub(super) trait Lendable {
    /// Whether it can be used, after it was idle.
    fn can_be_lent(&mut self) -> bool {
        true
    }

    /// Whether the next reader can have it.
    fn can_be_kept(&mut self) -> bool {
        true
    }
}

pub(super) struct ReaderPool<C> {
    id: StoreId,
    limit: usize,
    open: Box<dyn Fn() -> Result<C> + Send + Sync>,
    pool: Mutex<Pool<C>>,
    /// A connection was returned, or the pool was closed.
    freed: Condvar,
}

struct Pool<C> {
    idle: Vec<C>,
    /// Connections that count towards the limit.
    in_use: usize,
    /// Connections that do not.
    aside: usize,
    /// Callers waiting for a connection. If there are none, nobody has to be woken, which would take a system call, as
    /// long as a small read.
    waiting: usize,
    is_closed: bool,
}

impl<C: Lendable> ReaderPool<C> {
    pub(super) fn new(id: StoreId, limit: usize, open: impl Fn() -> Result<C> + Send + Sync + 'static) -> Self {
        let pool = Pool { idle: Vec::new(), in_use: 0, aside: 0, waiting: 0, is_closed: false };
        Self { id, limit, open: Box::new(open), pool: Mutex::new(pool), freed: Condvar::new() }
    }

    /// The maximum number of connections.
    #[cfg(feature = "async")]
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    fn pool(&self) -> MutexGuard<'_, Pool<C>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In a transaction, a read would not see what was written there, and the thread has a connection that does.
    fn refuse_inside(&self) -> Result<()> {
        refuse(self.id, &[Activity::Transacting])
    }

    /// Reads with a connection of the pool, as soon as one is free.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut C) -> Result<T>) -> Result<T> {
        self.refuse_inside()?;
        // A thread that holds a connection must not wait for another: the others may be waiting for this one.
        if is_inside(self.id, &[Activity::Reading, Activity::Writing, Activity::Emptying]) {
            return self.aside(work);
        }
        let mut pool = self.pool();
        while pool.idle.is_empty() && pool.in_use >= self.limit && !pool.is_closed {
            pool = self.wait(pool);
        }
        if pool.is_closed {
            return Err(Error::Closed);
        }
        pool.in_use += 1;
        self.lend(pool, true, work)
    }

    /// The same for reads that may take long, or that call the application's code. It does not wait and does not count
    /// towards the limit.
    pub(super) fn aside<T>(&self, work: impl FnOnce(&mut C) -> Result<T>) -> Result<T> {
        self.refuse_inside()?;
        let mut pool = self.pool();
        if pool.is_closed {
            return Err(Error::Closed);
        }
        pool.aside += 1;
        self.lend(pool, false, work)
    }

    fn lend<T>(
        &self,
        mut pool: MutexGuard<'_, Pool<C>>,
        counts: bool,
        work: impl FnOnce(&mut C) -> Result<T>,
    ) -> Result<T> {
        let connection = pool.idle.pop();
        drop(pool);
        let _inside = ActivityGuard::enter(self.id, Activity::Reading);
        let mut loan = Loan { readers: self, connection, counts };
        loan.connection.take_if(|connection| !connection.can_be_lent());
        let connection = match &mut loan.connection {
            Some(connection) => connection,
            empty => empty.insert((self.open)()?),
        };
        work(connection)
    }

    /// Rejects new reads, closes idle connections, and waits until those in use are closed too.
    pub(super) fn close(&self) {
        let mut pool = self.pool();
        pool.is_closed = true;
        let idle = std::mem::take(&mut pool.idle);
        self.freed.notify_all();
        drop(pool);
        drop(idle);
        let mut pool = self.pool();
        while pool.in_use + pool.aside > 0 {
            pool = self.wait(pool);
        }
    }

    fn wait<'a>(&self, mut pool: MutexGuard<'a, Pool<C>>) -> MutexGuard<'a, Pool<C>> {
        pool.waiting += 1;
        pool = self.freed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        pool.waiting -= 1;
        pool
    }
}

/// A connection on loan. If its user panics, it is closed instead of returned, since its state is unknown.
struct Loan<'a, C: Lendable> {
    readers: &'a ReaderPool<C>,
    connection: Option<C>,
    counts: bool,
}

impl<C: Lendable> Drop for Loan<'_, C> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.connection.take_if(|connection| !connection.can_be_kept());
        }
        let mut pool = self.readers.pool();
        let room = self.readers.limit + usize::from(self.counts);
        if !pool.is_closed && !std::thread::panicking() && pool.idle.len() + pool.in_use < room {
            pool.idle.extend(self.connection.take());
        } else {
            // Close it before it stops counting, since others wait for that; and not under the lock, since that drops
            // the application's instrumentation.
            drop(pool);
            self.connection = None;
            pool = self.readers.pool();
        }
        if self.counts {
            pool.in_use -= 1;
        } else {
            pool.aside -= 1;
        }
        let somebody_waits = pool.waiting > 0;
        drop(pool);
        if somebody_waits {
            self.readers.freed.notify_one();
        }
    }
}

//! Connections that read, opened when they are first needed and then kept.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use diesel::SqliteConnection;

use super::builder::Options;
use super::connection::{self, Location};
use super::inside::{Inside, StoreId, Use, is_inside};
use crate::error::{Error, Result};

pub(super) struct Readers {
    id: StoreId,
    location: Location,
    options: Options,
    pool: Mutex<Pool>,
    /// A connection was given back, or the pool was closed.
    freed: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<SqliteConnection>,
    /// Those that count for the limit.
    in_use: usize,
    /// Those that do not.
    aside: usize,
    /// Callers that wait for one to be given back. Where there are none, nobody has to be woken: that takes a system
    /// call, as long as a small read.
    waiting: usize,
    is_closed: bool,
}

impl Readers {
    pub(super) fn new(id: StoreId, location: Location, options: Options) -> Self {
        Self { id, location, options, pool: Mutex::default(), freed: Condvar::new() }
    }

    /// How many connections there may be.
    #[cfg(feature = "async")]
    pub(super) fn limit(&self) -> usize {
        self.options.readers
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads with a connection of its own, as soon as one is free.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        // Who holds a connection must not wait for another: the others may be waiting for this one.
        if is_inside(self.id, &[Use::Reading, Use::Writing, Use::Emptying]) {
            return self.aside(work);
        }
        let mut pool = self.pool();
        while pool.idle.is_empty() && pool.in_use >= self.options.readers && !pool.is_closed {
            pool = self.wait(pool);
        }
        if pool.is_closed {
            return Err(Error::Closed);
        }
        pool.in_use += 1;
        self.lend(pool, true, work)
    }

    /// The same for what may take long, or calls code of the host's meanwhile. It does not wait and takes no place.
    pub(super) fn aside<T>(&self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        let mut pool = self.pool();
        if pool.is_closed {
            return Err(Error::Closed);
        }
        pool.aside += 1;
        self.lend(pool, false, work)
    }

    fn lend<T>(
        &self,
        mut pool: MutexGuard<'_, Pool>,
        counts: bool,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T>,
    ) -> Result<T> {
        let conn = pool.idle.pop();
        drop(pool);
        let _inside = Inside::enter(self.id, Use::Reading);
        let mut loan = Loan { readers: self, conn, counts };
        let conn = match &mut loan.conn {
            Some(conn) => conn,
            empty => empty.insert(connection::reader(&self.location, &self.options)?),
        };
        work(conn)
    }

    /// Lets nobody in any more, closes what is idle, and waits until what is in use is closed too.
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

    fn wait<'a>(&self, mut pool: MutexGuard<'a, Pool>) -> MutexGuard<'a, Pool> {
        pool.waiting += 1;
        pool = self.freed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        pool.waiting -= 1;
        pool
    }
}

/// A connection on loan. If its user panics, it is not given back but closed: nobody knows what it was doing.
struct Loan<'a> {
    readers: &'a Readers,
    conn: Option<SqliteConnection>,
    counts: bool,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.pool();
        let room = self.readers.options.readers + usize::from(self.counts);
        if !pool.is_closed && !std::thread::panicking() && pool.idle.len() + pool.in_use < room {
            pool.idle.extend(self.conn.take());
        } else {
            // Closed before it stops counting, for who waits for that; and not under the lock, since the host's
            // instrumentation goes with it.
            drop(pool);
            self.conn = None;
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

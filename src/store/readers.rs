//! Connections that read, opened when they are first needed and then kept.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use diesel::SqliteConnection;

use super::builder::Options;
use super::connection::{self, Location};
use crate::error::{Error, Result};

pub(super) struct Readers {
    location: Location,
    options: Options,
    pool: Mutex<Pool>,
    /// A connection was given back, or the pool was closed.
    freed: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<SqliteConnection>,
    in_use: usize,
    /// Callers that wait for one to be given back. Where there are none, nobody has to be woken: that takes a system
    /// call, as long as a small read.
    waiting: usize,
    is_closed: bool,
}

impl Readers {
    pub(super) fn new(location: Location, options: Options) -> Self {
        Self { location, options, pool: Mutex::default(), freed: Condvar::new() }
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
        let mut pool = self.pool();
        while pool.idle.is_empty() && pool.in_use >= self.options.readers && !pool.is_closed {
            pool = self.wait(pool);
        }
        if pool.is_closed {
            return Err(Error::Closed);
        }
        pool.in_use += 1;
        let conn = pool.idle.pop();
        drop(pool);

        let mut loan = Loan { readers: self, conn };
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
        pool.idle.clear();
        self.freed.notify_all();
        while pool.in_use > 0 {
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
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut pool = self.readers.pool();
        let conn = self.conn.take();
        if pool.is_closed || std::thread::panicking() {
            drop(conn);
        } else {
            pool.idle.extend(conn);
        }
        pool.in_use -= 1;
        let somebody_waits = pool.waiting > 0;
        drop(pool);
        if somebody_waits {
            self.readers.freed.notify_one();
        }
    }
}

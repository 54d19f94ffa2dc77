//! How a verb that works in steps gets access to its database, one step at a time.

use std::time::Duration;

use super::pace::Pace;
use crate::database::Database;
use crate::error::Result;

/// A write, which may have to go to another thread. It may run again if its effects were rolled back. (A closure would
/// keep the lifetimes of where it is written.)
pub(crate) trait Writing<D>: Send + 'static {
    type Answer: Send + 'static;

    /// Whether it writes events, or only deletes some.
    const ADDS_EVENTS: bool;

    async fn run(&mut self, db: &mut D) -> Result<Self::Answer>;
}

/// Access for reading and writing.
pub(crate) trait Access {
    type Database: Database;

    /// Reads, without the write lock.
    async fn read<T>(&mut self, work: impl AsyncFnOnce(&mut Self::Database) -> Result<T>) -> Result<T>;

    /// The same for work that may take long.
    async fn read_aside<T>(&mut self, work: impl AsyncFnOnce(&mut Self::Database) -> Result<T>) -> Result<T> {
        self.read(work).await
    }

    async fn write<W: Writing<Self::Database>>(&mut self, work: W) -> Result<W::Answer>;

    /// Lets others write for this long.
    async fn pause(&mut self, time: Duration);

    /// Waits before a step if others should get a turn.
    async fn wait(&mut self, pace: &mut Pace) {
        let pause = pace.owes();
        if !pause.is_zero() {
            self.pause(pause).await;
        }
        pace.resume();
    }

    /// The connection, if everything is part of the caller's transaction. Otherwise a write is committed when it
    /// returns.
    fn in_transaction(&mut self) -> Option<&mut Self::Database> {
        None
    }
}

/// The caller's connection.
pub(crate) struct Direct<'a, D> {
    db: &'a mut D,
    is_in_transaction: bool,
}

impl<'a, D: Database> Direct<'a, D> {
    pub(crate) fn new(db: &'a mut D) -> Result<Self> {
        let is_in_transaction = db.is_in_transaction()?;
        Ok(Self { db, is_in_transaction })
    }
}

impl<D: Database> Access for Direct<'_, D> {
    type Database = D;

    async fn read<T>(&mut self, work: impl AsyncFnOnce(&mut D) -> Result<T>) -> Result<T> {
        work(self.db).await
    }

    async fn write<W: Writing<D>>(&mut self, mut work: W) -> Result<W::Answer> {
        work.run(self.db).await
    }

    async fn pause(&mut self, time: Duration) {
        self.db.pause(time).await;
    }

    fn in_transaction(&mut self) -> Option<&mut D> {
        self.is_in_transaction.then_some(&mut *self.db)
    }
}

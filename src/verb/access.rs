//! How a verb that works in steps gets access to its database, one step at a time.

use std::time::Duration;

use super::pace::Pace;
use crate::database::Database;
use crate::error::Result;

/// Access for reading and writing.
pub(crate) trait Access {
    type Database: Database;

    /// Reads, without the write lock.
    async fn read<T>(&mut self, work: impl AsyncFnOnce(&mut Self::Database) -> Result<T>) -> Result<T>;

    /// Writes. The work may run again if its effects were rolled back.
    async fn write<T: Send + 'static>(
        &mut self,
        work: impl AsyncFnMut(&mut Self::Database) -> Result<T> + Send + 'static,
    ) -> Result<T>;

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

    async fn write<T: Send + 'static>(
        &mut self,
        mut work: impl AsyncFnMut(&mut D) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        work(self.db).await
    }

    async fn pause(&mut self, time: Duration) {
        self.db.pause(time).await;
    }

    fn in_transaction(&mut self) -> Option<&mut D> {
        self.is_in_transaction.then_some(&mut *self.db)
    }
}

//! What a store asks of its engine.

use std::fmt;
use std::io::{BufRead, Write};
use std::sync::Arc;

use crate::driver::SessionPersistDriver;
use crate::error::Result;
use crate::prune::{PruneReport, PruneRequest};
use crate::store::reentrance::StoreId;
use crate::store::writer::{GroupCommit, Writer};
use crate::transfer::Progress;

/// The connections of one store. Opening them, and what only a database in a file can do, is each engine's own.
pub(in crate::store) trait StoreEngine: Send + Sync + 'static {
    /// What a verb is called on.
    type Connection: SessionPersistDriver;
    type WriteConnection: GroupCommit<Connection = Self::Connection>;

    fn id(&self) -> StoreId;

    /// Where the database is, for a log: without a secret.
    fn location(&self) -> &dyn fmt::Debug;

    fn writer(&self) -> &Arc<Writer<Self::WriteConnection>>;

    /// How many reads can be made at the same time.
    #[cfg(feature = "async")]
    fn reading_connections(&self) -> usize;

    fn read<T>(&self, work: impl FnOnce(&mut Self::Connection) -> Result<T>) -> Result<T>;

    /// Reads what may take long, for a writer and a callback of the host's, which may use the store.
    fn read_aside<C, T>(
        &self,
        writer: impl Write,
        callback: impl FnMut(C),
        work: impl FnOnce(&mut Self::Connection, &mut dyn Write, &mut dyn FnMut(C)) -> Result<T>,
    ) -> Result<T>;

    /// Writes on this thread where nobody else is writing, and else from the queue. It is made twice: with what the
    /// caller has, and with a copy of that which can wait.
    fn write<T, L>(&self, now: impl FnOnce(&mut Self::Connection) -> Result<T>, later: impl FnOnce() -> L) -> Result<T>
    where
        T: Send + 'static,
        L: FnMut(&mut Self::Connection) -> Result<T> + Send + 'static,
    {
        self.writer().write(now, later)
    }

    /// Each step is one of the store's writes, so that the others are served in between.
    fn prune(&self, request: &PruneRequest) -> Result<PruneReport>;

    /// As [`prune`](Self::prune), in steps.
    fn import(&self, reader: impl BufRead, progress: &mut dyn FnMut(Progress)) -> Result<Progress>;

    /// Waits for what was begun, and closes the connections; every later call finds the store closed.
    fn close(&self) -> Result<()>;
}

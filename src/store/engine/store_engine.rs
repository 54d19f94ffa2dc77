//! What a store needs from its engine.

use std::fmt;
use std::io::{self, BufRead};
use std::sync::Arc;

use crate::driver::SessionPersistDriver;
use crate::error::Result;
use crate::model::commit_order::{CommitPage, CommitPosition};
use crate::model::report::{Progress, PruneReport};
use crate::model::retention::PruneRequest;
use crate::model::transfer::{Export, Import};
use crate::store::changes::Changes;
use crate::store::changes::change::Change;
use crate::store::reentrance::StoreId;
use crate::store::writer::row_writes::Write;
use crate::store::writer::{GroupCommit, Writer};

/// The connections of one store. Opening them, and file maintenance, are up to each engine.
pub(in crate::store) trait StoreEngine: Send + Sync + 'static {
    /// The type that verbs are called on.
    type Connection: SessionPersistDriver;
    type WriteConnection: GroupCommit<Connection = Self::Connection>;

    fn id(&self) -> StoreId;

    /// The database's location, for logs: without secrets.
    fn location(&self) -> &dyn fmt::Debug;

    fn writer(&self) -> &Arc<Writer<Self::WriteConnection>>;

    /// How many reads can run at the same time.
    #[cfg(feature = "async")]
    fn reading_connections(&self) -> usize;

    fn read<T>(&self, work: impl FnOnce(&mut Self::Connection) -> Result<T>) -> Result<T>;

    /// Exports on a separate connection, since the writer and the callbacks may use the store.
    fn export(&self, writer: impl io::Write, export: Export<'_>) -> Result<Progress>;

    /// Writes on this thread if nobody else is writing, otherwise through the queue. The write exists in two forms: one
    /// borrows the caller's data, the other has a copy that can wait.
    fn write<T, L>(
        &self,
        change: &Change<'_>,
        now: impl FnOnce(&mut Self::Connection) -> Result<T>,
        later: impl FnOnce() -> L,
    ) -> Result<T>
    where
        T: Send + 'static,
        L: Write<Self::Connection, Answer = T> + Send + 'static,
    {
        self.writer().write(change, now, later)
    }

    /// What is committed is announced here.
    fn changes(&self) -> &Arc<Changes>;

    /// Announces commits by other processes too, from now on.
    fn watch(&self) -> Result<()>;

    /// Runs work, on this thread, that is committed as a whole or not at all.
    fn transaction<T>(&self, work: impl FnOnce(&mut Self::Connection) -> Result<T>) -> Result<T>;

    /// Each step is one of the store's writes, so other writes get their turn in between.
    fn prune(&self, request: &PruneRequest) -> Result<PruneReport>;

    /// Works in steps, like [`prune`](Self::prune).
    fn import<R: BufRead>(&self, import: Import<'_, R>) -> Result<Progress>;

    /// The events of all sessions that were committed after a position, in order.
    fn committed_after(&self, position: &CommitPosition) -> Result<CommitPage>;

    /// The position after everything that is committed.
    fn end_of_commits(&self) -> Result<CommitPosition>;

    /// Waits for calls in progress, and closes the connections; every later call finds the store closed.
    fn close(&self) -> Result<()>;
}

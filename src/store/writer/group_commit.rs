//! What group commit needs from the writing connection, for any engine.

use super::row_writes::Rows;
use crate::error::{Error, Result};
use crate::store::changes::change::Change;

/// The writing connection, with whatever its engine keeps with it.
pub(in crate::store) trait GroupCommit: Send + 'static {
    /// What a write runs on.
    type Connection;

    /// Whether [`write_rows`](Self::write_rows) is worth calling.
    const MERGES_ROWS: bool = false;

    fn connection(&mut self) -> &mut Self::Connection;

    /// Makes sure that the connection can be used, if that can be in doubt.
    fn make_ready(&mut self) -> Result<()> {
        Ok(())
    }

    /// Writes the rows of several calls at once, in the transaction that is open, and returns the indexes of each call's.
    /// `None` if that is not possible; then nothing of them was written.
    fn write_rows(_: &mut Self::Connection, _: &[Rows<'_>]) -> Result<Option<Vec<Vec<i64>>>> {
        Ok(None)
    }

    /// Whether a transaction is open, or may be.
    fn is_in_transaction(&mut self) -> bool;

    /// Ends any transaction on the connection.
    fn abandon_transaction(&mut self);

    /// Begins a group's transaction, with the write lock.
    fn begin(&mut self) -> Result<()>;

    /// Runs the work in the transaction that has begun, and commits it. An error, from the work or the commit, rolls
    /// back everything.
    fn finish(&mut self, work: impl FnOnce(&mut Self::Connection) -> Result<()>) -> Result<()>;

    /// Whether a group's transaction can continue after one of its writes, which has been rolled back if it failed. It
    /// cannot if the failure may have rolled back the others too: what follows would be on its own.
    fn can_go_on(connection: &mut Self::Connection, error: Option<&Error>) -> bool;

    /// Lets the next writes, of this number, share the time that one has waited for a lock in vain, until
    /// [`take_time`](Self::take_time). False if they would wait for the same lock.
    fn hurry(&mut self, _: usize) -> bool {
        false
    }

    fn take_time(&mut self) {}

    /// The engine's work after a commit, between transactions.
    fn after_commit(&mut self);

    /// Tells other processes what was committed, without waiting for that.
    fn tell_others(&mut self, _: &Change<'_>) {}

    /// Whether others may have committed anything since the last call.
    fn others_have_committed(&mut self) -> bool {
        false
    }
}

//! What group commit asks of the connection that writes, whichever engine it belongs to.

use crate::error::{Error, Result};

/// The connection that writes, with whatever its engine keeps beside it.
pub(in crate::store) trait GroupCommit: Send + 'static {
    /// What a write is given.
    type Connection;

    fn connection(&mut self) -> &mut Self::Connection;

    /// Whether a transaction is open, or it cannot be told that none is.
    fn is_in_transaction(&mut self) -> bool;

    /// Leaves whatever transaction the connection is in, if any.
    fn abandon_transaction(&mut self);

    /// Begins the transaction of a group, with the right to write.
    fn begin(&mut self) -> Result<()>;

    /// Does the work in the transaction that has begun, and commits it. An error, of the work or of the commit, undoes
    /// all of it.
    fn finish(&mut self, work: impl FnOnce(&mut Self::Connection) -> Result<()>) -> Result<()>;

    /// Whether a group's transaction can go on after one of its writes, which has undone itself if it failed. It cannot
    /// if the failure may have undone the others too: what comes next would then be on its own.
    fn can_go_on(connection: &mut Self::Connection, error: Option<&Error>) -> bool;

    /// What the engine has to do after a commit, between transactions.
    fn after_commit(&mut self);
}

//! Transactions that report what went wrong first, and never leave Diesel in the belief that there is one which SQLite
//! has ended by itself: for a full disk, or a trigger that says ROLLBACK, of whatever kind the error is that it gives.

use std::num::NonZeroU32;

use diesel::SqliteConnection;
use diesel::connection::{AnsiTransactionManager as Manager, SimpleConnection, TransactionManager};
use diesel::result::Error as DieselError;

use crate::disk;
use crate::error::Result;

/// All or nothing: a savepoint in the caller's transaction, or a transaction with the right to write from the start,
/// which waits for other writers and never fails half-way because one of them was faster.
pub(crate) fn atomically<T>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T> {
    begin(conn)?;
    end(conn, work)
}

pub(crate) fn begin(conn: &mut SqliteConnection) -> Result<()> {
    if is_open(conn)? {
        Ok(Manager::begin_transaction(conn)?)
    } else {
        let begun = Manager::begin_transaction_sql(conn, "BEGIN IMMEDIATE");
        begun.map_err(|error| disk::explain(conn, error.into()))
    }
}

/// Like [`atomically`], for work that reads before it writes. In a transaction of the caller's that has not read
/// either, it takes the right to write first; SQLite may refuse that to a transaction which has.
pub(crate) fn atomically_reading<T>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T> {
    if is_open(conn)? {
        conn.batch_execute("DELETE FROM main.events WHERE 0")?;
    }
    atomically(conn, work)
}

/// A consistent view for several queries; it writes nothing.
pub(crate) fn reading<T>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T> {
    Manager::begin_transaction(conn)?;
    end(conn, work)
}

/// Does the work in the transaction that has begun. An error that does not end all of it ends what belongs to this work.
pub(crate) fn end<T>(conn: &mut SqliteConnection, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
    let mut open = Open { conn, is_settled: false };
    let value = work(open.conn).map_err(|error| disk::explain(open.conn, error))?;
    let before = depth(open.conn);
    let committed = Manager::commit_transaction(open.conn);
    // A COMMIT that fails has been rolled back by Diesel; a RELEASE has not.
    open.is_settled = committed.is_ok() || depth(open.conn) < before;
    match committed {
        Ok(()) => Ok(value),
        Err(DieselError::RollbackErrorOnCommit { commit_error, .. }) => Err((*commit_error).into()),
        Err(error) => Err(error.into()),
    }
}

/// A verb without a transaction of its own. Where it fails in one of the caller's, Diesel gets to know whether that is
/// still there.
pub(crate) fn checked<T>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T> {
    work(conn).map_err(|error| {
        let error = disk::explain(conn, error);
        if depth(conn).is_some() {
            survives(conn);
        }
        error
    })
}

/// A transaction that has begun. Left by an error or a panic, it is rolled back.
struct Open<'a> {
    conn: &'a mut SqliteConnection,
    is_settled: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // It fails where SQLite has rolled back already.
        if !self.is_settled && Manager::rollback_transaction(self.conn).is_err() {
            survives(self.conn);
        }
    }
}

/// Whether SQLite still has a transaction, after something has failed in one. If not, Diesel knows of none either.
///
/// The kind of the error does not tell: a trigger can end the transaction with any. Diesel shows nothing that would, so
/// a second one is asked for, which is refused inside the first, and outside takes no lock.
pub(crate) fn survives(conn: &mut SqliteConnection) -> bool {
    match conn.batch_execute("BEGIN") {
        Err(error) if error.to_string().contains("within a transaction") => true,
        // It is none; or, if this could not be asked (no memory), it is to be none.
        _ => {
            abandon(conn);
            false
        }
    }
}

fn depth(conn: &mut SqliteConnection) -> Option<NonZeroU32> {
    Manager::transaction_manager_status_mut(conn).transaction_depth().ok().flatten()
}

/// Whether the connection is in a transaction that Diesel knows of.
pub(crate) fn is_open(conn: &mut SqliteConnection) -> Result<bool> {
    Ok(Manager::transaction_manager_status_mut(conn).transaction_depth()?.is_some())
}

/// Leaves whatever transaction the connection is in, if any, and whatever Diesel believes about that.
pub(crate) fn abandon(conn: &mut SqliteConnection) {
    // Fails where there is none.
    let _ = conn.batch_execute("ROLLBACK");
    *Manager::transaction_manager_status_mut(conn) = Default::default();
}

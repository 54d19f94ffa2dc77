//! Transactions that report the first error, and keep Diesel's view in step with SQLite when SQLite ends one by itself:
//! on a full disk, or when a trigger raises ROLLBACK, whatever kind of error that gives.

use std::num::NonZeroU32;

use diesel::SqliteConnection;
use diesel::connection::{AnsiTransactionManager as Manager, SimpleConnection, TransactionManager};
use diesel::result::Error as DieselError;

use super::disk;
use crate::database::{Lock, ready};
use crate::error::Result;

/// Runs the work in a transaction, or in a savepoint inside the caller's.
pub(crate) async fn run<T>(
    conn: &mut SqliteConnection,
    lock: Lock<'_>,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T> {
    match lock {
        Lock::Snapshot => Manager::begin_transaction(conn)?,
        Lock::Write => begin(conn)?,
        Lock::ReadWrite { .. } => {
            // Take the write lock first, while the caller's transaction may not have read yet; SQLite can refuse it to
            // one that has.
            if is_open(conn)? {
                conn.batch_execute("DELETE FROM main.events WHERE 0")?;
            }
            begin(conn)?;
        }
    }
    finish(conn, work).await
}

/// Runs the work atomically: in a savepoint inside the caller's transaction, or in an IMMEDIATE transaction, which
/// waits for other writers at the start and never fails half-way because one of them was faster.
pub(crate) fn atomically<T>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T> {
    ready(run(conn, Lock::Write, async |conn| work(conn)))
}

/// A consistent snapshot for several queries; writes nothing.
pub(crate) fn reading<T>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T> {
    ready(run(conn, Lock::Snapshot, async |conn| work(conn)))
}

pub(crate) fn begin(conn: &mut SqliteConnection) -> Result<()> {
    if is_open(conn)? {
        Ok(Manager::begin_transaction(conn)?)
    } else {
        let begun = Manager::begin_transaction_sql(conn, "BEGIN IMMEDIATE");
        begun.map_err(|error| disk::explain(conn, error.into()))
    }
}

/// Runs the work in the transaction that has begun, and ends it.
pub(crate) fn end<T>(conn: &mut SqliteConnection, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
    ready(finish(conn, async |conn| work(conn)))
}

/// If the error has not ended the whole transaction, roll back this work's part.
async fn finish<T>(
    conn: &mut SqliteConnection,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T> {
    let begun = depth(conn);
    let mut open = Open { conn, is_settled: false };
    let mut done = work(open.conn).await.map_err(|error| disk::explain(open.conn, error));
    // What was begun inside and is still open would be all that is ended here.
    while depth(open.conn) > begun && Manager::rollback_transaction(open.conn).is_ok() {
        done = done.and(Err(DieselError::AlreadyInTransaction.into()));
    }
    let value = done?;
    let before = depth(open.conn);
    let committed = Manager::commit_transaction(open.conn);
    // Diesel rolls back after a failed COMMIT, but not after a failed RELEASE.
    open.is_settled = committed.is_ok() || depth(open.conn) < before;
    match committed {
        Ok(()) => Ok(value),
        Err(DieselError::RollbackErrorOnCommit { commit_error, .. }) => Err((*commit_error).into()),
        Err(error) => Err(error.into()),
    }
}

/// Runs a verb. If it fails in the caller's transaction, tells Diesel whether the transaction still exists.
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

/// A transaction in progress. It is rolled back on an error or a panic.
struct Open<'a> {
    conn: &'a mut SqliteConnection,
    is_settled: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // Fails if SQLite has already rolled back.
        if !self.is_settled && Manager::rollback_transaction(self.conn).is_err() {
            survives(self.conn);
        }
    }
}

/// Whether SQLite still has a transaction after an error in one. If not, Diesel is told that there is none.
///
/// The kind of error does not tell, since a trigger can end the transaction with any. Diesel exposes nothing that
/// would, so we try to begin another transaction: inside the first one that is refused, and outside it takes no lock.
pub(crate) fn survives(conn: &mut SqliteConnection) -> bool {
    match conn.batch_execute("BEGIN") {
        Err(error) if error.to_string().contains("within a transaction") => true,
        // There is none; if we could not find out (no memory), make sure that there is none.
        _ => {
            abandon(conn);
            false
        }
    }
}

fn depth(conn: &mut SqliteConnection) -> Option<NonZeroU32> {
    Manager::transaction_manager_status_mut(conn).transaction_depth().ok().flatten()
}

/// Whether Diesel knows of a transaction on the connection.
pub(crate) fn is_open(conn: &mut SqliteConnection) -> Result<bool> {
    Ok(Manager::transaction_manager_status_mut(conn).transaction_depth()?.is_some())
}

/// Ends any transaction on the connection, whatever Diesel believes about it.
pub(crate) fn abandon(conn: &mut SqliteConnection) {
    // Fails if there is none.
    let _ = conn.batch_execute("ROLLBACK");
    *Manager::transaction_manager_status_mut(conn) = Default::default();
}

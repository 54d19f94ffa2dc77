//! Transactions that report what went wrong first. Where SQLite has already rolled back by itself (a full disk),
//! rolling back fails as well, and Diesel's own `transaction` would report that instead.

use diesel::SqliteConnection;
use diesel::connection::{AnsiTransactionManager as Manager, SimpleConnection, TransactionManager};

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
        conn.batch_execute("DELETE FROM events WHERE 0")?;
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

pub(crate) fn end<T>(conn: &mut SqliteConnection, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
    let mut open = Open { conn, is_settled: false };
    let value = work(open.conn).map_err(|error| disk::explain(open.conn, error))?;
    open.is_settled = true;
    Manager::commit_transaction(open.conn)?;
    Ok(value)
}

/// A transaction that has begun. Left by an error or a panic, it is rolled back.
struct Open<'a> {
    conn: &'a mut SqliteConnection,
    is_settled: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            // Fails where SQLite has rolled back already.
            let _ = Manager::rollback_transaction(self.conn);
        }
    }
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

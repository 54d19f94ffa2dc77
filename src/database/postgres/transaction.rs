//! Transactions that report the first error, and say whether something may have been committed.

use std::num::NonZeroU32;

use diesel::connection::{
    AnsiTransactionManager as Manager, CacheSize, Connection, SimpleConnection, TransactionManager,
};
use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;

use super::{heads, words};
use crate::database::Lock;
use crate::error::{Error, Result};

/// Runs the work in a transaction, or in a savepoint inside the caller's.
pub(crate) async fn run<T>(
    conn: &mut PgConnection,
    lock: Lock<'_>,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    if is_open(conn)? {
        Manager::begin_transaction(conn)?;
    } else {
        begin(conn, lock)?;
    }
    let session = if let Lock::ReadWrite { session } = lock { session } else { None };
    finish(conn, async |conn| {
        if let Some(session_id) = session {
            heads::lock(conn, session_id)?;
        }
        work(conn).await
    })
    .await
}

/// Begins a transaction of our own. READ COMMITTED is enough, because what must not change meanwhile is locked; a higher
/// level would only add failures.
pub(crate) fn begin(conn: &mut PgConnection, lock: Lock<'_>) -> Result<()> {
    let begin = match lock {
        Lock::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        Lock::Write | Lock::ReadWrite { .. } => "BEGIN ISOLATION LEVEL READ COMMITTED",
    };
    Manager::begin_transaction_sql(conn, begin).map_err(|error| unwritten(error.into()))
}

/// Runs the work in the transaction that has begun, and ends it.
pub(crate) async fn finish<T>(
    conn: &mut PgConnection,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    let mut open = Open { conn, is_settled: false };
    let value = work(open.conn).await.map_err(unwritten)?;
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

/// Runs a verb, which reads or writes.
pub(crate) fn checked<T>(
    conn: &mut PgConnection,
    is_read: bool,
    work: impl FnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    // If the connection is lost, nothing of an open transaction is stored.
    let is_unwritten = is_read || is_open(conn)?;
    work(conn).map_err(|error| {
        if words::is_stale_plan(&error) {
            forget_statements(conn);
        }
        if is_disconnected(&error) {
            // Diesel does not notice it while it prepares a query.
            Manager::transaction_manager_status_mut(conn).set_in_error();
        }
        match error {
            Error::ReadOnly { source } if is_read => Error::Database { source },
            error if is_unwritten => unwritten(error),
            error => error,
        }
    })
}

fn is_disconnected(error: &Error) -> bool {
    match error {
        Error::Disconnected { .. } => true,
        Error::Unfinished { source, .. } => is_disconnected(source),
        _ => false,
    }
}

/// Makes Diesel prepare every statement anew: a column's type was changed under one of them, which would fail for ever.
fn forget_statements(conn: &mut PgConnection) {
    for size in [CacheSize::Disabled, CacheSize::Unbounded] {
        conn.set_prepared_statement_cache_size(size);
    }
}

/// Says of an error that nothing was committed.
fn unwritten(error: Error) -> Error {
    match error {
        Error::Disconnected { source, .. } => Error::Disconnected { may_be_stored: false, source },
        error => error,
    }
}

/// A transaction in progress. It is rolled back on an error or a panic.
struct Open<'a> {
    conn: &'a mut PgConnection,
    is_settled: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            // Fails if the connection is lost, which Diesel then knows.
            let _ = Manager::rollback_transaction(self.conn);
        }
    }
}

/// Whether the server goes on with a transaction after an error in it. Diesel does not say so, and the server answers
/// the commit of one that it has given up as if all were well; so this asks.
pub(crate) fn survives(conn: &mut PgConnection) -> bool {
    matches!(is_open(conn), Ok(true)) && conn.batch_execute("SELECT 1").is_ok()
}

fn depth(conn: &mut PgConnection) -> Option<NonZeroU32> {
    Manager::transaction_manager_status_mut(conn).transaction_depth().ok().flatten()
}

/// Whether Diesel knows of a transaction on the connection.
pub(crate) fn is_open(conn: &mut PgConnection) -> Result<bool> {
    match Manager::transaction_manager_status_mut(conn).transaction_depth() {
        Ok(depth) => Ok(depth.is_some()),
        Err(source) => Err(Error::Disconnected { may_be_stored: false, source }),
    }
}

/// Whether Diesel has given the connection up.
pub(crate) fn is_broken(conn: &mut PgConnection) -> bool {
    Manager::transaction_manager_status_mut(conn).transaction_depth().is_err()
}

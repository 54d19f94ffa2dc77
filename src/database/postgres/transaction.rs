//! Transactions that report the first error, and say whether something may have been committed.

use std::num::NonZeroU32;

use diesel::connection::CacheSize;
use diesel::result::Error as DieselError;

use super::pg_link::PgLink;
use super::{heads, words};
use crate::database::Lock;
use crate::error::{Error, Result};

/// Runs the work in a transaction, or in a savepoint inside the caller's.
pub(crate) async fn run<C: PgLink, T>(
    conn: &mut C,
    lock: Lock<'_>,
    work: impl AsyncFnOnce(&mut C) -> Result<T>,
) -> Result<T> {
    if is_open(conn)? {
        conn.begin_savepoint().await?;
    } else {
        begin(conn, lock).await?;
    }
    let session = if let Lock::ReadWrite { session } = lock { session } else { None };
    finish(conn, async |conn| {
        if let Some(session_id) = session {
            heads::lock(conn, session_id).await?;
        }
        work(conn).await
    })
    .await
}

/// Begins a transaction of our own. READ COMMITTED is enough, because what must not change meanwhile is locked; a higher
/// level would only add failures.
pub(crate) async fn begin<C: PgLink>(conn: &mut C, lock: Lock<'_>) -> Result<()> {
    let begin = match lock {
        Lock::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        Lock::Write | Lock::ReadWrite { .. } => "BEGIN ISOLATION LEVEL READ COMMITTED",
    };
    conn.begin(begin).await.map_err(|error| unwritten(error.into()))
}

/// Runs the work in the transaction that has begun, and ends it.
pub(crate) async fn finish<C: PgLink, T>(conn: &mut C, work: impl AsyncFnOnce(&mut C) -> Result<T>) -> Result<T> {
    let begun = depth(conn);
    let mut open = Open { conn, is_settled: false };
    let mut done = work(open.conn).await;
    // What was begun inside and is still open would be all that is ended here.
    while depth(open.conn) > begun && open.conn.roll_back().await.is_ok() {
        done = done.and(Err(DieselError::AlreadyInTransaction.into()));
    }
    let value = match done {
        Ok(value) => value,
        Err(error) => {
            open.roll_back().await;
            return Err(unwritten(error));
        }
    };
    let before = depth(open.conn);
    let committed = open.conn.commit().await;
    // Diesel rolls back after a failed COMMIT, but not after a failed RELEASE.
    if committed.is_ok() || depth(open.conn) < before {
        open.is_settled = true;
    } else {
        open.roll_back().await;
    }
    match committed {
        Ok(()) => Ok(value),
        Err(DieselError::RollbackErrorOnCommit { commit_error, .. }) => Err((*commit_error).into()),
        Err(error) => Err(error.into()),
    }
}

/// What a verb's error says, for a verb that reads or writes on a connection that had a transaction open or not.
pub(super) fn explained<C: PgLink>(conn: &mut C, is_read: bool, was_open: bool, error: Error) -> Error {
    // If the connection is lost, nothing of an open transaction is stored.
    let is_unwritten = is_read || was_open;
    if words::is_stale_plan(&error) {
        forget_statements(conn);
    }
    if is_disconnected(&error) {
        // Diesel does not notice it while it prepares a query.
        conn.status().set_in_error();
    }
    match error {
        Error::ReadOnly { source } if is_read => Error::Database { source },
        error if is_unwritten => unwritten(error),
        error => error,
    }
}

fn is_disconnected(error: &Error) -> bool {
    match error {
        Error::Disconnected { .. } => true,
        Error::Unfinished { source, .. } => is_disconnected(source),
        _ => false,
    }
}

/// Makes Diesel prepare every statement anew: a column's type was changed under one of them, which would fail for ever.
fn forget_statements<C: PgLink>(conn: &mut C) {
    for size in [CacheSize::Disabled, CacheSize::Unbounded] {
        conn.keep_statements(size);
    }
}

/// Says of an error that nothing was committed.
fn unwritten(error: Error) -> Error {
    match error {
        Error::Disconnected { source, .. } => Error::Disconnected { may_be_stored: false, source },
        error => error,
    }
}

/// A transaction in progress. It is rolled back on an error or a panic, and if nobody waits for it any longer.
struct Open<'a, C: PgLink> {
    conn: &'a mut C,
    is_settled: bool,
}

impl<C: PgLink> Open<'_, C> {
    async fn roll_back(&mut self) {
        // Fails if the connection is lost, which Diesel then knows.
        let _ = self.conn.roll_back().await;
        self.is_settled = true;
    }
}

impl<C: PgLink> Drop for Open<'_, C> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.conn.abandon();
        }
    }
}

/// Whether the server goes on with a transaction after an error in it. Diesel does not say so, and the server answers
/// the commit of one that it has given up as if all were well; so this asks.
#[cfg(feature = "postgres")]
pub(crate) async fn survives<C: PgLink>(conn: &mut C) -> bool {
    matches!(is_open(conn), Ok(true)) && conn.batch("SELECT 1").await.is_ok()
}

fn depth<C: PgLink>(conn: &mut C) -> Option<NonZeroU32> {
    conn.status().transaction_depth().ok().flatten()
}

/// Whether Diesel knows of a transaction on the connection.
pub(crate) fn is_open<C: PgLink>(conn: &mut C) -> Result<bool> {
    match conn.status().transaction_depth() {
        Ok(depth) => Ok(depth.is_some()),
        Err(source) => Err(Error::Disconnected { may_be_stored: false, source }),
    }
}

/// Whether Diesel has given the connection up.
#[cfg(feature = "postgres")]
pub(crate) fn is_broken<C: PgLink>(conn: &mut C) -> bool {
    conn.status().transaction_depth().is_err()
}

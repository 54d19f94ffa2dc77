//! One connection of a store, whichever database it is to.

#[cfg(feature = "postgres")]
use diesel::PgConnection;
use diesel::SqliteConnection;
use diesel::connection::SimpleConnection;

use crate::database::sqlite;
#[cfg(feature = "postgres")]
use crate::database::{postgres, ready};
use crate::error::Result;

/// One of a store's connections, as [`on_open`](crate::SessionStoreBuilder::on_open) and
/// [`StoreTransaction::connection`](crate::StoreTransaction::connection) lend it. Match on it for the Diesel connection.
///
/// ```
/// use agent_session_store::diesel::{RunQueryDsl, sql_query};
/// use agent_session_store::{SessionStore, StoreConnection};
///
/// let store = SessionStore::builder()
///     .on_open(|conn| match conn {
///         StoreConnection::Sqlite(conn) => {
///             sql_query("PRAGMA cache_size = -8000").execute(*conn)?;
///             Ok(())
///         }
///         _ => conn.batch_execute("SET work_mem = '16MB'"),
///     })
///     .open_in_memory()?;
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[expect(missing_debug_implementations, reason = "Diesel's connections have none")]
#[non_exhaustive]
pub enum StoreConnection<'a> {
    /// To a database file, or to a database in memory.
    Sqlite(&'a mut SqliteConnection),
    /// To a PostgreSQL server.
    #[cfg(feature = "postgres")]
    Postgres(&'a mut PgConnection),
}

/// Evaluates an expression with the connection, whichever it is.
macro_rules! on_connection {
    ($store_connection:expr, $conn:ident => $work:expr) => {
        match $store_connection {
            $crate::store::engine::StoreConnection::Sqlite($conn) => $work,
            #[cfg(feature = "postgres")]
            $crate::store::engine::StoreConnection::Postgres($conn) => $work,
        }
    };
}

pub(in crate::store) use on_connection;

impl StoreConnection<'_> {
    /// Runs one or more SQL statements, separated by semicolons, and ignores the rows that they return.
    ///
    /// # Errors
    ///
    /// Any error from the database.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let store = SessionStore::builder().on_open(|conn| conn.batch_execute("PRAGMA cache_size = -8000")).open_in_memory()?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn batch_execute(&mut self, sql: &str) -> Result<()> {
        on_connection!(self, conn => Ok(conn.batch_execute(sql)?))
    }
}

impl StoreConnection<'_> {
    /// Whether the transaction that was begun on it still exists and can go on.
    pub(in crate::store) fn is_in_transaction(&mut self) -> bool {
        match self {
            Self::Sqlite(conn) => sqlite::transaction::survives(conn),
            #[cfg(feature = "postgres")]
            Self::Postgres(conn) => ready(postgres::transaction::survives(*conn)),
        }
    }
}

impl<'a> From<&'a mut SqliteConnection> for StoreConnection<'a> {
    fn from(conn: &'a mut SqliteConnection) -> Self {
        Self::Sqlite(conn)
    }
}

#[cfg(feature = "postgres")]
impl<'a> From<&'a mut PgConnection> for StoreConnection<'a> {
    fn from(conn: &'a mut PgConnection) -> Self {
        Self::Postgres(conn)
    }
}

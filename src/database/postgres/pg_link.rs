//! What the seam needs of a connection to PostgreSQL besides statements: its transactions.

use diesel::QueryResult;
use diesel::connection::{CacheSize, TransactionManagerStatus};
use diesel::pg::Pg;

use crate::database::link::Link;

/// A connection to PostgreSQL, blocking or not.
pub(crate) trait PgLink: Link<Backend = Pg> {
    /// Runs statements without values, separated by semicolons.
    async fn batch(&mut self, statements: &str) -> QueryResult<()>;

    /// Begins a transaction with this SQL.
    async fn begin(&mut self, sql: &str) -> QueryResult<()>;
    /// Begins a savepoint inside a transaction.
    async fn begin_savepoint(&mut self) -> QueryResult<()>;
    /// Commits what began last.
    async fn commit(&mut self) -> QueryResult<()>;
    /// Rolls back what began last.
    async fn roll_back(&mut self) -> QueryResult<()>;

    /// What Diesel knows of the connection's transactions.
    fn status(&mut self) -> &mut TransactionManagerStatus;
    /// Rolls back what began last and can no longer be waited for, because of a panic or because the caller dropped the
    /// future.
    fn abandon(&mut self);
    /// How many prepared statements the connection keeps.
    fn keep_statements(&mut self, size: CacheSize);
}

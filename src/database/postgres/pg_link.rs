//! What the seam needs of a connection to PostgreSQL besides statements: its transactions.

use diesel::connection::{
    AnsiTransactionManager as Manager, CacheSize, Connection, SimpleConnection, TransactionManager,
    TransactionManagerStatus,
};
use diesel::pg::{Pg, PgConnection};
use diesel::prelude::*;

use crate::database::link::{Link, blocking_link};

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

blocking_link!(PgConnection);

impl PgLink for PgConnection {
    async fn batch(&mut self, statements: &str) -> QueryResult<()> {
        self.batch_execute(statements)
    }

    async fn begin(&mut self, sql: &str) -> QueryResult<()> {
        Manager::begin_transaction_sql(self, sql)
    }

    async fn begin_savepoint(&mut self) -> QueryResult<()> {
        Manager::begin_transaction(self)
    }

    async fn commit(&mut self) -> QueryResult<()> {
        Manager::commit_transaction(self)
    }

    async fn roll_back(&mut self) -> QueryResult<()> {
        Manager::rollback_transaction(self)
    }

    fn status(&mut self) -> &mut TransactionManagerStatus {
        Manager::transaction_manager_status_mut(self)
    }

    fn abandon(&mut self) {
        // Fails if the connection is lost, which Diesel then knows.
        let _ = Manager::rollback_transaction(self);
    }

    fn keep_statements(&mut self, size: CacheSize) {
        self.set_prepared_statement_cache_size(size);
    }
}

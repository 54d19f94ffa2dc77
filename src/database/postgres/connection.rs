//! The verbs on the caller's own connection.

use std::io::Write;

use diesel::connection::{
    AnsiTransactionManager as Manager, CacheSize, Connection, SimpleConnection, TransactionManager,
    TransactionManagerStatus,
};
use diesel::{PgConnection, QueryResult};

use super::pg_link::PgLink;
use super::transaction::{explained, is_open};
use crate::database::link::blocking_link;
use crate::database::ready;
use crate::driver::{SessionPersistDriver, blocking_driver, is_read};
use crate::error::Result;
use crate::verb;
use crate::verbs::*;

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

verbs!(blocking_driver! (PgConnection, checked;));

/// Runs a verb, which reads or writes.
pub(crate) fn checked<T>(
    conn: &mut PgConnection,
    is_read: bool,
    work: impl FnOnce(&mut PgConnection) -> Result<T>,
) -> Result<T> {
    let was_open = is_open(conn)?;
    work(conn).map_err(|error| explained(conn, is_read, was_open, error))
}

//! PostgreSQL by a connection of diesel-async.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Waker};

use diesel::QueryResult;
use diesel::connection::{CacheSize, TransactionManagerStatus};
use diesel::deserialize::FromSqlRow;
use diesel::expression::QueryMetadata;
use diesel::pg::Pg;
use diesel::query_builder::{Query, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::{
    AnsiTransactionManager as Manager, AsyncConnection, AsyncConnectionCore, AsyncPgConnection, SimpleAsyncConnection,
    TransactionManager,
};
use futures_core::Stream;

use super::pg_link::PgLink;
use crate::database::link::Link;

impl Link for AsyncPgConnection {
    type Backend = Pg;

    async fn run<Q>(&mut self, statement: Q) -> QueryResult<usize>
    where
        Q: QueryFragment<Pg> + QueryId,
    {
        self.execute_returning_count(statement).await.map_err(lost)
    }

    async fn rows<T, Q>(&mut self, query: Q) -> QueryResult<Vec<T>>
    where
        Q: Query + QueryFragment<Pg> + QueryId,
        Pg: QueryMetadata<Q::SqlType>,
        T: FromSqlRow<Q::SqlType, Pg>,
    {
        let mut rows = Vec::new();
        self.each(query, |row| {
            rows.push(row);
            true
        })
        .await?;
        Ok(rows)
    }

    async fn each<T, Q>(&mut self, query: Q, mut take: impl FnMut(T) -> bool) -> QueryResult<()>
    where
        Q: Query + QueryFragment<Pg> + QueryId,
        Pg: QueryMetadata<Q::SqlType>,
        T: FromSqlRow<Q::SqlType, Pg>,
    {
        let mut rows = pin!(self.load(query).await.map_err(lost)?);
        while let Some(row) = poll_fn(|task| rows.as_mut().poll_next(task)).await {
            let row = T::build_from_row(&row.map_err(lost)?).map_err(DieselError::DeserializationError)?;
            if !take(row) {
                break;
            }
        }
        Ok(())
    }
}

impl PgLink for AsyncPgConnection {
    async fn batch(&mut self, statements: &str) -> QueryResult<()> {
        self.batch_execute(statements).await.map_err(lost)
    }

    async fn begin(&mut self, sql: &str) -> QueryResult<()> {
        Manager::begin_transaction_sql(self, sql).await.map_err(lost)
    }

    async fn begin_savepoint(&mut self) -> QueryResult<()> {
        Manager::begin_transaction(self).await.map_err(lost)
    }

    async fn commit(&mut self) -> QueryResult<()> {
        Manager::commit_transaction(self).await.map_err(lost)
    }

    async fn roll_back(&mut self) -> QueryResult<()> {
        Manager::rollback_transaction(self).await
    }

    fn status(&mut self) -> &mut TransactionManagerStatus {
        Manager::transaction_manager_status_mut(self)
    }

    /// Whoever dropped a part of a call dropped all of it, and the [`PgCall`] sees to the connection.
    fn abandon(&mut self) {}

    fn keep_statements(&mut self, size: CacheSize) {
        self.set_prepared_statement_cache_size(size);
    }
}

/// A lost connection is the one error for which diesel-async says that nothing was sent, whether or not it was.
fn lost(error: DieselError) -> DieselError {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::UnableToSendCommand, information) => {
            DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, information)
        }
        error => error,
    }
}

/// A call in progress. If its future is dropped before it is ready, it must not leave a transaction behind that nobody
/// commits: whatever is written on the connection later would seem to be stored, and would not be.
pub(super) struct PgCall<'a> {
    pub(super) conn: &'a mut AsyncPgConnection,
    pub(super) was_open: bool,
    is_over: bool,
}

impl<'a> PgCall<'a> {
    /// Begins a call on a connection that had a transaction open or not.
    pub(super) fn new(conn: &'a mut AsyncPgConnection, was_open: bool) -> Self {
        Self { conn, was_open, is_over: false }
    }

    pub(super) fn end(&mut self) {
        self.is_over = true;
    }
}

impl Drop for PgCall<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if self.was_open {
            // Perhaps the caller has dropped the transaction too, perhaps it goes on with it. Either way the rest of it
            // must fail: here by an error that aborts it, and Diesel must not take the end of that for a commit.
            send(self.conn, "ROLLBACK TO SAVEPOINT agent_session_store_call_was_dropped");
            self.conn.status().set_in_error();
        } else if Manager::is_broken_transaction_manager(self.conn) {
            send(self.conn, "ROLLBACK");
            *self.conn.transaction_state() = Manager::default();
        }
    }
}

/// Sends a statement without waiting for its end. The server runs it after those that were sent before, and before those
/// that will be.
fn send(conn: &mut AsyncPgConnection, sql: &str) {
    // It is on its way once it was polled, or else the connection is lost, and the transaction with it.
    let _ = pin!(conn.batch_execute(sql)).poll(&mut Context::from_waker(Waker::noop()));
}

/// Whether the caller's own BEGIN, COMMIT or ROLLBACK was dropped halfway: only a connection pool asks Diesel for it.
pub(super) fn is_cut_short(conn: &mut AsyncPgConnection) -> bool {
    // Open transactions count as broken too, so they are left out.
    let status = std::mem::take(conn.status());
    let is_cut_short = Manager::is_broken_transaction_manager(conn);
    *conn.status() = status;
    is_cut_short
}

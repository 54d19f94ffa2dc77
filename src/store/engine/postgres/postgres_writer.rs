//! The writing connection, as group commit uses it.

use std::sync::Arc;

use diesel::PgConnection;

use super::alive::Alive;
use super::notifier::Notifier;
use super::server::Server;
use crate::database::postgres::append::{Appending, append_all};
use crate::database::postgres::{Stored, put_all, transaction};
use crate::database::{Lock, ready};
use crate::error::{Error, Result};
use crate::store::changes::change::Change;
use crate::store::writer::GroupCommit;
use crate::store::writer::row_writes::Rows;

pub(in crate::store) struct PostgresWriter {
    conn: Alive,
    server: Arc<Server>,
    notifier: Arc<Notifier>,
}

impl PostgresWriter {
    pub(super) fn new(conn: PgConnection, server: Arc<Server>, notifier: Arc<Notifier>) -> Self {
        Self { conn: Alive::new(conn), server, notifier }
    }
}

impl GroupCommit for PostgresWriter {
    type Connection = PgConnection;

    const MERGES_ROWS: bool = true;

    fn connection(&mut self) -> &mut PgConnection {
        self.conn.get()
    }

    fn make_ready(&mut self) -> Result<()> {
        if !self.conn.is_usable() {
            self.conn = Alive::new(self.server.connect()?);
        }
        Ok(())
    }

    fn write_rows(conn: &mut PgConnection, rows: &[Rows<'_>]) -> Result<Option<Vec<Vec<i64>>>> {
        let mut appends = Vec::with_capacity(rows.len());
        let mut events = Vec::new();
        for rows in rows {
            match *rows {
                Rows::Append { session_id, expected, events } => {
                    appends.push(Appending { session_id, expected, events });
                }
                Rows::Put(put) => events.extend(put),
            }
        }
        if events.is_empty() {
            return ready(append_all(conn, &appends));
        }
        match ready(put_all(conn, &events))? {
            Stored::All => Ok(Some(vec![Vec::new(); rows.len()])),
            Stored::Nothing => Ok(None),
        }
    }

    fn is_in_transaction(&mut self) -> bool {
        transaction::is_open(self.conn.get()).unwrap_or(true)
    }

    fn abandon_transaction(&mut self) {
        // Whatever is in it, the server rolls it back.
        self.conn.give_up();
    }

    fn begin(&mut self) -> Result<()> {
        ready(transaction::begin(self.conn.get(), Lock::Write))
    }

    fn finish(&mut self, work: impl FnOnce(&mut PgConnection) -> Result<()>) -> Result<()> {
        ready(transaction::finish(self.conn.get(), async |conn| work(conn)))
    }

    /// An error from the server has aborted the transaction; one of ours has not.
    fn can_go_on(_: &mut PgConnection, error: Option<&Error>) -> bool {
        matches!(
            error,
            None | Some(
                Error::AppendConflict { .. }
                    | Error::EventIdTaken { .. }
                    | Error::IndexesExhausted { .. }
                    | Error::SessionNotFound { .. }
                    | Error::SessionEnded { .. }
                    | Error::SessionExists { .. }
            )
        )
    }

    /// Their locks may be others: those of other sessions.
    fn hurry(&mut self, writes: usize) -> bool {
        self.server.set_patience(self.conn.get(), writes).is_ok()
    }

    fn take_time(&mut self) {
        if self.server.set_patience(self.conn.get(), 1).is_err() {
            self.conn.give_up();
        }
    }

    fn after_commit(&mut self) {}

    fn tell_others(&mut self, change: &Change<'_>) {
        self.notifier.tell(change);
    }
}

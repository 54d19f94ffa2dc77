//! The writing connection, as group commit uses it.

use diesel::SqliteConnection;

use super::log_limit::LogLimit;
use crate::database::sqlite::{pragma, transaction};
use crate::error::{Error, Result};
use crate::store::writer::GroupCommit;

pub(in crate::store) struct SqliteWriter {
    pub(super) conn: SqliteConnection,
    pub(super) log: LogLimit,
    /// Which of the others' commits were seen, as a number that SQLite changes.
    pub(super) seen_version: Option<i64>,
}

impl GroupCommit for SqliteWriter {
    type Connection = SqliteConnection;

    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }

    fn is_in_transaction(&mut self) -> bool {
        transaction::is_open(&mut self.conn).unwrap_or(true)
    }

    fn abandon_transaction(&mut self) {
        transaction::abandon(&mut self.conn);
    }

    fn begin(&mut self) -> Result<()> {
        transaction::begin(&mut self.conn)
    }

    fn finish(&mut self, work: impl FnOnce(&mut SqliteConnection) -> Result<()>) -> Result<()> {
        transaction::end(&mut self.conn, work)
    }

    fn can_go_on(conn: &mut SqliteConnection, error: Option<&Error>) -> bool {
        match error {
            None => transaction::is_open(conn).unwrap_or(false),
            // The next write would hardly fare better, and SQLite says to roll back.
            Some(Error::Busy { .. } | Error::DiskFull { .. } | Error::ReadOnly { .. } | Error::NotADatabase { .. }) => {
                false
            }
            Some(_) => transaction::survives(conn),
        }
    }

    fn after_commit(&mut self) {
        self.log.tend(&mut self.conn);
    }

    fn others_have_committed(&mut self) -> bool {
        // Without an answer, they may have.
        let version = pragma::read(&mut self.conn, "main.data_version").ok();
        version.is_none() || std::mem::replace(&mut self.seen_version, version) != version
    }
}

//! The verbs on the caller's own connection.

use std::io::Write;
use std::path::Path;

use diesel::SqliteConnection;

use super::{backup, checkpoint, transaction};
use crate::database::ready;
use crate::driver::{FileMaintenance, SessionPersistDriver, blocking_driver, is_read};
use crate::error::Result;
use crate::verb;
use crate::verbs::*;

verbs!(blocking_driver! (SqliteConnection, run;));

impl FileMaintenance for SqliteConnection {
    fn reclaim_space(&mut self) -> Result<()> {
        transaction::checked(self, |conn| ready(verb::reclaim_space(conn)))
    }

    fn checkpoint(&mut self) -> Result<CheckpointReport> {
        checkpoint::checkpoint(self)
    }

    fn backup_to(&mut self, path: impl AsRef<Path>) -> Result<()> {
        backup::backup(self, path.as_ref(), None)
    }
}

fn run<T>(conn: &mut SqliteConnection, _: bool, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
    transaction::checked(conn, work)
}

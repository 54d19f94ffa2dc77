//! Migrating a database to this crate's schema.

use std::time::Duration;

use diesel::prelude::*;
use diesel_migrations::MigrationHarness;

use super::embedded::is_current;
use super::waiting::{self, Schema};
use super::{adopt, disk, pragma, transaction, unfinished};
use crate::database::migrations::{MIGRATIONS, Migratable, migration_error};
use crate::error::{Error, Result};

/// The least time for which [`migrate`] tries to look at a file that is locked for any reason but a migration. By
/// default a connection has no busy timeout, and the lock may belong to a migration that is just finishing.
const LEAST_WAIT: Duration = Duration::from_secs(1);

impl Migratable for SqliteConnection {
    fn bring_up_to_date(&mut self) -> Result<()> {
        migrate(self)
    }
}

pub(crate) fn migrate(conn: &mut SqliteConnection) -> Result<()> {
    // An unfinished backup may look like an empty database.
    if pragma::file(conn).is_some_and(|file| unfinished::is_unfinished(&file)) {
        let reason = "it is an unfinished backup".to_owned();
        return Err(Error::CannotMigrate { reason });
    }
    let busy_timeout = Duration::from_millis(pragma::read(conn, "busy_timeout")?.unsigned_abs());
    let found = waiting::look(conn, busy_timeout.max(LEAST_WAIT), None);
    match found.map_err(|error| disk::explain(conn, error))? {
        Schema::Current => Ok(()),
        Schema::Pending => bring_up_to_date(conn),
    }
}

/// Like [`migrate`], for a file that is known to need it or to be locked by another migration.
pub(crate) fn bring_up_to_date(conn: &mut SqliteConnection) -> Result<()> {
    let result = waiting::patiently(conn, |conn| {
        if is_current(conn)? {
            return Ok(());
        }
        if transaction::is_open(conn)? {
            return transaction::atomically(conn, run_pending);
        }
        pragma::with(conn, "foreign_keys", 0, |conn| transaction::atomically(conn, run_pending))
    });
    result.map_err(|error| disk::explain(conn, error))
}

fn run_pending(conn: &mut SqliteConnection) -> Result<()> {
    conn.run_pending_migrations(MIGRATIONS).map_err(migration_error)?;
    if adopt::is_complete(conn)? { Ok(()) } else { adopt::complete(conn) }
}

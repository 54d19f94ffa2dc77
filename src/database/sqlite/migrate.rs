//! Migrating a database to this crate's schema.

use std::time::Duration;

use diesel::prelude::*;
use diesel_migrations::MigrationHarness;

use super::migrations::{MIGRATIONS, is_current};
use super::waiting::{self, Schema};
use super::{adopt, backup, disk, pragma, transaction};
use crate::error::{Cause, Error, Result};

/// The least time for which [`migrate`] tries to look at a file that is locked for any reason but a migration. By
/// default a connection has no busy timeout, and the lock may belong to a migration that is just finishing.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// Migrates the database to this crate's schema, whatever it is now: empty, the reference driver's (current, legacy, or
/// left behind by an interrupted rebuild), or already this crate's.
///
/// The migration is atomic, and any number of threads and processes may call this at once: one migrates, the others
/// wait for it, as long as the connection's busy timeout but at least five minutes. On a database that is up to date it
/// only reads the schema; if that is locked, it waits for the busy timeout (at least a second) and no longer. Rows,
/// other tables, other migrations and the connection's settings stay as they are. It only looks at the database `main`,
/// not at attached databases.
///
/// It also verifies what Diesel's migrations table claims: it creates a table or index of this crate that is missing
/// all the same, and migrates a legacy table that has come back. A table that has all our columns stays, whatever else
/// you have declared on it.
///
/// Inside your own transaction, it is part of that transaction. Foreign key enforcement cannot be switched off there,
/// so it refuses to rebuild a legacy table that another table refers to; call it outside the transaction then.
///
/// # Errors
///
/// [`Error::CannotMigrate`] if the tables are not the reference driver's or contain something that the schema has no
/// place for, [`Error::NotADatabase`], [`Error::ReadOnly`], [`Error::Busy`], [`Error::DiskFull`], and any other error
/// from the database. The file is unchanged then.
///
/// ```
/// use agent_session_store::diesel::{Connection, SqliteConnection};
///
/// let mut conn = SqliteConnection::establish(":memory:").unwrap();
/// agent_session_store::migrate(&mut conn)?;
/// agent_session_store::migrate(&mut conn)?; // does nothing
/// # Ok::<(), agent_session_store::Error>(())
/// ```
pub fn migrate(conn: &mut SqliteConnection) -> Result<()> {
    // An unfinished backup may look like an empty database.
    if pragma::file(conn).is_some_and(|file| backup::is_unfinished(&file)) {
        let reason = "it is an unfinished backup".to_owned();
        return Err(Error::CannotMigrate { reason });
    }
    let busy_timeout = Duration::from_millis(pragma::read(conn, "busy_timeout")?.unsigned_abs());
    let found = waiting::look(conn, busy_timeout.max(LEAST_WAIT));
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

fn migration_error(cause: Cause) -> Error {
    match cause.downcast::<Error>() {
        Ok(error) => *error,
        Err(cause) => match cause.downcast::<diesel::result::Error>() {
            Ok(error) => (*error).into(),
            Err(source) => Error::Migration { source },
        },
    }
}

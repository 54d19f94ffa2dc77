//! Bringing a database to this crate's schema.

use std::time::Duration;

use diesel::connection::BoxableConnection;
use diesel::migration::{Migration, MigrationMetadata, MigrationName, MigrationSource};
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::adopt;
use crate::backup;
use crate::disk;
use crate::error::{Cause, Error, Result};
use crate::pragma;
use crate::transaction;
use crate::waiting::{self, Schema};

const EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// How long [`migrate`] at least tries to look at a file that is locked for another reason than a migration. A
/// connection as it comes has no busy timeout at all, and the lock may be that of a migration which just ends.
const LEAST_WAIT: Duration = Duration::from_secs(1);

/// This crate's migrations, for a host's own Diesel migration harness.
///
/// They are the files of the crate's `migrations/sqlite/` folder, with one difference: where the plain SQL copies tables
/// because it cannot ask for their shape, these look first, and leave tables that are as they should be where they
/// are. They share the table `__diesel_schema_migrations` with the host's own; their versions sort before any date,
/// so that reverting or redoing the *last* migration means the host's.
///
/// Diesel's harness does not guard against another process that runs the same migration at the same moment;
/// [`migrate`] does.
///
/// ```
/// use agent_session_store::MIGRATIONS;
/// use agent_session_store::diesel::{Connection, SqliteConnection};
/// use diesel_migrations::MigrationHarness;
///
/// let mut conn = SqliteConnection::establish(":memory:").unwrap();
/// conn.run_pending_migrations(MIGRATIONS).unwrap();
/// assert!(!conn.has_pending_migration(MIGRATIONS).unwrap());
/// ```
pub const MIGRATIONS: Migrations = Migrations(());

/// The type of [`MIGRATIONS`].
#[derive(Clone, Copy, Debug)]
pub struct Migrations(());

impl MigrationSource<Sqlite> for Migrations {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Sqlite>>>> {
        let embedded: Vec<Box<dyn Migration<Sqlite>>> = EMBEDDED.migrations()?;
        Ok(embedded.into_iter().map(|plain| Box::new(Adopting(plain)) as Box<dyn Migration<Sqlite>>).collect())
    }
}

/// The plain SQL of a migration, run with an eye on what the file needs of it.
struct Adopting(Box<dyn Migration<Sqlite>>);

impl Migration<Sqlite> for Adopting {
    fn run(&self, conn: &mut dyn BoxableConnection<Sqlite>) -> diesel::migration::Result<()> {
        match sqlite_connection(conn) {
            Some(conn) => Ok(adopt::in_own_transaction(conn)?),
            None => run_plain(&*self.0, conn),
        }
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<Sqlite>) -> diesel::migration::Result<()> {
        self.0.revert(conn)
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self.0.metadata()
    }

    fn name(&self) -> &dyn MigrationName {
        self.0.name()
    }
}

/// The connection itself, if the harness runs on a type that we know.
fn sqlite_connection(conn: &mut dyn BoxableConnection<Sqlite>) -> Option<&mut SqliteConnection> {
    #[cfg(feature = "r2d2")]
    {
        type Pooled = diesel::r2d2::PooledConnection<diesel::r2d2::ConnectionManager<SqliteConnection>>;
        if conn.is::<Pooled>() {
            return conn.downcast_mut::<Pooled>().map(|pooled| &mut **pooled);
        }
    }
    conn.downcast_mut::<SqliteConnection>()
}

/// On a connection of a type that we do not know, the SQL has to do by itself.
fn run_plain(
    migration: &dyn Migration<Sqlite>,
    conn: &mut dyn BoxableConnection<Sqlite>,
) -> diesel::migration::Result<()> {
    let result = migration.run(conn);
    if let Err(error) = &result {
        // Otherwise the transaction is the caller's, and the script did not get further than trying to open its own.
        if !error.to_string().contains("within a transaction") {
            // Fails where SQLite has already rolled back.
            let _ = conn.batch_execute("ROLLBACK");
            conn.batch_execute("PRAGMA foreign_keys = ON")?;
        }
        conn.batch_execute("PRAGMA legacy_alter_table = OFF")?;
        conn.batch_execute(adopt::CLOSE_GUARD)?;
    }
    result
}

/// Brings the database to this crate's schema, whatever it is now: empty, the reference driver's (current, legacy, or
/// left behind by an interrupted rebuild), or this crate's already.
///
/// It is all or nothing and may be called by any number of threads and processes at once: one migrates, the others
/// wait for it, for as long as the connection's busy timeout says but at least five minutes. On a database that is
/// up to date it only reads, and of the tables only their declarations; where that is locked it waits for the busy
/// timeout (at least a second) and no longer. Rows, other tables and other migrations stay as they are; so do the
/// connection's settings. Only the database `main` is looked at, not what is attached.
///
/// What Diesel's bookkeeping says is checked: a table or an index of ours that is missing all the same is created, a
/// legacy table that has come back is migrated. A table that has all our columns stays, whatever else you have
/// declared on it.
///
/// Inside a transaction of yours it takes part in it. There it cannot switch off foreign key enforcement, so it
/// refuses to rebuild a legacy table that another table refers to; call it outside then.
///
/// # Errors
///
/// [`Error::CannotMigrate`] if the tables are not the reference driver's or hold what the schema has no place for,
/// [`Error::NotADatabase`], [`Error::ReadOnly`], [`Error::Busy`], [`Error::DiskFull`], and whatever else the
/// database reports. The file is then as it was.
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
    // It may be an empty database by the look of it.
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

/// As [`migrate`], for a file that is known to need it or to be locked by somebody who migrates it.
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

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
        run_on -> Timestamp,
    }
}

/// Whether nothing is pending, found out without writing (Diesel's own question creates the bookkeeping table), and the
/// tables are what the bookkeeping says they are.
pub(crate) fn is_current(conn: &mut SqliteConnection) -> Result<bool> {
    use diesel::sql_types::Bool;
    let bookkeeping = "SELECT EXISTS (SELECT 1 FROM main.sqlite_master WHERE name = '__diesel_schema_migrations')";
    if !diesel::dsl::sql::<Bool>(bookkeeping).get_result::<bool>(conn)? {
        return Ok(false);
    }
    let ours: Vec<Box<dyn Migration<Sqlite>>> =
        MIGRATIONS.migrations().map_err(|source| Error::Migration { source })?;
    let ours: Vec<String> = ours.iter().map(|migration| migration.name().version().to_string()).collect();
    let applied: i64 = __diesel_schema_migrations::table
        .filter(__diesel_schema_migrations::version.eq_any(&ours))
        .count()
        .get_result(conn)?;
    Ok(applied == ours.len() as i64 && adopt::is_complete(conn)?)
}

//! This crate's migrations, for an application's own harness and for its connection.

use diesel::backend::Backend;
use diesel::migration::{Migration, MigrationSource};

use crate::error::{Cause, Error, Result};

/// This crate's migrations, for your own Diesel migration harness.
///
/// They are the files in the crate's `migrations/sqlite/` folder, with one difference: the plain SQL copies some tables
/// because it cannot inspect their schema, while these inspect it first and leave tables that are already right where
/// they are. They share the table `__diesel_schema_migrations` with your own migrations. Their versions sort before any
/// date, so reverting or redoing the *last* migration means yours.
///
/// Diesel's harness does not guard against another process that runs the same migration at the same time;
/// [`migrate`](crate::migrate) does.
///
/// They can inspect an `SqliteConnection`, also inside one of r2d2 (with the feature `r2d2`) or inside diesel-async's
/// `AsyncMigrationHarness` (with the feature `diesel-async`). Inside any other connection it is the plain SQL that runs.
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

/// A connection whose database can be migrated: an `SqliteConnection`, a `PgConnection`, or one of these from a pool of
/// `diesel::r2d2`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be migrated",
    note = "it takes an `SqliteConnection` or, with the feature `postgres`, a `PgConnection`",
    note = "a pooled connection dereferences to one of these: `migrate(&mut *conn)`"
)]
pub trait Migratable {
    #[doc(hidden)]
    fn bring_up_to_date(&mut self) -> Result<()>;
}

/// A connection of diesel-async whose database can be migrated: an `AsyncPgConnection`, or a
/// `SyncConnectionWrapper<SqliteConnection>`.
#[cfg(feature = "diesel-async")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be migrated",
    note = "it takes an `AsyncPgConnection` or a `SyncConnectionWrapper<SqliteConnection>`",
    note = "a pooled connection dereferences to one of these: `migrate_async(&mut *conn)`"
)]
pub trait AsyncMigratable {
    #[doc(hidden)]
    fn bring_up_to_date(&mut self) -> impl Future<Output = Result<()>> + Send;
}

#[cfg(feature = "r2d2")]
impl<C: Migratable + diesel::r2d2::R2D2Connection + 'static> Migratable
    for diesel::r2d2::PooledConnection<diesel::r2d2::ConnectionManager<C>>
{
    fn bring_up_to_date(&mut self) -> Result<()> {
        C::bring_up_to_date(self)
    }
}

/// Migrates the database to this crate's schema, whatever it is now: empty, the reference driver's (current, legacy, or
/// left behind by an interrupted rebuild), or already this crate's.
///
/// The migration is atomic, and any number of threads and processes may call this at once: one migrates, the others
/// wait for it, as long as the connection's busy timeout but at least five minutes. On a database that is up to date it
/// only reads the schema; if that is locked, it waits for the busy timeout (at least a second) and no longer. Rows,
/// other tables, other migrations and the connection's settings stay as they are. On SQLite it only looks at the database
/// `main`, not at attached databases; on PostgreSQL at the tables that the `search_path` finds, and it creates missing ones
/// in its first schema.
///
/// It also verifies what Diesel's migrations table claims: it creates a table or index of this crate that is missing
/// all the same, and migrates a legacy table that has come back. A table that has all our columns stays, whatever else
/// you have declared on it.
///
/// Inside your own transaction, it is part of that transaction. SQLite cannot switch off foreign key enforcement there, so
/// it refuses to rebuild a legacy table that another table refers to; call it outside the transaction then.
///
/// # Errors
///
/// [`Error::CannotMigrate`] if the tables are not the reference driver's or contain something that the schema has no
/// place for, [`Error::NotADatabase`], [`Error::ReadOnly`], [`Error::Busy`], [`Error::DiskFull`], and any other error
/// from the database. The database is unchanged then.
///
/// ```
/// use agent_session_store::diesel::{Connection, SqliteConnection};
///
/// let mut conn = SqliteConnection::establish(":memory:").unwrap();
/// agent_session_store::migrate(&mut conn)?;
/// agent_session_store::migrate(&mut conn)?; // does nothing
/// # Ok::<(), agent_session_store::Error>(())
/// ```
pub fn migrate(conn: &mut impl Migratable) -> Result<()> {
    conn.bring_up_to_date()
}

/// [`migrate`] for a connection of diesel-async.
///
/// If the future is dropped before it is ready, nothing was migrated, except on a wrapped `SqliteConnection`: there the drop
/// waits for the end of the migration.
///
/// # Errors
///
/// Those of [`migrate`].
///
/// ```
/// use agent_session_store::diesel::SqliteConnection;
/// use agent_session_store::diesel_async::AsyncConnection;
/// use agent_session_store::diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
/// use agent_session_store::migrate_async;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
///
/// let mut conn = SyncConnectionWrapper::<SqliteConnection>::establish(":memory:").await.unwrap();
/// migrate_async(&mut conn).await?;
/// # Ok::<(), agent_session_store::Error>(())
/// # })?;
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[cfg(feature = "diesel-async")]
pub async fn migrate_async(conn: &mut impl AsyncMigratable) -> Result<()> {
    conn.bring_up_to_date().await
}

pub(crate) fn migration_error(cause: Cause) -> Error {
    match cause.downcast::<Error>() {
        Ok(error) => *error,
        Err(cause) => match cause.downcast::<diesel::result::Error>() {
            Ok(error) => (*error).into(),
            Err(source) => Error::Migration { source },
        },
    }
}

// Counted without the harness, which would create the table.
diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
        run_on -> Timestamp,
    }
}

/// The versions of this crate's migrations.
pub(crate) fn versions<DB: Backend>() -> Result<Vec<String>>
where
    Migrations: MigrationSource<DB>,
{
    let ours: Vec<Box<dyn Migration<DB>>> = MIGRATIONS.migrations().map_err(|source| Error::Migration { source })?;
    Ok(ours.iter().map(|migration| migration.name().version().to_string()).collect())
}

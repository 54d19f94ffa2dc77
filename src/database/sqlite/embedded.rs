//! This crate's migrations for an application's own harness, and whether they have been run.

use diesel::connection::BoxableConnection;
use diesel::migration::{Migration, MigrationMetadata, MigrationName, MigrationSource};
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use super::adopt;
#[cfg(feature = "diesel-async")]
use super::harness;
use crate::database::migrations::{__diesel_schema_migrations, Migrations, versions};
use crate::error::Result;

/// The migration that adopts what it finds.
const FIRST: &str = "00000000475301";

const EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

impl MigrationSource<Sqlite> for Migrations {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Sqlite>>>> {
        let embedded: Vec<Box<dyn Migration<Sqlite>>> = EMBEDDED.migrations()?;
        Ok(embedded.into_iter().map(|plain| Box::new(Adopting(plain)) as Box<dyn Migration<Sqlite>>).collect())
    }
}

/// A migration's plain SQL, run only as far as the file needs it.
struct Adopting(Box<dyn Migration<Sqlite>>);

impl Migration<Sqlite> for Adopting {
    fn run(&self, conn: &mut dyn BoxableConnection<Sqlite>) -> diesel::migration::Result<()> {
        // Only the first one meets tables of another's making.
        if self.0.name().version() != FIRST.into() {
            return self.0.run(conn);
        }
        if let Some(conn) = sqlite_connection(conn) {
            return Ok(adopt::in_own_transaction(conn)?);
        }
        #[cfg(feature = "diesel-async")]
        if let Some(wrapped) = harness::in_harness(conn) {
            return Ok(harness::adopt(wrapped)?);
        }
        run_plain(&*self.0, conn)
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

/// The connection itself, if it is of a type that we know.
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

/// On a connection of an unknown type, the SQL has to cope alone.
fn run_plain(
    migration: &dyn Migration<Sqlite>,
    conn: &mut dyn BoxableConnection<Sqlite>,
) -> diesel::migration::Result<()> {
    let result = migration.run(conn);
    if let Err(error) = &result {
        // Otherwise the transaction is the caller's, and the script failed at opening its own.
        if !error.to_string().contains("within a transaction") {
            // Fails if SQLite has already rolled back.
            let _ = conn.batch_execute("ROLLBACK");
            conn.batch_execute("PRAGMA foreign_keys = ON")?;
        }
        conn.batch_execute("PRAGMA legacy_alter_table = OFF")?;
        conn.batch_execute(adopt::CLOSE_GUARD)?;
    }
    result
}

/// Whether nothing is pending and the tables are what the bookkeeping says. Checks without writing (Diesel's own check
/// creates the bookkeeping table).
pub(crate) fn is_current(conn: &mut SqliteConnection) -> Result<bool> {
    use diesel::sql_types::Bool;
    let bookkeeping = "SELECT EXISTS (SELECT 1 FROM main.sqlite_master WHERE name = '__diesel_schema_migrations')";
    if !diesel::dsl::sql::<Bool>(bookkeeping).get_result::<bool>(conn)? {
        return Ok(false);
    }
    let ours = versions::<Sqlite>()?;
    let applied: i64 = __diesel_schema_migrations::table
        .filter(__diesel_schema_migrations::version.eq_any(&ours))
        .count()
        .get_result(conn)?;
    Ok(applied == ours.len() as i64 && adopt::is_complete(conn)?)
}

#[cfg(test)]
mod tests {
    use diesel::migration::MigrationVersion;
    use diesel_migrations::MigrationHarness;

    use super::*;
    use crate::database::migrations::MIGRATIONS;

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test says what it expects")]
    fn a_later_migration_runs_its_own_sql() {
        struct Later(Box<dyn Migration<Sqlite>>);

        impl MigrationName for Later {
            fn version(&self) -> MigrationVersion<'_> {
                "00000000475302".into()
            }
        }

        impl std::fmt::Display for Later {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("later")
            }
        }

        impl Migration<Sqlite> for Later {
            fn run(&self, conn: &mut dyn BoxableConnection<Sqlite>) -> diesel::migration::Result<()> {
                Ok(conn.batch_execute("ALTER TABLE sessions ADD COLUMN later TEXT")?)
            }

            fn revert(&self, _: &mut dyn BoxableConnection<Sqlite>) -> diesel::migration::Result<()> {
                Ok(())
            }

            fn metadata(&self) -> &dyn MigrationMetadata {
                self.0.metadata()
            }

            fn name(&self) -> &dyn MigrationName {
                self
            }
        }

        let mut conn = SqliteConnection::establish(":memory:").unwrap();
        conn.run_pending_migrations(MIGRATIONS).unwrap();
        let first = MIGRATIONS.migrations().unwrap().remove(0);
        conn.run_migration(&Adopting(Box::new(Later(first)))).unwrap();
        let column = "SELECT count(later) FROM sessions";
        assert_eq!(diesel::dsl::sql::<diesel::sql_types::BigInt>(column).get_result(&mut conn), Ok(0_i64));
    }
}

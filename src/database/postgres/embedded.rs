//! The embedded migrations. They are plain SQL, which looks at what it finds by itself.

use diesel::connection::BoxableConnection;
use diesel::migration::{Migration, MigrationMetadata, MigrationName, MigrationSource};
use diesel::pg::Pg;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use crate::database::migrations::Migrations;

/// The migration that adopts what it finds.
const FIRST: &str = "00000000475301";

const EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The first migration's SQL, which brings back what is missing.
pub(super) const UP: &str = include_str!("../../../migrations/postgres/0000-00-00-475301_sessions_and_events/up.sql");

impl MigrationSource<Pg> for Migrations {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        let embedded: Vec<Box<dyn Migration<Pg>>> = EMBEDDED.migrations()?;
        Ok(embedded.into_iter().map(|plain| Box::new(Adopting(plain)) as Box<dyn Migration<Pg>>).collect())
    }
}

/// A migration that may refuse to run, and says so with the server's error: Diesel would wrap it in one that nobody can
/// look into.
struct Adopting(Box<dyn Migration<Pg>>);

impl Migration<Pg> for Adopting {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        // Only the first one meets tables of another's making.
        if self.0.name().version() == FIRST.into() { Ok(conn.batch_execute(UP)?) } else { self.0.run(conn) }
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        self.0.revert(conn)
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self.0.metadata()
    }

    fn name(&self) -> &dyn MigrationName {
        self.0.name()
    }
}

//! The embedded migrations. They are plain SQL, which looks at what it finds by itself.

use diesel::connection::BoxableConnection;
use diesel::migration::{Migration, MigrationMetadata, MigrationName, MigrationSource};
use diesel::pg::Pg;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use crate::database::migrations::Migrations;

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Script {
    pub(super) version: &'static str,
    pub(super) up: &'static str,
}

/// The migration that adopts what it finds, and brings back what is missing.
pub(super) const FIRST: Script = Script {
    version: "00000000475301",
    up: include_str!("../../../migrations/postgres/0000-00-00-475301_sessions_and_events/up.sql"),
};

/// In their order.
pub(super) const ALL: [Script; 1] = [FIRST];

const EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/postgres");

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
        if self.0.name().version() == FIRST.version.into() {
            Ok(conn.batch_execute(FIRST.up)?)
        } else {
            self.0.run(conn)
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test says what it expects")]
    fn none_is_left_out() {
        let embedded: Vec<Box<dyn Migration<Pg>>> = EMBEDDED.migrations().unwrap();
        let versions: Vec<String> = embedded.iter().map(|migration| migration.name().version().to_string()).collect();
        assert_eq!(versions, ALL.map(|script| script.version));
    }
}

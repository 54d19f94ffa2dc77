//! The embedded migrations. They are plain SQL, which looks at what it finds by itself.

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

use crate::database::migrations::Migrations;

const EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The first migration's SQL, which brings back what is missing.
pub(super) const UP: &str = include_str!("../../../migrations/postgres/0000-00-00-475301_sessions_and_events/up.sql");

impl MigrationSource<Pg> for Migrations {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        EMBEDDED.migrations()
    }
}

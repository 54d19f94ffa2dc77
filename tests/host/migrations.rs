//! Proves that an application can keep its own migrations beside ours, and that what refers to our tables in an old file
//! survives.

use agent_session_store::diesel;
use agent_session_store::diesel::connection::{LoadConnection, SimpleConnection};
use agent_session_store::diesel::migration::{Migration, MigrationSource};
use agent_session_store::diesel::prelude::*;
use agent_session_store::diesel::sql_types::BigInt;
use agent_session_store::diesel::sqlite::Sqlite;
use agent_session_store::{MIGRATIONS, SessionPersistDriver, migrate};
use diesel_migrations::MigrationHarness;

use super::app::{HOST_MIGRATIONS, Host};
use crate::common::{TempDb, column, rows, session};

impl Host {
    fn versions(&self) -> Vec<String> {
        column(&self.db.plain(), "SELECT version FROM __diesel_schema_migrations ORDER BY version")
    }

    fn tables(&self) -> Vec<String> {
        let ours_and_theirs =
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY 1";
        column(&self.db.plain(), ours_and_theirs)
    }
}

fn foreign_keys(conn: &mut impl LoadConnection<Backend = Sqlite>) -> i64 {
    diesel::dsl::sql::<BigInt>("PRAGMA foreign_keys").get_result(conn).unwrap()
}

/// The order in which the two sets are run does not matter.
#[test]
fn both_sets_of_migrations_live_in_one_bookkeeping_table() {
    for ours_first in [true, false] {
        let host = Host::new(TempDb::new());
        let mut conn = host.conn();
        if ours_first {
            conn.run_pending_migrations(MIGRATIONS).unwrap();
        }
        assert_eq!(conn.run_pending_migrations(HOST_MIGRATIONS).unwrap().len(), 2);
        assert_eq!(conn.run_pending_migrations(MIGRATIONS).unwrap().len(), usize::from(!ours_first));
        assert!(!conn.has_pending_migration(HOST_MIGRATIONS).unwrap());
        assert!(!conn.has_pending_migration(MIGRATIONS).unwrap());
        assert_eq!(host.versions().len(), 3);
        assert_eq!(host.tables(), ["events", "notes", "projects", "sessions"]);
        // Nor does it matter to `migrate`, on a connection of its own or from the pool.
        migrate(&mut *conn).unwrap();
        #[cfg(feature = "r2d2")]
        migrate(&mut conn).unwrap();
        migrate(&mut host.db.connect()).unwrap();
        assert_eq!(host.versions().len(), 3);
    }
}

#[test]
fn the_application_reverts_and_redoes_its_own_last_migration() {
    let host = Host::migrated();
    let mut conn = host.conn();
    conn.update_session(&session("one")).unwrap();
    for _ in 0..2 {
        conn.revert_last_migration(HOST_MIGRATIONS).unwrap();
        assert_eq!(host.tables(), ["events", "projects", "sessions"]);
        conn.revert_last_migration(HOST_MIGRATIONS).unwrap();
        assert_eq!(host.tables(), ["events", "sessions"]);
        assert_eq!(conn.run_pending_migrations(HOST_MIGRATIONS).unwrap().len(), 2);
        assert_eq!(host.tables(), ["events", "notes", "projects", "sessions"]);
    }
    assert_eq!(conn.get_session("one").unwrap(), Some(session("one")));
}

/// One source of both sets, for what looks at every version in the table.
struct AllMigrations;

impl MigrationSource<Sqlite> for AllMigrations {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Sqlite>>>> {
        let mut all: Vec<Box<dyn Migration<Sqlite>>> = MIGRATIONS.migrations()?;
        all.extend(MigrationSource::<Sqlite>::migrations(&HOST_MIGRATIONS)?);
        Ok(all)
    }
}

#[test]
fn reverting_everything_takes_a_source_of_both_sets() {
    let host = Host::migrated();
    let mut conn = host.conn();
    conn.update_session(&session("one")).unwrap();
    // The application's source alone does not know our version. Its own tables are gone by then.
    assert!(conn.revert_all_migrations(HOST_MIGRATIONS).is_err());
    conn.run_pending_migrations(AllMigrations).unwrap();
    assert_eq!(host.versions().len(), 3);

    conn.revert_all_migrations(AllMigrations).unwrap();
    assert_eq!(host.versions(), [""; 0]);
    assert_eq!(host.tables(), ["events", "sessions"], "transcripts stay");
    conn.run_pending_migrations(AllMigrations).unwrap();
    assert_eq!(conn.get_session("one").unwrap(), Some(session("one")));
}

/// A database that the server wrote, with a table of the application's that refers to a session and would lose its
/// rows with it.
fn old_file_with_a_child() -> TempDb {
    let db = TempDb::fixture("server-0.4.2.db");
    db.plain()
        .execute_batch(
            "CREATE TABLE projects (id INTEGER PRIMARY KEY, name TEXT NOT NULL, \
                 session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE); \
             INSERT INTO projects SELECT NULL, 'kept', id FROM sessions",
        )
        .unwrap();
    db
}

#[test]
fn an_old_file_keeps_the_rows_that_refer_to_its_sessions() {
    // On a connection from the pool.
    let host = Host::new(old_file_with_a_child());
    host.conn().run_pending_migrations(MIGRATIONS).unwrap();
    assert_eq!(rows(&host.db.plain(), "SELECT * FROM projects").len(), 3);
    assert_eq!(rows(&host.db.plain(), "PRAGMA foreign_key_check").len(), 0);

    // On a connection of its own, in the harness and through `migrate`.
    let runs: [fn(&mut SqliteConnection); 2] =
        [|conn| drop(conn.run_pending_migrations(MIGRATIONS).unwrap()), |conn| migrate(conn).unwrap()];
    for run in runs {
        let db = old_file_with_a_child();
        let mut conn = db.connect();
        conn.batch_execute("PRAGMA foreign_keys = ON").unwrap();
        run(&mut conn);
        assert_eq!(rows(&db.plain(), "SELECT * FROM projects").len(), 3);
    }
}

#[test]
fn foreign_key_enforcement_is_afterwards_what_it_was() {
    for enforced in [0, 1] {
        let set = format!("PRAGMA foreign_keys = {enforced}");
        let db = old_file_with_a_child();
        let mut conn = db.connect();
        conn.batch_execute(&set).unwrap();
        conn.run_pending_migrations(MIGRATIONS).unwrap();
        assert_eq!(foreign_keys(&mut conn), enforced, "on a connection of its own");

        let host = Host::new(old_file_with_a_child());
        let mut conn = host.conn();
        conn.batch_execute(&set).unwrap();
        conn.run_pending_migrations(MIGRATIONS).unwrap();
        // Without the feature the plain SQL runs, which cannot know what the setting was.
        let expected = if cfg!(feature = "r2d2") { enforced } else { 1 };
        assert_eq!(foreign_keys(&mut conn), expected, "on a connection from the pool");
    }
}

/// With the feature `r2d2`, a pooled connection is looked into as any other: tables as they should be stay where
/// they are.
#[test]
fn on_a_pooled_connection_current_tables_are_adopted_without_a_copy() {
    let host = Host::new(TempDb::fixture("sdk-0.4.2.db"));
    let pages = || {
        let sql = "SELECT name, rootpage FROM sqlite_master WHERE name IN ('sessions', 'events') ORDER BY name";
        rows(&host.db.plain(), sql)
    };
    let before = pages();
    host.conn().run_pending_migrations(MIGRATIONS).unwrap();
    assert_eq!(pages() == before, cfg!(feature = "r2d2"));
}

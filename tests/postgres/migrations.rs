//! Proves that a host can keep its own migrations beside ours, under Diesel's harness and as plain SQL, and that no way
//! back loses a row.

use std::path::Path;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::migration::{Migration, MigrationSource};
use agent_session_store::diesel::pg::Pg;
use agent_session_store::diesel::prelude::*;
use agent_session_store::{Error, MIGRATIONS, SessionPersistDriver, SessionStore, migrate};
use diesel_migrations::{EmbeddedMigrations, FileBasedMigrations, MigrationHarness, embed_migrations};

use super::looking::{catalog, dump, lines};
use crate::common::samples::bare_session;
use crate::common::{PgDb, event, new_event, session};

const HOST_MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/host_migrations");

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres")
}

/// The migration as Diesel runs it without this crate's code: what the CLI does.
fn plain_sql() -> FileBasedMigrations {
    FileBasedMigrations::from_path(folder()).unwrap()
}

/// The plain SQL.
pub(super) fn up() -> String {
    std::fs::read_to_string(folder().join("0000-00-00-475301_sessions_and_events/up.sql")).unwrap()
}

/// A way to bring a database to the schema, by name.
type Way = (&'static str, fn(&mut PgConnection));

const WAYS: [Way; 3] = [
    ("migrate", |conn| migrate(conn).unwrap()),
    ("the harness", |conn| drop(conn.run_pending_migrations(MIGRATIONS).unwrap())),
    ("diesel migration run", |conn| drop(conn.run_pending_migrations(plain_sql()).unwrap())),
];

fn tables(client: &mut postgres::Client) -> Vec<String> {
    lines(
        client,
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '\\_%' ORDER BY 1",
    )
}

#[test]
fn every_way_leads_to_the_same_schema() {
    let mut found = Vec::new();
    for (way, bring) in WAYS {
        let Some(db) = PgDb::new() else { return };
        let mut conn = db.connect();
        bring(&mut conn);
        conn.update_session(&session("one")).unwrap();
        conn.append_events("one", &[new_event("e")]).unwrap();
        // The others then have nothing to do.
        let before = dump(&mut db.other(), "public");
        WAYS.iter().for_each(|(_, bring)| bring(&mut conn));
        assert_eq!(dump(&mut db.other(), "public"), before, "{way}");
        let numbers =
            |line: &str| line.split(' ').filter(|word| word.parse::<u32>().is_err()).collect::<Vec<_>>().join(" ");
        found.push(catalog(&mut db.other(), "public").iter().map(|line| numbers(line)).collect::<Vec<_>>());
    }
    assert!(found[0] == found[1] && found[1] == found[2], "{found:#?}");
}

#[test]
fn both_sets_of_migrations_live_in_one_bookkeeping_table() {
    for ours_first in [true, false] {
        // The host's tables refer to ours, so those must be there: ours, or the reference driver's.
        let Some(db) = (if ours_first { PgDb::new() } else { PgDb::fixture("postgres-0.4.sql") }) else { return };
        let (mut conn, mut client) = (db.connect(), db.other());
        if ours_first {
            conn.run_pending_migrations(MIGRATIONS).unwrap();
        }
        assert_eq!(conn.run_pending_migrations(HOST_MIGRATIONS).unwrap().len(), 2);
        assert_eq!(conn.run_pending_migrations(MIGRATIONS).unwrap().len(), usize::from(!ours_first));
        assert!(!MigrationHarness::<Pg>::has_pending_migration(&mut conn, HOST_MIGRATIONS).unwrap());
        assert!(!conn.has_pending_migration(MIGRATIONS).unwrap());
        assert_eq!(tables(&mut client), ["event_heads", "events", "notes", "projects", "sessions"]);
        migrate(&mut conn).unwrap();
        drop(SessionStore::connect(&db.url()).unwrap());
        assert_eq!(lines(&mut client, "SELECT version FROM __diesel_schema_migrations").len(), 3);

        conn.update_session(&bare_session("one")).unwrap();
        for _ in 0..2 {
            conn.revert_last_migration(HOST_MIGRATIONS).unwrap();
            conn.revert_last_migration(HOST_MIGRATIONS).unwrap();
            assert_eq!(tables(&mut client), ["event_heads", "events", "sessions"]);
            assert_eq!(conn.run_pending_migrations(HOST_MIGRATIONS).unwrap().len(), 2);
        }
        assert_eq!(conn.get_session("one").unwrap(), Some(bare_session("one")));
    }
}

#[cfg(feature = "r2d2")]
#[test]
fn a_pooled_connection_is_migrated_as_any_other() {
    use agent_session_store::diesel::r2d2::{ConnectionManager, Pool};

    for at_once in [true, false] {
        let Some(db) = PgDb::fixture("postgres-0.2.sql") else { return };
        let pool = Pool::builder().max_size(2).build(ConnectionManager::<PgConnection>::new(db.url())).unwrap();
        let mut conn = pool.get().unwrap();
        if at_once {
            migrate(&mut conn).unwrap();
        } else {
            conn.run_pending_migrations(MIGRATIONS).unwrap();
        }
        super::looking::assert_holds(&mut *conn, "postgres-0.2");
    }
}

/// One source of both sets, for what looks at every version in the table.
struct AllMigrations;

impl MigrationSource<Pg> for AllMigrations {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        let mut all: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations()?;
        all.extend(MigrationSource::<Pg>::migrations(&HOST_MIGRATIONS)?);
        Ok(all)
    }
}

#[test]
fn reverting_and_redoing_keeps_every_row() {
    let Some(db) = PgDb::ours() else { return };
    let (mut conn, mut client) = (db.connect(), db.other());
    conn.update_session(&session("one")).unwrap();
    conn.insert_event(&event("e5", "one", 5)).unwrap();
    conn.append_events("one", &[new_event("e6")]).unwrap();
    let before = dump(&mut client, "public");
    let rows = super::looking::places(&mut client, "public");
    for revert_all in [false, true] {
        if revert_all {
            conn.run_pending_migrations(AllMigrations).unwrap();
            conn.revert_all_migrations(AllMigrations).unwrap();
        } else {
            conn.revert_last_migration(MIGRATIONS).unwrap();
        }
        assert_eq!(tables(&mut client), ["events", "sessions"], "transcripts stay");
        assert!(matches!(conn.append_events("one", &[new_event("lost")]), Err(Error::NotMigrated { .. })));
        assert_eq!(conn.get_session("one").unwrap(), Some(session("one")));
        conn.run_pending_migrations(MIGRATIONS).unwrap();
        assert_eq!(super::looking::places(&mut client, "public"), rows);
    }
    // The counter begins anew, where the events end.
    assert_eq!(conn.append_events("one", &[new_event("e7")]).unwrap(), [7]);
    for (_, bring) in WAYS {
        conn.revert_last_migration(plain_sql()).unwrap();
        bring(&mut conn);
    }
    let without_rows = |lines: Vec<String>| -> Vec<_> {
        let kept = |line: &String| !["events (", "event_heads", "__diesel"].iter().any(|row| line.starts_with(row));
        lines.into_iter().filter(|line| kept(line) && !line.contains(" event_heads ")).collect()
    };
    assert_eq!(without_rows(dump(&mut client, "public")), without_rows(before));
}

/// A store that is open meanwhile says what is missing, and goes on once it is back.
#[test]
fn a_store_gets_over_a_revert() {
    let Some(db) = PgDb::new() else { return };
    let store = SessionStore::connect(&db.url()).unwrap();
    store.append_events("one", &[new_event("a")]).unwrap();
    let mut conn = db.connect();
    conn.revert_last_migration(MIGRATIONS).unwrap();
    assert!(matches!(store.append_events("one", &[new_event("b")]), Err(Error::NotMigrated { .. })));
    migrate(&mut conn).unwrap();
    assert_eq!(store.append_events("one", &[new_event("b")]).unwrap(), [2]);
}

/// Whatever the bookkeeping claims.
#[test]
fn what_is_missing_comes_back() {
    for broken in [
        "DROP TABLE sessions",
        "DROP TABLE events",
        "DROP TABLE event_heads",
        "DROP TABLE sessions, events, event_heads",
        "DROP INDEX idx_events_session_order",
        "DROP INDEX idx_sessions_live, idx_sessions_agent",
        "ALTER TABLE sessions DROP COLUMN sandbox_id, DROP COLUMN modes_json",
        "ALTER TABLE events ALTER COLUMN event_index DROP NOT NULL",
        "ALTER TABLE events DROP COLUMN event_index",
        "DROP TABLE events; CREATE TABLE events (id SERIAL PRIMARY KEY, session_id TEXT NOT NULL,
             created_at BIGINT NOT NULL, connection_id TEXT NOT NULL, sender TEXT NOT NULL, payload_json JSONB NOT NULL)",
    ] {
        let Some(db) = PgDb::ours() else { return };
        let mut conn = db.connect();
        conn.batch_execute(broken).unwrap();
        migrate(&mut conn).unwrap();
        assert_eq!(tables(&mut db.other()), ["event_heads", "events", "sessions"], "{broken}");
        conn.update_session(&session("one")).unwrap();
        conn.append_events("one", &[new_event("e")]).unwrap();
        assert_eq!(conn.get_session("one").unwrap(), Some(session("one")), "{broken}");
        // A store brings it back as well.
        conn.batch_execute("DROP INDEX idx_sessions_order").unwrap();
        drop(SessionStore::connect(&db.url()).unwrap());
        assert_eq!(lines(&mut db.other(), "SELECT to_regclass('idx_sessions_order')"), ["idx_sessions_order"]);
    }
}

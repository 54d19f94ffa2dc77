//! Proves that a migration which cannot be done says why, and leaves everything as it was.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{Error, MIGRATIONS, SessionStore, migrate};
use diesel_migrations::MigrationHarness;

use super::looking::{dump, places};
use crate::common::PgDb;

/// The tables as the reference driver's oldest version declares them, with one row each.
const TABLES: &str = "CREATE TABLE sessions (id TEXT PRIMARY KEY, agent TEXT NOT NULL, agent_session_id TEXT NOT NULL,
        last_connection_id TEXT NOT NULL, created_at BIGINT NOT NULL, destroyed_at BIGINT, session_init_json JSONB);
    INSERT INTO sessions VALUES ('one', 'a', 'b', 'c', 1);
    CREATE TABLE events (id BIGINT PRIMARY KEY, session_id TEXT, created_at BIGINT NOT NULL, connection_id TEXT NOT NULL,
        sender TEXT NOT NULL, payload_json JSONB NOT NULL);
    INSERT INTO events VALUES (1, 'one', 1, 'c', 'agent', '{}');";

#[test]
fn tables_that_are_something_else_are_refused() {
    for (change, expected) in [
        ("ALTER TABLE events RENAME TO e; CREATE VIEW events AS SELECT * FROM e", "events is not a table"),
        ("DROP TABLE sessions; CREATE MATERIALIZED VIEW sessions AS SELECT 1", "sessions is not a table"),
        ("DROP TABLE sessions; CREATE SEQUENCE sessions", "sessions is not a table"),
        (
            "DROP TABLE events; CREATE TABLE events (id TEXT PRIMARY KEY, title TEXT, starts_at TIMESTAMPTZ)",
            "table events has no column connection_id",
        ),
        ("ALTER TABLE sessions DROP COLUMN agent", "table sessions has no column agent"),
        (
            "ALTER TABLE sessions ALTER created_at TYPE TIMESTAMPTZ USING now()",
            "column created_at of table sessions has the type timestamp with time zone",
        ),
        (
            "ALTER TABLE events ALTER payload_json TYPE BYTEA USING ''",
            "column payload_json of table events has the type bytea",
        ),
        (
            "ALTER TABLE events DROP CONSTRAINT events_pkey; ALTER TABLE events ALTER id TYPE REAL; ALTER TABLE events ADD PRIMARY KEY (id)",
            "column id of table events has the type real",
        ),
        ("ALTER TABLE events DROP CONSTRAINT events_pkey", "table events has no unique key on id"),
        ("ALTER TABLE sessions DROP CONSTRAINT sessions_pkey", "table sessions has no unique key on id"),
        (
            "ALTER TABLE sessions DROP CONSTRAINT sessions_pkey, ADD PRIMARY KEY (id, agent)",
            "table sessions has no unique key on id",
        ),
        (
            "ALTER TABLE sessions DROP CONSTRAINT sessions_pkey; CREATE UNIQUE INDEX ON sessions (id) WHERE agent = 'a'",
            "table sessions has no unique key on id",
        ),
        (
            "ALTER TABLE sessions DROP CONSTRAINT sessions_pkey; CREATE UNIQUE INDEX ON sessions (lower(id))",
            "table sessions has no unique key on id",
        ),
        (
            "CREATE TABLE event_heads (session_id TEXT PRIMARY KEY, title TEXT)",
            "table event_heads has no column last_index",
        ),
        (
            "CREATE TABLE event_heads (session_id TEXT, last_index BIGINT)",
            "table event_heads has no unique key on session_id",
        ),
    ] {
        let Some(db) = PgDb::with(TABLES) else { return };
        let mut conn = db.connect();
        conn.batch_execute(change).unwrap();
        let before = dump(&mut db.other(), "public");
        let reason = |result| match result {
            Err(Error::CannotMigrate { reason }) => reason,
            other => panic!("{other:?}: {change}"),
        };
        assert_eq!(reason(migrate(&mut conn)), expected);
        assert_eq!(reason(SessionStore::connect(&db.url()).map(drop)), expected);
        let error = conn.run_pending_migrations(MIGRATIONS).map(drop).unwrap_err();
        assert_eq!(
            Error::from(*error.downcast::<agent_session_store::diesel::result::Error>().unwrap()).to_string(),
            format!("cannot migrate the database, nothing was changed: {expected}")
        );
        conn.batch_execute("DROP TABLE __diesel_schema_migrations").unwrap();
        assert_eq!(dump(&mut db.other(), "public"), before, "{change}");
    }
}

/// A migration that has begun and fails on the way.
#[test]
fn a_migration_that_fails_half_way_leaves_everything_as_it_was() {
    for broken in [
        // A NULL where none may be.
        "INSERT INTO events VALUES (2, NULL, 1, 'c', 'agent', '{}')",
        "ALTER TABLE events ADD COLUMN event_index BIGINT; INSERT INTO events VALUES (2, NULL, 1, 'c', 'agent', '{}', NULL)",
        // The type of a column that a view reads cannot be changed.
        "CREATE VIEW ids AS SELECT id FROM events",
        "CREATE TABLE notes (event_id BIGINT REFERENCES events (id)); INSERT INTO notes VALUES (1)",
        // A trigger of the host's has objections.
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
         CREATE TRIGGER no BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION no()",
    ] {
        let Some(db) = PgDb::with(TABLES) else { return };
        let mut conn = db.connect();
        conn.batch_execute(broken).unwrap();
        let look = || (dump(&mut db.other(), "public"), places(&mut db.other(), "public"));
        let before = look();
        for _ in 0..2 {
            let error = migrate(&mut conn).unwrap_err();
            assert!(matches!(error, Error::Migration { .. } | Error::CannotMigrate { .. }), "{error:?}: {broken}");
            assert_eq!(look(), before, "{broken}");
        }
        // The connection goes on, and so does the migration once nothing is in its way.
        conn.batch_execute(
            "DELETE FROM events WHERE session_id IS NULL; DROP VIEW IF EXISTS ids; \
            DROP TABLE IF EXISTS notes; DROP FUNCTION IF EXISTS no CASCADE",
        )
        .unwrap();
        migrate(&mut conn).unwrap();
    }
}

/// Old tables take a lock that waits for all who read them, as long as `lock_timeout` says.
#[test]
fn a_migration_that_has_to_wait_too_long_can_be_tried_again() {
    let Some(db) = PgDb::with(TABLES) else { return };
    let (mut conn, mut reader) = (db.connect(), db.other());
    reader.batch_execute("BEGIN; LOCK TABLE sessions, events IN ACCESS SHARE MODE").unwrap();
    let before = dump(&mut db.other(), "public");
    conn.batch_execute("SET lock_timeout = 1").unwrap();
    assert!(matches!(migrate(&mut conn), Err(Error::Busy { .. })));
    assert_eq!(dump(&mut db.other(), "public"), before);
    reader.batch_execute("COMMIT").unwrap();
    conn.batch_execute("SET lock_timeout = 0").unwrap();
    migrate(&mut conn).unwrap();
}

/// A role that may only read.
#[test]
fn a_migration_without_the_right_to_do_it_says_so() {
    for tables in ["SELECT 1", TABLES] {
        let Some(db) = PgDb::with(tables) else { return };
        let role = format!("{}_reader", db.name());
        let mut conn = db.connect();
        conn.batch_execute(&format!("CREATE ROLE {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"))
            .unwrap();
        let before = dump(&mut db.other(), "public");
        conn.batch_execute(&format!("SET ROLE {role}")).unwrap();
        let result = migrate(&mut conn);
        conn.batch_execute(&format!("RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
        assert!(matches!(result, Err(Error::ReadOnly { .. })), "{result:?}");
        assert_eq!(dump(&mut db.other(), "public"), before);
    }
}

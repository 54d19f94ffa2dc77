//! The tables are those of `main`. A database that is attached to the connection may have tables of the same names;
//! nobody looks at them, and nothing in that file changes.

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{MIGRATIONS, migrate};
use diesel_migrations::MigrationHarness;

use crate::common::legacy::{IN_PROCESS, Way, dump, listed, new_schema, schema, shape_sql};
use crate::common::{TempDb, is_sound};

/// What a host may have in the other file: tables of ours, of any age, and whatever else has a name that we use.
fn others() -> Vec<TempDb> {
    let hosts = "
        CREATE TABLE agent_session_store_sessions (mine TEXT);
        CREATE TABLE agent_session_store_events (mine TEXT);
        CREATE TABLE marks (event_id REFERENCES events(id) ON DELETE CASCADE);
        INSERT INTO marks SELECT id FROM events;
        CREATE INDEX mine ON events (sender);
        CREATE TRIGGER seen AFTER INSERT ON events BEGIN DELETE FROM marks; END;
        CREATE VIEW agents AS SELECT agent FROM sessions;";
    vec![
        TempDb::ours(),
        TempDb::with(&shape_sql("current")),
        TempDb::with(&(shape_sql("ids_integer") + hosts)),
        TempDb::with(&shape_sql("interrupted_half")),
        TempDb::with(
            "CREATE TABLE events (happened TEXT); CREATE VIEW sessions AS SELECT 1; CREATE TABLE events_legacy (a)",
        ),
    ]
}

/// Brings files of many shapes to the schema, on connections that the other file is attached to.
fn beside(other: &TempDb, way: Way, shape: &str) {
    let context = format!("{shape} by {way:?} beside {:?}", dump(&other.plain()).first());
    let run = |db: &TempDb| {
        let mut conn = db.connect();
        attach(&mut conn, other);
        way.go_on(&mut conn).unwrap_or_else(|error| panic!("{context}: {error}"));
    };
    let alone = TempDb::with(&shape_sql(shape));
    way.go(&alone).unwrap();
    let before = std::fs::read(other.path()).unwrap();
    let db = TempDb::with(&shape_sql(shape));
    run(&db);
    let conn = db.plain();
    assert_eq!((schema(&conn), listed(&conn)), (schema(&alone.plain()), listed(&alone.plain())), "{context}");
    is_sound(&conn);
    // There is nothing to do, and nothing is done.
    run(&db);
    assert_eq!((schema(&conn), listed(&conn)), (schema(&alone.plain()), listed(&alone.plain())), "{context}");
    assert!(std::fs::read(other.path()).unwrap() == before, "{context}: the other file has changed");
}

fn attach(conn: &mut SqliteConnection, other: &TempDb) {
    conn.batch_execute(&format!("PRAGMA foreign_keys = ON; ATTACH '{}' AS other", other.path().display())).unwrap();
}

#[test]
fn only_main_is_migrated() {
    for other in others() {
        for way in IN_PROCESS {
            for shape in ["empty", "only_events", "only_sessions", "current", "ids_integer", "interrupted_alone"] {
                beside(&other, way, shape);
            }
        }
    }
}

#[test]
fn what_main_lacks_is_not_found_elsewhere() {
    for other in others() {
        for loss in ["DROP TABLE events", "DROP TABLE sessions", "DROP INDEX idx_events_session_order"] {
            let db = TempDb::ours();
            db.plain().execute_batch(loss).unwrap();
            let before = std::fs::read(other.path()).unwrap();
            let mut conn = db.connect();
            attach(&mut conn, &other);
            migrate(&mut conn).unwrap();
            drop(conn);
            assert_eq!(schema(&db.plain()), new_schema(), "{loss}");
            assert!(std::fs::read(other.path()).unwrap() == before, "{loss}");
        }
    }
}

#[test]
fn a_refusal_changes_neither() {
    for way in IN_PROCESS {
        let other = TempDb::with(&shape_sql("ids_integer"));
        let db = TempDb::with("CREATE TABLE events (happened TEXT)");
        let before = (dump(&db.plain()), std::fs::read(other.path()).unwrap());
        let mut conn = db.connect();
        attach(&mut conn, &other);
        let error = way.go_on(&mut conn).unwrap_err();
        assert!(error.contains("the table events has no column id"), "{way:?}: {error}");
        drop(conn);
        assert!((dump(&db.plain()), std::fs::read(other.path()).unwrap()) == before, "{way:?}");
    }
}

#[test]
fn reverting_drops_the_indexes_of_main() {
    let other = TempDb::ours();
    let before = std::fs::read(other.path()).unwrap();
    let db = TempDb::ours();
    let mut conn = db.connect();
    attach(&mut conn, &other);
    conn.batch_execute("DROP INDEX main.idx_sessions_live").unwrap();
    conn.revert_last_migration(MIGRATIONS).unwrap();
    assert!(std::fs::read(other.path()).unwrap() == before);
    assert!(!schema(&db.plain()).iter().any(|line| line.contains("idx_sessions")));
}

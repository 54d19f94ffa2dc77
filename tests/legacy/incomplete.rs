//! A database whose bookkeeping says that it has been migrated, and which is not (any more) what the migration leaves.
//! It gets what is missing, and what is there stays.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::prelude::*;
use agent_session_store::{Error, ListEventsRequest, MIGRATIONS, SessionPersistDriver, SessionStore, migrate};
use diesel_migrations::MigrationHarness;

use crate::common::legacy::{Way, dump, expected, listed, new_schema, schema, shape_sql, shapes, ways};
use crate::common::{Process, Statements, TempDb, child, event, is_sound, lines, session, task};

/// A migrated database with a session and two events.
fn migrated() -> TempDb {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.update_session(&session("s1")).unwrap();
    conn.insert_event(&event("e1", "s1", 1)).unwrap();
    conn.insert_event(&event("e2", "s1", 2)).unwrap();
    db
}

/// A file of another shape, with the bookkeeping of a migrated one.
fn said_to_be_migrated(sql: &str) -> TempDb {
    let version = lines(&migrated().plain(), "SELECT version FROM __diesel_schema_migrations").concat();
    TempDb::with(&format!(
        "{sql}
         CREATE TABLE __diesel_schema_migrations (
             version VARCHAR(50) PRIMARY KEY NOT NULL, run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
         );
         INSERT INTO __diesel_schema_migrations (version) VALUES ('{version}');"
    ))
}

type Opening = fn(&TempDb) -> Result<(), Error>;

const OPENINGS: [Opening; 2] = [|db| migrate(&mut db.connect()), |db| SessionStore::open(db.path())?.close()];

fn check_that_it_works(db: &TempDb) {
    let mut conn = db.connect();
    conn.update_session(&session("works")).unwrap();
    conn.insert_event(&event("works-1", "works", 1)).unwrap();
    assert_eq!(conn.list_events(&ListEventsRequest::new("works")).unwrap().items, [event("works-1", "works", 1)]);
    is_sound(&db.plain());
}

#[test]
fn what_is_missing_is_created() {
    let new_schema = new_schema();
    let losses = [
        "DROP TABLE events",
        "DROP TABLE sessions",
        "DROP TABLE events; DROP TABLE sessions",
        "DROP INDEX idx_events_session_order",
        "DROP INDEX idx_sessions_live; DROP TABLE events",
    ];
    for loss in losses {
        for open in OPENINGS {
            let db = migrated();
            // Row numbers with gaps, which a copy would close.
            db.plain().execute_batch("UPDATE events SET rowid = -3 * rowid; UPDATE sessions SET rowid = -5").unwrap();
            db.plain().execute_batch(loss).unwrap();
            let kept = |table: &str| {
                let is_lost = loss.contains(&format!("DROP TABLE {table}"));
                (!is_lost).then(|| lines(&db.plain(), &format!("SELECT rowid, * FROM {table} ORDER BY rowid")))
            };
            let before = ["sessions", "events"].map(kept);
            let books = lines(&db.plain(), "SELECT * FROM __diesel_schema_migrations");
            open(&db).unwrap_or_else(|error| panic!("{loss}: {error}"));
            assert_eq!(schema(&db.plain()), new_schema, "{loss}");
            assert_eq!(["sessions", "events"].map(kept), before, "{loss}");
            assert_eq!(lines(&db.plain(), "SELECT * FROM __diesel_schema_migrations"), books, "{loss}");
            check_that_it_works(&db);
        }
    }
}

#[test]
fn a_legacy_shape_is_migrated_like_any_other() {
    for shape in shapes() {
        let expected = expected(&shape);
        for open in OPENINGS {
            let db = said_to_be_migrated(&shape_sql(&shape));
            open(&db).unwrap_or_else(|error| panic!("{shape}: {error}"));
            assert_eq!(listed(&db.plain()), expected, "{shape}");
            let left = "SELECT count(*) FROM sqlite_master WHERE name = 'events_legacy' OR name LIKE 'agent%'";
            assert_eq!(lines(&db.plain(), left), ["0"], "{shape}");
            let indexes = "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name LIKE 'idx\\__%' ESCAPE '\\'
                AND name NOT IN ('idx_events_session_created')";
            assert_eq!(lines(&db.plain(), indexes), ["6"], "{shape}");
            check_that_it_works(&db);
            let once = db.bytes();
            open(&db).unwrap();
            assert!(db.bytes() == once, "{shape}: opened again, it was written to");
        }
    }
}

/// The first migration would drop these. They were made since, and so the host wants them.
#[test]
fn what_a_host_has_declared_since_stays() {
    let db = migrated();
    db.plain()
        .execute_batch(
            "PRAGMA foreign_keys = OFF;
             ALTER TABLE events ADD COLUMN starred INTEGER DEFAULT 1;
             CREATE TABLE copy (
                 id TEXT PRIMARY KEY CHECK (id <> ''), agent TEXT NOT NULL, agent_session_id TEXT NOT NULL,
                 last_connection_id TEXT NOT NULL, created_at INTEGER NOT NULL, destroyed_at INTEGER, sandbox_id TEXT,
                 session_init_json TEXT, config_options_json TEXT, modes_json TEXT, title TEXT
             );
             INSERT INTO copy SELECT *, 'mine' FROM sessions;
             DROP TABLE sessions;
             ALTER TABLE copy RENAME TO sessions;
             CREATE TABLE events_legacy (year INTEGER);
             CREATE TABLE years (year INTEGER REFERENCES \"events_legacy\"(year));
             CREATE TRIGGER seen AFTER INSERT ON sessions BEGIN SELECT 1; END;",
        )
        .unwrap();
    let before = dump(&db.plain());
    // Its indexes went with it.
    migrate(&mut db.connect()).unwrap();
    let mut now = dump(&db.plain());
    now.retain(|line| !line.starts_with("index idx_sessions_"));
    assert_eq!(now, before);
    let once = db.bytes();
    migrate(&mut db.connect()).unwrap();
    assert!(db.bytes() == once);

    db.plain().execute_batch("DROP TABLE events").unwrap();
    migrate(&mut db.connect()).unwrap();
    let mut now = dump(&db.plain());
    now.retain(|line| !line.contains("idx_sessions_") && !line.contains("events "));
    let mut kept = before;
    kept.retain(|line| !line.contains("idx_sessions_") && !line.contains("events "));
    assert_eq!(now, kept);
    check_that_it_works(&db);
}

#[test]
fn it_is_all_or_nothing() {
    let db = migrated();
    db.plain()
        .execute_batch(
            "DROP TABLE sessions; DROP TABLE events;
             CREATE TABLE events (id INTEGER PRIMARY KEY, session_id, created_at, connection_id, sender, payload_json);
             INSERT INTO events VALUES (1, 's1', 1, 'c', 'agent', '{}'), (2, 's1', 1, 'c', 'agent', NULL);",
        )
        .unwrap();
    let before = db.bytes();
    let error = migrate(&mut db.connect()).unwrap_err();
    assert!(matches!(&error, Error::CannotMigrate { reason } if reason.contains("events row 2")), "{error}");
    assert!(db.bytes() == before);
    db.plain().execute_batch("DELETE FROM events WHERE id = 2").unwrap();
    migrate(&mut db.connect()).unwrap();
    assert_eq!(lines(&db.plain(), "SELECT id, event_index FROM events"), ["1 1"]);
    check_that_it_works(&db);
}

#[test]
fn it_takes_part_in_the_callers_transaction() {
    let db = migrated();
    db.plain().execute_batch("DROP TABLE events").unwrap();
    let before = dump(&db.plain());
    let mut conn = db.connect();
    let undone = conn.transaction(|conn| {
        migrate(conn)?;
        conn.insert_event(&event("e1", "s1", 1))?;
        Err::<(), Error>(agent_session_store::diesel::result::Error::RollbackTransaction.into())
    });
    undone.unwrap_err();
    assert_eq!(dump(&db.plain()), before);
    conn.transaction(migrate).unwrap();
    check_that_it_works(&db);
}

#[test]
fn a_complete_database_is_only_read_and_that_little() {
    let db = migrated();
    let before = db.bytes();
    let writer = db.plain();
    writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM sessions").unwrap();
    let mut conn = db.connect();
    let statements = Statements::of(&mut conn);
    migrate(&mut conn).unwrap();
    let run = statements.take_run();
    // The name of the file; the busy timeout, read twice and put back; the bookkeeping, twice; the schema.
    assert!(run.len() <= 7, "{run:#?}");
    let reads = ["SELECT", "PRAGMA busy_timeout", "PRAGMA database_list"];
    assert!(run.iter().all(|sql| reads.iter().any(|read| sql.starts_with(read))), "{run:#?}");
    writer.execute_batch("ROLLBACK").unwrap();
    drop((conn, writer));
    assert!(db.bytes() == before);
}

/// Does nothing by itself: what eight processes do.
#[test]
fn opens_and_writes() {
    let Some(task) = task() else { return };
    let mut conn = SqliteConnection::establish(&task[0]).unwrap();
    migrate(&mut conn).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 60000").unwrap();
    conn.insert_event(&event(&task[1], &task[1], 1)).unwrap();
}

#[test]
fn eight_processes_open_it_at_once() {
    for loss in ["DROP TABLE events", "DROP TABLE events; ALTER TABLE sessions DROP COLUMN modes_json"] {
        let db = migrated();
        db.plain().execute_batch(loss).unwrap();
        let path = db.path();
        let start = |number| Process::start(child(opens_and_writes, &format!("{}|newcomer-{number}", path.display())));
        let processes: Vec<_> = (0..8).map(start).collect();
        processes.into_iter().for_each(|process| drop(process.end()));
        assert_eq!(db.event_ids(), (0..8).map(|number| format!("newcomer-{number}")).collect::<Vec<_>>());
        assert_eq!(lines(&db.plain(), "SELECT count(*) FROM sessions"), ["1"]);
        assert_eq!(schema(&db.plain()), new_schema());
    }
}

/// Diesel runs what its bookkeeping does not list. There one has to say so.
#[test]
fn a_harness_and_the_cli_need_to_redo_it() {
    for way in ways().into_iter().filter(|way| way.keeps_books() && *way != Way::Migrate) {
        let db = migrated();
        db.plain().execute_batch("DROP TABLE events").unwrap();
        way.go(&db).unwrap();
        assert_eq!(lines(&db.plain(), "SELECT count(*) FROM sqlite_master WHERE name = 'events'"), ["0"], "{way:?}");
        way.revert(&db).unwrap_or_else(|error| panic!("{way:?}: {error}"));
        way.go(&db).unwrap_or_else(|error| panic!("{way:?}: {error}"));
        assert_eq!(lines(&db.plain(), "SELECT id FROM sessions"), ["s1"]);
        assert!(!db.connect().has_pending_migration(MIGRATIONS).unwrap());
        check_that_it_works(&db);
    }
}

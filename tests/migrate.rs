//! Proves that migrating brings every shape of today's files to one schema, keeps the rows where they are, changes
//! nothing the second time, takes part in the caller's transaction, and is safe beside other threads and processes.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::sql_types::BigInt;
use agent_session_store::diesel::{Connection, RunQueryDsl, SqliteConnection};
use agent_session_store::{Error, ListEventsRequest, ListSessionsRequest, MIGRATIONS, SessionPersistDriver, migrate};
use common::{TempDb, event, rows, session};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};

/// The tables as the reference driver creates them.
const REFERENCE_SESSIONS: &str = "
    CREATE TABLE IF NOT EXISTS sessions (
        id TEXT PRIMARY KEY,
        agent TEXT NOT NULL,
        agent_session_id TEXT NOT NULL,
        last_connection_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        destroyed_at INTEGER,
        sandbox_id TEXT,
        session_init_json TEXT,
        config_options_json TEXT,
        modes_json TEXT
    );";
const REFERENCE_EVENTS: &str = "
    CREATE TABLE IF NOT EXISTS events (
        id TEXT PRIMARY KEY,
        event_index INTEGER NOT NULL,
        session_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        connection_id TEXT NOT NULL,
        sender TEXT NOT NULL,
        payload_json TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS idx_events_session_order ON events(session_id, event_index, id)";

/// A file before it is migrated, by name.
type Shape = (&'static str, fn() -> TempDb);

/// The text of everything that the schema is made of, in a fixed order.
fn schema(db: &TempDb) -> Vec<Vec<String>> {
    rows(
        &db.plain(),
        "SELECT type, name, tbl_name, sql FROM sqlite_master \
         WHERE tbl_name IN ('sessions', 'events', '__diesel_schema_migrations') ORDER BY type, name",
    )
}

/// Every row of both tables, with its place in the file.
fn content(db: &TempDb) -> [Vec<Vec<String>>; 2] {
    let plain = db.plain();
    ["sessions", "events"].map(|table| rows(&plain, &format!("SELECT rowid, * FROM {table} ORDER BY rowid")))
}

fn plain_sql() -> FileBasedMigrations {
    FileBasedMigrations::from_path(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap()
}

fn fresh() -> TempDb {
    let db = TempDb::new();
    db.migrated();
    db
}

/// The verbs work on it.
fn assert_works(conn: &mut SqliteConnection) {
    conn.update_session(&session("works")).unwrap();
    conn.insert_event(&event("works-1", "works", 1)).unwrap();
    assert_eq!(conn.get_session("works").unwrap(), Some(session("works")));
    assert_eq!(conn.list_events(&ListEventsRequest::new("works")).unwrap().items, [event("works-1", "works", 1)]);
}

#[test]
fn every_shape_of_file_ends_with_the_same_schema() {
    let expected = schema(&fresh());
    assert!(expected.len() >= 7, "two tables, four indexes and the bookkeeping: {expected:#?}");

    let shapes: [Shape; 7] = [
        ("no file", TempDb::new),
        ("an empty file", || {
            let db = TempDb::new();
            std::fs::write(db.path(), "").unwrap();
            db
        }),
        ("only sessions", || with_sql(REFERENCE_SESSIONS)),
        ("only events", || with_sql(REFERENCE_EVENTS)),
        ("the reference driver's tables", || with_sql(&format!("{REFERENCE_SESSIONS}{REFERENCE_EVENTS}"))),
        ("the SDK's database", || TempDb::fixture("sdk-0.4.2.db")),
        ("the server's database", || TempDb::fixture("server-0.4.2.db")),
    ];
    for (shape, make) in shapes {
        let db = make();
        assert_works(&mut db.migrated());
        assert_eq!(schema(&db), expected, "{shape}, migrated");

        let db = make();
        let mut conn = db.connect();
        conn.run_pending_migrations(MIGRATIONS).unwrap();
        assert_works(&mut conn);
        assert_eq!(schema(&db), expected, "{shape}, in a harness");

        let db = make();
        let mut conn = db.connect();
        conn.run_pending_migrations(plain_sql()).unwrap();
        assert_works(&mut conn);
        assert_eq!(schema(&db), expected, "{shape}, by the plain SQL");
    }
}

fn with_sql(sql: &str) -> TempDb {
    let db = TempDb::new();
    db.plain().execute_batch(sql).unwrap();
    db
}

/// The rows of the reference driver's tables stay on their pages: nothing is copied, however many there are.
#[test]
fn the_reference_drivers_tables_are_adopted_where_they_are() {
    let db = TempDb::fixture("sdk-0.4.2.db");
    // Row numbers with gaps, which a copy would close.
    db.plain().execute_batch("UPDATE events SET rowid = -3 * rowid; UPDATE sessions SET rowid = -5 * rowid").unwrap();
    let pages = || {
        let names = "('sessions', 'events', 'sqlite_autoindex_sessions_1', 'sqlite_autoindex_events_1', \
                      'idx_events_session_order')";
        rows(&db.plain(), &format!("SELECT name, rootpage FROM sqlite_master WHERE name IN {names} ORDER BY name"))
    };
    let before = (content(&db), pages());
    assert_eq!(before.1.len(), 5);
    db.migrated();
    assert_eq!((content(&db), pages()), before);
    assert_eq!(rows(&db.plain(), "PRAGMA integrity_check"), [["'ok'"]]);
}

/// What this crate has migrated is what the reference driver's opening statements leave alone.
#[test]
fn the_reference_driver_finds_nothing_to_migrate() {
    let db = fresh();
    assert_works(&mut db.connect());
    let before = db.bytes();
    let plain = db.plain();
    plain.execute_batch(&format!("{REFERENCE_SESSIONS}{REFERENCE_EVENTS}")).unwrap();
    let columns = |table: &str| -> Vec<(String, String)> {
        let mut statement = plain.prepare(&format!("PRAGMA table_info({table})")).unwrap();
        statement.query_map([], |row| Ok((row.get(1)?, row.get(2)?))).unwrap().map(Result::unwrap).collect()
    };
    for added in ["sandbox_id", "config_options_json", "modes_json"] {
        assert!(columns("sessions").iter().any(|(name, _)| name == added));
    }
    let events = columns("events");
    assert!(events.iter().any(|(name, kind)| name == "id" && kind.trim().to_uppercase() == "TEXT"));
    assert!(events.iter().any(|(name, _)| name == "event_index"));
    drop(plain);
    assert!(db.bytes() == before);
}

#[test]
fn the_second_run_writes_nothing() {
    for make in [TempDb::new, || TempDb::fixture("sdk-0.4.2.db"), || TempDb::fixture("server-0.4.2.db")] {
        let db = make();
        db.migrated();
        let before = db.bytes();
        db.migrated();
        db.connect().run_pending_migrations(MIGRATIONS).unwrap();
        db.connect().run_pending_migrations(plain_sql()).unwrap();
        assert!(db.bytes() == before);
    }
}

/// It does not even wait for a writer, which may hold the file for long.
#[test]
fn an_up_to_date_database_is_only_read() {
    let db = fresh();
    let writer = db.plain();
    writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM sessions").unwrap();
    migrate(&mut db.connect()).unwrap();
    writer.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn the_connections_settings_stay_as_they_are() {
    let pragma = |conn: &mut SqliteConnection, name: &str| -> i64 {
        agent_session_store::diesel::dsl::sql::<BigInt>(&format!("PRAGMA {name}")).get_result(conn).unwrap()
    };
    for enforced in [0, 1] {
        let db = TempDb::fixture("server-0.4.2.db");
        let mut conn = db.connect();
        conn.batch_execute(&format!("PRAGMA foreign_keys = {enforced}; PRAGMA busy_timeout = 1234")).unwrap();
        migrate(&mut conn).unwrap();
        for (name, value) in
            [("foreign_keys", enforced), ("busy_timeout", 1234), ("legacy_alter_table", 0), ("writable_schema", 0)]
        {
            assert_eq!(pragma(&mut conn, name), value, "{name}");
        }
    }
}

#[test]
fn reverting_and_running_again_keep_the_rows() {
    let source: [fn(&mut SqliteConnection, bool); 2] = [
        |conn, up| match up {
            true => drop(conn.run_pending_migrations(MIGRATIONS).unwrap()),
            false => drop(conn.revert_last_migration(MIGRATIONS).unwrap()),
        },
        |conn, up| match up {
            true => drop(conn.run_pending_migrations(plain_sql()).unwrap()),
            false => drop(conn.revert_last_migration(plain_sql()).unwrap()),
        },
    ];
    for step in source {
        let db = TempDb::fixture("sdk-0.4.2.db");
        let mut conn = db.migrated();
        let columns = "SELECT * FROM sessions ORDER BY id";
        let look = || {
            let plain = db.plain();
            (rows(&plain, columns), rows(&plain, "SELECT * FROM events ORDER BY id"))
        };
        let (before, schema_before) = (look(), schema(&db));
        step(&mut conn, false);
        assert_eq!(look(), before);
        assert!(conn.has_pending_migration(MIGRATIONS).unwrap());
        assert_eq!(rows(&db.plain(), "SELECT * FROM __diesel_schema_migrations").len(), 0);
        step(&mut conn, true);
        assert_eq!((look(), schema(&db)), (before, schema_before));
    }
}

#[test]
fn it_takes_part_in_the_callers_transaction() {
    for name in ["sdk-0.4.2.db", "server-0.4.2.db"] {
        let db = TempDb::fixture(name);
        let look = || {
            let plain = db.plain();
            (rows(&plain, "SELECT * FROM sqlite_master ORDER BY name"), content(&db))
        };
        let before = look();
        let mut conn = db.connect();
        let rolled_back = conn.transaction(|conn| {
            migrate(conn)?;
            conn.update_session(&session("undone"))?;
            Err::<(), Error>(agent_session_store::diesel::result::Error::RollbackTransaction.into())
        });
        assert!(rolled_back.is_err());
        assert_eq!(look(), before, "{name}");

        conn.transaction::<_, Error, _>(|conn| {
            migrate(conn)?;
            conn.update_session(&session("kept"))
        })
        .unwrap();
        assert_eq!(schema(&db), schema(&fresh()), "{name}");
        assert_eq!(conn.get_session("kept").unwrap(), Some(session("kept")));
    }
}

#[test]
fn a_database_in_memory_is_migrated_too() {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    migrate(&mut conn).unwrap();
    assert_works(&mut conn);
}

/// What each of the many does with the file: migrates it, and writes a session and an event.
fn migrate_and_write(path: &Path, who: &str) {
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    // For the writes below: migrating needs no busy timeout of the caller's.
    migrate(&mut conn).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 60000").unwrap();
    conn.update_session(&session(who)).unwrap();
    conn.insert_event(&event(who, who, 1)).unwrap();
}

/// The files that many open at once.
const CONTENDED: [fn() -> TempDb; 3] =
    [TempDb::new, || TempDb::fixture("sdk-0.4.2.db"), || TempDb::fixture("server-0.4.2.db")];

/// Checks what eight of them have left behind, beside the rows that were there before.
fn assert_eight_were_here(db: &TempDb) {
    let mut conn = db.connect();
    let sessions = conn.list_sessions(&ListSessionsRequest::new()).unwrap().items;
    let newcomers = sessions.iter().filter(|session| session.id.starts_with("newcomer-"));
    assert_eq!(newcomers.count(), 8);
    assert_eq!(schema(db), schema(&fresh()));
    assert_eq!(rows(&db.plain(), "SELECT * FROM __diesel_schema_migrations").len(), 1);
}

#[test]
fn eight_threads_open_the_same_file_at_once() {
    for make in CONTENDED {
        let db = make();
        let path = db.path();
        let start = Barrier::new(8);
        thread::scope(|scope| {
            for number in 0..8 {
                let (start, path) = (&start, &path);
                scope.spawn(move || {
                    start.wait();
                    migrate_and_write(path, &format!("newcomer-{number}"));
                });
            }
        });
        assert_eight_were_here(&db);
    }
}

/// Set in the environment of this program when it runs as one of eight processes: the folder, and who it is.
const CHILD: &str = "AGENT_SESSION_STORE_TEST_CHILD";

#[test]
fn eight_processes_open_the_same_file_at_once() {
    for make in CONTENDED {
        let db = make();
        let children: Vec<_> = (0..8)
            .map(|number| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "one_of_eight_processes"])
                    .env(CHILD, format!("{}|newcomer-{number}", db.folder().display()))
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        std::fs::write(db.folder().join("start"), "").unwrap();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert_eight_were_here(&db);
    }
}

/// Does nothing by itself; the test above runs it in processes of their own.
#[test]
fn one_of_eight_processes() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (folder, who) = task.split_once('|').unwrap();
    let folder = PathBuf::from(folder);
    while !folder.join("start").exists() {
        thread::yield_now();
    }
    migrate_and_write(&folder.join("sessions.db"), who);
}

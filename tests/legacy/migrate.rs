//! Proves that migrating brings every shape of today's files to one schema, keeps the rows where they are, changes
//! nothing the second time, takes part in the caller's transaction, and is safe beside other threads and processes.

use std::path::Path;
use std::sync::Barrier;
use std::thread;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::sql_types::BigInt;
use agent_session_store::diesel::{Connection, RunQueryDsl, SqliteConnection};
use agent_session_store::{Error, ListEventsRequest, ListSessionsRequest, MIGRATIONS, SessionPersistDriver, migrate};
use diesel_migrations::MigrationHarness;

use crate::common::legacy::{plain_sql, schema};
use crate::common::process::{Process, child, task};
use crate::common::{TempDb, event, in_memory, is_sound, lines, reference, rows, session};

fn reference_events() -> String {
    [reference::EVENTS, reference::INDEX].concat()
}

/// A file before it is migrated, by name.
type Shape = (&'static str, fn() -> TempDb);

/// The declarations of our tables and of what is on them, and that of Diesel's bookkeeping.
fn declared(db: &TempDb) -> [Vec<String>; 2] {
    let plain = db.plain();
    let mut ours = schema(&plain);
    ours.retain(|line| line.split(' ').nth(2).is_some_and(|table| ["sessions", "events"].contains(&table)));
    let books = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE tbl_name = '__diesel_schema_migrations'";
    [ours, lines(&plain, &format!("{books} ORDER BY 1, 2"))]
}

/// Every row of both tables, with its place in the file.
fn content(db: &TempDb) -> [Vec<Vec<String>>; 2] {
    let plain = db.plain();
    ["sessions", "events"].map(|table| rows(&plain, &format!("SELECT rowid, * FROM {table} ORDER BY rowid")))
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
    let expected = declared(&TempDb::ours());
    assert!(
        expected[0].len() >= 6 && !expected[1].is_empty(),
        "two tables, four indexes and the bookkeeping: {expected:#?}"
    );

    let shapes: [Shape; 7] = [
        ("no file", TempDb::new),
        ("an empty file", || {
            let db = TempDb::new();
            std::fs::write(db.path(), "").unwrap();
            db
        }),
        ("only sessions", || TempDb::with(reference::SESSIONS)),
        ("only events", || TempDb::with(&reference_events())),
        ("the reference driver's tables", || TempDb::with(&format!("{}{}", reference::SESSIONS, reference_events()))),
        ("the SDK's database", || TempDb::fixture("sdk-0.4.2.db")),
        ("the server's database", || TempDb::fixture("server-0.4.2.db")),
    ];
    for (shape, make) in shapes {
        let db = make();
        assert_works(&mut db.migrated());
        assert_eq!(declared(&db), expected, "{shape}, migrated");

        let db = make();
        let mut conn = db.connect();
        conn.run_pending_migrations(MIGRATIONS).unwrap();
        assert_works(&mut conn);
        assert_eq!(declared(&db), expected, "{shape}, in a harness");

        let db = make();
        let mut conn = db.connect();
        conn.run_pending_migrations(plain_sql()).unwrap();
        assert_works(&mut conn);
        assert_eq!(declared(&db), expected, "{shape}, by the plain SQL");
    }
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
    is_sound(&db.plain());
}

/// What this crate has migrated is what the reference driver's opening statements leave alone.
#[test]
fn the_reference_driver_finds_nothing_to_migrate() {
    let db = TempDb::ours();
    assert_works(&mut db.connect());
    let before = db.bytes();
    let plain = db.plain();
    assert_eq!(reference::finds_to_do(&plain), [""; 0]);
    plain.execute_batch(&format!("{}{}", reference::SESSIONS, reference_events())).unwrap();
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
    let db = TempDb::ours();
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
        let (before, schema_before) = (db.tables(), declared(&db));
        step(&mut conn, false);
        assert_eq!(db.tables(), before);
        assert!(conn.has_pending_migration(MIGRATIONS).unwrap());
        assert_eq!(rows(&db.plain(), "SELECT * FROM __diesel_schema_migrations").len(), 0);
        step(&mut conn, true);
        assert_eq!((db.tables(), declared(&db)), (before, schema_before));
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
        assert_eq!(declared(&db), declared(&TempDb::ours()), "{name}");
        assert_eq!(conn.get_session("kept").unwrap(), Some(session("kept")));
    }
}

#[test]
fn a_database_in_memory_is_migrated_too() {
    assert_works(&mut in_memory());
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
    assert_eq!(declared(db), declared(&TempDb::ours()));
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

/// Does nothing by itself; the test below runs it in processes of their own.
#[test]
fn one_of_eight_processes() {
    let Some(task) = task() else { return };
    let folder = Path::new(&task[0]);
    while !folder.join("start").exists() {
        thread::yield_now();
    }
    migrate_and_write(&folder.join("sessions.db"), &task[1]);
}

#[test]
fn eight_processes_open_the_same_file_at_once() {
    for make in CONTENDED {
        let db = make();
        let folder = db.folder().display();
        let start = |number| Process::start(child(one_of_eight_processes, &format!("{folder}|newcomer-{number}")));
        let processes: Vec<_> = (0..8).map(start).collect();
        std::fs::write(db.folder().join("start"), "").unwrap();
        processes.into_iter().for_each(|process| drop(process.end()));
        assert_eight_were_here(&db);
    }
}

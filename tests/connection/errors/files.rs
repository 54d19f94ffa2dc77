//! Files and paths that cannot be opened, migrated or written to.

use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Error, FileMaintenance, SessionPersistDriver, SessionStore, migrate};

use super::{Case, filled, nothing};
use crate::common::{TempDb, event, fixture_path, session};

fn read_only(db: &TempDb) -> SqliteConnection {
    SqliteConnection::establish(&format!("file:{}?mode=ro", db.path().display())).unwrap()
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a file that is not a database, given to migrate",
        given: |db| std::fs::write(db.path(), "Dear diary,\n".repeat(100)).unwrap(),
        when: |db| migrate(&mut db.connect()),
        is: |error| matches!(error, Error::NotADatabase { .. }),
        says: "the file is not an SQLite database, or is encrypted with another key: file is not a database",
        because: &["file is not a database"],
    },
    Case {
        name: "a file that is not a database, given to the store",
        given: |db| std::fs::write(db.path(), "Dear diary,\n".repeat(100)).unwrap(),
        when: |db| SessionStore::open(db.path()).map(drop),
        is: |error| matches!(error, Error::NotADatabase { .. }),
        says: "the file is not an SQLite database, or is encrypted with another key: file is not a database",
        because: &["file is not a database"],
    },
    Case {
        name: "a folder that does not exist",
        given: nothing,
        when: |db| SessionStore::open(db.folder().join("nowhere/sessions.db")).map(drop),
        is: |error| matches!(error, Error::Open { .. }),
        says: "cannot open \"<folder>/nowhere/sessions.db\": unable to open database file",
        because: &["unable to open database file"],
    },
    Case {
        name: "a folder in place of a file",
        given: |db| std::fs::create_dir(db.folder().join("nested")).unwrap(),
        when: |db| SessionStore::open(db.folder().join("nested")).map(drop),
        is: |error| matches!(error, Error::Open { .. }),
        says: "cannot open \"<folder>/nested\": it is a folder, not a database file",
        because: &["it is a folder, not a database file"],
    },
    Case {
        name: "a key that is not a text of SQL's, in what an application does on opening",
        given: filled,
        when: |db| {
            let store = SessionStore::builder().on_open(|conn| conn.batch_execute("PRAGMA key = 'it's secret'"));
            store.open(db.path()).map(drop)
        },
        is: |error| matches!(error, Error::Open { .. }),
        says: "cannot open \"<folder>/sessions.db\": on_open failed: near \"…\": syntax error",
        because: &["on_open failed: near \"…\": syntax error"],
    },
    Case {
        name: "an empty path",
        given: nothing,
        when: |_| SessionStore::open("").map(drop),
        is: |error| matches!(error, Error::Open { .. }),
        says: "cannot open \"\": the path is empty; use open_in_memory for a database without a file",
        because: &["the path is empty; use open_in_memory for a database without a file"],
    },
    Case {
        name: "a URI",
        given: nothing,
        when: |_| SessionStore::open("file:x.db?mode=ro").map(drop),
        is: |error| matches!(error, Error::Open { .. }),
        says: "cannot open \"file:x.db?mode=ro\": URIs are not supported: use SessionStoreBuilder's read_only and create; to open a file of that name, write \"./file:x.db?mode=ro\"",
        because: &[
            "URIs are not supported: use SessionStoreBuilder's read_only and create; to open a file of that name, write \"./file:x.db?mode=ro\"",
        ],
    },
    Case {
        name: "what a killed backup has left, given to the store",
        given: |db| std::fs::create_dir(db.folder().join("b.db.agent-session-store-backup-1-0.tmp")).unwrap(),
        when: |db| SessionStore::open(db.folder().join("b.db.agent-session-store-backup-1-0.tmp/copy.db")).map(drop),
        is: |error| matches!(error, Error::Open { .. }),
        says: "cannot open \"<folder>/b.db.agent-session-store-backup-1-0.tmp/copy.db\": \
               it is an unfinished backup",
        because: &["it is an unfinished backup"],
    },
    Case {
        name: "what a killed backup has left, given to migrate",
        given: |db| {
            std::fs::create_dir(db.folder().join("b.db.agent-session-store-backup-1-0.tmp")).unwrap();
            std::fs::write(db.folder().join("b.db.agent-session-store-backup-1-0.tmp/copy.db"), "").unwrap();
        },
        when: |db| {
            let copy = db.folder().join("b.db.agent-session-store-backup-1-0.tmp/copy.db");
            migrate(&mut SqliteConnection::establish(copy.to_str().unwrap()).unwrap())
        },
        is: |error| matches!(error, Error::CannotMigrate { .. }),
        says: "cannot migrate the database, nothing was changed: it is an unfinished backup",
        because: &[],
    },
    Case {
        name: "a backup to a file that is there",
        given: filled,
        when: |db| db.connect().backup_to(db.path()),
        is: |error| matches!(error, Error::Io { .. }),
        says: "reading or writing failed: the file already exists",
        because: &["the file already exists"],
    },
    Case {
        name: "a read-only file that has to be migrated",
        given: |db| std::fs::write(db.path(), "").unwrap(),
        when: |db| migrate(&mut read_only(db)),
        is: |error| matches!(error, Error::ReadOnly { .. }),
        says: "the database cannot be written to: attempt to write a readonly database",
        because: &["attempt to write a readonly database"],
    },
    Case {
        name: "a session for a read-only file",
        given: filled,
        when: |db| {
            let mut conn = read_only(db);
            migrate(&mut conn)?; // There is nothing to migrate, which only needs to be read.
            conn.update_session(&session("two"))
        },
        is: |error| matches!(error, Error::ReadOnly { .. }),
        says: "the database cannot be written to: attempt to write a readonly database",
        because: &["attempt to write a readonly database"],
    },
    Case {
        name: "an event for a read-only file",
        given: filled,
        when: |db| read_only(db).insert_event(&event("e2", "one", 2)),
        is: |error| matches!(error, Error::ReadOnly { .. }),
        says: "the database cannot be written to: attempt to write a readonly database",
        because: &["attempt to write a readonly database"],
    },
    Case {
        name: "a sessions table that is something else, given to migrate",
        given: |db| {
            let sql = "CREATE TABLE sessions (id INTEGER PRIMARY KEY, user TEXT); INSERT INTO sessions VALUES (1, 'a')";
            db.plain().execute_batch(sql).unwrap();
        },
        when: |db| migrate(&mut db.connect()),
        is: |error| matches!(error, Error::CannotMigrate { .. }),
        says: "cannot migrate the database, nothing was changed: \
               the table sessions has no column agent, so it is not a table of agent sessions",
        because: &[],
    },
    Case {
        name: "a sessions table that is something else, given to the store",
        given: |db| {
            let sql = "CREATE TABLE sessions (token TEXT PRIMARY KEY); INSERT INTO sessions VALUES ('a')";
            db.plain().execute_batch(sql).unwrap();
        },
        when: |db| SessionStore::open(db.path()).map(drop),
        is: |error| matches!(error, Error::CannotMigrate { .. }),
        says: "cannot migrate the database, nothing was changed: \
               the table sessions has no column id, so it is not a table of agent sessions",
        because: &[],
    },
    Case {
        name: "an events table that is something else, beside our sessions",
        given: |db| {
            filled(db);
            let sql = "DROP TABLE events; CREATE TABLE events (id TEXT PRIMARY KEY, happened_at TEXT); \
                       DELETE FROM __diesel_schema_migrations";
            db.plain().execute_batch(sql).unwrap();
        },
        when: |db| migrate(&mut db.connect()),
        is: |error| matches!(error, Error::CannotMigrate { .. }),
        says: "cannot migrate the database, nothing was changed: \
               the table events has no column session_id, so it is not a table of agent sessions",
        because: &[],
    },
    Case {
        name: "a view in place of a table",
        given: |db| db.plain().execute_batch("CREATE VIEW sessions AS SELECT 1 AS id").unwrap(),
        when: |db| migrate(&mut db.connect()),
        is: |error| matches!(error, Error::CannotMigrate { .. }),
        says: "cannot migrate the database, nothing was changed: sessions is a view, not a table that could be rebuilt",
        because: &[],
    },
    Case {
        name: "an older shape, to be read alone",
        given: |db| _ = std::fs::copy(fixture_path("server-0.4.2.db"), db.path()).unwrap(),
        when: |db| SessionStore::builder().read_only(true).open(db.path()).map(drop),
        is: |error| matches!(error, Error::MigrationNeeded { .. }),
        says: "the database has to be migrated before it can be read (the table sessions has no column sandbox_id): \
               open it for writing once, or call agent_session_store::migrate",
        because: &[],
    },
    Case {
        name: "an empty file, to be read alone",
        given: |db| std::fs::write(db.path(), "").unwrap(),
        when: |db| SessionStore::builder().read_only(true).open(db.path()).map(drop),
        is: |error| matches!(error, Error::MigrationNeeded { .. }),
        says: "the database has to be migrated before it can be read (the file is empty): \
               open it for writing once, or call agent_session_store::migrate",
        because: &[],
    },
    Case {
        name: "a transaction that was interrupted, to be read alone",
        given: |db| {
            filled(db);
            std::fs::write(db.folder().join("sessions.db-journal"), "what SQLite takes for one").unwrap();
        },
        when: |db| SessionStore::builder().read_only(true).open(db.path()).map(drop),
        is: |error| matches!(error, Error::Open { .. }),
        says: "cannot open \"<folder>/sessions.db\": an interrupted transaction has to be rolled back from the journal next to the file: open the file for writing once",
        because: &[
            "an interrupted transaction has to be rolled back from the journal next to the file: open the file for writing once",
        ],
    },
];

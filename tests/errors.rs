//! Proves that each kind of bad input is a clear, typed error that keeps its cause, and that nothing was written.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod common;

use std::error::Error as _;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{
    Cursor, Error, Json, ListEventsRequest, ListSessionsRequest, Result, SessionPersistDriver, SessionStore, migrate,
};
use common::{TempDb, event, json, session};

/// One kind of bad input.
struct Case {
    name: &'static str,
    /// Makes the folder what it is before.
    given: fn(&TempDb),
    /// What then fails.
    when: fn(&TempDb) -> Result<()>,
    /// The variant, as far as a caller would look at it.
    is: fn(&Error) -> bool,
    /// What it says; the folder is written as `<folder>`.
    says: &'static str,
    /// What its causes say, outermost first.
    because: &'static [&'static str],
}

/// A migrated database with the session `one` and its event `e1`.
fn filled(db: &TempDb) {
    let mut conn = db.migrated();
    conn.update_session(&session("one")).unwrap();
    conn.insert_event(&event("e1", "one", 1)).unwrap();
}

/// The same, after another program has changed it.
macro_rules! filled_then {
    ($sql:expr) => {
        |db| {
            filled(db);
            db.plain().execute_batch($sql).unwrap();
        }
    };
}

fn get(db: &TempDb) -> Result<()> {
    db.connect().get_session("one").map(drop)
}

fn list(db: &TempDb) -> Result<()> {
    db.connect().list_sessions(&ListSessionsRequest::new()).map(drop)
}

fn list_events(db: &TempDb) -> Result<()> {
    db.connect().list_events(&ListEventsRequest::new("one")).map(drop)
}

fn read_only(db: &TempDb) -> SqliteConnection {
    SqliteConnection::establish(&format!("file:{}?mode=ro", db.path().display())).unwrap()
}

fn nothing(_: &TempDb) {}

/// Whether the error is about this column.
macro_rules! decode {
    ($table:literal, $column:literal) => {
        |error| matches!(error, Error::Decode { table: $table, column: $column, .. })
    };
}

const CASES: &[Case] = &[
    Case {
        name: "text that is not JSON",
        given: filled,
        when: |db| {
            let mut conn = db.connect();
            let payload = Json::parse("{\"method\": session/prompt}")?;
            conn.insert_event(&agent_session_store::SessionEvent { payload, ..event("e2", "one", 2) })
        },
        is: |error| matches!(error, Error::InvalidJson { .. }),
        says: "the text is not JSON: expected value at line 1 column 12",
        because: &["expected value at line 1 column 12"],
    },
    Case {
        name: "text that stops in the middle",
        given: nothing,
        when: |_| Json::parse("[1, 2").map(drop),
        is: |error| matches!(error, Error::InvalidJson { .. }),
        says: "the text is not JSON: EOF while parsing a list at line 1 column 5",
        because: &["EOF while parsing a list at line 1 column 5"],
    },
    Case {
        name: "a value that JSON has no form for",
        given: nothing,
        when: |_| Json::new(&std::collections::HashMap::from([(vec![1_u8], 1)])).map(drop),
        is: |error| matches!(error, Error::InvalidJson { .. }),
        says: "the value cannot be written as JSON: key must be a string",
        because: &["key must be a string"],
    },
    Case {
        name: "JSON of another shape than asked for",
        given: nothing,
        when: |_| json("{}").decode::<Vec<String>>().map(drop),
        is: |error| matches!(error, Error::InvalidJson { .. }),
        says: "the JSON is of another type than asked for: invalid type: map, expected a sequence at line 1 column 0",
        because: &["invalid type: map, expected a sequence at line 1 column 0"],
    },
    Case {
        name: "JSON of another type than asked for, with something to hide",
        given: nothing,
        when: |_| json(r#"{"key":"sk-secret"}"#).decode::<std::collections::HashMap<String, u8>>().map(drop),
        is: |error| matches!(error, Error::InvalidJson { .. }),
        says: "the JSON is of another type than asked for: invalid type: string, expected u8 at line 1 column 18",
        because: &["invalid type: string, expected u8 at line 1 column 18"],
    },
    Case {
        name: "JSON that is too deep to be decoded",
        given: nothing,
        when: |_| json(&("[".repeat(128) + &"]".repeat(128))).decode::<serde_json::Value>().map(drop),
        is: |error| matches!(error, Error::InvalidJson { .. }),
        says: "the JSON is nested too deeply to be decoded: recursion limit exceeded at line 1 column 128",
        because: &["recursion limit exceeded at line 1 column 128"],
    },
    Case {
        name: "a sender that nobody knows",
        given: filled_then!("UPDATE events SET sender = 'server'"),
        when: list_events,
        is: decode!("events", "sender"),
        says: "cannot decode column sender of the events row with id \"e1\": neither \"client\" nor \"agent\"",
        because: &["neither \"client\" nor \"agent\""],
    },
    Case {
        name: "text in an integer column",
        given: filled_then!("UPDATE events SET event_index = 'first'"),
        when: list_events,
        is: decode!("events", "event_index"),
        says: "cannot decode column event_index of the events row with id \"e1\": TEXT where INTEGER belongs",
        because: &["TEXT where INTEGER belongs"],
    },
    Case {
        name: "text in a time column",
        given: filled_then!("UPDATE sessions SET created_at = '2024-01-01'"),
        when: list,
        is: |error| matches!(error, Error::Decode { .. }),
        says: "cannot decode column created_at of the sessions row with id \"one\": TEXT where INTEGER belongs",
        because: &["TEXT where INTEGER belongs"],
    },
    Case {
        name: "a BLOB in an integer column that may be NULL",
        given: filled_then!("UPDATE sessions SET destroyed_at = x'00'"),
        when: get,
        is: decode!("sessions", "destroyed_at"),
        says: "cannot decode column destroyed_at of the sessions row with id \"one\": BLOB where INTEGER belongs",
        because: &["BLOB where INTEGER belongs"],
    },
    Case {
        name: "a time that no calendar has",
        given: filled_then!("UPDATE sessions SET created_at = 9223372036854775807"),
        when: get,
        is: decode!("sessions", "created_at"),
        says: "cannot decode column created_at of the sessions row with id \"one\": \
               the milliseconds are out of the range of a time",
        because: &["the milliseconds are out of the range of a time"],
    },
    Case {
        name: "an event index with a fraction",
        given: filled_then!("UPDATE events SET event_index = 1.5"),
        when: list_events,
        is: decode!("events", "event_index"),
        says: "cannot decode column event_index of the events row with id \"e1\": \
               REAL where a whole number belongs",
        because: &["REAL where a whole number belongs"],
    },
    Case {
        name: "text that is not UTF-8",
        given: filled_then!("UPDATE sessions SET agent = CAST(x'61ff62' AS TEXT)"),
        when: get,
        is: decode!("sessions", "agent"),
        says: "cannot decode column agent of the sessions row with id \"one\": invalid UTF-8",
        because: &["invalid UTF-8"],
    },
    Case {
        name: "JSON that is not UTF-8",
        given: filled_then!("UPDATE events SET payload_json = CAST(x'22ff22' AS TEXT)"),
        when: list_events,
        is: decode!("events", "payload_json"),
        says: "cannot decode column payload_json of the events row with id \"e1\": invalid UTF-8",
        because: &["invalid UTF-8"],
    },
    Case {
        name: "an id that is not UTF-8",
        given: filled_then!("UPDATE events SET id = CAST(x'65ff' AS TEXT)"),
        when: list_events,
        is: decode!("events", "id"),
        says: "cannot decode column id of the events row with id \"e\u{fffd}\": invalid UTF-8",
        because: &["invalid UTF-8"],
    },
    Case {
        name: "an id that is NULL",
        given: |db| {
            filled(db);
            let sql = "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'id TEXT NOT NULL PRIMARY', 'id TEXT PRIMARY'); \
                       PRAGMA writable_schema = RESET; UPDATE events SET id = NULL";
            db.plain().execute_batch(sql).unwrap();
        },
        when: list_events,
        is: decode!("events", "id"),
        says: "cannot decode column id of the events row with id \"NULL (rowid 1)\": Unexpected null for non-null column",
        because: &["Unexpected null for non-null column"],
    },
    Case {
        name: "an id that is a long BLOB",
        given: filled_then!("UPDATE events SET id = CAST(printf('%0100d', 0) AS BLOB)"),
        when: list_events,
        is: decode!("events", "id"),
        says: "cannot decode column id of the events row with id \"00000000000000000000000000000000…\": \
               BLOB where TEXT belongs",
        because: &["BLOB where TEXT belongs"],
    },
    Case {
        name: "a BLOB in a text column",
        given: filled_then!("UPDATE events SET connection_id = x'6162'"),
        when: list_events,
        is: decode!("events", "connection_id"),
        says: "cannot decode column connection_id of the events row with id \"e1\": BLOB where TEXT belongs",
        because: &["BLOB where TEXT belongs"],
    },
    Case {
        name: "broken JSON in an event",
        given: filled_then!("UPDATE events SET payload_json = '{\"method\":'"),
        when: list_events,
        is: decode!("events", "payload_json"),
        says: "cannot decode column payload_json of the events row with id \"e1\": \
               the text is not JSON: EOF while parsing a value at line 1 column 10",
        because: &[
            "the text is not JSON: EOF while parsing a value at line 1 column 10",
            "EOF while parsing a value at line 1 column 10",
        ],
    },
    Case {
        name: "no JSON at all in a session",
        given: filled_then!("UPDATE sessions SET config_options_json = ''"),
        when: list,
        is: decode!("sessions", "config_options_json"),
        says: "cannot decode column config_options_json of the sessions row with id \"one\": \
               the text is not JSON: EOF while parsing a value at line 1 column 0",
        because: &[
            "the text is not JSON: EOF while parsing a value at line 1 column 0",
            "EOF while parsing a value at line 1 column 0",
        ],
    },
    Case {
        name: "a cursor of the reference driver",
        given: nothing,
        when: |_| "100".parse::<Cursor>().map(drop),
        is: |error| matches!(error, Error::InvalidCursor { .. }),
        says: "the cursor cannot be used: it was not made by this crate",
        because: &[],
    },
    Case {
        name: "a cursor of another listing",
        given: |db| {
            filled(db);
            db.connect().update_session(&session("two")).unwrap();
        },
        when: |db| {
            let mut conn = db.connect();
            let cursor = conn.list_sessions(&ListSessionsRequest::new().limit(1))?.next_cursor.unwrap();
            conn.list_events(&ListEventsRequest::new("one").cursor(cursor)).map(drop)
        },
        is: |error| matches!(error, Error::InvalidCursor { .. }),
        says: "the cursor cannot be used: it belongs to another listing, or was changed",
        because: &[],
    },
    Case {
        name: "a file that is not a database, given to migrate",
        given: |db| std::fs::write(db.path(), "Dear diary,\n".repeat(100)).unwrap(),
        when: |db| migrate(&mut db.connect()),
        is: |error| matches!(error, Error::NotADatabase { .. }),
        says: "the file is not an SQLite database: file is not a database",
        because: &["file is not a database"],
    },
    Case {
        name: "a file that is not a database, given to the store",
        given: |db| std::fs::write(db.path(), "Dear diary,\n".repeat(100)).unwrap(),
        when: |db| SessionStore::open(db.path()).map(drop),
        is: |error| matches!(error, Error::NotADatabase { .. }),
        says: "the file is not an SQLite database: file is not a database",
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
        name: "an empty path",
        given: nothing,
        when: |_| SessionStore::open("").map(drop),
        is: |error| matches!(error, Error::Open { .. }),
        says: "cannot open \"\": the path is empty; open_in_memory opens a database without a file",
        because: &["the path is empty; open_in_memory opens a database without a file"],
    },
    Case {
        name: "a URI",
        given: nothing,
        when: |_| SessionStore::open("file:x.db?mode=ro").map(drop),
        is: |error| matches!(error, Error::Open { .. }),
        says: "cannot open \"file:x.db?mode=ro\": URIs are not taken: SessionStoreBuilder has read_only and create, \
               and a file of that name is \"./file:x.db?mode=ro\"",
        because: &["URIs are not taken: SessionStoreBuilder has read_only and create, \
                    and a file of that name is \"./file:x.db?mode=ro\""],
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
        says: "reading or writing failed: there is a file of that name",
        because: &["there is a file of that name"],
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
        name: "a database that was not migrated, to read from",
        given: |db| db.plain().execute_batch("CREATE TABLE host (id TEXT)").unwrap(),
        when: list_events,
        is: |error| matches!(error, Error::NotMigrated { .. }),
        says: "the database has not been migrated (no such table: main.events): \
               call agent_session_store::migrate or run the crate's MIGRATIONS first",
        because: &["no such table: main.events"],
    },
    Case {
        name: "a database that was not migrated, to write to",
        given: |db| db.plain().execute_batch("CREATE TABLE host (id TEXT)").unwrap(),
        when: |db| db.connect().update_session(&session("one")),
        is: |error| matches!(error, Error::NotMigrated { .. }),
        says: "the database has not been migrated (no such table: main.sessions): \
               call agent_session_store::migrate or run the crate's MIGRATIONS first",
        because: &["no such table: main.sessions"],
    },
    Case {
        name: "a database that another connection holds",
        given: filled,
        when: |db| {
            let holder = db.plain();
            holder.execute_batch("BEGIN IMMEDIATE").unwrap();
            let result = db.connect().insert_event(&event("e2", "one", 2));
            holder.execute_batch("ROLLBACK").unwrap();
            result
        },
        is: |error| matches!(error, Error::Busy { .. }),
        says: "another connection held the database for too long: database is locked",
        because: &["database is locked"],
    },
    Case {
        name: "a database that may not grow",
        given: filled,
        when: |db| {
            let mut conn = db.connect();
            conn.batch_execute("PRAGMA max_page_count = 1").unwrap();
            let payload = Json::new(&"x".repeat(100_000))?;
            conn.insert_event(&agent_session_store::SessionEvent { payload, ..event("e2", "one", 2) })
        },
        is: |error| matches!(error, Error::DiskFull { .. }),
        says: "there is no space left for the database: database or disk is full",
        because: &["database or disk is full"],
    },
    Case {
        name: "a store that is called from inside a call that it would wait for",
        given: |db| {
            let store = SessionStore::builder().journal_mode(agent_session_store::JournalMode::Rollback);
            store.open(db.path()).unwrap().update_session(&session("one")).unwrap();
        },
        when: |db| {
            let store = SessionStore::builder().journal_mode(agent_session_store::JournalMode::Rollback);
            let store = store.open(db.path()).unwrap();
            let mut inside = Ok(());
            let everything = agent_session_store::Selection::all();
            store.export_with_progress(std::io::sink(), &everything, |_| inside = store.close())?;
            inside
        },
        is: |error| matches!(error, Error::Reentrant),
        says: "the store was called from inside another call of it, which this one would wait for: \
               make it when that has returned",
        because: &[],
    },
    Case {
        name: "an older shape, to be read alone",
        given: |db| _ = std::fs::copy(common::fixture_path("server-0.4.2.db"), db.path()).unwrap(),
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
        says: "cannot open \"<folder>/sessions.db\": a transaction was interrupted and has to be rolled back, by its \
               journal beside the file: open it for writing once",
        because: &["a transaction was interrupted and has to be rolled back, by its journal beside the file: \
                    open it for writing once"],
    },
    Case {
        name: "a checkpoint by a store that only reads",
        given: filled,
        when: |db| SessionStore::builder().read_only(true).open(db.path())?.checkpoint().map(drop),
        is: |error| matches!(error, Error::ReadOnly { .. }),
        says: "the database cannot be written to: attempt to write a readonly database",
        because: &["attempt to write a readonly database"],
    },
    Case {
        name: "a checkpoint within a transaction",
        given: filled,
        when: |db| db.connect().transaction(|conn| conn.checkpoint().map(drop)),
        is: |error| matches!(error, Error::Database { .. }),
        says: "the database reported an error: cannot checkpoint from within a transaction",
        because: &["cannot checkpoint from within a transaction"],
    },
    Case {
        name: "anything else",
        given: filled_then!("CREATE TRIGGER no BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'not today'); END"),
        when: |db| db.connect().insert_event(&event("e2", "one", 2)),
        is: |error| matches!(error, Error::Database { .. }),
        says: "the database reported an error: not today",
        because: &["not today"],
    },
];

#[test]
fn every_kind_of_bad_input_has_its_message_and_writes_nothing() {
    for case in CASES {
        let db = TempDb::new();
        (case.given)(&db);
        let before = db.bytes();

        let error = (case.when)(&db).expect_err(case.name);

        let message = error.to_string().replace(db.folder().to_str().unwrap(), "<folder>");
        assert_eq!(message, case.says, "{}", case.name);
        assert!((case.is)(&error), "{}: {error:?}", case.name);
        let causes: Vec<String> =
            std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string).collect();
        assert_eq!(causes, case.because, "the causes of {}", case.name);
        assert!(db.bytes() == before, "{}: something was written", case.name);
    }
}

/// A record cannot be made of JSON that is broken either.
#[test]
fn broken_json_does_not_become_a_record() {
    let text =
        r#"{"id":"e","eventIndex":1,"sessionId":"s","createdAt":0,"connectionId":"c","sender":"server","payload":{}}"#;
    let error = serde_json::from_str::<agent_session_store::SessionEvent>(text).unwrap_err();
    assert_eq!(error.to_string(), "unknown variant `server`, expected `client` or `agent` at line 1 column 91");
    let error = serde_json::from_str::<ListPageOfNothing>(r#"{"items":[],"nextCursor":"100"}"#).unwrap_err();
    assert_eq!(error.to_string(), "the cursor cannot be used: it was not made by this crate at line 1 column 31");
}

type ListPageOfNothing = agent_session_store::ListPage<()>;

/// The error crosses threads and `?` in a function of `Box<dyn Error + Send + Sync>`.
#[test]
fn the_error_is_an_error_like_others() {
    fn boxed() -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Json::parse("")?;
        Ok(())
    }
    assert!(boxed().unwrap_err().is::<Error>());
}

//! Calls that a database or a store refuses as it is now.

use agent_session_store::diesel::Connection;
use agent_session_store::diesel::connection::{
    AnsiTransactionManager as Manager, SimpleConnection, TransactionManager,
};
use agent_session_store::{
    AppendRequest, Error, Export, FileMaintenance, JournalMode, Json, ListEventsRequest, PruneRequest, Selection,
    SessionPersistDriver, SessionStore, StoreConnection,
};

use super::{Case, filled, list_events};
use crate::common::{event, new_event, session};

pub(super) const CASES: &[Case] = &[
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
        says: "another connection kept the database locked for too long: database is locked",
        because: &["database is locked"],
    },
    Case {
        name: "a database that may not grow",
        given: filled,
        when: |db| {
            let mut conn = db.connect();
            conn.batch_execute("PRAGMA max_page_count = 1").unwrap();
            let payload = Json::new(&"x".repeat(100_000))?;
            conn.insert_event(&with!(event("e2", "one", 2), payload: payload))
        },
        is: |error| matches!(error, Error::DiskFull { .. }),
        says: "there is no space left for the database: database or disk is full",
        because: &["database or disk is full"],
    },
    Case {
        name: "a store that is called from inside a call that it would wait for",
        given: |db| {
            let store = SessionStore::builder().journal_mode(JournalMode::Rollback);
            store.open(db.path()).unwrap().update_session(&session("one")).unwrap();
        },
        when: |db| {
            let store = SessionStore::builder().journal_mode(JournalMode::Rollback);
            let store = store.open(db.path()).unwrap();
            let mut inside = Ok(());
            let everything = Selection::all();
            store.export(std::io::sink(), Export::of(everything.clone()).progress(|_| inside = store.close()))?;
            inside
        },
        is: |error| matches!(error, Error::Reentrant),
        says: "a call of the store came from inside another one and would wait for it forever: make it after the other has returned; in a transaction, call the verbs of the transaction",
        because: &[],
    },
    Case {
        name: "a store that is called from inside one of its transactions",
        given: filled,
        when: |db| {
            let store = SessionStore::builder().journal_mode(JournalMode::Rollback).open(db.path())?;
            store.transaction(|_| store.get_session("one").map(drop))
        },
        is: |error| matches!(error, Error::Reentrant),
        says: "a call of the store came from inside another one and would wait for it forever: make it after the other has returned; in a transaction, call the verbs of the transaction",
        because: &[],
    },
    Case {
        name: "a transaction that its own code ends",
        given: filled,
        when: |db| {
            let store = SessionStore::builder().journal_mode(JournalMode::Rollback).open(db.path())?;
            store.transaction(|tx| tx.connection().batch_execute("ROLLBACK"))
        },
        is: |error| matches!(error, Error::Database { .. }),
        says: "the database reported an error: Cannot perform this operation outside of a transaction",
        because: &["Cannot perform this operation outside of a transaction"],
    },
    Case {
        name: "a transaction in which one of its code's own is left open",
        given: filled,
        when: |db| {
            let store = SessionStore::builder().journal_mode(JournalMode::Rollback).open(db.path())?;
            store.transaction(|tx| match tx.connection() {
                StoreConnection::Sqlite(conn) => Ok::<_, Error>(Manager::begin_transaction(conn)?),
                #[allow(unreachable_patterns, reason = "the other databases of other features")]
                _ => Ok(()),
            })
        },
        is: |error| matches!(error, Error::Database { .. }),
        says: "the database reported an error: Cannot perform this operation while a transaction is open",
        because: &["Cannot perform this operation while a transaction is open"],
    },
    Case {
        name: "an append to a session that must have a record",
        given: filled,
        when: |db| db.connect().append(&AppendRequest::new("two").must_exist(), &[new_event("e2")]).map(drop),
        is: |error| matches!(error, Error::SessionNotFound { id } if id == "two"),
        says: "there is no session \"two\"",
        because: &[],
    },
    Case {
        name: "an append to a session that must be live",
        given: filled_then!("UPDATE sessions SET destroyed_at = 5"),
        when: |db| db.connect().append(&AppendRequest::new("one").must_be_live(), &[new_event("e2")]).map(drop),
        is: |error| matches!(error, Error::SessionEnded { id } if id == "one"),
        says: "session \"one\" has ended",
        because: &[],
    },
    Case {
        name: "an archive where a file exists",
        given: filled,
        when: |db| db.connect().prune(&PruneRequest::new().session("one").archive_to(db.path())).map(drop),
        is: |error| matches!(error, Error::Io { source } if source.kind() == std::io::ErrorKind::AlreadyExists),
        says: "reading or writing failed: the file already exists",
        because: &["the file already exists"],
    },
    Case {
        name: "an archive by a store that only reads",
        given: filled,
        when: |db| {
            let store = SessionStore::builder().read_only(true).open(db.path())?;
            store.prune(&PruneRequest::new().session("one").archive_to(db.folder().join("archive"))).map(drop)
        },
        is: |error| matches!(error, Error::ReadOnly { .. }),
        says: "the database cannot be written to: attempt to write a readonly database",
        because: &["attempt to write a readonly database"],
    },
    Case {
        name: "a predicate after a cursor of another listing",
        given: filled,
        when: |_| {
            let cursor = ListEventsRequest::new("two").cursor_after(&event("e1", "two", 1));
            ListEventsRequest::new("one").cursor(cursor).predicate().map(drop)
        },
        is: |error| matches!(error, Error::InvalidCursor { .. }),
        says: "the cursor cannot be used: it belongs to another listing, or was changed",
        because: &[],
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

//! Proves that a call that fails, or panics, does so alone: its neighbours in the same commit are stored, and the store
//! goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{
    Error, Export, JournalMode, ListEventsRequest, Selection, SessionPersistDriver, SessionStore,
};

use crate::common::instrumentation::{Moment, Watch};
use crate::common::{TempDb, event, hush, session};

/// What a host can do to make a write fail, each by the name of the session that it happens to.
const REFUSALS: &str = "
    CREATE TABLE notes (event_id TEXT REFERENCES events (id) DEFERRABLE INITIALLY DEFERRED);
    CREATE UNIQUE INDEX only_one ON events (sender) WHERE session_id = 'unique';
    INSERT INTO events VALUES ('first', 1, 'unique', 1, 'c', 'agent', '{}'), ('second', 1, 'unique', 1, 'c', 'client', '{}');
    CREATE TRIGGER aborts BEFORE INSERT ON events WHEN new.session_id = 'abort'
        BEGIN SELECT RAISE(ABORT, 'no'); END;
    CREATE TRIGGER rolls_back BEFORE INSERT ON events WHEN new.session_id = 'rollback'
        BEGIN SELECT RAISE(ROLLBACK, 'no'); END;
    CREATE TRIGGER fails BEFORE INSERT ON events WHEN new.session_id = 'fail'
        BEGIN SELECT RAISE(FAIL, 'no'); END;
    CREATE TRIGGER fills BEFORE INSERT ON events WHEN new.session_id = 'full'
        BEGIN SELECT RAISE(ROLLBACK, 'database or disk is full'); END;
    CREATE TRIGGER misses AFTER INSERT ON events WHEN new.session_id = 'deferred'
        BEGIN INSERT INTO notes VALUES ('nothing'); END;";

/// The last one takes foreign keys that are enforced, as the SQLite that is compiled in does by itself.
const REFUSED: &[&str] = if cfg!(feature = "bundled") {
    &["unique", "abort", "rollback", "fail", "full", "deferred"]
} else {
    &["unique", "abort", "rollback", "fail", "full"]
};

#[test]
fn a_write_that_fails_fails_alone() {
    let db = TempDb::ours();
    db.connect().batch_execute(REFUSALS).unwrap();
    let store = SessionStore::open(db.path()).unwrap();
    let mut wanted = vec!["first".to_owned(), "second".to_owned()];
    thread::scope(|scope| {
        for number in 0..48 {
            let refused = REFUSED.get(number / 4).copied();
            let name = format!("thread-{number:02}");
            if refused.is_none() {
                wanted.extend((0..60).map(|index| format!("{name}-{index:03}")));
            }
            let store = &store;
            scope.spawn(move || {
                for index in 0..60 {
                    let id = |part| format!("{name}-{:03}", index + part);
                    match refused {
                        None if index % 3 == 0 => {
                            let batch = [0, 1].map(|part| event(&id(part), &name, index + part));
                            store.insert_events(&batch).unwrap();
                        }
                        None if index % 3 == 1 => {}
                        None => store.insert_event(&event(&id(0), &name, index)).unwrap(),
                        Some(session) if index % 2 == 0 => {
                            let error = store.insert_event(&event(&id(0), session, index)).unwrap_err();
                            assert_eq!(matches!(error, Error::DiskFull { .. }), session == "full", "{error}");
                        }
                        Some(session) => {
                            let batch = [event(&id(0), &name, index), event(&id(1), session, index)];
                            store.insert_events(&batch).unwrap_err();
                        }
                    }
                }
            });
        }
    });
    wanted.sort();
    assert_eq!(db.event_ids(), wanted);
    store.close().unwrap();
    assert_eq!(db.event_ids(), wanted);
}

#[test]
fn who_waited_for_the_lock_in_vain_is_told_and_nobody_waits_again() {
    // In rollback mode a reader keeps a commit waiting, in WAL mode only another writer does.
    for (mode, blocks) in [
        (JournalMode::Wal, "BEGIN IMMEDIATE"),
        (JournalMode::Rollback, "BEGIN IMMEDIATE"),
        (JournalMode::Rollback, "BEGIN; SELECT * FROM events"),
    ] {
        let db = TempDb::new();
        let timeout = Duration::from_millis(300);
        let store = SessionStore::builder().journal_mode(mode).busy_timeout(timeout).open(db.path()).unwrap();
        let other = db.plain();
        other.execute_batch("INSERT INTO events VALUES ('kept', 1, 's', 1, 'c', 'agent', '{}')").unwrap();
        other.execute_batch(blocks).unwrap();
        thread::scope(|scope| {
            let callers: Vec<_> = (0..100)
                .map(|number| {
                    let store = &store;
                    scope.spawn(move || store.insert_event(&event(&format!("e{number}"), "one", number)))
                })
                .collect();
            for caller in callers {
                let result = caller.join().unwrap();
                assert!(matches!(result, Err(Error::Busy { .. })), "{result:?}");
            }
        });
        assert_eq!(store.list_events(&ListEventsRequest::new("s")).unwrap().items.len(), 1);
        other.execute_batch("COMMIT").unwrap();
        store.insert_event(&event("after", "one", 1)).unwrap();
        store.insert_events(&[event("after-2", "one", 2)]).unwrap();
        assert_eq!(db.event_ids(), ["after", "after-2", "kept"]);
    }
}

/// What a host's instrumentation may interrupt.
const MOMENTS: [(Moment, &str); 8] = [
    (Moment::Start, "BEGIN IMMEDIATE"),
    (Moment::Finish, "BEGIN IMMEDIATE"),
    (Moment::Start, "INSERT INTO main.events"),
    (Moment::Finish, "INSERT INTO main.events"),
    (Moment::Start, "SAVEPOINT"),
    (Moment::Finish, "RELEASE"),
    (Moment::Start, "COMMIT"),
    (Moment::Finish, "COMMIT"),
];

#[test]
fn a_panic_does_not_poison_the_store() {
    hush("on purpose");
    for (when, at) in MOMENTS {
        let db = TempDb::new();
        SessionStore::open(db.path()).unwrap().close().unwrap();
        let countdown = AtomicUsize::new(5);
        let _watch = Watch::with_hook(&db, move |moment, sql| {
            let counts = moment == when && sql.starts_with(at);
            if counts && countdown.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) == Ok(1) {
                countdown.store(5, SeqCst);
                panic!("on purpose");
            }
        });
        let store = SessionStore::open(db.path()).unwrap();
        let acknowledged = Mutex::new(Vec::new());
        let panics = AtomicUsize::new(0);
        let write = |name: &str, index: i64| {
            let id = format!("{name}-{index:03}");
            let event = event(&id, name, index);
            let result = catch_unwind(AssertUnwindSafe(|| match index % 2 {
                0 => store.insert_event(&event),
                _ => store.insert_events(std::slice::from_ref(&event)),
            }));
            match result {
                Ok(Ok(())) => acknowledged.lock().unwrap().push(id),
                Ok(Err(Error::Panicked)) | Err(_) => _ = panics.fetch_add(1, SeqCst),
                Ok(Err(other)) => panic!("{at}: {other}"),
            }
        };
        for index in 0..40 {
            write("alone", index);
        }
        thread::scope(|scope| {
            for number in 0..8 {
                let write = &write;
                scope.spawn(move || (0..40).for_each(|index| write(&format!("thread-{number}"), index)));
            }
        });
        assert!(panics.load(SeqCst) > 0, "nothing happened at {when:?} {at}");
        // Another connection sees it: nothing is left in an open transaction.
        let stored = db.event_ids();
        for id in acknowledged.lock().unwrap().iter() {
            assert!(stored.contains(id), "{when:?} {at}: {id} is missing");
        }
        store.close().unwrap();
    }
}

#[test]
fn a_panic_while_reading_does_not_keep_the_connection() {
    hush("on purpose");
    let db = TempDb::new();
    let countdown = AtomicUsize::new(20);
    let _watch = Watch::with_hook(&db, move |moment, sql| {
        let reads =
            moment == Moment::Start && (sql.starts_with("SELECT id, event_index") || sql.contains("query_only"));
        if reads && countdown.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            panic!("on purpose");
        }
    });
    let store = SessionStore::builder().readers(2).open(db.path()).unwrap();
    let panics = (0..30)
        .filter(|_| catch_unwind(AssertUnwindSafe(|| store.list_events(&ListEventsRequest::new("one")))).is_err())
        .count();
    assert_eq!(panics, 20);
    store.close().unwrap();
}

#[test]
fn a_panic_in_an_export_leaves_no_reader_in_the_past() {
    let db = TempDb::new();
    let store = SessionStore::builder().readers(1).open(db.path()).unwrap();
    store.update_session(&session("one")).unwrap();
    let stopped = catch_unwind(AssertUnwindSafe(|| {
        store.export(std::io::sink(), Export::of(Selection::all()).progress(|_| panic!("on purpose")))
    }));
    assert!(stopped.is_err());
    store.update_session(&session("two")).unwrap();
    assert_eq!(store.get_session("two").unwrap(), Some(session("two")));
    store.backup_to(db.folder().join("copy.db")).unwrap();

    // A connection of the caller's is in no transaction either.
    let mut conn = db.connect();
    let stopped = catch_unwind(AssertUnwindSafe(|| {
        conn.export(std::io::sink(), Export::of(Selection::all()).progress(|_| panic!("on purpose")))
    }));
    assert!(stopped.is_err());
    conn.update_session(&session("three")).unwrap();
    assert_eq!(store.get_session("three").unwrap(), Some(session("three")));
}

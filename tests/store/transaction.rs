//! Proves that a transaction of a store on a file, or in memory, is one commit, and that whatever goes wrong in it rolls
//! back all of it and harms nobody else.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use agent_session_store::diesel::sql_query;
use agent_session_store::diesel::{Connection, RunQueryDsl};
use agent_session_store::{Error, JournalMode, ListEventsRequest, SessionStore, StoreConnection};

use crate::common::instrumentation::Watch;
use crate::common::transactions::*;
use crate::common::{TempDb, event, new_event, session};

/// A file in each journal mode, and memory. The file outlives the store.
fn on_each(check: impl Fn(&SessionStore, Option<&TempDb>)) {
    check(&SessionStore::open_in_memory().unwrap(), None);
    for mode in [JournalMode::Wal, JournalMode::Rollback] {
        let db = TempDb::ours();
        check(&SessionStore::builder().journal_mode(mode).open(db.path()).unwrap(), Some(&db));
    }
}

#[test]
fn every_verb_is_part_of_one_commit_that_is_on_disk() {
    on_each(|store, db| {
        let outside = db.map(|db| SessionStore::open(db.path()).unwrap());
        // With a rollback journal, a reader would be in the way of the commit.
        let is_seen = outside.as_ref().filter(|_| db.is_some_and(|db| db.beside("-wal").exists()));
        every_verb_is_part_of_one_commit(store, is_seen);
    });
    let db = TempDb::ours();
    let watch = Watch::on(&db);
    let store = SessionStore::open(db.path()).unwrap();
    watch.take();
    every_verb_is_part_of_one_commit(&store, None);
    let commits = watch.take().into_iter().filter(|sql| ["BEGIN IMMEDIATE", "COMMIT"].contains(&&**sql));
    assert_eq!(commits.collect::<Vec<_>>(), ["BEGIN IMMEDIATE", "COMMIT"]);
}

#[test]
fn what_goes_wrong_rolls_back() {
    on_each(|store, _| an_error_rolls_back_and_is_the_callers(store));
    on_each(|store, _| a_panic_rolls_back_and_goes_on(store));
    on_each(|store, _| what_is_left_open_inside_is_an_error(store));
}

#[test]
fn others_come_before_or_after_it() {
    on_each(|store, _| an_append_to_the_same_session_waits(store, || thread::sleep(Duration::from_millis(20))));
    on_each(|store, _| nobody_comes_in_between(store));
    on_each(|store, _| what_it_has_read_stays_as_it_is(store));
}

#[test]
fn the_store_cannot_be_called_from_inside() {
    on_each(|store, db| the_store_cannot_be_called_inside(store, db.is_some()));
}

#[test]
fn closing_waits_for_it() {
    on_each(|store, _| a_closed_store_has_no_transactions(store));
}

#[test]
fn nothing_is_written_after_the_database_ended_it() {
    on_each(|store, _| {
        store
            .transaction(|tx| {
                tx.connection().batch_execute(
                    "CREATE TRIGGER ruinous BEFORE INSERT ON events WHEN NEW.id = 'ruinous' \
                     BEGIN SELECT RAISE(ROLLBACK, 'ruinous'); END",
                )
            })
            .unwrap();
        nothing_follows_an_error_that_ended_it(store, |tx| {
            let error = tx.append_events("one", &[new_event("ruinous")]).unwrap_err();
            assert_eq!(error.to_string(), "the database reported an error: ruinous");
            error
        });
    });
}

#[test]
fn the_applications_statements_are_part_of_it() {
    on_each(|store, _| {
        let done = store.transaction(|tx| {
            tx.update_session(&session("one"))?;
            let mut conn = tx.connection();
            conn.batch_execute("CREATE TABLE projects (id INTEGER PRIMARY KEY, session_id TEXT)")?;
            let StoreConnection::Sqlite(conn) = conn else { unreachable!("it is a file") };
            let rows =
                conn.transaction(|conn| sql_query("INSERT INTO projects SELECT 7, id FROM sessions").execute(conn));
            tx.append_events("one", &[new_event("a")])?;
            Ok::<_, Error>(rows?)
        });
        assert_eq!(done.unwrap(), 1);
        // Whoever ends the transaction there gets an error, and nothing follows.
        for end in ["COMMIT", "ROLLBACK"] {
            let ended = store.transaction(|tx| {
                tx.append_events("one", &[new_event(end)])?;
                tx.connection().batch_execute(end)?;
                let further = tx.append_events("one", &[new_event("further")]);
                assert!(matches!(further, Err(Error::Database { .. })), "{further:?}");
                Ok::<_, Error>(())
            });
            let says = "the database reported an error: Cannot perform this operation outside of a transaction";
            assert_eq!(ended.unwrap_err().to_string(), says);
        }
        let found: Vec<_> = store.events(ListEventsRequest::new("one")).map(|event| event.unwrap().id).collect();
        assert_eq!(found, ["a", "COMMIT"]);
    });
}

#[test]
fn a_commit_that_fails_writes_nothing() {
    let db = TempDb::ours();
    // The SQLite of a system does not enforce them by itself.
    let enforcing = || SessionStore::builder().on_open(|conn| conn.batch_execute("PRAGMA foreign_keys = ON"));
    for store in [enforcing().open(db.path()).unwrap(), enforcing().open_in_memory().unwrap()] {
        let failed = store.transaction(|tx| {
            tx.connection().batch_execute(
                "PRAGMA defer_foreign_keys = ON; CREATE TABLE notes (event_id TEXT REFERENCES events (id)); \
                 INSERT INTO notes VALUES ('none')",
            )?;
            tx.append_events("one", &[new_event("a")])
        });
        assert!(matches!(failed, Err(Error::Database { .. })), "{failed:?}");
        assert_eq!(store.last_event_index("one").unwrap(), None);
        assert_eq!(store.transaction(|tx| tx.append_events("one", &[new_event("a")])).unwrap(), [1]);
    }
}

#[test]
fn it_begins_only_with_the_lock() {
    let db = TempDb::ours();
    let store = SessionStore::builder().busy_timeout(Duration::from_millis(10)).open(db.path()).unwrap();
    let other = db.plain();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let busy = store.transaction::<(), _>(|_| unreachable!("it does not begin"));
    assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(store.transaction(|tx| tx.stats()).is_ok());
}

#[test]
fn a_store_that_only_reads_has_those_that_only_read() {
    let db = TempDb::ours();
    let writing = SessionStore::open(db.path()).unwrap();
    writing.append_events("one", &[new_event("a")]).unwrap();
    let store = SessionStore::builder().read_only(true).open(db.path()).unwrap();
    let read = store.transaction(|tx| {
        let before = tx.last_event_index("one")?;
        writing.append_events("one", &[new_event("b")])?;
        assert_eq!(tx.last_event_index("one")?, before, "it is one snapshot");
        Ok::<_, Error>(before)
    });
    assert_eq!(read.unwrap(), Some(1));
    let refused = store.transaction(|tx| tx.insert_event(&event("c", "one", 3)));
    assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
    assert_eq!(store.transaction(|tx| tx.last_event_index("one")).unwrap(), Some(2));
    let inside: Result<(), Error> = store.transaction(|_| store.stats().map(drop));
    assert!(matches!(inside, Err(Error::Reentrant)));
}

#[test]
fn reads_go_on_beside_it() {
    let db = TempDb::ours();
    let store = SessionStore::open(db.path()).unwrap();
    store.append_events("one", &[new_event("a")]).unwrap();
    let (begin, begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    thread::scope(|scope| {
        let writing = &store;
        let transaction = scope.spawn(move || {
            writing.transaction(|tx| {
                tx.append_events("one", &[new_event("b")])?;
                begin.send(()).unwrap();
                released.recv().unwrap();
                Ok::<_, Error>(())
            })
        });
        begun.recv().unwrap();
        assert_eq!(store.last_event_index("one").unwrap(), Some(1));
        release.send(()).unwrap();
        transaction.join().unwrap().unwrap();
    });
    assert_eq!(store.last_event_index("one").unwrap(), Some(2));
}

#[cfg(feature = "async")]
#[test]
fn tasks_have_them_too() {
    use agent_session_store::AsyncSessionStore;

    on_each(|store, _| {
        let store = AsyncSessionStore::from(store.clone());
        for_tasks::its_future_can_be_sent(&store);
        for_tasks::it_is_committed_or_rolled_back(&store);
    });
    let db = TempDb::ours();
    let store = SessionStore::builder().readers(1).open(db.path()).unwrap();
    for_tasks::a_dropped_future_runs_to_its_end_or_never(&store.into());
}

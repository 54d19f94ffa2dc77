//! Proves that a transaction of a store on a server is one commit, holds up only those who write to the same, and that
//! whatever goes wrong in it, up to a lost connection, rolls back all of it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use agent_session_store::diesel::sql_query;
use agent_session_store::diesel::{Connection, RunQueryDsl};
use agent_session_store::{AppendRequest, Error, ListEventsRequest, SessionStore, StoreConnection, StoreTransaction};

use crate::common::samples::bare_session;
use crate::common::transactions::*;
use crate::common::{PgDb, event, new_event, session};

/// A store on a database of its own.
fn on_a_server(check: impl FnOnce(&SessionStore, &PgDb)) {
    let Some(db) = PgDb::ours() else { return };
    check(&SessionStore::connect(&db.url()).unwrap(), &db);
}

#[test]
fn it_has_every_verb_and_one_commit() {
    on_a_server(|store, db| {
        every_verb_is_part_of_one_commit(store, Some(&SessionStore::connect(&db.url()).unwrap()));
    });
}

#[test]
fn what_goes_wrong_rolls_back() {
    on_a_server(|store, _| an_error_rolls_back_and_is_the_callers(store));
    on_a_server(|store, _| a_panic_rolls_back_and_goes_on(store));
    on_a_server(|store, _| what_is_left_open_inside_is_an_error(store));
}

#[test]
fn appends_to_the_same_session_come_before_or_after_it() {
    on_a_server(|store, db| an_append_to_the_same_session_waits(store, || db.wait_until_one_waits()));
    on_a_server(|store, _| nobody_comes_in_between(store));
    on_a_server(|store, _| what_it_has_read_stays_as_it_is(store));
}

#[test]
fn the_store_cannot_be_called_from_inside() {
    on_a_server(|store, _| the_store_cannot_be_called_inside(store, false));
}

#[test]
fn closing_waits_for_it() {
    on_a_server(|store, _| a_closed_store_has_no_transactions(store));
}

#[test]
fn writes_to_other_sessions_go_on_beside_it() {
    on_a_server(|store, _| {
        let (begin, begun) = mpsc::channel();
        let (release, released) = mpsc::channel();
        thread::scope(|scope| {
            let transaction = scope.spawn(move || {
                store.transaction(|tx| {
                    tx.append_events("one", &[new_event("a")])?;
                    begin.send(()).unwrap();
                    released.recv().unwrap();
                    tx.append_events("one", &[new_event("b")])
                })
            });
            begun.recv().unwrap();
            assert_eq!(store.append_events("two", &[new_event("c")]).unwrap(), [1]);
            store.update_session(&session("two")).unwrap();
            assert_eq!(store.transaction(|tx| tx.append_events("two", &[new_event("d")])).unwrap(), [2]);
            assert_eq!(store.last_event_index("one").unwrap(), None);
            release.send(()).unwrap();
            assert_eq!(transaction.join().unwrap().unwrap(), [2]);
        });
    });
}

#[test]
fn nothing_is_written_after_the_server_ended_it() {
    on_a_server(|store, db| {
        let trigger = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$; \
                       CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.id = 'refused') \
                       EXECUTE FUNCTION refuse()";
        db.other().batch_execute(trigger).unwrap();
        nothing_follows_an_error_that_ended_it(store, |tx| {
            let error = tx.insert_event(&event("refused", "one", 9)).unwrap_err();
            assert_eq!(error.to_string(), "the database reported an error: not today");
            error
        });
    });
    // The same by the application's own statement, whose error it swallows.
    on_a_server(|store, _| {
        let ended = store.transaction(|tx| {
            tx.append_events("one", &[new_event("a")])?;
            let _ = tx.connection().batch_execute("SELECT 1 / 0");
            Ok::<_, Error>(())
        });
        assert!(matches!(ended, Err(Error::Database { .. })), "{ended:?}");
        assert_eq!(store.last_event_index("one").unwrap(), None);
    });
}

#[test]
fn the_applications_statements_are_part_of_it() {
    on_a_server(|store, _| {
        let done = store.transaction(|tx| {
            tx.update_session(&session("one"))?;
            let mut conn = tx.connection();
            conn.batch_execute("CREATE TABLE projects (id INTEGER PRIMARY KEY, session_id TEXT)")?;
            let StoreConnection::Postgres(conn) = conn else { unreachable!("it is a server") };
            let rows =
                conn.transaction(|conn| sql_query("INSERT INTO projects SELECT 7, id FROM sessions").execute(conn));
            tx.append_events("one", &[new_event("a")])?;
            Ok::<_, Error>(rows?)
        });
        assert_eq!(done.unwrap(), 1);
        assert_eq!(store.events(ListEventsRequest::new("one")).count(), 1);
    });
}

#[test]
fn of_two_that_wait_for_each_other_one_is_told_so() {
    on_a_server(|store, _| {
        let append = |tx: &mut StoreTransaction<'_>, session_id: &str| {
            tx.append_events(session_id, &[new_event(&format!("{session_id}-{:?}", thread::current().id()))])
        };
        let (first, second) = (mpsc::channel(), mpsc::channel());
        thread::scope(|scope| {
            let one = scope.spawn(move || {
                store.transaction(|tx| {
                    append(tx, "one")?;
                    first.0.send(()).unwrap();
                    second.1.recv().unwrap();
                    append(tx, "two")
                })
            });
            let two = scope.spawn(move || {
                store.transaction(|tx| {
                    append(tx, "two")?;
                    second.0.send(()).unwrap();
                    first.1.recv().unwrap();
                    append(tx, "one")
                })
            });
            let results = [one.join().unwrap(), two.join().unwrap()];
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
            assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::Busy { .. }))).count(), 1);
        });
        assert_eq!([store.last_event_index("one").unwrap(), store.last_event_index("two").unwrap()], [Some(1); 2]);
    });
}

#[test]
fn a_lock_that_another_holds_for_too_long_is_busy() {
    let Some(db) = PgDb::ours() else { return };
    let store = SessionStore::builder().busy_timeout(Duration::from_millis(50)).connect(&db.url()).unwrap();
    store.append_events("one", &[new_event("a")]).unwrap();
    let mut other = db.other();
    let mut lock = other.transaction().unwrap();
    lock.execute("SELECT * FROM event_heads FOR UPDATE", &[]).unwrap();
    let busy = store.transaction(|tx| {
        tx.update_session(&session("one"))?;
        tx.append_events("one", &[new_event("b")])
    });
    assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
    assert_eq!(store.get_session("one").unwrap(), None);
}

#[test]
fn a_lost_connection_rolls_back_and_is_replaced() {
    on_a_server(|store, db| {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE datname = current_database() AND state = 'idle in transaction'";
        let lost = store.transaction(|tx| {
            tx.append_events("one", &[new_event("a")])?;
            db.other().execute(kill, &[]).unwrap();
            let lost = tx.append_events("one", &[new_event("b")]);
            assert!(matches!(lost, Err(Error::Disconnected { may_be_stored: false, .. })), "{lost:?}");
            // Even if the code takes no notice.
            Ok::<_, Error>(())
        });
        assert!(matches!(lost, Err(Error::Disconnected { may_be_stored: false, .. })), "{lost:?}");
        assert_eq!(store.transaction(|tx| tx.append_events("one", &[new_event("a")])).unwrap(), [1]);
    });
}

#[test]
fn a_store_that_only_reads_has_those_that_only_read() {
    on_a_server(|writing, db| {
        writing.append_events("one", &[new_event("a")]).unwrap();
        let store = SessionStore::builder().read_only(true).connect(&db.url()).unwrap();
        assert_eq!(store.transaction(|tx| tx.last_event_index("one")).unwrap(), Some(1));
        let refused = store.transaction(|tx| tx.insert_event(&event("c", "one", 3)));
        assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
    });
}

#[test]
fn there_are_no_more_connections_for_it_than_for_reading() {
    let Some(db) = PgDb::ours() else { return };
    let store = SessionStore::builder().readers(2).connect(&db.url()).unwrap();
    thread::scope(|scope| {
        for number in 0..12 {
            let store = &store;
            scope.spawn(move || {
                let session_id = format!("session-{number}");
                store.transaction(|tx| tx.append_events(&session_id, &[new_event(&session_id)])).unwrap()
            });
        }
    });
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let open: i64 = db.other().query_one(open, &[]).unwrap().get(0);
    assert!(open <= 3, "{open} connections");
}

#[cfg(feature = "async")]
#[test]
fn tasks_have_them_too() {
    use agent_session_store::AsyncSessionStore;

    on_a_server(|store, _| {
        let store = AsyncSessionStore::from(store.clone());
        for_tasks::its_future_can_be_sent(&store);
        for_tasks::it_is_committed_or_rolled_back(&store);
    });
    let Some(db) = PgDb::ours() else { return };
    let store = SessionStore::builder().readers(1).connect(&db.url()).unwrap();
    for_tasks::a_dropped_future_runs_to_its_end_or_never(&store.into());
}

/// What begins in a transaction and has to wait for it, and what the transaction does then.
fn beside<T: Send>(
    begin: impl Fn(&mut StoreTransaction<'_>) -> Result<(), Error> + Sync,
    waits: impl FnOnce(&SessionStore) -> T + Send,
) -> Option<(Vec<i64>, T)> {
    let db = PgDb::ours()?;
    let store = SessionStore::connect(&db.url()).unwrap();
    let other = SessionStore::connect(&db.url()).unwrap();
    store.update_session(&bare_session("one")).unwrap();
    // It was never appended to.
    store.insert_event(&event("a", "one", 1)).unwrap();
    thread::scope(|scope| {
        let mut waiting = None;
        let appended = store.transaction(|tx| {
            begin(tx)?;
            waiting = Some(scope.spawn(move || waits(&other)));
            db.wait_until_one_waits();
            tx.append_events("one", &[new_event("b")])
        });
        Some((appended.unwrap(), waiting.unwrap().join().unwrap()))
    })
}

#[test]
fn what_it_has_read_of_a_session_stays_also_if_nobody_has_appended_to_it() {
    let read = |tx: &mut StoreTransaction<'_>| tx.last_event_index("one").map(drop);
    let append = |other: &SessionStore| other.append_events("one", &[new_event("c")]).unwrap();
    let Some(indexes) = beside(read, append) else { return };
    assert_eq!(indexes, (vec![2], vec![3]));
}

/// Both lock the events first, whatever the transaction begins with.
#[test]
fn it_does_not_run_into_an_append_that_needs_the_record() {
    let guarded =
        |other: &SessionStore| other.append(&AppendRequest::new("one").must_be_live(), &[new_event("c")]).unwrap();
    let read = |tx: &mut StoreTransaction<'_>| tx.get_session("one").map(drop);
    let write = |tx: &mut StoreTransaction<'_>| tx.update_session(&bare_session("one"));
    for indexes in [beside(read, guarded), beside(write, guarded)] {
        let Some(indexes) = indexes else { return };
        assert_eq!(indexes, (vec![2], vec![3]));
    }
}

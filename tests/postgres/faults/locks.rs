//! Proves what a call says that waited for another's lock for too long, or could not be put in any order with the others'.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use agent_session_store::diesel::PgConnection;
use agent_session_store::diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use agent_session_store::{Error, ListEventsRequest, SessionPersistDriver, SessionStore};

use crate::common::own_server::{OwnServer, shared_server};
use crate::common::{event, new_event, session};

fn busy<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Busy { .. })), "{result:?}");
}

fn impatient(server: &OwnServer, database: &str) -> SessionStore {
    SessionStore::builder().busy_timeout(Duration::from_millis(100)).connect(&server.url(database)).unwrap()
}

#[test]
fn a_lock_that_is_held_for_too_long_is_busy_for_whom_it_concerns() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    let store = impatient(&server, &database);
    store.append_events("locked", &[new_event("first")]).unwrap();
    store.update_session(&session("locked")).unwrap();
    let mut other = server.connect(&database);
    // The lock of whoever appends to the session, and of whoever changes its record.
    AnsiTransactionManager::begin_transaction(&mut other).unwrap();
    other.append_events("locked", &[new_event("theirs")]).unwrap();
    other.update_session(&session("locked")).unwrap();
    busy(store.append_events("locked", &[new_event("ours")]));
    busy(store.append_events_after("locked", 1, &[new_event("ours")]));
    busy(store.update_session(&session("locked")));
    busy(store.delete_session("locked"));
    // An id that is not committed yet is a lock too.
    busy(store.insert_event(&event("theirs", "locked", 5)));
    // Other sessions, and readers, do not wait.
    assert_eq!(store.append_events("free", &[new_event("free")]).unwrap(), [1]);
    assert_eq!(store.last_event_index("locked").unwrap(), Some(1));
    AnsiTransactionManager::commit_transaction(&mut other).unwrap();
    assert_eq!(store.append_events("locked", &[new_event("ours")]).unwrap(), [3]);
}

#[test]
fn a_table_that_is_locked_is_busy_for_everyone_until_it_is_free() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    let store = impatient(&server, &database);
    store.append_events("session", &[new_event("first")]).unwrap();
    let mut other = server.connect(&database);
    other.batch_execute("BEGIN; LOCK TABLE events, sessions, event_heads").unwrap();
    busy(store.append_events("session", &[new_event("new")]));
    busy(store.insert_events(&[event("new", "session", 2)]));
    busy(store.update_session(&session("session")));
    busy(store.list_events(&ListEventsRequest::new("session")));
    busy(store.stats());
    // Also for one that is only opened, if it has something to do.
    other.batch_execute("ROLLBACK").unwrap();
    other.batch_execute("DROP INDEX idx_sessions_live").unwrap();
    other.batch_execute("BEGIN; LOCK TABLE sessions").unwrap();
    let opened =
        SessionStore::builder().busy_timeout(Duration::from_millis(100)).connect(&server.url(&database)).map(drop);
    busy(opened);
    other.batch_execute("ROLLBACK").unwrap();
    assert_eq!(store.append_events("session", &[new_event("new")]).unwrap(), [2]);
    SessionStore::connect(&server.url(&database)).unwrap();
}

/// One waits for a lock, and the others of its group have their own sessions.
#[test]
fn a_lock_concerns_nobody_else_in_the_group() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    let store = impatient(&server, &database);
    store.append_events("locked", &[new_event("first")]).unwrap();
    let mut other = server.connect(&database);
    AnsiTransactionManager::begin_transaction(&mut other).unwrap();
    other.append_events("locked", &[new_event("theirs")]).unwrap();
    thread::scope(|scope| {
        for number in 0..16 {
            let store = &store;
            scope.spawn(move || {
                for index in 0..3 {
                    let id = format!("{number}-{index}");
                    if number % 8 == 0 {
                        busy(store.append_events("locked", &[new_event(&id)]));
                    } else {
                        let session = format!("session-{number}");
                        assert_eq!(store.append_events(&session, &[new_event(&id)]).unwrap(), [index + 1]);
                    }
                }
            });
        }
    });
    AnsiTransactionManager::rollback_transaction(&mut other).unwrap();
    assert_eq!(store.append_events("locked", &[new_event("second")]).unwrap(), [2]);
}

#[test]
fn a_statement_that_takes_too_long_is_stopped() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    server.run("postgres", &format!("ALTER DATABASE {database} SET statement_timeout = 200"));
    let store = SessionStore::connect(&server.url(&database)).unwrap();
    store.append_events("session", &[new_event("first")]).unwrap();
    // As long as this, in which no lock plays a part.
    server.run(
        &database,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN new; END';
         CREATE TRIGGER slow BEFORE INSERT ON events FOR EACH ROW WHEN (new.session_id = 'slow') EXECUTE FUNCTION slow()",
    );
    for refused in [
        store.append_events("slow", &[new_event("slow")]).map(drop),
        store.insert_event(&event("slow", "slow", 1)),
        store.insert_events(&[event("slow", "slow", 1), event("slower", "slow", 2)]),
    ] {
        assert!(matches!(refused, Err(Error::TimedOut { .. })), "{refused:?}");
    }
    assert_eq!(store.last_event_index("slow").unwrap(), None);
    assert_eq!(store.append_events("session", &[new_event("second")]).unwrap(), [2]);
}

/// Appends to two sessions, in this order, in one transaction, and waits for the other after the first.
fn append_to(conn: &mut PgConnection, sessions: [&str; 2], name: &str, both: &Barrier) -> Result<(), Error> {
    AnsiTransactionManager::begin_transaction(conn)?;
    conn.append_events(sessions[0], &[new_event(&format!("{name} 1"))])?;
    both.wait();
    let second = conn.append_events(sessions[1], &[new_event(&format!("{name} 2"))]);
    match second {
        Ok(_) => AnsiTransactionManager::commit_transaction(conn)?,
        Err(_) => AnsiTransactionManager::rollback_transaction(conn)?,
    }
    second.map(drop)
}

#[test]
fn one_of_two_that_wait_for_each_other_is_busy() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    server.run("postgres", &format!("ALTER DATABASE {database} SET deadlock_timeout = 50"));
    let store = SessionStore::connect(&server.url(&database)).unwrap();
    for name in ["a", "b"] {
        store.append_events(name, &[new_event(name)]).unwrap();
    }
    let both = Arc::new(Barrier::new(2));
    let threads = [("one", ["a", "b"]), ("two", ["b", "a"])].map(|(name, sessions)| {
        let (mut conn, both) = (server.connect(&database), Arc::clone(&both));
        thread::spawn(move || append_to(&mut conn, sessions, name, &both))
    });
    let mut ends = threads.map(|thread| thread.join().unwrap());
    ends.sort_by_key(Result::is_err);
    let [stored, refused] = ends;
    stored.unwrap();
    busy(refused);
    assert_eq!(["a", "b"].map(|name| store.last_event_index(name).unwrap()), [Some(2); 2]);
}

#[test]
fn a_transaction_that_cannot_be_serialized_is_busy() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    let store = SessionStore::connect(&server.url(&database)).unwrap();
    store.append_events("session", &[new_event("first")]).unwrap();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let mut conn = server.connect(&database);
        AnsiTransactionManager::begin_transaction_sql(&mut conn, &format!("BEGIN ISOLATION LEVEL {level}")).unwrap();
        let last = conn.last_event_index("session").unwrap().unwrap();
        store.append_events("session", &[new_event(&format!("meanwhile {level}"))]).unwrap();
        busy(conn.append_events("session", &[new_event("too late")]));
        // The transaction is still there, with what it had seen before.
        assert_eq!(conn.last_event_index("session").unwrap(), Some(last));
        AnsiTransactionManager::rollback_transaction(&mut conn).unwrap();
        let again = conn.append_events("session", &[new_event(&format!("again {level}"))]).unwrap();
        assert_eq!(again, [last + 2]);
    }
}

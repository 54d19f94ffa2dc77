//! Proves what a call says whose connection is lost, and whether its write may be stored.

use std::thread;
use std::time::Duration;

use agent_session_store::diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use agent_session_store::diesel::dsl::sql;
use agent_session_store::diesel::sql_types::Bool;
use agent_session_store::diesel::{self, PgConnection, RunQueryDsl, sql_query};
use agent_session_store::{
    Error, Export, ListEventsRequest, ListSessionsRequest, Selection, SessionPersistDriver, SessionStore, migrate,
};

use crate::common::own_server::shared_server;
use crate::common::samples::{bare_session, far_future};
use crate::common::{event, new_event, session};

/// The connections to the database, apart from the one that asks.
const OTHERS: &str = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";

/// Ends every other, as an administrator does, and waits until they are gone.
fn end_connections(admin: &mut PgConnection) {
    sql_query(format!("SELECT pg_terminate_backend(pid) {OTHERS}")).execute(admin).unwrap();
    while is_there(admin) {
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether there is any other.
fn is_there(conn: &mut PgConnection) -> bool {
    let is_there = format!("EXISTS (SELECT 1 {OTHERS})");
    diesel::select(sql::<Bool>(&is_there)).get_result(conn).unwrap()
}

type Call = (&'static str, bool, fn(&SessionStore) -> Result<(), Error>);

/// Each with whether it writes in a way that the server may have committed before it could say so.
const CALLS: [Call; 15] = [
    ("get_session", false, |store| store.get_session("session").map(drop)),
    ("list_sessions", false, |store| store.list_sessions(&ListSessionsRequest::new()).map(drop)),
    ("list_events", false, |store| store.list_events(&ListEventsRequest::new("session")).map(drop)),
    ("latest_events", false, |store| store.latest_events("session", 1, None).map(drop)),
    ("last_event_index", false, |store| store.last_event_index("session").map(drop)),
    ("stats", false, |store| store.stats().map(drop)),
    ("check", false, |store| store.check().map(drop)),
    ("export", false, |store| store.export(std::io::sink(), Export::of(Selection::all())).map(drop)),
    ("insert_event", true, |store| store.insert_event(&event("inserted", "session", 1))),
    ("insert_events", false, |store| store.insert_events(&[event("a", "session", 1), event("b", "session", 1)])),
    ("append_events", true, |store| store.append_events("session", &[new_event("appended")]).map(drop)),
    ("append_events to a new session", true, |store| store.append_events("new", &[new_event("new")]).map(drop)),
    ("update_session", true, |store| store.update_session(&session("session"))),
    ("destroy_session", true, |store| store.destroy_session("session", far_future()).map(drop)),
    ("fork_session", false, |store| {
        store.delete_session("fork")?;
        store.fork_session("session", None, &session("fork")).map(drop)
    }),
];

#[test]
fn a_connection_that_was_ended_costs_one_call() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    let mut admin = server.connect(&database);
    let mut found_before = 0;
    for (name, is_sent_at_once, call) in CALLS {
        for is_prepared in [false, true] {
            // New connections, which have prepared no more than this.
            let store = SessionStore::connect(&server.url(&database)).unwrap();
            store.update_session(&bare_session("other")).unwrap();
            store.get_session("other").unwrap();
            let works = || call(&store).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            if is_prepared {
                works();
            }
            end_connections(&mut admin);
            match call(&store) {
                Err(Error::Disconnected { may_be_stored, .. }) => {
                    assert!(is_sent_at_once || !may_be_stored, "{name}");
                }
                // The store's own question, after the write before, whether anybody listens has found out first.
                Ok(()) => found_before += 1,
                Err(other) => panic!("{name}: {other:?}"),
            }
            works();
        }
    }
    assert!(found_before < CALLS.len(), "{found_before} of {} calls noticed nothing", 2 * CALLS.len());
}

/// The host's own transaction, on a connection that the server ends because nothing happens on it.
#[test]
fn a_transaction_that_was_idle_for_too_long_has_stored_nothing() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    let mut conn = server.connect(&database);
    migrate(&mut conn).unwrap();
    conn.batch_execute("SET idle_in_transaction_session_timeout = 50").unwrap();
    AnsiTransactionManager::begin_transaction(&mut conn).unwrap();
    conn.append_events("session", &[new_event("lost")]).unwrap();
    let mut other = server.connect(&database);
    while is_there(&mut other) {
        thread::sleep(Duration::from_millis(2));
    }
    for _ in 0..2 {
        let lost = conn.append_events("session", &[new_event("lost too")]);
        assert!(matches!(lost, Err(Error::Disconnected { may_be_stored: false, .. })), "{lost:?}");
        let lost = conn.last_event_index("session");
        assert!(matches!(lost, Err(Error::Disconnected { may_be_stored: false, .. })), "{lost:?}");
    }
    assert_eq!(other.last_event_index("session").unwrap(), None);
}

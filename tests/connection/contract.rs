//! Proves that connection, store and async store keep the crate's contract, and that a driver which does not is told
//! which rule it breaks.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{AsyncSessionStore, SessionStore, contract};

use crate::common::tasks::Tasks;
use crate::common::{TempDb, in_memory};

#[test]
fn a_connection_keeps_it() {
    contract::check(in_memory);
    contract::check_file(in_memory);
    let mut databases = Vec::new();
    let mut make = || {
        databases.push(TempDb::ours());
        databases.last().unwrap().connect()
    };
    contract::check(&mut make);
    contract::check_file(make);
}

#[test]
fn a_store_keeps_it() {
    contract::check(|| SessionStore::open_in_memory().unwrap());
    let mut databases = Vec::new();
    let mut make = || {
        databases.push(TempDb::new());
        SessionStore::open(databases.last().unwrap().path()).unwrap()
    };
    contract::check(&mut make);
    contract::check_file(make);
}

#[test]
fn an_async_store_keeps_it() {
    contract::check(|| Tasks::of(AsyncSessionStore::open_in_memory().unwrap()));
    let mut databases = Vec::new();
    let mut make = || {
        databases.push(TempDb::new());
        Tasks::of(SessionStore::open(databases.last().unwrap().path()).unwrap().into())
    };
    contract::check(&mut make);
    contract::check_file(make);
}

/// A driver whose database another program has damaged, for a rule that it then breaks.
#[test]
fn a_broken_rule_is_named() {
    let panic = std::panic::catch_unwind(|| {
        contract::check(|| {
            let mut conn = in_memory();
            let lose = "CREATE TRIGGER lose AFTER INSERT ON events BEGIN DELETE FROM events WHERE event_index < 0; END";
            conn.batch_execute(lose).unwrap();
            conn
        });
    });
    let text = *panic.unwrap_err().downcast::<String>().unwrap();
    assert!(text.starts_with("broken rule: events are listed by event_index, then id"), "{text}");
}

//! Proves that followers get everything where nobody can tell them of commits, and after the server was gone.

use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::prelude::*;
use agent_session_store::diesel::sql_types::Integer;
use agent_session_store::{Error, ListEventsRequest, SessionPersistDriver, SessionStore};

use super::pooled::Pool;
use crate::common::following::{LONG, heard, next_id};
use crate::common::own_server::{OwnServer, shared_server};
use crate::common::{event, new_event};

const OFTEN: Duration = Duration::from_millis(20);

#[test]
fn behind_a_pool_that_lends_connections_for_a_transaction() {
    let Some(server) = shared_server() else { return };
    let Some(pool) = Pool::new(&server, &["postgres"]) else { return };
    let url = pool.url("postgres", &server.database());
    let pooled = || SessionStore::builder().transaction_pooling(true).watch_interval(OFTEN).connect(&url).unwrap();
    let (store, other) = (pooled(), pooled());
    let following = heard(store.follow(ListEventsRequest::new("s")));
    for round in 0..20 {
        let id = format!("e{round}");
        other.append_events("s", &[new_event(&id)]).unwrap();
        assert_eq!(next_id(&following), id);
    }
}

#[test]
fn on_a_standby() {
    let Some(server) = OwnServer::new("") else { return };
    let store = SessionStore::connect(&server.url("postgres")).unwrap();
    store.append_events("s", &[new_event("first")]).unwrap();
    let replica = server.standby();
    let standby = SessionStore::builder().read_only(true).watch_interval(OFTEN);
    let standby = standby.connect(&replica.url("postgres")).unwrap();
    let following = heard(standby.follow(ListEventsRequest::new("s")));
    assert_eq!(next_id(&following), "first");
    for round in 0..5 {
        let id = format!("e{round}");
        store.append_events("s", &[new_event(&id)]).unwrap();
        assert_eq!(next_id(&following), id);
    }

    // Transactions that end in another order than that in which they began.
    let mut writers = ["b", "a", "c"].map(|id| {
        let mut conn = server.connect("postgres");
        conn.batch_execute("BEGIN").unwrap();
        conn.insert_event(&event(id, "s", 100 + i64::from(id.as_bytes()[0] == b'a'))).unwrap();
        conn
    });
    for (writer, id) in [(2, "c"), (1, "a")] {
        writers[writer].batch_execute("COMMIT").unwrap();
        // Sooner than everybody looks in any case.
        assert_eq!(following.recv_timeout(LONG / 4).expect("an event").unwrap().id, id);
    }
}

#[test]
fn over_a_restart_of_the_server() {
    let Some(mut server) = OwnServer::new("") else { return };
    let connect = || SessionStore::builder().watch_interval(60 * LONG).connect(&server.url("postgres")).unwrap();
    let (store, other) = (connect(), connect());
    let following = heard(store.follow(ListEventsRequest::new("s")));
    other.append_events("s", &[new_event("before")]).unwrap();
    assert_eq!(next_id(&following), "before");
    server.stop("INT");
    server.start();
    while other.append_events("s", &[new_event("after")]).is_err() {}
    let after = loop {
        match following.recv_timeout(LONG).unwrap() {
            Ok(event) => break event.id,
            Err(error) => assert!(matches!(error, Error::Disconnected { .. } | Error::Open { .. }), "{error}"),
        }
    };
    assert_eq!(after, "after");
}

/// A server lets one transaction with notices commit at a time, in all its databases.
#[test]
fn beside_a_client_whose_notice_does_not_get_through() {
    let Some(server) = OwnServer::new("synchronous_standby_names = nobody\nsynchronous_commit = local") else { return };
    let connect = || SessionStore::builder().busy_timeout(60 * LONG).connect(&server.url("postgres")).unwrap();
    let (store, other) = (connect(), connect());
    let following = heard(other.follow(ListEventsRequest::new("s")));
    store.append_events("s", &[new_event("before")]).unwrap();
    assert_eq!(next_id(&following), "before");

    let mut stuck = server.connect("template1");
    stuck.batch_execute("SET synchronous_commit = on; BEGIN; CREATE TABLE t (n int); NOTIFY other").unwrap();
    // Waits for a standby that does not exist.
    let stuck = thread::spawn(move || stuck.batch_execute("COMMIT"));
    let waits = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    while numbers(&server, waits) != [1] {}

    let (tell, stored) = channel();
    thread::spawn(move || {
        for round in 0..20 {
            let id = format!("e{round}");
            tell.send(store.append_events("s", &[new_event(&id)]).map(|_| id)).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
    });
    // Stored in spite of the notices, and found in spite of them.
    for _ in 0..20 {
        let id = stored.recv_timeout(LONG).expect("the store writes").unwrap();
        assert_eq!(next_id(&following), id);
    }
    server.run("postgres", "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    stuck.join().unwrap().unwrap();
}

#[test]
fn closing_does_not_wait_for_a_server_that_does_not_answer() {
    let Some(server) = OwnServer::new("") else { return };
    for round in 0..3 {
        let store = Arc::new(SessionStore::connect(&server.url("postgres")).unwrap());
        store.append_events("s", &[new_event(&format!("{round} a"))]).unwrap();
        // Told after a break, in which the server stops.
        thread::sleep(Duration::from_millis(3 * round));
        store.append_events("s", &[new_event(&format!("{round} b"))]).unwrap();
        let clients = "SELECT pid AS n FROM pg_stat_activity WHERE backend_type = 'client backend' \
                       AND pid <> pg_backend_pid()";
        let clients = numbers(&server, clients);
        signal("STOP", &clients);
        if round > 0 {
            thread::sleep(Duration::from_millis(50));
        }
        let (tell, closed) = channel();
        let closing = Arc::clone(&store);
        thread::spawn(move || tell.send(closing.close()));
        let closed = closed.recv_timeout(LONG);
        signal("CONT", &clients);
        closed.expect("it is closed").unwrap();
        // Its connection is left for the notice, and goes after that, although the store is still there.
        let left = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE backend_type = 'client backend' \
                    AND pid <> pg_backend_pid()";
        while numbers(&server, left) != [0] {}
        drop(store);
    }
}

fn signal(name: &str, processes: &[i32]) {
    let processes = processes.iter().map(i32::to_string);
    assert!(Command::new("kill").arg(format!("-{name}")).args(processes).status().unwrap().success());
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = Integer)]
    n: i32,
}

/// What a statement selects as `n`.
fn numbers(server: &OwnServer, sql: &str) -> Vec<i32> {
    let rows: Vec<Number> = agent_session_store::diesel::sql_query(sql).load(&mut server.connect("postgres")).unwrap();
    rows.into_iter().map(|row| row.n).collect()
}

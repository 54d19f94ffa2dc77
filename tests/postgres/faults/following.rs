//! Proves that followers get everything where nobody can tell them of commits, and after the server was gone.

use std::time::Duration;

use agent_session_store::diesel::connection::SimpleConnection;
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

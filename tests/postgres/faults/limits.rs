//! Proves what a store says that is not given another connection, and that it goes on once it is.

use std::sync::mpsc::channel;
use std::thread;

use agent_session_store::diesel::{Connection, PgConnection};
use agent_session_store::{Error, Export, ListEventsRequest, Selection, SessionStore};

use crate::common::event;
use crate::common::own_server::{OwnServer, shared_server};

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, why: &str) {
    match result {
        Err(error @ Error::Open { .. }) => assert!(error.to_string().contains(why), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_that_is_full_lets_a_store_go_on_later() {
    let settings = "max_connections = 6\nsuperuser_reserved_connections = 0";
    let Some(server) = OwnServer::new(settings) else { return };
    let url = server.url("postgres");
    let store = SessionStore::connect(&url).unwrap();
    store.insert_event(&event("first", "session", 1)).unwrap();
    let mut others: Vec<_> = std::iter::from_fn(|| PgConnection::establish(&url).ok()).collect();
    assert!(!others.is_empty());
    // The writer has its connection, and a reader would need one.
    store.insert_event(&event("second", "session", 2)).unwrap();
    refused(store.list_events(&ListEventsRequest::new("session")), "too many clients");
    refused(store.export(std::io::sink(), Export::of(Selection::all())), "too many clients");
    refused(SessionStore::connect(&url).map(drop), "too many clients");
    // The server notices a little later that the others are gone.
    others.clear();
    let found = loop {
        match store.list_events(&ListEventsRequest::new("session")) {
            Err(Error::Open { .. }) => thread::yield_now(),
            found => break found.unwrap(),
        }
    };
    assert_eq!(found.items.len(), 2);
}

#[test]
fn a_role_that_has_no_connection_left_for_a_reader_waits_for_none() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    server.run(&database, "CREATE ROLE has_few LOGIN CONNECTION LIMIT 2; GRANT ALL ON SCHEMA public TO has_few");
    let store = SessionStore::connect(&server.url_as("has_few", &database)).unwrap();
    store.insert_event(&event("first", "session", 1)).unwrap();
    // One reader is busy while another is asked for.
    let (began, has_begun) = channel();
    let (end, is_over) = channel::<()>();
    thread::scope(|scope| {
        let store = &store;
        scope.spawn(move || {
            let export = Export::of(Selection::all()).progress(move |_| {
                began.send(()).unwrap();
                let _ = is_over.recv();
            });
            store.export(std::io::sink(), export).unwrap();
        });
        has_begun.recv().unwrap();
        refused(store.last_event_index("session"), "too many connections for role");
        store.insert_event(&event("second", "session", 2)).unwrap();
        drop(end);
    });
    assert_eq!(store.last_event_index("session").unwrap(), Some(2));
}

//! Proves what a store says where its role must not do what it asks for.

use agent_session_store::{Error, ListEventsRequest, SessionStore};

use crate::common::own_server::{OwnServer, shared_server};
use crate::common::{event, new_event, session};

/// A database with an event, and the URL for a role of this name with no more than these rights.
fn with_role(server: &OwnServer, role: &str, rights: &str) -> (String, String) {
    let database = server.database();
    server.run(&database, &format!("CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA public TO {role}"));
    let store = SessionStore::connect(&server.url(&database)).unwrap();
    store.insert_event(&event("event", "session", 1)).unwrap();
    store.update_session(&session("session")).unwrap();
    server.run(&database, rights);
    let url = server.url_as(role, &database);
    (database, url)
}

fn assert_only_reads(store: &SessionStore) {
    assert!(store.get_session("session").unwrap().is_some());
    assert_eq!(store.list_events(&ListEventsRequest::new("session")).unwrap().items.len(), 1);
    assert_eq!(store.stats().unwrap().events, 1);
    store.check().unwrap();
    assert!(store.transaction(|tx| tx.get_session("session")).unwrap().is_some());
    assert_eq!(store.transaction(|tx| tx.last_event_index("session")).unwrap(), Some(1));
    for refused in [
        store.insert_event(&event("new", "session", 2)),
        store.insert_events(&[event("new", "session", 2)]),
        store.append_events("session", &[new_event("new")]).map(drop),
        store.append_events("newcomer", &[new_event("new")]).map(drop),
        store.update_session(&session("session")),
        store.delete_session("session").map(drop),
        store.fork_session("session", None, &session("fork")).map(drop),
    ] {
        assert!(matches!(&refused, Err(Error::ReadOnly { .. })), "{refused:?}");
    }
    assert_eq!(store.list_events(&ListEventsRequest::new("session")).unwrap().items.len(), 1);
}

#[test]
fn a_role_that_may_not_create_anything_is_told_that_it_is_read_only() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    server.run(&database, "CREATE ROLE creates_nothing LOGIN");
    let url = server.url_as("creates_nothing", &database);
    for builder in [SessionStore::builder(), SessionStore::builder().schema("ours")] {
        let error = builder.connect(&url).map(drop).unwrap_err();
        assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
        assert!(error.to_string().contains("permission denied"), "{error}");
    }
    // Nothing is left of the attempt, and once it is allowed it works.
    server.run(&database, "GRANT ALL ON SCHEMA public TO creates_nothing");
    SessionStore::connect(&url).unwrap().insert_event(&event("event", "session", 1)).unwrap();
}

#[test]
fn a_role_that_may_only_read_reads() {
    let Some(server) = shared_server() else { return };
    let (database, url) = with_role(&server, "reads", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reads");
    let store = SessionStore::builder().read_only(true).connect(&url).unwrap();
    assert_only_reads(&store);
    // It opens for writing too, since nothing is missing; the writes then say what they lack.
    let store = SessionStore::connect(&url).unwrap();
    assert_only_reads(&store);
    server.run(&database, "GRANT ALL ON ALL TABLES IN SCHEMA public TO reads");
    store.insert_event(&event("new", "session", 2)).unwrap();
}

#[test]
fn a_role_that_may_not_even_read_is_no_bug_of_the_tables() {
    let Some(server) = shared_server() else { return };
    let (database, url) = with_role(&server, "sees_nothing", "SELECT 1");
    let store = SessionStore::builder().read_only(true).connect(&url).unwrap();
    let error = store.get_session("session").unwrap_err();
    assert!(error.to_string().contains("permission denied for table sessions"), "{error}");
    assert!(!matches!(error, Error::NotMigrated { .. } | Error::ReadOnly { .. }), "{error:?}");
    server.run(&database, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO sees_nothing");
    assert!(store.get_session("session").unwrap().is_some());
}

#[test]
fn a_database_that_was_never_migrated_cannot_be_read() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    let read_only = || SessionStore::builder().read_only(true);
    for builder in [read_only(), read_only().schema("ours")] {
        let error = builder.clone().connect(&server.url(&database)).map(drop).unwrap_err();
        assert!(matches!(&error, Error::MigrationNeeded { reason } if reason.contains("sessions")), "{error:?}");
        // Looking has created nothing.
        let error = builder.connect(&server.url(&database)).map(drop).unwrap_err();
        assert!(matches!(error, Error::MigrationNeeded { .. }));
    }
    SessionStore::connect(&server.url(&database)).unwrap();
    let store = read_only().connect(&server.url(&database)).unwrap();
    assert_eq!(store.get_session("session").unwrap(), None);
    let refused = store.insert_event(&event("event", "session", 1));
    assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
}

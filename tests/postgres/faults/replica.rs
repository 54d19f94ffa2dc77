//! Proves that a store reads from a standby that follows a server, and what it sees there.

use std::thread;
use std::time::Duration;

use agent_session_store::{Error, Export, Selection, SessionStore};

use crate::common::own_server::OwnServer;
use crate::common::{event, new_event, session};

/// Waits until the standby has caught up with a session. It may always be a little behind.
fn wait_for(standby: &SessionStore, session: &str, index: i64) {
    while standby.last_event_index(session).unwrap() < Some(index) {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_standby_is_read_and_not_written() {
    let Some(server) = OwnServer::new("") else { return };
    let never_migrated = server.database();
    let store = SessionStore::connect(&server.url("postgres")).unwrap();
    store.update_session(&session("session")).unwrap();
    store.append_events("session", &[new_event("first")]).unwrap();
    let replica = server.standby();
    let url = replica.url("postgres");

    let standby = SessionStore::builder().read_only(true).connect(&url).unwrap();
    wait_for(&standby, "session", 1);
    assert!(standby.get_session("session").unwrap().is_some());
    assert_eq!(standby.stats().unwrap().events, 1);
    assert!(standby.check().unwrap().is_sound());
    store.append_events("session", &[new_event("second")]).unwrap();
    wait_for(&standby, "session", 2);
    let exports = [&store, &standby].map(|store| {
        let mut lines = Vec::new();
        store.export(&mut lines, Export::of(Selection::all())).unwrap();
        lines
    });
    assert_eq!(exports[0], exports[1]);

    // In a transaction of a store that could write elsewhere, too.
    for standby in [&standby, &SessionStore::connect(&url).unwrap()] {
        let read = standby.transaction(|tx| {
            assert!(tx.get_session("session")?.is_some());
            tx.last_event_index("session")
        });
        assert_eq!(read.unwrap(), Some(2));
    }

    // What the server has done goes before what a reader of the standby is still looking at.
    replica.run("postgres", "ALTER SYSTEM SET max_standby_streaming_delay = 0");
    replica.run("postgres", "SELECT pg_reload_conf()");
    let in_the_way = |_| {
        server.run("postgres", "VACUUM FULL sessions");
        let indexes = store.append_events("after", &[new_event("after")]);
        wait_for(&standby, "after", indexes.unwrap()[0]);
    };
    let ended = standby.export(std::io::sink(), Export::of(Selection::all()).progress(in_the_way));
    assert!(matches!(ended, Err(Error::Disconnected { may_be_stored: false, .. } | Error::Busy { .. })), "{ended:?}");
    standby.export(std::io::sink(), Export::of(Selection::all())).unwrap();

    // One that is to write finds nothing to migrate, and opens too.
    for standby in [&standby, &SessionStore::connect(&url).unwrap()] {
        for refused in [
            standby.append_events("session", &[new_event("third")]).map(drop),
            standby.append_events("newcomer", &[new_event("third")]).map(drop),
            standby.insert_event(&event("third", "session", 3)),
            standby.insert_events(&[event("third", "session", 3), event("fourth", "session", 4)]),
            standby.update_session(&session("session")),
            standby.delete_session("session").map(drop),
            standby.fork_session("session", None, &session("fork")).map(drop),
        ] {
            assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
        }
    }

    // A database that has to be migrated is migrated where it is written.
    let url = replica.url(&never_migrated);
    let refused = SessionStore::builder().read_only(true).connect(&url).map(drop);
    assert!(matches!(refused, Err(Error::MigrationNeeded { .. })), "{refused:?}");
    let refused = SessionStore::connect(&url).map(drop);
    assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");

    // Once it has taken the server's place, the store that is to write does.
    let promoted = SessionStore::connect(&replica.url("postgres")).unwrap();
    replica.run("postgres", "SELECT pg_promote()");
    assert_eq!(promoted.append_events("session", &[new_event("third")]).unwrap(), [3]);
}

//! Proves what happens when the disk of the tables is full: each caller whose write did not fit is told so, nothing is
//! half written, and the store goes on when there is space again.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;

use agent_session_store::{Error, Json, ListEventsRequest, SessionStore};

use crate::common::faults::SmallDisk;
use crate::common::new_event;
use crate::common::own_server::OwnServer;

/// Has threads append until each has been refused; returns the ids of what was acknowledged.
fn fill(store: &SessionStore, name: &str, is_expected: fn(&Error) -> bool) -> HashSet<String> {
    let stored = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        for number in 0..8 {
            let stored = &stored;
            scope.spawn(move || {
                let mut refused = 0;
                for index in 0.. {
                    let ids = [0, 1, 2].map(|part| format!("{name}-{number}-{index:04}-{part}"));
                    // It takes as much space in the table as it has characters.
                    let payload = Json::new(&"x".repeat(1_900)).unwrap();
                    let events = ids.clone().map(|id| with!(new_event(&id), payload: payload.clone()));
                    match store.append_events(&format!("session-{}", number % 3), &events) {
                        Ok(_) => stored.lock().unwrap().extend(ids),
                        Err(error) => {
                            assert!(is_expected(&error), "{error:?}");
                            refused += 1;
                        }
                    }
                    if refused == 3 {
                        break;
                    }
                }
            });
        }
    });
    stored.into_inner().unwrap()
}

fn is_full(error: &Error) -> bool {
    matches!(error, Error::DiskFull { .. })
}

/// The ids of what is there: each once, without a gap, and no part of a call.
fn stored_ids(store: &SessionStore) -> HashSet<String> {
    let mut found = HashSet::new();
    for number in 0..3 {
        let events = store.events(ListEventsRequest::new(format!("session-{number}")));
        for (event, index) in events.map(Result::unwrap).zip(1..) {
            assert_eq!(event.event_index, index);
            assert!(found.insert(event.id));
        }
    }
    let parts = |part: &str| found.iter().filter(|id| id.ends_with(part)).count();
    assert!(parts("-0") == parts("-1") && parts("-1") == parts("-2"), "half a call");
    found
}

/// Only the tables are there. If the server's log has no room, the server stops.
#[test]
fn a_full_disk_is_an_error_for_those_it_concerns_until_there_is_space() {
    let Some(disk) = SmallDisk::new("size=4m") else { return };
    let Some(server) = OwnServer::new("") else { return };
    server.give(disk.folder());
    server.run("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", disk.folder().display()));
    server.run("postgres", "ALTER DATABASE postgres SET default_tablespace = small");
    let store = SessionStore::connect(&server.url("postgres")).unwrap();
    let mut stored = HashSet::new();
    for round in 0..3 {
        let ballast = disk.fill();
        // Half a page of a table still fits: the server has other words for that.
        let half_a_page = [0, 4096][round % 2];
        let length = std::fs::metadata(&ballast).unwrap().len();
        std::fs::File::options().write(true).open(&ballast).unwrap().set_len(length - half_a_page).unwrap();
        stored.extend(fill(&store, &format!("full-{round}"), is_full));
        // Reading goes on.
        assert_eq!(stored_ids(&store), stored);
        std::fs::remove_file(ballast).unwrap();
        let ids = [0, 1, 2].map(|part| format!("again-{round}-{part}"));
        store.append_events("session-0", &ids.clone().map(|id| new_event(&id))).unwrap();
        stored.extend(ids);
        assert_eq!(stored_ids(&store), stored);
    }
    stored.extend(fill(&store, "last", is_full));
    assert!(stored.len() > 100, "{}", stored.len());
    assert_eq!(stored_ids(&store), stored);
    assert!(store.check().unwrap().is_sound());
}

/// Here the log is in the way too: the server stops, as PostgreSQL does, and comes back when there is space.
#[test]
fn a_disk_without_room_for_the_log_loses_nothing_that_was_acknowledged() {
    let mut size = 48_000_000;
    let Some(disk) = SmallDisk::of_size(size) else { return };
    let Some(mut server) = OwnServer::on(disk.folder(), "max_wal_size = 64MB") else { return };
    let store = SessionStore::connect(&server.url("postgres")).unwrap();
    let mut acknowledged = HashSet::new();
    for round in 0..2 {
        acknowledged.extend(fill(&store, &format!("full-{round}"), |error| {
            matches!(error, Error::DiskFull { .. } | Error::Disconnected { .. } | Error::Open { .. })
        }));
        size += 24_000_000;
        disk.resize(size);
        // It may be in the middle of a recovery.
        server.stop("QUIT");
        server.start();
        // The connections that were lost meanwhile are replaced.
        while store.stats().is_err() {}
        assert!(stored_ids(&store).is_superset(&acknowledged));
    }
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
}

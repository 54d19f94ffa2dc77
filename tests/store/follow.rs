//! Proves that a follower gets every event of its session once and in order, whoever writes it, and waits for the next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{Error, Follow, ListEventsRequest, PruneRequest, SessionPersistDriver, SessionStore};

use crate::common::following::{LONG, assert_wakes_only_those_concerned, heard, next_id, rest};
use crate::common::instrumentation::{Moment, Watch};
use crate::common::{TempDb, event, hush, new_event, session};

fn request() -> ListEventsRequest {
    ListEventsRequest::new("s")
}

/// The next ones, each of which has to come.
fn next(follow: &mut Follow, events: usize) -> Vec<String> {
    (0..events).map(|_| follow.next_timeout(LONG).unwrap().unwrap().id).collect()
}

#[test]
fn what_is_stored_comes_first_and_then_what_is_committed() {
    let db = TempDb::new();
    for store in [SessionStore::open(db.path()).unwrap(), SessionStore::open_in_memory().unwrap()] {
        for index in 1..=7 {
            store.insert_event(&event(&format!("e{index}"), "s", index)).unwrap();
        }
        store.insert_event(&event("x1", "other", 1)).unwrap();
        let mut follow = store.follow(request().limit(3));
        assert_eq!(next(&mut follow, 7), ["e1", "e2", "e3", "e4", "e5", "e6", "e7"]);
        assert_eq!(follow.next_timeout(Duration::from_millis(20)).unwrap(), None);
        let heard = heard(follow);
        store.append_events("s", &[new_event("e8"), new_event("e9")]).unwrap();
        store.append_events("other", &[new_event("x2")]).unwrap();
        store.insert_events(&[event("e10", "s", 10), event("x3", "other", 3), event("e11", "s", 10)]).unwrap();
        store.transaction(|tx| tx.append_events("s", &[new_event("e12")])).unwrap();
        for id in ["e8", "e9", "e10", "e11", "e12"] {
            assert_eq!(heard.recv_timeout(LONG).unwrap().unwrap().id, id);
        }
        store.close().unwrap();
        assert!(matches!(heard.recv_timeout(LONG).unwrap(), Err(Error::Closed)));
        assert!(heard.recv_timeout(LONG).is_err(), "it has ended");
    }
}

#[test]
fn events_that_share_an_index_are_delivered_too() {
    let store = SessionStore::open_in_memory().unwrap();
    store.insert_events(&[event("b", "s", 5), event("d", "s", 5)]).unwrap();
    let mut follow = store.follow(request().limit(1));
    assert_eq!(next(&mut follow, 2), ["b", "d"]);
    // Before the position, at it, and after it.
    store.insert_events(&[event("a", "s", 5), event("c", "s", 5), event("e", "s", 5), event("z", "s", 4)]).unwrap();
    assert_eq!(rest(&mut follow), ["e"]);
    // An event that is overwritten is not delivered again, unless it moves behind the position.
    store.insert_events(&[event("e", "s", 5), event("b", "s", 6)]).unwrap();
    assert_eq!(rest(&mut follow), ["b"]);
}

#[test]
fn a_position_is_valid_in_another_process() {
    let db = TempDb::new();
    let position = {
        let store = SessionStore::open(db.path()).unwrap();
        store.append_events("s", &[new_event("a"), new_event("b"), new_event("c")]).unwrap();
        let mut follow = store.follow(request());
        assert_eq!(follow.position(), None);
        let first = follow.next().unwrap().unwrap();
        assert_eq!(follow.position(), Some(request().cursor_after(&first)));
        follow.position().unwrap().to_string()
    };
    let store = SessionStore::open(db.path()).unwrap();
    let mut follow = store.follow(request().limit(1).cursor(position.parse::<agent_session_store::Cursor>().unwrap()));
    assert_eq!(follow.position().unwrap().to_string(), position);
    store.append_events("s", &[new_event("d")]).unwrap();
    assert_eq!(rest(&mut follow), ["b", "c", "d"]);
    // The same from an index, which those that share it do not survive.
    assert_eq!(rest(&mut store.follow(request().after(2))), ["c", "d"]);
    assert_eq!(rest(&mut store.follow(request().after(1).before(4))), ["b", "c"]);
}

#[test]
fn what_is_stored_can_be_skipped() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    let mut empty = store.follow(request()).from_end().unwrap();
    store.append_events("s", &[new_event("a"), new_event("b")]).unwrap();
    assert_eq!(rest(&mut empty), ["a", "b"]);
    let mut follow = store.follow(request()).from_end().unwrap();
    store.append_events("s", &[new_event("c")]).unwrap();
    assert_eq!(rest(&mut follow), ["c"]);
    // Rows at the end that cannot be decoded are stored, too.
    db.plain().execute("UPDATE events SET sender = 'nobody' WHERE id IN ('a', 'c')", []).unwrap();
    let mut follow = store.follow(request()).from_end().unwrap();
    store.append_events("s", &[new_event("d")]).unwrap();
    assert_eq!(rest(&mut follow), ["d"]);
    // In the middle of it, too.
    assert_eq!(next(&mut follow.from_end().unwrap(), 0), [""; 0]);
    let mut begun = store.follow(request().after(1));
    assert_eq!(next(&mut begun, 1), ["b"]);
    assert_eq!(rest(&mut begun.from_end().unwrap()), [""; 0]);
    // A request that is wrong is an error here, too.
    let descending = store.follow(request().descending()).from_end();
    assert!(matches!(descending, Err(Error::Unsupported { .. })), "{descending:?}");
    let foreign = request().cursor_after(&event("a", "s", 1));
    let foreign = store.follow(ListEventsRequest::new("t").cursor(foreign)).from_end();
    assert!(matches!(foreign, Err(Error::InvalidCursor { .. })), "{foreign:?}");
}

#[test]
fn a_position_beyond_the_end_is_an_end() {
    let store = SessionStore::open_in_memory().unwrap();
    store.insert_event(&event("a", "s", 1)).unwrap();
    let beyond = request().cursor_after(&event("gone", "s", 10));
    let mut follow = store.follow(request().cursor(beyond)).from_end().unwrap();
    store.insert_events(&[event("b", "s", 5), event("c", "s", 11)]).unwrap();
    assert_eq!(rest(&mut follow), ["c"]);
}

/// What is committed meanwhile concerns the followers of everything, and has no event for them.
#[test]
fn a_timeout_ends_also_where_others_commit_without_a_pause() {
    // A read waits for the writers here, so there is a commit after each.
    let store = SessionStore::open_in_memory().unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..3 {
            let (store, is_over) = (&store, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    store.transaction(|tx| tx.update_session(&session(&format!("s{number}")))).unwrap();
                }
            });
        }
        let (tell, told) = channel();
        let following = store.clone();
        thread::spawn(move || {
            let (mut one, mut all) = (following.follow(request()), following.follow_all(None));
            for _ in 0..200 {
                assert!(one.next_timeout(Duration::ZERO).unwrap().is_none());
                assert!(all.next_timeout(Duration::from_micros(100)).unwrap().is_none());
            }
            tell.send(()).unwrap();
        });
        let returned = told.recv_timeout(LONG);
        is_over.store(true, Ordering::Relaxed);
        returned.unwrap();
    });
}

#[test]
fn the_longest_interval_is_as_good_as_any() {
    let db = TempDb::new();
    let store = SessionStore::builder().watch_interval(Duration::MAX).open(db.path()).unwrap();
    let mut follow = store.follow(request());
    assert_eq!(follow.next_timeout(Duration::from_millis(20)).unwrap(), None);
    store.append_events("s", &[new_event("a")]).unwrap();
    assert_eq!(follow.next_timeout(Duration::MAX).unwrap().unwrap().id, "a");
    store.close().unwrap();
}

#[test]
fn a_session_that_does_not_exist_yet_is_waited_for() {
    let store = SessionStore::open_in_memory().unwrap();
    let heard = heard(store.follow(request()));
    store.append_events("another", &[new_event("x")]).unwrap();
    store.append_events("s", &[new_event("a")]).unwrap();
    assert_eq!(heard.recv_timeout(LONG).unwrap().unwrap().id, "a");
}

#[test]
fn commits_by_others_are_noticed() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    let reading = SessionStore::builder().read_only(true).open(db.path()).unwrap();
    let often = SessionStore::builder().watch_interval(Duration::from_millis(1)).open(db.path()).unwrap();
    let followers = [&store, &reading, &often].map(|store| heard(store.follow(request())));
    let expect = |id: &str| {
        for heard in &followers {
            assert_eq!(heard.recv_timeout(LONG).unwrap().unwrap().id, id);
        }
    };
    let another = SessionStore::open(db.path()).unwrap();
    another.append_events("s", &[new_event("a")]).unwrap();
    expect("a");
    db.connect().append_events("s", &[new_event("b")]).unwrap();
    expect("b");
    let plain = db.plain();
    plain
        .execute_batch("INSERT INTO events SELECT 'c', 3, session_id, created_at, connection_id, sender, payload_json FROM events WHERE id = 'a'")
        .unwrap();
    expect("c");
    store.append_events("s", &[new_event("d")]).unwrap();
    expect("d");
}

#[test]
fn commits_by_others_wake_only_those_whom_they_concern() {
    let db = TempDb::new();
    let mut other = SessionStore::open(db.path()).unwrap();
    let watch = Watch::on(&db);
    let store = SessionStore::builder().watch_interval(Duration::from_millis(1)).open(db.path()).unwrap();
    assert_wakes_only_those_concerned(&store, &mut other, &watch);
}

/// Their order there is not that of the bytes that are stored.
#[test]
fn events_that_share_an_index_are_noticed_in_any_encoding() {
    for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
        let db = TempDb::new();
        db.connect().batch_execute(&format!("PRAGMA encoding = '{encoding}'; CREATE TABLE other (n)")).unwrap();
        let other = SessionStore::open(db.path()).unwrap();
        let store = SessionStore::builder().watch_interval(Duration::from_millis(1)).open(db.path()).unwrap();
        let following = heard(store.follow(request()));
        for id in ["10", "a", "é", "Ā", "\u{ff5e}", "😀"] {
            other.insert_event(&event(id, "s", 1)).unwrap();
            assert_eq!(next_id(&following), id, "{encoding}");
        }
    }
}

#[test]
fn commits_by_others_are_noticed_while_the_store_is_busy_for_long() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    let heard = heard(store.follow(request()));
    for round in 0..5 {
        let id = format!("e{round}");
        db.connect().append_events("s", &[new_event(&id)]).unwrap();
        let delivered = store.transaction(|_| heard.recv_timeout(LONG).unwrap()).unwrap();
        assert_eq!(delivered.id, id);
    }
}

/// Whoever committed does not get to know it; those who wait do.
#[test]
fn a_commit_after_which_instrumentation_panics_is_delivered() {
    hush("on purpose");
    let db = TempDb::new();
    let watch = Watch::with_hook(&db, |moment, sql| {
        let is_the_one = thread::current().name() == Some("it panics");
        assert!(!is_the_one || moment != Moment::Finish || sql != "COMMIT", "on purpose");
    });
    // No look at the file finds it either.
    let store = SessionStore::builder().watch_interval(10 * LONG).open(db.path()).unwrap();
    let heard = heard(store.follow(request()));
    store.append_events("s", &[new_event("a")]).unwrap();
    assert_eq!(heard.recv_timeout(LONG).unwrap().unwrap().id, "a");
    let writing = store.clone();
    let append = move || writing.append_events("s", &[new_event("b"), new_event("c")]);
    thread::Builder::new().name("it panics".to_owned()).spawn(append).unwrap().join().unwrap_err();
    for id in ["b", "c"] {
        assert_eq!(heard.recv_timeout(LONG).unwrap().unwrap().id, id);
    }
    drop(watch);
}

#[test]
fn a_row_that_cannot_be_decoded_is_an_error_in_its_place() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    for index in 1..=5 {
        store.insert_event(&event(&format!("e{index}"), "s", index)).unwrap();
    }
    db.plain().execute("UPDATE events SET sender = 'nobody' WHERE id IN ('e3', 'e5')", []).unwrap();
    let mut follow = store.follow(request());
    let mut ids = Vec::new();
    while let Some(item) =
        follow.next_timeout(Duration::ZERO).map_or_else(|error| Some(Err(error)), |item| item.map(Ok))
    {
        ids.push(item.map_or_else(|error| format!("{:?}", error.kind()), |event| event.id));
    }
    assert_eq!(ids, ["e1", "e2", "Undecodable", "e4", "Undecodable"]);
    let position = follow.position();
    store.append_events("s", &[new_event("e6")]).unwrap();
    assert_eq!(rest(&mut follow), ["e6"]);
    assert_eq!(rest(&mut store.follow(request().cursor(position))), ["e6"]);
}

#[test]
fn a_wrong_request_ends_it_with_an_error() {
    let store = SessionStore::open_in_memory().unwrap();
    store.append_events("t", &[new_event("x")]).unwrap();
    let other = ListEventsRequest::new("t");
    let foreign = store.events(other.clone()).next().unwrap().map(|event| other.cursor_after(&event)).unwrap();
    let mut follow = store.follow(request().cursor(foreign));
    assert!(matches!(follow.next(), Some(Err(Error::InvalidCursor { .. }))));
    assert!(follow.next().is_none() && follow.next().is_none());
    assert!(matches!(follow.next_timeout(LONG), Err(Error::InvalidCursor { .. })));
    let mut follow = store.follow(request().descending());
    assert!(matches!(follow.next(), Some(Err(Error::Unsupported { .. }))));
    assert!(follow.next().is_none());
}

#[test]
fn it_ends_with_the_store_and_does_not_keep_it_open() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    let waiting = heard(store.follow(request()));
    let mut idle = store.follow(request());
    assert_eq!(rest(&mut idle), [""; 0]);
    drop(store);
    assert!(matches!(waiting.recv_timeout(LONG).unwrap(), Err(Error::Closed)));
    assert!(!db.folder().join("sessions.db-wal").exists());
    assert!(matches!(idle.next(), Some(Err(Error::Closed))));
    assert!(idle.next().is_none());
    assert!(matches!(idle.next_timeout(LONG), Err(Error::Closed)));
    let store = SessionStore::open(db.path()).unwrap();
    store.close().unwrap();
    let mut late = store.follow(request());
    assert!(matches!(late.next(), Some(Err(Error::Closed))));
    assert!(late.next().is_none());
    let end = store.follow(request()).from_end();
    assert!(matches!(end, Err(Error::Closed)), "{end:?}");
}

#[test]
fn a_follower_that_would_wait_for_its_own_call_is_told_so() {
    let store = SessionStore::open_in_memory().unwrap();
    store.append_events("s", &[new_event("a")]).unwrap();
    let mut follow = store.follow(request());
    assert_eq!(next(&mut follow, 1), ["a"]);
    store
        .transaction(|tx| {
            let inside = follow.next();
            assert!(matches!(inside, Some(Err(Error::Reentrant))), "{inside:?}");
            tx.append_events("s", &[new_event("b")])
        })
        .unwrap();
    assert_eq!(next(&mut follow, 1), ["b"]);
}

#[test]
fn a_follower_of_a_session_that_is_deleted_waits_on() {
    let store = SessionStore::open_in_memory().unwrap();
    store.append_events("s", &[new_event("a"), new_event("b"), new_event("c")]).unwrap();
    let mut follow = store.follow(request().limit(1));
    assert_eq!(next(&mut follow, 2), ["a", "b"]);
    store.delete_session("s").unwrap();
    assert_eq!(rest(&mut follow), [""; 0]);
    // At indexes that were delivered before.
    store.append_events("s", &[new_event("d"), new_event("e")]).unwrap();
    assert_eq!(rest(&mut follow), ["e"], "\"e\" comes after \"b\", both at index 2");
    assert_eq!(rest(&mut store.follow(request())), ["d", "e"]);
    store.prune(&PruneRequest::new().session("s")).unwrap();
    assert_eq!(rest(&mut follow), [""; 0]);
}

#[test]
fn followers_do_not_keep_the_log_from_being_emptied() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    store.append_events("s", &[new_event("a"), new_event("b"), new_event("c")]).unwrap();
    let mut slow = store.follow(request().limit(1));
    let mut idle = store.follow(request());
    assert_eq!(next(&mut slow, 1), ["a"]);
    assert_eq!(next(&mut idle, 3), ["a", "b", "c"]);
    let waiting = heard(store.follow(request()).from_end().unwrap());
    store.append_events("s", &[new_event("d")]).unwrap();
    assert_eq!(waiting.recv_timeout(LONG).unwrap().unwrap().id, "d");
    assert!(store.checkpoint().unwrap().is_complete);
    assert_eq!(std::fs::metadata(db.folder().join("sessions.db-wal")).unwrap().len(), 0);
    assert_eq!(rest(&mut slow), ["b", "c", "d"]);
}

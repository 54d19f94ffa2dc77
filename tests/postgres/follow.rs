//! Proves that a follower on a server gets every event of its session once and in order, from stores that tell of their
//! commits and from programs that do not.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{ChangeToken, Error, ListEventsRequest, SessionPersistDriver, SessionStore};

use crate::common::following::{LONG, assert_wakes_only_those_concerned, heard, next_id, rest};
use crate::common::instrumentation::Watch;
use crate::common::{PgDb, event, new_event, session};

fn request() -> ListEventsRequest {
    ListEventsRequest::new("s")
}

/// A store that is only told, and does not look by itself.
fn told(db: &PgDb) -> SessionStore {
    SessionStore::builder().watch_interval(60 * LONG).connect(&db.url()).unwrap()
}

/// The connections to the database, by what they did last.
fn connections(db: &PgDb) -> Vec<String> {
    let query = "SELECT query FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    db.other().query(query, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether anybody listens.
fn is_listening(db: &PgDb) -> bool {
    let query = "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database \
                 WHERE locktype = 'advisory' AND classid = 475301 AND objid = 1 AND d.datname = current_database()";
    db.other().query_one(query, &[]).unwrap().get::<_, i64>(0) > 0
}

#[test]
fn what_is_stored_comes_first_and_then_what_is_committed() {
    let Some(db) = PgDb::ours() else { return };
    let store = told(&db);
    store.insert_events(&[event("b", "s", 1), event("a", "s", 1), event("c", "s", 2), event("x", "t", 1)]).unwrap();
    let mut follow = store.follow(request().limit(1));
    assert_eq!(rest(&mut follow), ["a", "b", "c"]);
    let position = follow.position();
    let mut late = store.follow(request()).from_end().unwrap();
    let following = heard(follow);
    store.append_events("s", &[new_event("d"), new_event("e")]).unwrap();
    store.append_events("t", &[new_event("y")]).unwrap();
    store.transaction(|tx| tx.append_events("s", &[new_event("f")])).unwrap();
    store.fork_session("s", None, &session("copy")).unwrap();
    store.insert_event(&event("g", "s", 9)).unwrap();
    for id in ["d", "e", "f", "g"] {
        assert_eq!(next_id(&following), id);
    }
    assert_eq!(rest(&mut late), ["d", "e", "f", "g"]);
    assert_eq!(rest(&mut store.follow(request().cursor(position))), ["d", "e", "f", "g"]);
    store.close().unwrap();
    assert!(matches!(following.recv_timeout(LONG).unwrap(), Err(Error::Closed)));
    assert!(following.recv_timeout(LONG).is_err());
}

#[test]
fn another_store_is_told_at_once_of_every_kind_of_commit() {
    let Some(db) = PgDb::ours() else { return };
    let (store, other) = (told(&db), SessionStore::connect(&db.url()).unwrap());
    let following = heard(store.follow(request()));
    wait_until(|| is_listening(&db));
    let long = "l".repeat(2_000);
    other.append_events("s", &[new_event("a")]).unwrap();
    assert_eq!(next_id(&following), "a");
    other.insert_event(&event("b", "s", 2)).unwrap();
    assert_eq!(next_id(&following), "b");
    other.transaction(|tx| tx.append_events("s", &[new_event("c")])).unwrap();
    assert_eq!(next_id(&following), "c");
    // More sessions than a notice can name.
    let mut many: Vec<_> = (0..10).map(|number| event(&format!("m{number}"), &format!("{long}{number}"), 1)).collect();
    many.push(event("d", "s", 4));
    other.insert_events(&many).unwrap();
    assert_eq!(next_id(&following), "d");
    let mut lines = Vec::new();
    let elsewhere = SessionStore::open_in_memory().unwrap();
    elsewhere.insert_event(&event("e", "s", 5)).unwrap();
    elsewhere.export(&mut lines, agent_session_store::Selection::all()).unwrap();
    other.import(&*lines).unwrap();
    assert_eq!(next_id(&following), "e");
    // The last one before it closes, too.
    other.append_events("s", &[new_event("f")]).unwrap();
    other.close().unwrap();
    assert_eq!(next_id(&following), "f");
}

#[test]
fn another_store_is_told_of_changes_that_add_no_event() {
    let Some(db) = PgDb::ours() else { return };
    let (store, other) = (told(&db), SessionStore::connect(&db.url()).unwrap());
    other.append_events("s", &[new_event("a")]).unwrap();
    let token = store.changed_since(ChangeToken::default()).unwrap();
    // What the listener announces once it listens.
    let mut token = store.changed_since_timeout(token, LONG).unwrap().unwrap();
    while let Some(next) = store.changed_since_timeout(token, Duration::from_millis(300)).unwrap() {
        token = next;
    }
    let writes: [&dyn Fn(); 3] =
        [&|| other.update_session(&session("s")).unwrap(), &|| _ = other.delete_session("s").unwrap(), &|| {
            other.transaction(|tx| tx.update_session(&session("s"))).unwrap()
        }];
    for write in writes {
        write();
        token = store.changed_since_timeout(token, LONG).unwrap().unwrap();
    }
}

#[test]
fn those_who_tell_nobody_are_noticed_all_the_same() {
    let Some(db) = PgDb::ours() else { return };
    let store = SessionStore::builder().watch_interval(Duration::from_millis(20)).connect(&db.url()).unwrap();
    let following = heard(store.follow(request()));
    db.connect().append_events("s", &[new_event("a")]).unwrap();
    assert_eq!(next_id(&following), "a");
    let as_the_driver_does = "INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, payload_json) \
                              VALUES ('b', 2, 's', 1, 'c', 'agent', '{}')";
    db.other().execute(as_the_driver_does, &[]).unwrap();
    assert_eq!(next_id(&following), "b");
}

#[test]
fn commits_of_which_nobody_tells_wake_only_those_whom_they_concern() {
    let Some(db) = PgDb::ours() else { return };
    let mut other = db.connect();
    let watch = Watch::on_url(db.name());
    let store = SessionStore::builder().watch_interval(Duration::from_millis(5)).connect(&db.url()).unwrap();
    assert_wakes_only_those_concerned(&store, &mut other, &watch);
}

#[test]
fn the_connection_that_listens_goes_when_nobody_follows_any_more_and_comes_back() {
    let Some(db) = PgDb::ours() else { return };
    let (store, other) = (told(&db), SessionStore::connect(&db.url()).unwrap());
    let mut follow = store.follow(request());
    assert_eq!(rest(&mut follow), [""; 0]);
    wait_until(|| is_listening(&db));
    drop(follow);
    wait_until(|| !is_listening(&db));
    // What is written meanwhile, and what after that.
    other.append_events("s", &[new_event("a")]).unwrap();
    let following = heard(store.follow(request()));
    assert_eq!(next_id(&following), "a");
    wait_until(|| is_listening(&db));
    other.append_events("s", &[new_event("b")]).unwrap();
    assert_eq!(next_id(&following), "b");
}

/// What others can rely on: the channel, the lock, and the form of a notice.
#[test]
fn whoever_writes_by_themselves_can_tell_and_notices_are_sent_if_anybody_listens() {
    let Some(db) = PgDb::ours() else { return };
    let store = told(&db);
    let following = heard(store.follow(request()));
    wait_until(|| is_listening(&db));
    let mut host = db.connect();
    host.append_events("s", &[new_event("a")]).unwrap();
    host.batch_execute("NOTIFY agent_session_store").unwrap();
    assert_eq!(next_id(&following), "a");
    let mut listening = db.connect();
    listening.batch_execute("LISTEN agent_session_store").unwrap();
    store.append_events("s", &[new_event("b")]).unwrap();
    let mut notices = Vec::new();
    wait_until(|| {
        notices.extend(listening.notifications_iter().map(|notice| notice.unwrap().payload));
        !notices.is_empty()
    });
    assert!(notices[0].ends_with(r#","sessions":["s"]}"#), "{notices:?}");
    store.close().unwrap();
    // Nobody holds the lock any more, so a store need not say anything.
    wait_until(|| !is_listening(&db));
    let quiet = SessionStore::connect(&db.url()).unwrap();
    quiet.append_events("s", &[new_event("c")]).unwrap();
    quiet.close().unwrap();
    listening.batch_execute("SELECT 1").unwrap();
    assert_eq!(listening.notifications_iter().count(), 0);
}

#[test]
fn a_listener_that_is_lost_is_renewed_and_misses_nothing() {
    let Some(db) = PgDb::ours() else { return };
    let (store, other) = (told(&db), SessionStore::connect(&db.url()).unwrap());
    let following = heard(store.follow(request()));
    for round in 0..3 {
        wait_until(|| is_listening(&db));
        let kill = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
                    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        db.other().execute(kill, &[]).unwrap();
        let id = format!("e{round}");
        // Its own connection is gone, too.
        while other.append_events("s", &[new_event(&id)]).is_err() {}
        let next = loop {
            match following.recv_timeout(LONG).unwrap() {
                Ok(event) => break event.id,
                // The connection that it was reading with. It tries again.
                Err(error) => assert!(matches!(error, Error::Disconnected { .. } | Error::Open { .. }), "{error}"),
            }
        };
        assert_eq!(next, id);
    }
}

#[test]
fn a_thousand_followers_take_one_connection_which_goes_with_the_store() {
    let Some(db) = PgDb::ours() else { return };
    let store = SessionStore::builder().readers(2).connect(&db.url()).unwrap();
    let mut followers: Vec<_> =
        (0..1_000).map(|number| store.follow(ListEventsRequest::new(format!("s{}", number % 50)))).collect();
    for follow in &mut followers {
        assert_eq!(rest(follow), [""; 0]);
    }
    wait_until(|| is_listening(&db));
    let events: Vec<_> = (0..50).map(|number| event(&format!("e{number}"), &format!("s{number}"), 1)).collect();
    store.insert_events(&events).unwrap();
    for (number, follow) in followers.iter_mut().enumerate() {
        assert_eq!(rest(follow), [format!("e{}", number % 50)]);
    }
    // One writes, one reads, one listens.
    let open = connections(&db);
    assert_eq!(open.len(), 3, "{open:?}");
    store.close().unwrap();
    wait_until(|| connections(&db).is_empty());
    drop(followers);
}

#[test]
fn tenants_in_schemas_of_their_own_follow_their_own_sessions() {
    let Some(db) = PgDb::new() else { return };
    let [one, two] = ["one", "two"].map(|schema| SessionStore::builder().schema(schema).connect(&db.url()).unwrap());
    let follower = SessionStore::builder().schema("one").watch_interval(60 * LONG).connect(&db.url()).unwrap();
    let following = heard(follower.follow(request()));
    wait_until(|| is_listening(&db));
    two.append_events("s", &[new_event("of two")]).unwrap();
    one.append_events("s", &[new_event("of one")]).unwrap();
    assert_eq!(next_id(&following), "of one");
}

#[test]
fn there_is_no_order_of_all_commits() {
    let Some(db) = PgDb::ours() else { return };
    let store = SessionStore::connect(&db.url()).unwrap();
    let mut follow = store.follow_all(None);
    assert!(matches!(follow.next(), Some(Err(Error::Unsupported { .. }))));
    assert!(follow.next().is_none());
    assert!(matches!(store.follow_all(None).from_end(), Err(Error::Unsupported { .. })));
}

/// Each session's appends are in order, whichever stores and threads they come from, so nothing of them is missed.
#[test]
fn many_stores_append_to_sessions_that_many_follow() {
    const EVENTS: usize = 40;
    const WRITERS: usize = 8;
    let Some(db) = PgDb::ours() else { return };
    let stores: Vec<SessionStore> = (0..3).map(|_| SessionStore::connect(&db.url()).unwrap()).collect();
    let ids: BTreeSet<String> =
        (0..WRITERS).flat_map(|writer| (0..EVENTS).map(move |number| format!("{writer}-{number:02}"))).collect();
    thread::scope(|scope| {
        let followers: Vec<_> = stores
            .iter()
            .flat_map(|store| [1, 7, 100].map(|limit| (store, limit)))
            .map(|(store, limit)| {
                scope.spawn(move || {
                    let mut follow = store.follow(request().limit(limit));
                    let next = || follow.next_timeout(LONG).unwrap().expect("an event");
                    std::iter::repeat_with(next).take(WRITERS * EVENTS).collect::<Vec<_>>()
                })
            })
            .collect();
        for writer in 0..WRITERS {
            let store = &stores[writer % stores.len()];
            scope.spawn(move || {
                for number in 0..EVENTS {
                    store.append_events("s", &[new_event(&format!("{writer}-{number:02}"))]).unwrap();
                }
            });
        }
        for follower in followers {
            let events = follower.join().unwrap();
            assert!(events.iter().zip(1..).all(|(event, index)| event.event_index == index));
            assert_eq!(events.into_iter().map(|event| event.id).collect::<BTreeSet<_>>(), ids);
        }
    });
}

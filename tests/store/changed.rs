//! Proves that whoever waits for a change hears of every one, and of those before.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use agent_session_store::{ChangeToken, Error, PruneRequest, SessionPersistDriver, SessionStore};

use crate::common::{TempDb, event, millis, new_event, session};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn every_kind_of_commit_is_a_change() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    let mut token = store.changed_since(ChangeToken::default()).unwrap();
    // What the watcher sees first.
    while let Some(next) = store.changed_since_timeout(token, Duration::from_millis(200)).unwrap() {
        token = next;
    }
    let mut another = db.connect();
    let writes: [(&str, &mut dyn FnMut()); 8] = [
        ("a record", &mut || store.update_session(&session("s")).unwrap()),
        ("an event", &mut || store.insert_event(&event("e", "s", 1)).unwrap()),
        ("an append", &mut || _ = store.append_events("s", &[new_event("f")]).unwrap()),
        ("an end", &mut || _ = store.destroy_session("s", millis(1)).unwrap()),
        ("a transaction", &mut || _ = store.transaction(|tx| tx.append_events("s", &[new_event("g")])).unwrap()),
        ("a deletion", &mut || _ = store.delete_session("s").unwrap()),
        ("another's", &mut || _ = another.append_events("t", &[new_event("h")]).unwrap()),
        ("a prune", &mut || _ = store.prune(&PruneRequest::new().session("t")).unwrap()),
    ];
    for (what, write) in writes {
        assert_eq!(store.changed_since_timeout(token, Duration::ZERO).unwrap(), None, "before {what}");
        write();
        token = store.changed_since_timeout(token, LONG).unwrap().unwrap_or_else(|| panic!("{what}"));
    }
    store.get_session("s").unwrap();
    store.append_events_after("s", 7, &[new_event("i")]).unwrap_err();
    assert_eq!(store.changed_since_timeout(token, Duration::ZERO).unwrap(), None);
}

#[test]
fn a_change_before_the_call_counts_with_a_token_and_not_without() {
    let store = SessionStore::open_in_memory().unwrap();
    let token = store.changed_since(ChangeToken::default()).unwrap();
    store.append_events("s", &[new_event("a")]).unwrap();
    let next = store.changed_since(token).unwrap();
    assert_ne!(next, token);
    assert_eq!(store.changed_since_timeout(next, Duration::ZERO).unwrap(), None);
    // A token of another store tells nothing about this one.
    let other = SessionStore::open_in_memory().unwrap();
    assert!(other.changed_since_timeout(next, Duration::ZERO).unwrap().is_some());
    let waiting = store.clone();
    let (tell, told) = channel();
    thread::spawn(move || tell.send(waiting.changed()).unwrap());
    assert!(told.recv_timeout(Duration::from_millis(20)).is_err(), "nothing was committed since the call");
    store.append_events("s", &[new_event("b")]).unwrap();
    assert_eq!(told.recv_timeout(LONG).unwrap().unwrap(), store.changed_since(next).unwrap());
}

#[test]
fn waiting_ends_with_the_store() {
    let store = SessionStore::open_in_memory().unwrap();
    let waiting = store.clone();
    let waiting = thread::spawn(move || waiting.changed());
    store.close().unwrap();
    assert!(matches!(waiting.join().unwrap(), Err(Error::Closed)));
    assert!(matches!(store.changed_since(ChangeToken::default()), Err(Error::Closed)));
}

#[test]
fn whoever_would_wait_for_their_own_call_is_told_so() {
    let store = SessionStore::open_in_memory().unwrap();
    store
        .transaction(|_| {
            assert!(matches!(store.changed(), Err(Error::Reentrant)));
            assert!(matches!(store.changed_since(ChangeToken::default()), Err(Error::Reentrant)));
            Ok::<_, Error>(())
        })
        .unwrap();
}

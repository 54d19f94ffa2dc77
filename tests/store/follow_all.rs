//! Proves that a follower of all sessions gets every event in the order of commit, also where the database gives the
//! places of deleted events to others.

use std::time::Duration;

use agent_session_store::{
    CommittedEvent, Cursor, Error, FollowAll, ListEventsRequest, PruneRequest, SessionPersistDriver, SessionStore,
};

use crate::common::{TempDb, event, new_event, session};

fn store() -> SessionStore {
    SessionStore::open_in_memory().unwrap()
}

fn append(store: &SessionStore, session_id: &str, ids: &[&str]) {
    let events: Vec<_> = ids.iter().map(|id| new_event(id)).collect();
    store.append_events(session_id, &events).unwrap();
}

/// What is there without waiting.
fn delivered(follow: &mut FollowAll) -> Vec<CommittedEvent> {
    std::iter::from_fn(|| follow.next_timeout(Duration::ZERO).unwrap()).collect()
}

fn rest(follow: &mut FollowAll) -> Vec<String> {
    delivered(follow).into_iter().map(|committed| committed.event.id).collect()
}

/// The same position in another process.
fn through_text(cursor: &Cursor) -> Cursor {
    let again: Cursor = cursor.to_string().parse().unwrap();
    assert_eq!(serde_json::from_str::<Cursor>(&serde_json::to_string(cursor).unwrap()).unwrap(), again);
    again
}

#[test]
fn events_of_all_sessions_come_in_the_order_of_commit() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    let mut follow = store.follow_all(None);
    append(&store, "s", &["s1", "s2"]);
    append(&store, "t", &["t1"]);
    store.insert_events(&[event("u9", "u", 9), event("u1", "u", 1)]).unwrap();
    assert_eq!(rest(&mut follow), ["s1", "s2", "t1", "u9", "u1"]);
    db.connect().append_events("t", &[new_event("t2")]).unwrap();
    // Overwritten, it keeps its place.
    store.insert_event(&event("s1", "s", 100)).unwrap();
    append(&store, "s", &["s3"]);
    store.update_session(&session("s")).unwrap();
    let last = delivered(&mut follow);
    assert_eq!(last.iter().map(|committed| &*committed.event.id).collect::<Vec<_>>(), ["t2", "s3"]);
    assert_eq!(last[1].event, store.get_event("s3").unwrap().unwrap());
    assert_eq!(follow.position(), Some(last[1].cursor.clone()));
    // More than a page, by number and by size.
    let many: Vec<String> = (0..250).map(|number| format!("m{number}")).collect();
    append(&store, "m", &many.iter().map(|id| &**id).collect::<Vec<_>>());
    assert_eq!(rest(&mut follow), many);
    let json: serde_json::Value = serde_json::to_value(&last[0]).unwrap();
    assert_eq!(json["event"]["id"], "t2");
}

#[test]
fn every_cursor_continues_after_its_event() {
    let store = store();
    for number in 0..300 {
        append(&store, ["s", "t", "u"][number % 3], &[&format!("e{number:03}")]);
    }
    let mut follow = store.follow_all(None);
    let all = delivered(&mut follow);
    assert_eq!(all.len(), 300);
    for (place, committed) in all.iter().enumerate() {
        let mut again = store.follow_all(through_text(&committed.cursor));
        let next = again.next_timeout(Duration::ZERO).unwrap().map(|next| next.event.id);
        assert_eq!(next, all.get(place + 1).map(|next| next.event.id.clone()));
        assert!(committed.cursor.to_string().len() < 250);
    }
    let middle = store.follow_all(through_text(&all[99].cursor));
    assert_eq!(middle.position(), Some(all[99].cursor.clone()));
    assert_eq!(rest(&mut { middle }).len(), 200);
}

#[test]
fn what_is_stored_can_be_skipped() {
    let store = store();
    let mut empty = store.follow_all(None).from_end().unwrap();
    append(&store, "s", &["a", "b"]);
    assert_eq!(rest(&mut empty), ["a", "b"]);
    let mut follow = empty.from_end().unwrap();
    append(&store, "t", &["c"]);
    assert_eq!(rest(&mut follow), ["c"]);
    // The position after the end is as good as that after an event.
    let end = store.follow_all(None).from_end().unwrap().position();
    append(&store, "t", &["d"]);
    assert_eq!(rest(&mut store.follow_all(through_text(&end.unwrap()))), ["d"]);
}

#[test]
fn a_place_that_is_given_again_is_delivered_again() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    append(&store, "kept", &["k1", "k2", "k3"]);
    append(&store, "gone", &["g1", "g2", "g3", "g4"]);
    let mut follow = store.follow_all(None);
    let before = delivered(&mut follow);
    store.delete_session("gone").unwrap();
    // They take the places of what was deleted, and more.
    append(&store, "new", &["n1", "n2"]);
    assert_eq!(rest(&mut follow), ["n1", "n2"]);
    append(&store, "new", &["n3", "n4", "n5"]);
    assert_eq!(rest(&mut follow), ["n3", "n4", "n5"]);
    assert_eq!(rest(&mut follow), [""; 0]);
    // The same for one who was not there meanwhile.
    for committed in &before[3..] {
        let mut resumed = store.follow_all(through_text(&committed.cursor));
        assert_eq!(rest(&mut resumed), ["n1", "n2", "n3", "n4", "n5"], "{}", committed.event.id);
    }
    assert_eq!(rest(&mut store.follow_all(through_text(&before[1].cursor))), ["k3", "n1", "n2", "n3", "n4", "n5"]);
    // Nothing of it happens if the last event stays.
    let mut follow = store.follow_all(None);
    rest(&mut follow);
    store.delete_session("kept").unwrap();
    append(&store, "new", &["n6"]);
    assert_eq!(rest(&mut follow), ["n6"]);
}

#[test]
fn a_session_that_comes_again_with_the_same_ids_is_delivered_as_far_as_it_is_new() {
    let store = store();
    append(&store, "kept", &["k1"]);
    append(&store, "gone", &["g1", "g2", "g3"]);
    let mut follow = store.follow_all(None);
    rest(&mut follow);
    store.prune(&PruneRequest::new().session("gone")).unwrap();
    append(&store, "gone", &["g3", "g2", "g1"]);
    // "g2" has its old place and is the last that is as it was.
    assert_eq!(rest(&mut follow), ["g1"]);
}

#[test]
fn a_position_of_which_nothing_is_left_is_an_error() {
    let store = store();
    append(&store, "gone", &["g1", "g2", "g3"]);
    let mut follow = store.follow_all(None);
    let before = delivered(&mut follow).pop().unwrap().cursor;
    store.delete_session("gone").unwrap();
    // In an empty database all is new.
    assert_eq!(rest(&mut follow), [""; 0]);
    assert_eq!(follow.position(), None);
    assert_eq!(rest(&mut store.follow_all(through_text(&before))), [""; 0]);
    append(&store, "new", &["n1"]);
    assert_eq!(rest(&mut follow), ["n1"]);
    // Who comes later cannot know whether "n1" was there before.
    let mut lost = store.follow_all(through_text(&before));
    assert!(matches!(lost.next(), Some(Err(Error::InvalidCursor { .. }))));
    assert!(lost.next().is_none());
    store.delete_session("new").unwrap();
    assert!(lost.next_timeout(Duration::ZERO).unwrap().is_none(), "it goes on if the reason is gone");
}

#[test]
fn a_row_that_cannot_be_decoded_is_an_error_in_its_place() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    append(&store, "s", &["a", "b", "c", "d"]);
    db.plain().execute("UPDATE events SET sender = 'nobody' WHERE id = 'b'", []).unwrap();
    db.plain().execute("UPDATE events SET id = x'ff' WHERE id = 'd'", []).unwrap();
    let mut follow = store.follow_all(None);
    let mut next = || follow.next_timeout(Duration::ZERO);
    assert_eq!(next().unwrap().unwrap().event.id, "a");
    let Err(Error::Decode { after: Some(after), id, .. }) = next() else { panic!() };
    assert_eq!(id, "b");
    assert_eq!(rest(&mut store.follow_all(through_text(&after)).from_end().unwrap()), [""; 0]);
    assert_eq!(next().unwrap().unwrap().event.id, "c");
    let Err(Error::Decode { after: Some(last), .. }) = next() else { panic!() };
    assert_eq!(next().unwrap(), None);
    append(&store, "t", &["e"]);
    assert_eq!(rest(&mut follow), ["e"]);
    assert_eq!(rest(&mut store.follow_all(through_text(&last))), ["e"]);
    let mut again = store.follow_all(through_text(&after));
    assert_eq!(again.next_timeout(Duration::ZERO).unwrap().unwrap().event.id, "c");
}

#[test]
fn cursors_of_other_listings_are_refused() {
    let store = store();
    append(&store, "s", &["a"]);
    let request = ListEventsRequest::new("s");
    let of_session = request.cursor_after(&store.get_event("a").unwrap().unwrap());
    let mut follow = store.follow_all(of_session);
    assert!(matches!(follow.next(), Some(Err(Error::InvalidCursor { .. }))));
    assert!(follow.next().is_none());
    let of_all = store.follow_all(None).next().unwrap().unwrap().cursor;
    let listed = store.list_events(&request.clone().cursor(of_all.clone()));
    assert!(matches!(listed, Err(Error::InvalidCursor { .. })), "{listed:?}");
    assert!(matches!(store.follow(request.cursor(of_all.clone())).next(), Some(Err(Error::InvalidCursor { .. }))));
    let changed = of_all.to_string().replacen("x", "x0", 1);
    assert!(changed.parse::<Cursor>().is_err());
}

#[test]
fn it_ends_with_the_store() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    let mut follow = store.follow_all(None);
    assert_eq!(rest(&mut follow), [""; 0]);
    let waiting = std::thread::spawn(move || (follow.next(), follow.next().is_none()));
    store.close().unwrap();
    assert!(matches!(waiting.join().unwrap(), (Some(Err(Error::Closed)), true)));
}

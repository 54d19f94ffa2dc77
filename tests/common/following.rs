//! Followers in tests: what they deliver, on threads of their own, where what does not come fails instead of hanging.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use agent_session_store::{Error, Follow, ListEventsRequest, SessionEvent, SessionPersistDriver, SessionStore};

use super::instrumentation::Watch;
use super::{event, new_event};

/// Longer than anything in a test takes.
pub const LONG: Duration = Duration::from_secs(60);

/// Follows on a thread of its own, until the end.
pub fn heard(mut follow: Follow) -> Receiver<Result<SessionEvent, Error>> {
    let (tell, heard) = channel();
    thread::spawn(move || {
        for item in &mut follow {
            if tell.send(item).is_err() {
                return;
            }
        }
        assert!(follow.next().is_none());
    });
    heard
}

/// The next event that comes.
pub fn next_id(heard: &Receiver<Result<SessionEvent, Error>>) -> String {
    heard.recv_timeout(LONG).expect("an event").unwrap().id
}

/// What is there without waiting.
pub fn rest(follow: &mut Follow) -> Vec<String> {
    std::iter::from_fn(|| follow.next_timeout(Duration::ZERO).unwrap()).map(|event| event.id).collect()
}

/// Followers of sessions that others do not write to read nothing, wherever they wait, and find what is written there.
/// The watch is of the store's connections; those of the other one were opened before.
pub fn assert_wakes_only_those_concerned(store: &SessionStore, other: &mut impl SessionPersistDriver, watch: &Watch) {
    let quiet: Vec<String> = (0..12).map(|number| format!("quiet-{number}")).collect();
    for id in &quiet[4..] {
        other.insert_events(&[event(&format!("{id} a"), id, 3), event(&format!("{id} b"), id, 3)]).unwrap();
    }
    // Before any event, at the last one, after an index, at a cursor, and beyond the end.
    let followers: Vec<_> = quiet
        .iter()
        .map(|id| {
            let request = ListEventsRequest::new(id);
            heard(store.follow(match id.as_str() {
                "quiet-9" => request.after(3),
                "quiet-10" => request.clone().cursor(Some(request.cursor_after(&event("quiet-10 b", id, 3)))),
                "quiet-11" => request.after(1_000_000),
                _ => request,
            }))
        })
        .collect();
    for (follower, id) in followers.iter().zip(&quiet).skip(4).take(5) {
        assert_eq!([next_id(follower), next_id(follower)], [format!("{id} a"), format!("{id} b")]);
    }
    let busy = heard(store.follow(ListEventsRequest::new("s")));
    let reads =
        || watch.take().into_iter().filter(|sql| sql.starts_with("SELECT") && sql.contains("payload_json")).count();
    // Each has read to its end.
    let mut begun = 0;
    while begun < followers.len() + 1 {
        begun += reads();
    }
    for index in 1..=20 {
        let id = format!("e{index}");
        other.insert_events(&[event(&id, "s", index)]).unwrap();
        assert_eq!(next_id(&busy), id);
    }
    // A page for each, and perhaps one more where it came between two questions; and those who did not wait yet.
    assert!(reads() <= 3 * 20 + followers.len());
    for (follower, id) in followers.iter().zip(&quiet) {
        other.insert_events(&[event(&format!("{id} c"), id, 3)]).unwrap();
        other.insert_events(&[event(&format!("{id} d"), id, 1_000_001)]).unwrap();
        if ["quiet-9", "quiet-11"].contains(&id.as_str()) {
            assert_eq!(next_id(follower), format!("{id} d"));
        } else {
            assert_eq!([next_id(follower), next_id(follower)], [format!("{id} c"), format!("{id} d")]);
        }
    }
}

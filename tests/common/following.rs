//! Followers in tests: what they deliver, on threads of their own, where what does not come fails instead of hanging.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use agent_session_store::{Error, Follow, SessionEvent};

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

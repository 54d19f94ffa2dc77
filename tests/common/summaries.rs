//! Sessions to be summed up, and what is told of them.

use std::fmt::Write;
use std::path::Path;

use agent_session_store::{ListSessionsRequest, Sender, SessionEvent, SessionPersistDriver, SessionSummary};

use super::samples::bare_session;
use super::{event, json, millis};

/// A session of so many events: a prompt, and then chunks of an answer.
pub fn talk(id: &str, length: i64) -> Vec<SessionEvent> {
    let said = |index| {
        let (sender, payload) = if index == 1 {
            let prompt = r#"{"id":1,"method":"session/prompt","params":{"prompt":[{"type":"text","text":"Fix it"}]}}"#;
            (Sender::Client, prompt)
        } else {
            let chunk = r#"{"method":"session/update","params":{"update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"word "}}}}"#;
            (Sender::Agent, chunk)
        };
        with!(event(&format!("{id}-{index}"), id, index), sender: sender, payload: json(payload))
    };
    (1..=length).map(said).collect()
}

/// Stores sessions of these lengths, the first one first.
pub fn store<D: SessionPersistDriver>(driver: &mut D, sessions: &[(&str, i64)]) {
    for (place, (id, length)) in sessions.iter().enumerate() {
        driver.update_session(&with!(bare_session(id), created_at: millis(place as i64))).unwrap();
        driver.insert_events(&talk(id, *length)).unwrap();
    }
}

pub fn all<D: SessionPersistDriver>(driver: &mut D) -> Vec<SessionSummary> {
    driver.list_session_summaries(&ListSessionsRequest::new().limit(1_000)).unwrap().items
}

/// What is told of the sessions of a length of 0, 1 and 10,000.
pub fn check_lengths<D: SessionPersistDriver>(driver: &mut D) {
    store(driver, &[("none", 0), ("one", 1), ("many", 10_000)]);
    let found = all(driver);
    let told: Vec<_> = found
        .iter()
        .map(|told| (&*told.session.id, told.title.as_deref(), told.last_index, told.last_activity, told.is_running))
        .collect();
    let at = |index: i64| Some(millis(1_700_000_000_000 + index));
    assert_eq!(
        told,
        [
            ("none", None, None, None, Some(false)),
            ("one", Some("Fix it"), Some(1), at(1), Some(true)),
            ("many", Some("Fix it"), Some(10_000), at(10_000), Some(true)),
        ]
    );
}

/// Compares all summaries with what was looked at once, by `UPDATE_SNAPSHOTS=1` and `git diff`.
pub fn check_fixture<D: SessionPersistDriver>(driver: &mut D, name: &str) {
    let mut found = String::new();
    for summary in all(driver) {
        writeln!(found, "{}", serde_json::to_string_pretty(&summary).unwrap()).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/summaries-{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    assert!(found == expected, "{} is another; what was found:\n{found}", path.display());
}

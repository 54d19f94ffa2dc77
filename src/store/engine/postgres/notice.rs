//! What the stores of a PostgreSQL database tell each other.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::store::changes::change::Change;

/// The channel, which belongs to a database.
pub(super) const CHANNEL: &str = "agent_session_store";

/// Whoever listens holds this lock, shared; so whoever gets it for themselves knows that nobody does.
pub(super) const LISTENERS_LOCK: &str = "475301, 1";

/// The server takes up to 7,999 bytes.
const LONGEST: usize = 7_999;

/// That something was committed. As JSON it is what the server passes on; anything else there, such as nothing, is from
/// somebody who does not say what was written.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notice<'a> {
    /// The store it is from, which knows already.
    #[serde(borrow)]
    from: Cow<'a, str>,
    /// The sessions whose events were written, if they are known and few enough.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    sessions: Option<BTreeSet<String>>,
}

impl<'a> Notice<'a> {
    pub(super) fn new(from: impl Into<Cow<'a, str>>) -> Self {
        Self { from: from.into(), sessions: Some(BTreeSet::new()) }
    }

    pub(super) fn is_from(&self, store: &str) -> bool {
        self.from == store
    }

    /// Adds a further change.
    pub(super) fn add(&mut self, change: &Change<'_>) {
        match (&mut self.sessions, change.sessions()) {
            (Some(sessions), Some(ids)) => {
                for id in ids {
                    if !sessions.contains(&**id) {
                        sessions.insert(id.clone().into_owned());
                    }
                }
                // More than these have no room.
                if sessions.len() > LONGEST / 4 {
                    self.sessions = None;
                }
            }
            (sessions, _) => *sessions = None,
        }
    }

    pub(super) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn written(&self) -> String {
        // Text and lists of text can always be written.
        let written = serde_json::to_string(self).unwrap_or_default();
        if written.len() <= LONGEST {
            return written;
        }
        Notice { from: Cow::Borrowed(&self.from), sessions: None }.written()
    }

    pub(super) fn change(self) -> Change<'static> {
        match self.sessions {
            None => Change::Anything,
            Some(ids) => Change::of_all(ids.into_iter().map(|id| Change::Events(Cow::Owned(id)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(changes: &[Change<'_>]) -> String {
        let mut notice = Notice::new("me");
        changes.iter().for_each(|change| notice.add(change));
        notice.written()
    }

    fn events_of(id: &str) -> Change<'_> {
        Change::Events(Cow::Borrowed(id))
    }

    #[test]
    fn a_notice_says_which_sessions_have_events_if_it_can() {
        let long = "x".repeat(4_000);
        let many: Vec<String> = (0..3_000).map(|n| format!("{n}")).collect();
        let many: Vec<_> = many.iter().map(|id| events_of(id)).collect();
        for (changes, text) in [
            (&[Change::NoEvents][..], r#"{"from":"me","sessions":[]}"#),
            (&[events_of("b"), events_of("a"), events_of("b")], r#"{"from":"me","sessions":["a","b"]}"#),
            (&[events_of("\"\n\u{1f600}")], r#"{"from":"me","sessions":["\"\n😀"]}"#),
            (&[events_of("a"), Change::Anything, events_of("b")], r#"{"from":"me"}"#),
            (&[events_of(&long), events_of(&long[1..])], r#"{"from":"me"}"#),
            (&many, r#"{"from":"me"}"#),
        ] {
            let written = notice(changes);
            assert_eq!(written, text);
            assert!(written.len() <= LONGEST);
            let read = Notice::read(&written).expect("its own text");
            assert!(read.is_from("me") && !read.is_from("you"));
            assert_eq!(read.written(), text);
        }
        assert_eq!(Notice::read(r#"{"from":"me","sessions":[]}"#).map(Notice::change), Some(Change::NoEvents));
        assert_eq!(Notice::read(r#"{"from":"me","later":1}"#).map(Notice::change), Some(Change::Anything));
        for other in ["", "a", "{}", "[]", r#"{"from":1}"#] {
            assert_eq!(Notice::read(other), None);
        }
    }
}

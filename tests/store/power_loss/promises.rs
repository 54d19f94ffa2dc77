//! What a process has said, and what a file must hold therefore.

use std::collections::{BTreeMap, BTreeSet};

use agent_session_store::{ListEventsRequest, SessionStore};

use super::process::{BATCH, sample, versioned};

/// What must be there after a cut, out of what was said before it.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    pub events: BTreeSet<(String, i64)>,
    pub begun_deletes: BTreeSet<String>,
    deleted: BTreeSet<String>,
    record: Option<i64>,
    newest_record: Option<i64>,
    pub is_migrated: bool,
    /// How many events each copy has at least.
    pub begun_copies: BTreeMap<String, i64>,
    pub copies: BTreeSet<String>,
}

impl Promises {
    pub fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |text: &str| text.parse::<i64>().unwrap();
        match *words {
            ["ack", "event", session, index] => _ = self.events.insert((session.to_owned(), number(index))),
            ["ack", "batch", session] => {
                self.events.extend((0..BATCH).map(|index| (session.to_owned(), index)));
            }
            ["begin", "delete", session] => _ = self.begun_deletes.insert(session.to_owned()),
            ["ack", "delete", session] => _ = self.deleted.insert(session.to_owned()),
            ["begin", "record", version] => self.newest_record = Some(number(version)),
            ["ack", "record", version] => self.record = Some(number(version)),
            ["ack", "migrated"] => self.is_migrated = true,
            ["begin", "copy", target, events] => {
                _ = self.begun_copies.insert(target.to_owned(), number(events));
            }
            ["ack", "copy", target] => _ = self.copies.insert(target.to_owned()),
            // The test harness has a word to say, too.
            _ => {}
        }
    }

    /// Whether the events in the file are those, each as it was written.
    pub fn check(&self, store: &SessionStore) {
        let mut by_session: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for stats in store.session_stats().unwrap() {
            for found in store.events(ListEventsRequest::new(stats.session_id)) {
                let found = found.unwrap();
                if found.session_id == "reopened" {
                    continue;
                }
                assert_eq!(found, sample(&found.session_id, found.event_index));
                by_session.entry(found.session_id).or_default().insert(found.event_index);
            }
        }
        for (session, index) in &self.events {
            let is_there = by_session.get(session).is_some_and(|indexes| indexes.contains(index));
            assert!(is_there, "event {index} of {session} was acknowledged, and is lost");
        }
        for (session, indexes) in &by_session {
            if session.starts_with("batch-") {
                assert_eq!(indexes.len() as i64, BATCH, "half of {session}");
            }
        }
        for session in &self.deleted {
            assert!(!by_session.contains_key(session), "{session} is back");
        }
        if let Some(acknowledged) = self.record {
            let found = store.get_session("record").unwrap().unwrap();
            let newest = self.newest_record.unwrap();
            let known = (acknowledged..=newest).map(|version| versioned("record", version));
            assert!(known.into_iter().any(|known| known == found), "{acknowledged} to {newest}, not {found:?}");
        }
    }
}

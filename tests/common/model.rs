//! What a database should hold: two sorted maps.

use std::collections::{BTreeMap, BTreeSet};

use agent_session_store::{SessionEvent, SessionRecord};

#[derive(Default)]
pub struct Model {
    pub sessions: BTreeMap<String, SessionRecord>,
    pub events: BTreeMap<String, SessionEvent>,
}

impl Model {
    pub fn put(&mut self, events: &[SessionEvent]) {
        self.events.extend(events.iter().map(|event| (event.id.clone(), event.clone())));
    }

    /// The events of a session as they are listed.
    pub fn of_session(&self, id: &str) -> Vec<SessionEvent> {
        let mut events: Vec<_> = self.events.values().filter(|event| event.session_id == id).cloned().collect();
        sort(&mut events);
        events
    }

    pub fn last(&self, id: &str) -> Option<i64> {
        self.of_session(id).last().map(|event| event.event_index)
    }

    pub fn exists(&self, id: &str) -> bool {
        self.sessions.contains_key(id) || self.events.values().any(|event| event.session_id == id)
    }

    /// The sessions that have events, on record or not.
    pub fn sessions_of_events(&self) -> BTreeSet<String> {
        self.events.values().map(|event| event.session_id.clone()).collect()
    }

    /// Deletes a session, and says whether there was anything of it.
    pub fn delete(&mut self, id: &str) -> bool {
        let existed = self.exists(id);
        self.sessions.remove(id);
        self.events.retain(|_, event| event.session_id != id);
        existed
    }

    /// Copies events of a session into a new one.
    pub fn copy(&mut self, events: Vec<SessionEvent>, new: &SessionRecord) {
        let copies = events.into_iter().map(|event| copied(event, &new.id));
        self.events.extend(copies.map(|copy| (copy.id.clone(), copy)));
        self.sessions.insert(new.id.clone(), new.clone());
    }
}

/// An event as a fork copies it.
pub fn copied(event: SessionEvent, to: &str) -> SessionEvent {
    with!(event.clone(), id: format!("{to}:{}", event.id), session_id: to.to_owned())
}

/// Sorts events as they are listed.
pub fn sort(events: &mut [SessionEvent]) {
    events.sort_by(|one, other| (one.event_index, &one.id).cmp(&(other.event_index, &other.id)));
}

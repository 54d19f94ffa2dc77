//! Why a prune deletes something.

use crate::model::retention::PruneRequest;

/// Why a session or some of its events must be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// It was requested by id.
    Named,
    /// It is older than a given time.
    Doomed,
    /// Its events are older than a given time, and it has no record.
    Orphans,
    /// It has too many events.
    Excess,
}

impl Rule {
    /// The rules of a request, in the order in which they are applied.
    pub(crate) fn of(request: &PruneRequest) -> Vec<Self> {
        let mut rules = Vec::new();
        if !request.sessions.is_empty() {
            rules.push(Self::Named);
        }
        if request.destroyed_before.is_some() || request.created_before.is_some() {
            rules.push(Self::Doomed);
        }
        if request.orphans_before.is_some() {
            rules.push(Self::Orphans);
        }
        if request.max_events_per_session.is_some() {
            rules.push(Self::Excess);
        }
        rules
    }
}

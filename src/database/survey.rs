//! What a prune would delete, session by session, found in one go: for a dry run, and for an archive.

use std::collections::{HashMap, HashSet};

use super::pruning::Rule;
use crate::model::report::PruneReport;
use crate::model::retention::PruneRequest;

/// When a session was last active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastActivity {
    /// In Unix milliseconds; the greatest number if it cannot be told.
    pub(crate) at: i64,
    /// What identifies the last event.
    pub(crate) last_event: String,
}

/// A session that has events, and what their payloads weigh.
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    pub(crate) session_id: String,
    pub(crate) activity: LastActivity,
    pub(crate) bytes: u64,
}

/// The sessions that have to go, so that the others weigh no more than this.
pub(crate) fn least_active(mut sessions: Vec<Weight>, most_bytes: u64) -> Vec<Weight> {
    let mut left = sessions.iter().fold(0, |sum: u64, session| sum.saturating_add(session.bytes));
    let order = |session: &Weight| session.activity.at;
    sessions.sort_unstable_by(|one, other| {
        order(one).cmp(&order(other)).then_with(|| one.session_id.cmp(&other.session_id))
    });
    let going = sessions.iter().take_while(|session| {
        let goes = left > most_bytes;
        left = left.saturating_sub(session.bytes);
        goes
    });
    let going = going.count();
    sessions.truncate(going);
    sessions
}

/// What there is of a session.
#[derive(Debug)]
pub(crate) struct SurveyedSession {
    pub(crate) session_id: String,
    pub(crate) has_record: bool,
    /// Whether one of the rules about times selects it.
    pub(crate) is_doomed: bool,
    pub(crate) events: u64,
    /// How many of its events are old, if it has no record.
    pub(crate) orphans: u64,
}

/// What a prune deletes of a session, and why.
#[derive(Debug)]
pub(crate) struct PrunedSession {
    pub(crate) session_id: String,
    pub(crate) rule: Rule,
    pub(crate) has_record: bool,
    /// How many events go.
    pub(crate) events: u64,
    /// How many of them go because there are too many: the oldest that no other rule selects.
    pub(crate) excess: u64,
    /// Its last activity, if that is why it goes.
    pub(crate) activity: Option<LastActivity>,
}

impl PrunedSession {
    fn whole(summary: SurveyedSession, rule: Rule, activity: Option<LastActivity>) -> Self {
        let SurveyedSession { session_id, has_record, events, .. } = summary;
        Self { session_id, rule, has_record, events, excess: 0, activity }
    }

    /// A session that only loses events, if it loses any.
    fn partly(summary: SurveyedSession, request: &PruneRequest) -> Option<Self> {
        let SurveyedSession { session_id, has_record, events, orphans, .. } = summary;
        let most = request.max_events_per_session.map_or(u64::MAX, u64::from);
        let excess = (events - orphans).saturating_sub(most);
        let rule = if orphans > 0 { Rule::Orphans } else { Rule::Excess };
        let pruned = Self { session_id, rule, has_record, events: orphans + excess, excess, activity: None };
        Some(pruned).filter(|pruned| pruned.events > 0)
    }

    /// Whether its record goes too.
    pub(crate) fn loses_record(&self) -> bool {
        self.has_record && self.rule.is_whole()
    }

    pub(crate) fn report(&self) -> PruneReport {
        PruneReport { sessions: u64::from(self.loses_record()), events: self.events }
    }
}

/// Applies the rules to what there is. A row taken by one rule is not counted for the next, so each row counts once.
pub(crate) struct Survey<'a> {
    request: &'a PruneRequest,
    named: HashSet<&'a str>,
    found: Vec<PrunedSession>,
    /// Sessions that may yet have to go as a whole.
    rest: HashMap<String, SurveyedSession>,
}

impl<'a> Survey<'a> {
    pub(crate) fn new(request: &'a PruneRequest) -> Self {
        let named = request.sessions.iter().map(String::as_str).collect();
        Self { request, named, found: Vec::new(), rest: HashMap::new() }
    }

    pub(crate) fn add(&mut self, summary: SurveyedSession) {
        if self.named.contains(&*summary.session_id) {
            self.found.push(PrunedSession::whole(summary, Rule::Named, None));
        } else if summary.is_doomed {
            self.found.push(PrunedSession::whole(summary, Rule::Doomed, None));
        } else if self.request.max_total_bytes.is_some() {
            self.rest.insert(summary.session_id.clone(), summary);
        } else {
            self.found.extend(PrunedSession::partly(summary, self.request));
        }
    }

    /// What goes, given what is left of each session by the rules before the last: sessions with their records first,
    /// each part by id.
    pub(crate) fn finish(mut self, mut weights: Vec<Weight>) -> Vec<PrunedSession> {
        if let Some(most) = self.request.max_total_bytes {
            weights.retain(|weight| self.rest.contains_key(&weight.session_id));
            for Weight { session_id, activity, .. } in least_active(weights, most) {
                let summary = self.rest.remove(&session_id);
                self.found.extend(summary.map(|summary| PrunedSession::whole(summary, Rule::Size, Some(activity))));
            }
            let rest = self.rest.into_values();
            self.found.extend(rest.filter_map(|summary| PrunedSession::partly(summary, self.request)));
        }
        let order = |session: &PrunedSession| !session.loses_record();
        self.found.sort_unstable_by(|one, other| {
            order(one).cmp(&order(other)).then_with(|| one.session_id.cmp(&other.session_id))
        });
        self.found
    }
}

//! What a prune searches for: rule by rule, a bounded number of rows at a time.
//!
//! A search moves forward through the sessions and their events and never goes back. So it ends, and reads everything
//! once, whatever happens to the rows that it found.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::model::retention::PruneRequest;

/// How long it searches at a time if it does not find enough before.
const LOOK_TIME: Duration = Duration::from_millis(50);

/// Why a session or some of its events must be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// It was requested by id.
    Named,
    /// It is older than a given time, or has been inactive since then.
    Doomed,
    /// Its events are older than a given time, and it has no record.
    Orphans,
    /// It has too many events.
    Excess,
    /// All sessions together are too large, and it has been inactive for longest.
    Size,
}

impl Rule {
    /// The rules of a request, in the order in which they are applied.
    pub(crate) fn of(request: &PruneRequest) -> Vec<Self> {
        let mut rules = Vec::new();
        if !request.sessions.is_empty() {
            rules.push(Self::Named);
        }
        let PruneRequest { destroyed_before, created_before, inactive_before, .. } = request;
        if [destroyed_before, created_before, inactive_before].into_iter().any(Option::is_some) {
            rules.push(Self::Doomed);
        }
        if request.orphans_before.is_some() {
            rules.push(Self::Orphans);
        }
        if request.max_events_per_session.is_some() {
            rules.push(Self::Excess);
        }
        if request.max_total_bytes.is_some() {
            rules.push(Self::Size);
        }
        rules
    }

    /// Whether it selects whole sessions.
    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Self::Named | Self::Doomed | Self::Size)
    }
}

/// A search for what a request's rules select.
pub(crate) struct Search<S> {
    request: Arc<PruneRequest>,
    rules: std::vec::IntoIter<Rule>,
    stage: Option<S>,
}

/// One rule and its progress, on one database.
pub(crate) trait Stage<C>: Sized {
    /// Some rows of one session.
    type Finding;

    async fn new(conn: &mut C, request: &PruneRequest, rule: Rule) -> Result<Self>;
    /// Finds more sessions that the rule may select, and returns whether there may be others.
    async fn find_sessions(&mut self, conn: &mut C, request: &PruneRequest) -> Result<bool>;
    /// Starts on the next session that was found, if there is one.
    async fn next_session(&mut self, conn: &mut C, request: &PruneRequest) -> Result<bool>;
    /// Examines the session further.
    async fn look(&mut self, conn: &mut C, request: &PruneRequest, rows: usize) -> Result<Option<Self::Finding>>;
    /// How many events were found.
    fn events(finding: &Self::Finding) -> usize;
}

impl<S> Search<S> {
    pub(crate) fn new(request: Arc<PruneRequest>) -> Self {
        let rules = Rule::of(&request);
        Self { request, rules: rules.into_iter(), stage: None }
    }

    /// Finds about this many rows to delete: perhaps none yet, and `None` once everything has been examined.
    pub(crate) async fn look<C>(&mut self, conn: &mut C, rows: usize) -> Result<Option<Vec<S::Finding>>>
    where
        S: Stage<C>,
    {
        let began = Instant::now();
        let (mut parts, mut found) = (Vec::new(), 0);
        while found < rows && began.elapsed() < LOOK_TIME {
            let Some(stage) = &mut self.stage else {
                // The rows of one rule must be deleted before the next rule searches.
                if !parts.is_empty() {
                    break;
                }
                let Some(rule) = self.rules.next() else { return Ok(None) };
                self.stage = Some(S::new(conn, &self.request, rule).await?);
                continue;
            };
            if stage.next_session(conn, &self.request).await? {
                if let Some(part) = stage.look(conn, &self.request, rows - found).await? {
                    // A record costs as much as an event.
                    found += S::events(&part) + 1;
                    parts.push(part);
                }
            } else if !stage.find_sessions(conn, &self.request).await? {
                self.stage = None;
            }
        }
        Ok(Some(parts))
    }
}

//! Keeping a database from growing: what is old goes, in steps that let other writers in between.

mod dry_run;
mod plan;
mod position;
mod step;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

pub(crate) use self::dry_run::dry_run;
use self::plan::Plan;
use self::step::{Place, step};
use crate::checkpoint;
use crate::error::{Done, Error, Result};
use crate::steps::{Access, Pace, STEP_ROWS};
use crate::transaction;

/// What to delete. Each rule stands for itself; without any, nothing is deleted.
///
/// ```
/// use agent_session_store::{PruneRequest, SessionStore};
/// use chrono::DateTime;
///
/// let month_ago = DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
/// let request = PruneRequest::new().destroyed_before(month_ago).max_events_per_session(10_000);
///
/// let store = SessionStore::open_in_memory()?;
/// let would_go = store.prune(&request.clone().dry_run())?;
/// let gone = store.prune(&request)?;
/// assert_eq!(would_go, gone);
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct PruneRequest {
    sessions: Vec<String>,
    destroyed_before: Option<i64>,
    created_before: Option<i64>,
    max_events_per_session: Option<u32>,
    orphans_before: Option<i64>,
    dry_run: bool,
    reclaim_space: bool,
}

impl PruneRequest {
    /// A request without a rule.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// assert_eq!(PruneRequest::new(), PruneRequest::default());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The session with this id, with its events, whether it has a record or not; each call adds one.
    ///
    /// It is deleted in steps that let other writers in between, whereas
    /// [`delete_session`](crate::SessionPersistDriver::delete_session) deletes it in one piece. In a transaction of yours
    /// there is no difference.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().session("session-1").session("session-2");
    /// ```
    pub fn session(mut self, id: impl Into<String>) -> Self {
        self.sessions.push(id.into());
        self
    }

    /// Sessions that ended before this time, with their events.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().destroyed_before(chrono::DateTime::UNIX_EPOCH);
    /// ```
    pub fn destroyed_before(mut self, time: DateTime<Utc>) -> Self {
        self.destroyed_before = Some(time.timestamp_millis());
        self
    }

    /// Sessions that began before this time, with their events, whether they have ended or not.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().created_before(chrono::DateTime::UNIX_EPOCH);
    /// ```
    pub fn created_before(mut self, time: DateTime<Utc>) -> Self {
        self.created_before = Some(time.timestamp_millis());
        self
    }

    /// The oldest events of each session that has more than this many, until it has this many.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().max_events_per_session(10_000);
    /// ```
    pub fn max_events_per_session(mut self, events: u32) -> Self {
        self.max_events_per_session = Some(events);
        self
    }

    /// Events of before this time that belong to no session on record.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().orphans_before(chrono::DateTime::UNIX_EPOCH);
    /// ```
    pub fn orphans_before(mut self, time: DateTime<Utc>) -> Self {
        self.orphans_before = Some(time.timestamp_millis());
        self
    }

    /// Only reports what would be deleted.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().max_events_per_session(10_000).dry_run();
    /// ```
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Gives the space back to the file system afterwards, as
    /// [`reclaim_space`](crate::SessionPersistDriver::reclaim_space) does, with what that costs.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().max_events_per_session(10_000).reclaim_space();
    /// ```
    pub fn reclaim_space(mut self) -> Self {
        self.reclaim_space = true;
        self
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    pub(crate) fn reclaims_space(&self) -> bool {
        self.reclaim_space && !self.dry_run
    }
}

/// How much [`prune`](crate::SessionPersistDriver::prune) deleted, or would have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PruneReport {
    /// Sessions.
    pub sessions: u64,
    /// Events, those of the sessions included.
    pub events: u64,
}

impl std::ops::AddAssign for PruneReport {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.events += other.events;
    }
}

/// Sessions that a rule of time hits; `?1` is `destroyed_before` and `?2` is `created_before`, either of which may be
/// NULL.
const DOOMED: &str = "(destroyed_at < ?1 OR created_at < ?2)";

pub(crate) fn prune(conn: &mut SqliteConnection, request: &PruneRequest) -> Result<PruneReport> {
    if request.is_dry_run() {
        return dry_run(conn, request);
    }
    if !transaction::is_open(conn)? {
        return in_steps(conn, request, reclaim_space);
    }
    // In the caller's transaction nothing is done for good, so there it is all or nothing.
    transaction::atomically_reading(conn, |conn| {
        let mut report = PruneReport::default();
        take_steps(conn, request, Pace::new(false, STEP_ROWS), &mut report)?;
        if request.reclaims_space() {
            reclaim_space(conn)?;
        }
        Ok(report)
    })
}

/// Prunes in transactions of its own, and then reclaims the space if that is asked for.
pub(crate) fn in_steps<A: Access>(
    access: &mut A,
    request: &PruneRequest,
    reclaim_space: impl FnOnce(&mut A) -> Result<()>,
) -> Result<PruneReport> {
    let mut report = PruneReport::default();
    let mut result = take_steps(access, request, Pace::new(true, STEP_ROWS), &mut report);
    if result.is_ok() && request.reclaims_space() {
        result = reclaim_space(access);
    }
    match result {
        Ok(()) => Ok(report),
        Err(source) if report == PruneReport::default() => Err(source),
        Err(source) => Err(Error::Unfinished { done: Done::Pruned(report), source: Box::new(source) }),
    }
}

/// Looks for what is to go, and deletes it, by turns. The report counts what was committed, also where it then failed.
fn take_steps<A: Access>(
    access: &mut A,
    request: &PruneRequest,
    mut pace: Pace,
    report: &mut PruneReport,
) -> Result<()> {
    let request = Arc::new(request.clone());
    let mut plan = Plan::new(Arc::clone(&request));
    loop {
        let rows = pace.rows();
        let Some(parts) = access.read(|conn| plan.look(conn, rows))? else { return Ok(()) };
        let parts = Arc::new(parts);
        let mut place = Place::default();
        while !place.is_end_of(&parts) {
            pace.wait();
            let (request, parts) = (Arc::clone(&request), Arc::clone(&parts));
            let stepped = access.write(move |conn| step(conn, &request, &parts, place))?;
            pace.took(stepped.began);
            *report += stepped.report;
            if let Some(failure) = stepped.failure {
                return Err(failure);
            }
            place = stepped.place;
        }
    }
}

pub(crate) fn reclaim_space(conn: &mut SqliteConnection) -> Result<()> {
    conn.batch_execute("VACUUM")?;
    // With a write-ahead log, the file shrinks when the log is moved into it.
    checkpoint::unasked(conn)
}

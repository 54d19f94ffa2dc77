//! Keeping a database from growing: what is old goes, in steps that let other writers in between.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use serde::{Deserialize, Serialize};

use crate::checkpoint;
use crate::column::{Column, StoredText};
use crate::error::Result;
use crate::transaction;

/// Rows that one step deletes at most, so that a writer waits for milliseconds only.
const STEP: i64 = 500;

/// The longest that a prune waits between two steps.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

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

/// Sessions that a rule hits; `?1` is `destroyed_before` and `?2` is `created_before`, either of which may be NULL.
const DOOMED: &str = "destroyed_at < ?1 OR created_at < ?2";

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: Column<StoredText>,
}

/// The ids that a session can have; rows of another one stay where they are, for a check to find.
fn readable(rows: Vec<Id>) -> impl Iterator<Item = String> {
    rows.into_iter().filter_map(|row| row.id.ok()).map(|text| text.0)
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// One session's part of what there is to delete.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Session(String),
    Orphans(String),
    Excess(String),
}

/// Finds the sessions that a rule hits; their ids are all that is kept in memory.
pub(crate) fn plan(conn: &mut SqliteConnection, request: &PruneRequest) -> Result<Vec<Target>> {
    transaction::reading(conn, |conn| {
        let mut targets = Vec::new();
        let sessions: Vec<Id> = diesel::sql_query(format!("SELECT id FROM main.sessions WHERE {DOOMED}"))
            .bind::<Nullable<BigInt>, _>(request.destroyed_before)
            .bind::<Nullable<BigInt>, _>(request.created_before)
            .load(conn)?;
        targets.extend(readable(sessions).map(Target::Session));
        if request.orphans_before.is_some() {
            let orphans: Vec<Id> = diesel::sql_query(
                "SELECT DISTINCT session_id AS id FROM main.events \
                 WHERE NOT EXISTS (SELECT 1 FROM main.sessions WHERE sessions.id = events.session_id)",
            )
            .load(conn)?;
            targets.extend(readable(orphans).map(Target::Orphans));
        }
        if let Some(most) = request.max_events_per_session {
            let long: Vec<Id> =
                diesel::sql_query("SELECT session_id AS id FROM main.events GROUP BY session_id HAVING count(*) > ?")
                    .bind::<BigInt, _>(i64::from(most))
                    .load(conn)?;
            targets.extend(readable(long).map(Target::Excess));
        }
        Ok(targets)
    })
}

/// Does a bounded part of what a target asks for, in one transaction. Says whether that was all of it.
pub(crate) fn step(
    conn: &mut SqliteConnection,
    request: &PruneRequest,
    target: &Target,
) -> Result<(PruneReport, bool)> {
    transaction::atomically(conn, |conn| {
        let report = match target {
            Target::Session(id) => step_session(conn, request, id)?,
            Target::Orphans(id) => step_orphans(conn, request, id)?,
            Target::Excess(id) => step_excess(conn, request, id)?,
        };
        Ok((report, report.events < STEP as u64))
    })
}

/// Some of a session's events, and with the last of them its record. A session that has changed so that no rule hits
/// it any more keeps what it has.
fn step_session(conn: &mut SqliteConnection, request: &PruneRequest, id: &str) -> Result<PruneReport> {
    let delete = |conn: &mut SqliteConnection, sql: String| {
        diesel::sql_query(sql)
            .bind::<Nullable<BigInt>, _>(request.destroyed_before)
            .bind::<Nullable<BigInt>, _>(request.created_before)
            .bind::<Text, _>(id)
            .execute(conn)
    };
    let events = delete(
        conn,
        format!(
            "DELETE FROM main.events WHERE rowid IN (SELECT rowid FROM main.events WHERE session_id = ?3 LIMIT {STEP}) \
             AND EXISTS (SELECT 1 FROM main.sessions WHERE id = ?3 AND ({DOOMED}))"
        ),
    )? as u64;
    let sessions = if events < STEP as u64 {
        delete(conn, format!("DELETE FROM main.sessions WHERE id = ?3 AND ({DOOMED})"))? as u64
    } else {
        0
    };
    Ok(PruneReport { sessions, events })
}

fn step_orphans(conn: &mut SqliteConnection, request: &PruneRequest, id: &str) -> Result<PruneReport> {
    let events = diesel::sql_query(format!(
        "DELETE FROM main.events WHERE rowid IN \
             (SELECT rowid FROM main.events WHERE session_id = ?1 AND created_at < ?2 LIMIT {STEP}) \
             AND NOT EXISTS (SELECT 1 FROM main.sessions WHERE id = ?1)"
    ))
    .bind::<Text, _>(id)
    .bind::<Nullable<BigInt>, _>(request.orphans_before)
    .execute(conn)?;
    Ok(PruneReport { sessions: 0, events: events as u64 })
}

/// Finds the newest event that has to go anew at every step: others append meanwhile, and another rule may have taken
/// some. That reads as many index entries as events stay, however many go.
fn step_excess(conn: &mut SqliteConnection, request: &PruneRequest, id: &str) -> Result<PruneReport> {
    let Some(most) = request.max_events_per_session else { return Ok(PruneReport::default()) };
    let events = diesel::sql_query(format!(
        "DELETE FROM main.events WHERE rowid IN (SELECT rowid FROM main.events WHERE session_id = ?1 \
             AND (event_index, id) <= (SELECT event_index, id FROM main.events WHERE session_id = ?1 \
                 ORDER BY event_index DESC, id DESC LIMIT 1 OFFSET ?2) \
             ORDER BY event_index, id LIMIT {STEP})"
    ))
    .bind::<Text, _>(id)
    .bind::<BigInt, _>(i64::from(most))
    .execute(conn)?;
    Ok(PruneReport { sessions: 0, events: events as u64 })
}

/// What all steps together would delete.
pub(crate) fn dry_run(conn: &mut SqliteConnection, request: &PruneRequest) -> Result<PruneReport> {
    transaction::reading(conn, |conn| {
        let sessions: Count = diesel::sql_query(format!("SELECT count(*) AS count FROM main.sessions WHERE {DOOMED}"))
            .bind::<Nullable<BigInt>, _>(request.destroyed_before)
            .bind::<Nullable<BigInt>, _>(request.created_before)
            .get_result(conn)?;
        // What one rule takes is not there for the next: each event counts once.
        let events: Count = diesel::sql_query(format!(
            "SELECT coalesce(sum(CASE WHEN is_doomed THEN events \
                 ELSE orphans + max(0, coalesce(events - orphans - ?4, 0)) END), 0) AS count \
             FROM (SELECT count(*) AS events, session_id IN (SELECT id FROM main.sessions WHERE {DOOMED}) AS is_doomed, \
                 count(CASE WHEN created_at < ?3 AND session_id NOT IN (SELECT id FROM main.sessions) THEN 1 END) AS orphans \
                 FROM main.events GROUP BY session_id)"
        ))
        .bind::<Nullable<BigInt>, _>(request.destroyed_before)
        .bind::<Nullable<BigInt>, _>(request.created_before)
        .bind::<Nullable<BigInt>, _>(request.orphans_before)
        .bind::<Nullable<BigInt>, _>(request.max_events_per_session.map(i64::from))
        .get_result(conn)?;
        Ok(PruneReport { sessions: sessions.count as u64, events: events.count as u64 })
    })
}

pub(crate) fn prune(conn: &mut SqliteConnection, request: &PruneRequest) -> Result<PruneReport> {
    if request.is_dry_run() {
        return dry_run(conn, request);
    }
    // In a transaction of the caller's, a pause would only hold the lock for longer.
    let pauses = !transaction::is_open(conn)?;
    let report = in_steps(plan(conn, request)?, pauses, |target| step(conn, request, target))?;
    if request.reclaims_space() {
        reclaim_space(conn)?;
    }
    Ok(report)
}

/// Takes the steps that the targets need, and after each waits for as long as it took. A connection that waits for the
/// lock only looks now and then whether it is free, and would hardly ever find it so between steps that follow at once.
pub(crate) fn in_steps(
    targets: Vec<Target>,
    pauses: bool,
    mut step: impl FnMut(&Target) -> Result<(PruneReport, bool)>,
) -> Result<PruneReport> {
    let mut report = PruneReport::default();
    for target in targets {
        loop {
            let started = Instant::now();
            let (part, is_all) = step(&target)?;
            report += part;
            if is_all {
                break;
            }
            if pauses {
                std::thread::sleep(started.elapsed().min(LONGEST_PAUSE));
            }
        }
    }
    Ok(report)
}

pub(crate) fn reclaim_space(conn: &mut SqliteConnection) -> Result<()> {
    conn.batch_execute("VACUUM")?;
    // With a write-ahead log, the file shrinks when the log is moved into it.
    checkpoint::unasked(conn)
}

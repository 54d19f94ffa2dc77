//! Finds rows to delete, without the write lock.

use std::collections::VecDeque;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::Finding;
use super::activity::is_doomed;
use super::distinct_ids::{FoundSessionId, distinct_ids};
use super::measure::Measuring;
use super::places::{EventPlace, aged_places, boundary, places};
use crate::database::columns::{Column, StoredText};
use crate::database::doomed::Doomed;
use crate::database::pruning::{Rule, Stage};
use crate::database::statement::sqlite_statement;
use crate::database::survey::{LastActivity, least_active};
use crate::error::Result;
use crate::model::retention::PruneRequest;

/// How many sessions, or events that may stay, it examines in one query.
const CHUNK: usize = 1_000;

/// One rule and its progress.
pub(crate) struct RuleStage {
    rule: Rule,
    rest: Rest,
    /// Sessions that were found but not examined yet, with their last activity if that is why they go.
    sessions: VecDeque<(String, Option<LastActivity>)>,
    /// The session being examined.
    session: Option<Visited>,
}

/// The sessions still to be found.
enum Rest {
    /// Rows of `sessions` within a range; rows that a trigger puts back come after it.
    Rows(i64, i64),
    /// The values of `events.session_id` after this one, in the database's encoding.
    Ids(Option<Vec<u8>>),
    /// All of them have to be measured first.
    Measuring(Measuring),
    Nothing,
}

impl Rest {
    /// After the records, sessions that have none: only inactivity selects these.
    fn after_records(request: &PruneRequest) -> Self {
        if request.inactive_before.is_some() { Self::Ids(None) } else { Self::Nothing }
    }
}

struct Visited {
    id: String,
    activity: Option<LastActivity>,
    after: Option<EventPlace>,
    upto: Option<EventPlace>,
}

sqlite_statement! {
    /// The next records, whether they are doomed or not.
    DoomedRows { doomed: Doomed<'a>, from: i64, upto: i64 } -> (BigInt, Text, Nullable<Bool>),
    "SELECT rowid, id, " { doomed } " FROM " sessions " WHERE rowid BETWEEN " { from as BigInt } " AND " { upto as BigInt }
    " ORDER BY rowid LIMIT 1000"
}

#[derive(Queryable)]
struct SessionRow {
    rowid: i64,
    id: Column<StoredText>,
    is_doomed: Option<bool>,
}

#[derive(QueryableByName)]
struct LastRow {
    #[diesel(sql_type = Nullable<BigInt>)]
    rowid: Option<i64>,
}

impl Stage<SqliteConnection> for RuleStage {
    type Finding = Finding;

    async fn new(conn: &mut SqliteConnection, request: &PruneRequest, rule: Rule) -> Result<Self> {
        let mut sessions = VecDeque::new();
        let rest = match rule {
            Rule::Named => {
                sessions.extend(request.sessions.iter().map(|id| (id.clone(), None)));
                Rest::Nothing
            }
            Rule::Doomed => {
                let last: LastRow =
                    diesel::sql_query("SELECT max(rowid) AS rowid FROM main.sessions").get_result(conn)?;
                last.rowid.map_or_else(|| Rest::after_records(request), |last| Rest::Rows(i64::MIN, last))
            }
            Rule::Orphans | Rule::Excess => Rest::Ids(None),
            Rule::Size => Rest::Measuring(Measuring::default()),
        };
        Ok(Self { rule, rest, sessions, session: None })
    }

    /// A row whose id is not text, or not valid text, stays for a check to find.
    async fn find_sessions(&mut self, conn: &mut SqliteConnection, request: &PruneRequest) -> Result<bool> {
        match &mut self.rest {
            Rest::Nothing => return Ok(false),
            &mut Rest::Rows(from, upto) => {
                let rows: Vec<SessionRow> = DoomedRows { doomed: Doomed { by: request }, from, upto }.load(conn)?;
                let next = rows.last().and_then(|row| row.rowid.checked_add(1));
                self.rest = next.map_or_else(|| Rest::after_records(request), |next| Rest::Rows(next, upto));
                let doomed = rows.into_iter().filter(|row| row.is_doomed == Some(true));
                self.sessions.extend(doomed.filter_map(|row| row.id.ok()).map(|text| (text.0, None)));
            }
            Rest::Ids(after) => {
                let ids = distinct_ids(conn, after.as_deref())?;
                self.rest = ids.last().map_or(Rest::Nothing, |last| Rest::Ids(Some(last.bytes.clone())));
                let is_hit = |id: &FoundSessionId| self.rule == Rule::Excess || !id.has_record;
                for StoredText(id) in ids.into_iter().filter(is_hit).filter_map(|id| id.id.ok()) {
                    if self.rule != Rule::Doomed || is_doomed(conn, request, &id)? {
                        self.sessions.push_back((id, None));
                    }
                }
            }
            Rest::Measuring(measuring) => {
                if let Some(weights) = measuring.advance(conn)? {
                    self.rest = Rest::Nothing;
                    let going = least_active(weights, request.max_total_bytes.unwrap_or(u64::MAX));
                    self.sessions.extend(going.into_iter().map(|weight| (weight.session_id, Some(weight.activity))));
                }
            }
        }
        Ok(true)
    }

    async fn next_session(&mut self, conn: &mut SqliteConnection, request: &PruneRequest) -> Result<bool> {
        if self.session.is_some() {
            return Ok(true);
        }
        while let Some((id, activity)) = self.sessions.pop_front() {
            let upto = match (self.rule, request.max_events_per_session) {
                (Rule::Excess, Some(most)) => {
                    // Events appended meanwhile do not move it.
                    let Some(boundary) = boundary(conn, &id, most)? else { continue };
                    Some(boundary)
                }
                _ => None,
            };
            self.session = Some(Visited { id, activity, after: None, upto });
            return Ok(true);
        }
        Ok(false)
    }

    async fn look(
        &mut self,
        conn: &mut SqliteConnection,
        request: &PruneRequest,
        rows: usize,
    ) -> Result<Option<Finding>> {
        let Some(session) = self.session.take() else { return Ok(None) };
        if self.rule == Rule::Doomed && session.after.is_some() && !is_doomed(conn, request, &session.id)? {
            return Ok(None);
        }
        let found = match self.rule {
            Rule::Orphans => {
                let before = request.orphans_before.unwrap_or(i64::MIN);
                aged_places(conn, &session.id, session.after.as_ref(), before, |events| session.collect(events, rows))??
            }
            _ => places(conn, &session.id, session.after.as_ref(), |events| {
                session.collect(events.map(|event| event.map(|place| (place, true))), rows)
            })??,
        };
        let Looked { rowids, after, is_last } = found;
        let (session_id, activity) = (session.id.clone(), session.activity.clone());
        if !is_last {
            self.session = Some(Visited { after: after.clone(), ..session });
        }
        let is_nothing = rowids.is_empty() && matches!(self.rule, Rule::Orphans | Rule::Excess);
        Ok(Some(Finding { session_id, rule: self.rule, rowids, after, is_last, activity }).filter(|_| !is_nothing))
    }

    fn events(finding: &Finding) -> usize {
        finding.rowids.len()
    }
}

struct Looked {
    rowids: Vec<i64>,
    after: Option<EventPlace>,
    is_last: bool,
}

impl Visited {
    /// Collects up to this many events to delete among those that come next.
    fn collect(
        &self,
        events: impl Iterator<Item = QueryResult<(EventPlace, bool)>>,
        rows: usize,
    ) -> QueryResult<Looked> {
        let mut looked = Looked { rowids: Vec::new(), after: self.after.clone(), is_last: true };
        let mut seen = 0;
        for event in events {
            let (position, goes) = event?;
            if self.after.as_ref().is_some_and(|after| position <= *after) {
                continue;
            }
            if self.upto.as_ref().is_some_and(|upto| position > *upto) {
                break;
            }
            if looked.rowids.len() >= rows || seen >= CHUNK {
                looked.is_last = false;
                break;
            }
            seen += 1;
            if goes {
                looked.rowids.push(position.rowid);
            }
            looked.after = Some(position);
        }
        Ok(looked)
    }
}

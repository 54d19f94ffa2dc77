//! Finds what there is to delete, a bounded part at a time and without the right to write.
//!
//! It moves through the sessions, and through the events of each, in one direction and never comes back to what it has
//! passed: so it ends, and reads everything once, whatever becomes of the rows that it found.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text};

use super::position::{Position, Raw};
use super::{DOOMED, PruneRequest};
use crate::column::{Column, Number, StoredText};
use crate::error::Result;
use crate::statement::statement;
use crate::transaction;

/// How long it looks at a time, if it does not find enough before.
const LOOK_TIME: Duration = Duration::from_millis(50);
/// How many sessions, or events that may stay, it looks at in one query.
const CHUNK: usize = 1_000;

/// Why a session, or some of its events, has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// It was named.
    Named,
    /// It is of before a time.
    Doomed,
    /// The events are of before a time, and it has no record.
    Orphans,
    /// It has more events than it may have.
    Excess,
}

/// Some rows of one session.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) session_id: String,
    pub(super) rule: Rule,
    pub(super) rowids: Vec<i64>,
    /// The last event that was looked at.
    pub(super) after: Option<Position>,
    /// Whether nothing followed that has to go.
    pub(super) is_last: bool,
}

pub(super) struct Plan {
    request: Arc<PruneRequest>,
    rules: std::vec::IntoIter<Rule>,
    stage: Option<Stage>,
}

/// One rule, and how far it has come.
struct Stage {
    rule: Rule,
    rest: Rest,
    /// Sessions that were found and not looked at yet.
    sessions: VecDeque<String>,
    /// The session that is being looked at.
    session: Option<Session>,
}

/// The sessions that are still to be found.
enum Rest {
    /// Rows of `sessions` from one to another; what a trigger puts back comes after that.
    Rows(i64, i64),
    /// What `events.session_id` holds after this, in the encoding of the database.
    Ids(Option<Vec<u8>>),
    Nothing,
}

struct Session {
    id: String,
    after: Option<Position>,
    upto: Option<Position>,
}

#[derive(QueryableByName)]
struct SessionRow {
    #[diesel(sql_type = BigInt)]
    rowid: i64,
    #[diesel(sql_type = Text)]
    id: Column<StoredText>,
    #[diesel(sql_type = Nullable<Bool>)]
    is_doomed: Option<bool>,
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = Text)]
    id: Column<StoredText>,
    #[diesel(sql_type = Binary)]
    bytes: Vec<u8>,
    #[diesel(sql_type = Bool)]
    has_record: bool,
}

#[derive(QueryableByName)]
struct Last {
    #[diesel(sql_type = Nullable<BigInt>)]
    rowid: Option<i64>,
}

type Place = (BigInt, BigInt, BigInt);
type AgedPlace = (BigInt, BigInt, BigInt, Nullable<Bool>);

statement! {
    /// The newest event that has to go.
    Boundary { most: i64 } -> Place,
    "SELECT rowid, event_index, id FROM main.events WHERE session_id = " { session_id as Text }
    " ORDER BY event_index DESC, id DESC, rowid DESC LIMIT 1 OFFSET " { most as BigInt }
}

statement! {
    pub(super) Events {} -> Place,
    "SELECT rowid, event_index, id FROM main.events WHERE session_id = " { session_id as Text }
    " ORDER BY event_index, id, rowid"
}

statement! {
    pub(super) EventsFrom { index: Number } -> Place,
    "SELECT rowid, event_index, id FROM main.events WHERE session_id = " { session_id as Text }
    " AND event_index >= " { index }
    " ORDER BY event_index, id, rowid"
}

statement! {
    AgedEvents { before: Option<i64> } -> AgedPlace,
    "SELECT rowid, event_index, id, created_at < " { before as Nullable<BigInt> }
    " FROM main.events WHERE session_id = " { session_id as Text }
    " ORDER BY event_index, id, rowid"
}

statement! {
    AgedEventsFrom { before: Option<i64>, index: Number } -> AgedPlace,
    "SELECT rowid, event_index, id, created_at < " { before as Nullable<BigInt> }
    " FROM main.events WHERE session_id = " { session_id as Text }
    " AND event_index >= " { index }
    " ORDER BY event_index, id, rowid"
}

statement! {
    IsDoomed { destroyed_before: Option<i64>, created_before: Option<i64> } -> Bool,
    "SELECT EXISTS (SELECT 1 FROM main.sessions WHERE id = " { session_id as Text }
    " AND (destroyed_at < " { destroyed_before as Nullable<BigInt> }
    " OR created_at < " { created_before as Nullable<BigInt> }
    "))"
}

impl PruneRequest {
    /// Whether a rule of time hits the session as it is now.
    pub(super) fn dooms(&self, conn: &mut SqliteConnection, session_id: &str) -> Result<bool> {
        let &Self { destroyed_before, created_before, .. } = self;
        Ok(IsDoomed { destroyed_before, created_before, session_id }.get_result(conn)?)
    }
}

type FoundPlace = (i64, Raw, Raw);
type FoundAgedPlace = (i64, Raw, Raw, Option<bool>);

/// The events of a session in their order, from the one with this place at the latest. Where the last index is no
/// number, that is from the start; so few are those.
pub(super) fn events_from<T>(
    conn: &mut SqliteConnection,
    session_id: &str,
    after: Option<&Position>,
    work: impl FnOnce(&mut dyn Iterator<Item = QueryResult<Position>>) -> T,
) -> QueryResult<T> {
    let place = |row: QueryResult<FoundPlace>| row.map(|(rowid, event_index, id)| Position { event_index, id, rowid });
    Ok(match after.and_then(Position::number) {
        None => work(&mut Events { session_id }.load_iter::<FoundPlace, DefaultLoadingMode>(conn)?.map(place)),
        Some(index) => {
            work(&mut EventsFrom { index, session_id }.load_iter::<FoundPlace, DefaultLoadingMode>(conn)?.map(place))
        }
    })
}

impl Plan {
    pub(super) fn new(request: Arc<PruneRequest>) -> Self {
        let mut rules = Vec::new();
        if !request.sessions.is_empty() {
            rules.push(Rule::Named);
        }
        if request.destroyed_before.is_some() || request.created_before.is_some() {
            rules.push(Rule::Doomed);
        }
        if request.orphans_before.is_some() {
            rules.push(Rule::Orphans);
        }
        if request.max_events_per_session.is_some() {
            rules.push(Rule::Excess);
        }
        Self { request, rules: rules.into_iter(), stage: None }
    }

    /// Some of what has to go, about this many rows of it; perhaps nothing, and `None` when everything was looked at.
    pub(super) fn look(&mut self, conn: &mut SqliteConnection, rows: usize) -> Result<Option<Vec<Part>>> {
        transaction::reading(conn, |conn| {
            let began = Instant::now();
            let (mut parts, mut found) = (Vec::new(), 0);
            while found < rows && began.elapsed() < LOOK_TIME {
                let Some(stage) = &mut self.stage else {
                    // What one rule takes has to be gone before the next one looks.
                    if !parts.is_empty() {
                        break;
                    }
                    let Some(rule) = self.rules.next() else { return Ok(None) };
                    self.stage = Some(Stage::new(conn, &self.request, rule)?);
                    continue;
                };
                if stage.next_session(conn, &self.request)? {
                    if let Some(part) = stage.look(conn, &self.request, rows - found)? {
                        // A record costs as much as an event.
                        found += part.rowids.len() + 1;
                        parts.push(part);
                    }
                } else if !stage.find_sessions(conn, &self.request)? {
                    self.stage = None;
                }
            }
            Ok(Some(parts))
        })
    }
}

impl Stage {
    fn new(conn: &mut SqliteConnection, request: &PruneRequest, rule: Rule) -> Result<Self> {
        let mut sessions = VecDeque::new();
        let rest = match rule {
            Rule::Named => {
                sessions.extend(request.sessions.iter().cloned());
                Rest::Nothing
            }
            Rule::Doomed => {
                let last: Last = diesel::sql_query("SELECT max(rowid) AS rowid FROM main.sessions").get_result(conn)?;
                last.rowid.map_or(Rest::Nothing, |last| Rest::Rows(i64::MIN, last))
            }
            Rule::Orphans | Rule::Excess => Rest::Ids(None),
        };
        Ok(Self { rule, rest, sessions, session: None })
    }

    /// Finds some more sessions that the rule may hit; says whether there may be more to find. A row whose id is no
    /// text, or not sound, stays where it is, for a check to find.
    fn find_sessions(&mut self, conn: &mut SqliteConnection, request: &PruneRequest) -> Result<bool> {
        match &self.rest {
            Rest::Nothing => return Ok(false),
            &Rest::Rows(from, upto) => {
                let rows: Vec<SessionRow> = diesel::sql_query(format!(
                    "SELECT rowid, id, {DOOMED} AS is_doomed FROM main.sessions WHERE rowid BETWEEN ?3 AND ?4 \
                     ORDER BY rowid LIMIT {CHUNK}"
                ))
                .bind::<Nullable<BigInt>, _>(request.destroyed_before)
                .bind::<Nullable<BigInt>, _>(request.created_before)
                .bind::<BigInt, _>(from)
                .bind::<BigInt, _>(upto)
                .load(conn)?;
                let next = rows.last().and_then(|row| row.rowid.checked_add(1));
                self.rest = next.map_or(Rest::Nothing, |next| Rest::Rows(next, upto));
                let doomed = rows.into_iter().filter(|row| row.is_doomed == Some(true));
                self.sessions.extend(doomed.filter_map(|row| row.id.ok()).map(|text| text.0));
            }
            Rest::Ids(after) => {
                let ids = distinct_ids(conn, after.as_deref())?;
                self.rest = ids.last().map_or(Rest::Nothing, |last| Rest::Ids(Some(last.bytes.clone())));
                let is_hit = |id: &Id| self.rule == Rule::Excess || !id.has_record;
                self.sessions.extend(ids.into_iter().filter(is_hit).filter_map(|id| id.id.ok()).map(|text| text.0));
            }
        }
        Ok(true)
    }

    /// Takes up the next session that was found, if there is one.
    fn next_session(&mut self, conn: &mut SqliteConnection, request: &PruneRequest) -> Result<bool> {
        if self.session.is_some() {
            return Ok(true);
        }
        while let Some(id) = self.sessions.pop_front() {
            let upto = match (self.rule, request.max_events_per_session) {
                (Rule::Excess, Some(most)) => {
                    // Others may append meanwhile: they do not move it.
                    let boundary = Boundary { most: i64::from(most), session_id: &id };
                    let Some(found) = boundary.get_result::<FoundPlace>(conn).optional()? else { continue };
                    Some(Position { rowid: found.0, event_index: found.1, id: found.2 })
                }
                _ => None,
            };
            self.session = Some(Session { id, after: None, upto });
            return Ok(true);
        }
        Ok(false)
    }

    /// Looks at the session, on from where it was.
    fn look(&mut self, conn: &mut SqliteConnection, request: &PruneRequest, rows: usize) -> Result<Option<Part>> {
        let Some(session) = self.session.take() else { return Ok(None) };
        if self.rule == Rule::Doomed && session.after.is_some() && !request.dooms(conn, &session.id)? {
            return Ok(None);
        }
        let found = match self.rule {
            Rule::Orphans => session.aged(conn, request.orphans_before, rows)?,
            _ => events_from(conn, &session.id, session.after.as_ref(), |events| {
                session.collect(events.map(|event| event.map(|place| (place, true))), rows)
            })??,
        };
        let Found { rowids, after, is_last } = found;
        let session_id = session.id.clone();
        if !is_last {
            self.session = Some(Session { after: after.clone(), ..session });
        }
        let is_nothing = rowids.is_empty() && matches!(self.rule, Rule::Orphans | Rule::Excess);
        Ok(Some(Part { session_id, rule: self.rule, rowids, after, is_last }).filter(|_| !is_nothing))
    }
}

struct Found {
    rowids: Vec<i64>,
    after: Option<Position>,
    is_last: bool,
}

impl Session {
    fn aged(&self, conn: &mut SqliteConnection, before: Option<i64>, rows: usize) -> QueryResult<Found> {
        let place = |row: QueryResult<FoundAgedPlace>| {
            row.map(|(rowid, event_index, id, is_old)| (Position { event_index, id, rowid }, is_old == Some(true)))
        };
        let session_id = &*self.id;
        match self.after.as_ref().and_then(Position::number) {
            None => {
                let events = AgedEvents { before, session_id };
                self.collect(events.load_iter::<FoundAgedPlace, DefaultLoadingMode>(conn)?.map(place), rows)
            }
            Some(index) => {
                let events = AgedEventsFrom { before, index, session_id };
                self.collect(events.load_iter::<FoundAgedPlace, DefaultLoadingMode>(conn)?.map(place), rows)
            }
        }
    }

    /// Takes the events that go, up to so many, of those that come next.
    fn collect(&self, events: impl Iterator<Item = QueryResult<(Position, bool)>>, rows: usize) -> QueryResult<Found> {
        let mut found = Found { rowids: Vec::new(), after: self.after.clone(), is_last: true };
        let mut seen = 0;
        for event in events {
            let (position, goes) = event?;
            if self.after.as_ref().is_some_and(|after| position <= *after) {
                continue;
            }
            if self.upto.as_ref().is_some_and(|upto| position > *upto) {
                break;
            }
            if found.rowids.len() >= rows || seen >= CHUNK {
                found.is_last = false;
                break;
            }
            seen += 1;
            if goes {
                found.rowids.push(position.rowid);
            }
            found.after = Some(position);
        }
        Ok(found)
    }
}

/// The ids that come next among those that events have, each found by one seek.
fn distinct_ids(conn: &mut SqliteConnection, after: Option<&[u8]>) -> QueryResult<Vec<Id>> {
    // A BLOB is greater than any text.
    let next = |after: &str| {
        format!(
            "SELECT (SELECT session_id FROM main.events WHERE session_id {after} AND session_id < x'' \
             ORDER BY session_id LIMIT 1)"
        )
    };
    let first = next(if after.is_some() { "> CAST(? AS TEXT)" } else { ">= ''" });
    let query = diesel::sql_query(format!(
        "WITH RECURSIVE walk (id) AS ({first} UNION ALL {} FROM walk WHERE id IS NOT NULL LIMIT {CHUNK}) \
         SELECT id, CAST(id AS BLOB) AS bytes, EXISTS (SELECT 1 FROM main.sessions WHERE sessions.id = walk.id) AS has_record \
         FROM walk WHERE id IS NOT NULL",
        next("> walk.id")
    ));
    match after {
        None => query.load(conn),
        Some(after) => query.bind::<Binary, _>(after).load(conn),
    }
}

//! Finds rows to delete.

use std::collections::VecDeque;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::activity::is_inactive;
use super::survey::weights;
use super::{EventPlace, Finding};
use crate::database::doomed::Doomed;
use crate::database::postgres::pg_link::PgLink;
use crate::database::postgres::session_ids;
use crate::database::pruning::{Rule, Stage};
use crate::database::statement::postgres_statement;
use crate::database::survey::{LastActivity, least_active};
use crate::error::Result;
use crate::model::retention::{PruneRequest, STEP_ROWS};

/// One rule and its progress.
pub(crate) struct RuleStage {
    rule: Rule,
    rest: Rest,
    /// Sessions that were found but not examined yet, with their last activity if that is why they go.
    sessions: VecDeque<(String, Option<LastActivity>)>,
    session: Option<Visited>,
}

/// The sessions still to be found.
enum Rest {
    /// Records after this id.
    Records(Option<String>),
    /// Session ids of events after this one.
    Ids(Option<String>),
    Nothing,
}

/// The session being examined.
struct Visited {
    id: String,
    activity: Option<LastActivity>,
    after: Option<EventPlace>,
    upto: Option<EventPlace>,
}

postgres_statement! {
    DoomedFrom { first: &'a str, doomed: Doomed<'a> } -> Text,
    "SELECT id FROM sessions WHERE id >= " { first as Text } " AND " { doomed } " ORDER BY id LIMIT 1000"
}

postgres_statement! {
    DoomedAfter { after: &'a str, doomed: Doomed<'a> } -> Text,
    "SELECT id FROM sessions WHERE id > " { after as Text } " AND " { doomed } " ORDER BY id LIMIT 1000"
}

postgres_statement! {
    /// The event that is followed by this many newer ones.
    Boundary { session_id: &'a str, most: i64 } -> (BigInt, Text),
    "SELECT event_index, id FROM events WHERE session_id = " { session_id as Text }
    " ORDER BY event_index DESC, id COLLATE \"C\" DESC LIMIT 1 OFFSET " { most as BigInt }
}

postgres_statement! {
    Places { session_id: &'a str, index: i64, id: &'a str, before: Option<i64>, most: i64 } -> (BigInt, Text, Bool),
    "SELECT event_index, id, coalesce(created_at < " { before as Nullable<BigInt> } ", false) FROM events \
     WHERE session_id = " { session_id as Text } " AND (event_index, id COLLATE \"C\") > (" { index as BigInt } ", "
    { id as Text } ") ORDER BY event_index, id COLLATE \"C\" LIMIT " { most as BigInt }
}

postgres_statement! {
    FirstPlaces { session_id: &'a str, before: Option<i64>, most: i64 } -> (BigInt, Text, Bool),
    "SELECT event_index, id, coalesce(created_at < " { before as Nullable<BigInt> } ", false) FROM events \
     WHERE session_id = " { session_id as Text } " ORDER BY event_index, id COLLATE \"C\" LIMIT " { most as BigInt }
}

/// A session's first events.
pub(super) async fn first_places<C: PgLink>(
    conn: &mut C,
    session_id: &str,
    most: usize,
) -> QueryResult<Vec<EventPlace>> {
    let places = FirstPlaces { session_id, before: None, most: most as i64 };
    let places: Vec<(i64, String, bool)> = conn.rows(places).await?;
    Ok(places.into_iter().map(|(index, id, _)| (index, id)).collect())
}

impl<C: PgLink> Stage<C> for RuleStage {
    type Finding = Finding;

    async fn new(conn: &mut C, request: &PruneRequest, rule: Rule) -> Result<Self> {
        let mut sessions = VecDeque::new();
        let rest = match rule {
            Rule::Named => {
                sessions.extend(request.sessions.iter().map(|id| (id.clone(), None)));
                Rest::Nothing
            }
            Rule::Doomed => Rest::Records(None),
            Rule::Orphans | Rule::Excess => Rest::Ids(None),
            Rule::Size => {
                let going = least_active(weights(conn, None, None).await?, request.max_total_bytes.unwrap_or(u64::MAX));
                sessions.extend(going.into_iter().map(|weight| (weight.session_id, Some(weight.activity))));
                Rest::Nothing
            }
        };
        Ok(Self { rule, rest, sessions, session: None })
    }

    async fn find_sessions(&mut self, conn: &mut C, request: &PruneRequest) -> Result<bool> {
        match &mut self.rest {
            Rest::Nothing => return Ok(false),
            Rest::Records(after) => {
                let doomed = Doomed { by: request };
                let ids: Vec<String> = match after.as_deref() {
                    None => conn.rows(DoomedFrom { first: "", doomed }).await?,
                    Some(after) => conn.rows(DoomedAfter { after, doomed }).await?,
                };
                self.rest = match ids.last() {
                    Some(last) => Rest::Records(Some(last.clone())),
                    // Those without a record; only inactivity selects them.
                    None if request.inactive_before.is_some() => Rest::Ids(None),
                    None => Rest::Nothing,
                };
                self.sessions.extend(ids.into_iter().map(|id| (id, None)));
            }
            Rest::Ids(after) => {
                let ids = session_ids::after(conn, after.as_deref()).await?;
                self.rest = ids.last().map_or(Rest::Nothing, |(last, _)| Rest::Ids(Some(last.clone())));
                let is_hit = |has_record: bool| self.rule == Rule::Excess || !has_record;
                for (id, _) in ids.into_iter().filter(|(_, has_record)| is_hit(*has_record)) {
                    if self.rule != Rule::Doomed || is_inactive(conn, request, &id).await? {
                        self.sessions.push_back((id, None));
                    }
                }
            }
        }
        Ok(true)
    }

    async fn next_session(&mut self, conn: &mut C, request: &PruneRequest) -> Result<bool> {
        if self.session.is_some() {
            return Ok(true);
        }
        while let Some((id, activity)) = self.sessions.pop_front() {
            let upto = match (self.rule, request.max_events_per_session) {
                (Rule::Excess, Some(most)) => {
                    // Events appended meanwhile do not move it.
                    let boundary = Boundary { session_id: &id, most: most.into() };
                    let Some(boundary) = conn.row::<EventPlace, _>(boundary).await? else { continue };
                    Some(boundary)
                }
                _ => None,
            };
            self.session = Some(Visited { id, activity, after: None, upto });
            return Ok(true);
        }
        Ok(false)
    }

    async fn look(&mut self, conn: &mut C, request: &PruneRequest, rows: usize) -> Result<Option<Finding>> {
        let Some(Visited { id, activity, after, upto }) = self.session.take() else { return Ok(None) };
        let rows = rows.min(STEP_ROWS);
        let is_by_age = self.rule == Rule::Orphans;
        let (session_id, before, most) = (&*id, request.orphans_before.filter(|_| is_by_age), rows as i64);
        let places: Vec<(i64, String, bool)> = match &after {
            None => conn.rows(FirstPlaces { session_id, before, most }).await?,
            Some((index, id)) => conn.rows(Places { session_id, index: *index, id, before, most }).await?,
        };
        let is_beyond = |(index, id, _): &(i64, String, bool)| {
            upto.as_ref().is_some_and(|(last, last_id)| (*index, id) > (*last, last_id))
        };
        let is_last = places.len() < rows || places.iter().any(is_beyond);
        let mut after = after;
        let mut found = Vec::with_capacity(places.len());
        for place in places.into_iter().take_while(|place| !is_beyond(place)) {
            let (index, id, is_old) = place;
            if is_old || !is_by_age {
                found.push((index, id.clone()));
            }
            after = Some((index, id));
        }
        let (session_id, reason) = (id.clone(), activity.clone());
        if !is_last {
            self.session = Some(Visited { id, activity, after, upto });
        }
        let is_nothing = found.is_empty() && matches!(self.rule, Rule::Orphans | Rule::Excess);
        Ok(Some(Finding { session_id, rule: self.rule, places: found, is_last, activity: reason })
            .filter(|_| !is_nothing))
    }

    fn events(finding: &Finding) -> usize {
        finding.places.len()
    }
}

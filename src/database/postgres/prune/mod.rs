//! What a prune deletes: it finds rows without a lock, a bounded number at a time, and then deletes them by session and
//! id.

mod search;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text};

use super::pg_link::PgLink;
use super::{heads, transaction};
use crate::database::pruning::{self, Rule};
use crate::database::queries::HasRecord;
use crate::database::statement::postgres_statement;
use crate::database::{Deleted, Lock};
use crate::error::Result;
use crate::model::report::PruneReport;
use crate::model::retention::{PruneRequest, STEP_ROWS};

/// A place among a session's events: index and id.
type EventPlace = (i64, String);

pub(super) type Search = pruning::Search<search::RuleStage>;

/// Some events of one session.
#[derive(Debug)]
pub(crate) struct Finding {
    session_id: String,
    rule: Rule,
    /// In order.
    places: Vec<EventPlace>,
    /// Whether nothing to delete followed.
    is_last: bool,
}

postgres_statement! {
    /// Waits for whoever is changing the record, and keeps it as it is until the transaction ends.
    IsDoomed { id: &'a str, destroyed_before: Option<i64>, created_before: Option<i64> } -> Bool,
    "SELECT true FROM sessions WHERE id = " { id as Text }
    " AND (destroyed_at < " { destroyed_before as Nullable<BigInt> }
    " OR created_at < " { created_before as Nullable<BigInt> } ") FOR UPDATE"
}

postgres_statement! {
    /// The range is what keeps it cheap: without it, a server that has not yet analyzed the table reads the whole session.
    DeleteFound {
        session_id: &'a str, ids: &'a [&'a str], first: i64, first_id: &'a str, last: i64, last_id: &'a str, before: Option<i64>,
    },
    "DELETE FROM events WHERE session_id = " { session_id as Text } " AND id = ANY (" { ids as Array<Text> } ") \
     AND (event_index, id COLLATE \"C\") >= (" { first as BigInt } ", " { first_id as Text } ") \
     AND (event_index, id COLLATE \"C\") <= (" { last as BigInt } ", " { last_id as Text } ") \
     AND (" { before as Nullable<BigInt> } " IS NULL OR created_at < " { before as Nullable<BigInt> } ")"
}

postgres_statement! {
    /// Not while it has events: a trigger may keep them, or others may keep writing.
    DeleteEmptySession { id: &'a str },
    "DELETE FROM sessions WHERE id = " { id as Text }
    " AND NOT EXISTS (SELECT 1 FROM events WHERE session_id = " { id as Text } ")"
}

/// Whether an age rule selects the session as it is now.
async fn is_doomed<C: PgLink>(conn: &mut C, request: &PruneRequest, id: &str) -> Result<bool> {
    let &PruneRequest { destroyed_before, created_before, .. } = request;
    let found: Option<bool> = conn.row(IsDoomed { id, destroyed_before, created_before }).await?;
    Ok(found.is_some())
}

/// Deletes events, which are in order, if they are as old as required.
async fn delete_places<C: PgLink>(
    conn: &mut C,
    session_id: &str,
    places: &[EventPlace],
    before: Option<i64>,
) -> QueryResult<u64> {
    let (Some((first, first_id)), Some((last, last_id))) = (places.first(), places.last()) else { return Ok(0) };
    let ids: Vec<&str> = places.iter().map(|(_, id)| &**id).collect();
    let delete = DeleteFound { session_id, ids: &ids, first: *first, first_id, last: *last, last_id, before };
    Ok(conn.run(delete).await? as u64)
}

/// Deletes the rows of a finding, which are few enough to be deleted at once.
pub(super) async fn delete<C: PgLink>(conn: &mut C, request: &PruneRequest, finding: &Finding) -> Result<Deleted> {
    let mut report = PruneReport::default();
    let session_id = &*finding.session_id;
    // In the order in which a deletion of the whole session takes its locks.
    heads::hold(conn, session_id).await?;
    // The session may have changed since it was found.
    let is_hit = match finding.rule {
        Rule::Named | Rule::Excess => true,
        Rule::Doomed => is_doomed(conn, request, session_id).await?,
        Rule::Orphans => !conn.one::<bool, _>(HasRecord { session_id }).await?,
    };
    if !is_hit {
        return Ok(Deleted { report, next_row: None });
    }
    let before = request.orphans_before.filter(|_| finding.rule == Rule::Orphans);
    report.events += delete_places(conn, session_id, &finding.places, before).await?;
    let is_whole = finding.is_last && matches!(finding.rule, Rule::Named | Rule::Doomed);
    if is_whole {
        // Events that were appended meanwhile, up to one step of them.
        let newcomers = search::first_places(conn, session_id, STEP_ROWS).await?;
        report.events += delete_places(conn, session_id, &newcomers, None).await?;
        // Triggers on its events may have changed it.
        if finding.rule == Rule::Named || is_doomed(conn, request, session_id).await? {
            report.sessions += conn.run(DeleteEmptySession { id: session_id }).await? as u64;
        }
    }
    if finding.is_last && finding.rule != Rule::Excess {
        heads::drop_if_empty(conn, session_id).await?;
    }
    Ok(Deleted { report, next_row: None })
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    sessions: i64,
    #[diesel(sql_type = BigInt)]
    events: i64,
}

/// What a prune would delete. A row taken by one rule is not counted for the next, so each row counts once.
pub(super) async fn dry_run<C: PgLink>(conn: &mut C, request: &PruneRequest) -> Result<PruneReport> {
    transaction::run(conn, Lock::Snapshot, async |conn| {
        let doomed = "(s.id = ANY ($1) OR coalesce(s.destroyed_at < $2, false) OR coalesce(s.created_at < $3, false))";
        let count = diesel::sql_query(format!(
            "WITH held AS (SELECT e.session_id, count(*) AS events, \
                 e.session_id = ANY ($1) OR EXISTS (SELECT 1 FROM sessions AS s WHERE s.id = e.session_id AND {doomed}) AS goes, \
                 count(*) FILTER (WHERE e.created_at < $4 \
                     AND NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.id = e.session_id)) AS orphans \
                 FROM events AS e GROUP BY e.session_id) \
             SELECT (SELECT count(*) FROM sessions AS s WHERE {doomed}) AS sessions, \
                 coalesce((SELECT sum(CASE WHEN goes THEN events \
                     ELSE orphans + greatest(coalesce(events - orphans - $5, 0), 0) END) FROM held), 0)::bigint AS events"
        ))
        .bind::<Array<Text>, _>(&request.sessions)
        .bind::<Nullable<BigInt>, _>(request.destroyed_before)
        .bind::<Nullable<BigInt>, _>(request.created_before)
        .bind::<Nullable<BigInt>, _>(request.orphans_before)
        .bind::<Nullable<BigInt>, _>(request.max_events_per_session.map(i64::from));
        let count: Count = conn.one(count).await?;
        Ok(PruneReport { sessions: count.sessions as u64, events: count.events as u64 })
    })
    .await
}

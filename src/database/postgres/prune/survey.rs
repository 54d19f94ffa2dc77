//! What a prune would delete, computed in one go. Reading is in nobody's way here.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::activity::last_activity;
use crate::database::Lock;
use crate::database::postgres::pg_link::PgLink;
use crate::database::postgres::transaction;
use crate::database::pruning::Rule;
use crate::database::statement::Dialect;
use crate::database::survey::{LastActivity, PrunedSession, Survey, SurveyedSession, Weight};
use crate::error::Result;
use crate::model::retention::PruneRequest;

#[derive(QueryableByName)]
struct FoundSession {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Bool)]
    has_record: bool,
    #[diesel(sql_type = Bool)]
    is_doomed: bool,
    #[diesel(sql_type = BigInt)]
    events: i64,
    /// How many of them are old, if the session has no record.
    #[diesel(sql_type = BigInt)]
    orphans: i64,
}

#[derive(QueryableByName)]
struct FoundWeight {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = BigInt)]
    at: i64,
    #[diesel(sql_type = Text)]
    last_event: String,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

pub(in crate::database::postgres) async fn survey<C: PgLink>(
    conn: &mut C,
    request: &PruneRequest,
) -> Result<Vec<PrunedSession>> {
    transaction::run(conn, Lock::Snapshot, async |conn| {
        let last = Pg::LAST;
        let query = diesel::sql_query(format!(
            "SELECT coalesce(s.id, held.session_id) AS id, s.id IS NOT NULL AS has_record, coalesce(CASE \
                 WHEN s.id IS NULL THEN (SELECT e.created_at < $3 FROM events AS e WHERE e.session_id = held.session_id {last}) \
                 ELSE s.destroyed_at < $1 OR s.created_at < $2 OR CASE WHEN s.created_at < $3 \
                     THEN coalesce(s.destroyed_at < $3, true) AND NOT coalesce( \
                         (SELECT e.created_at >= $3 FROM events AS e WHERE e.session_id = s.id {last}), false) END \
                 END, false) AS is_doomed, coalesce(held.events, 0) AS events, \
                 CASE WHEN s.id IS NULL THEN held.old ELSE 0 END AS orphans \
             FROM (SELECT session_id, count(*) AS events, count(*) FILTER (WHERE created_at < $4) AS old \
                 FROM events GROUP BY session_id) AS held FULL JOIN sessions AS s ON s.id = held.session_id"
        ))
        .bind::<Nullable<BigInt>, _>(request.destroyed_before)
        .bind::<Nullable<BigInt>, _>(request.created_before)
        .bind::<Nullable<BigInt>, _>(request.inactive_before)
        .bind::<Nullable<BigInt>, _>(request.orphans_before);
        let found: Vec<FoundSession> = conn.rows(query).await?;
        let mut survey = Survey::new(request);
        for FoundSession { id: session_id, has_record, is_doomed, events, orphans } in found {
            let (events, orphans) = (events as u64, orphans as u64);
            survey.add(SurveyedSession { session_id, has_record, is_doomed, events, orphans });
        }
        let &PruneRequest { orphans_before, max_events_per_session, .. } = request;
        let weights = match request.max_total_bytes {
            Some(_) => weights(conn, orphans_before, max_events_per_session).await?,
            None => Vec::new(),
        };
        let mut found = survey.finish(weights);
        // By the last event that an archive has, which an earlier rule may select.
        for session in found.iter_mut().filter(|session| session.rule == Rule::Size) {
            session.activity = last_activity(conn, &session.session_id).await?;
        }
        Ok(found)
    })
    .await
}

/// What sessions weigh once these rules have been applied.
pub(super) async fn weights<C: PgLink>(
    conn: &mut C,
    orphans_before: Option<i64>,
    most_events: Option<u32>,
) -> Result<Vec<Weight>> {
    let query = diesel::sql_query(
        "SELECT w.session_id AS id, greatest(w.created_at, s.created_at, s.destroyed_at) AS at, w.last_event, w.bytes FROM ( \
             SELECT session_id, max(created_at) FILTER (WHERE n = 1) AS created_at, \
                 max(id) FILTER (WHERE n = 1) AS last_event, sum(bytes)::bigint AS bytes FROM ( \
                 SELECT session_id, id, created_at, octet_length(payload_json::text) AS bytes, row_number() OVER \
                     (PARTITION BY session_id ORDER BY event_index DESC, id COLLATE \"C\" DESC) AS n \
                 FROM events AS e WHERE coalesce(created_at >= $1, true) \
                     OR EXISTS (SELECT 1 FROM sessions WHERE sessions.id = e.session_id)) AS numbered \
             WHERE coalesce(n <= $2, true) GROUP BY session_id) AS w LEFT JOIN sessions AS s ON s.id = w.session_id",
    )
    .bind::<Nullable<BigInt>, _>(orphans_before)
    .bind::<Nullable<BigInt>, _>(most_events.map(i64::from));
    let found: Vec<FoundWeight> = conn.rows(query).await?;
    let weight = |FoundWeight { id: session_id, at, last_event, bytes }| Weight {
        session_id,
        activity: LastActivity { at, last_event },
        bytes: bytes as u64,
    };
    Ok(found.into_iter().map(weight).collect())
}

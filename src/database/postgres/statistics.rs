//! How much a database holds.

use chrono::DateTime;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::pg_link::PgLink;
use super::transaction;
use crate::database::Lock;
use crate::error::Result;
use crate::model::report::{SessionStats, Stats};

#[derive(QueryableByName)]
struct SessionStatsRow {
    #[diesel(sql_type = Text)]
    session_id: String,
    #[diesel(sql_type = BigInt)]
    events: i64,
    #[diesel(sql_type = BigInt)]
    payload_bytes: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    first_index: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    last_index: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    first_time: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    last_time: Option<i64>,
}

impl From<SessionStatsRow> for SessionStats {
    fn from(row: SessionStatsRow) -> Self {
        Self {
            session_id: row.session_id,
            events: row.events,
            payload_bytes: row.payload_bytes,
            first_index: row.first_index,
            last_index: row.last_index,
            first_time: row.first_time.and_then(DateTime::from_timestamp_millis),
            last_time: row.last_time.and_then(DateTime::from_timestamp_millis),
        }
    }
}

/// What an event adds to the statistics of its session.
const ADDED: &str = "1 AS event, octet_length(payload_json::text) AS bytes, event_index::bigint AS event_index, created_at::bigint AS time";
/// The statistics, from what is added.
const SUMS: &str = "coalesce(sum(event), 0)::bigint AS events, coalesce(sum(bytes), 0)::bigint AS payload_bytes, \
                    min(event_index) AS first_index, max(event_index) AS last_index, \
                    min(time) AS first_time, max(time) AS last_time";

pub(super) async fn stats<C: PgLink>(conn: &mut C) -> Result<Stats> {
    transaction::run(conn, Lock::Snapshot, async |conn| {
        let sessions = number(conn, "(SELECT count(*) FROM sessions)").await?;
        let events = number(conn, "(SELECT count(*) FROM events)").await?;
        let bytes = number(
            conn,
            "(SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint \
              FROM unnest(ARRAY['sessions', 'events', 'event_heads']) AS tables (name))",
        )
        .await?;
        Ok(Stats { sessions: sessions as u64, events: events as u64, bytes: bytes as u64, unused_bytes: 0 })
    })
    .await
}

async fn number<C: PgLink>(conn: &mut C, sql: &str) -> QueryResult<i64> {
    conn.one(diesel::select(diesel::dsl::sql::<BigInt>(sql))).await
}

pub(super) async fn session_stats<C: PgLink>(conn: &mut C) -> Result<Vec<SessionStats>> {
    let query = format!(
        "SELECT session_id, {SUMS} FROM (SELECT session_id, {ADDED} FROM events \
         UNION ALL SELECT id, 0, NULL, NULL, NULL FROM sessions) AS held \
         GROUP BY session_id ORDER BY session_id COLLATE \"C\""
    );
    let rows: Vec<SessionStatsRow> = conn.rows(diesel::sql_query(query)).await?;
    Ok(rows.into_iter().map(SessionStats::from).collect())
}

/// Also of a session that is not there.
pub(super) async fn stats_of_session<C: PgLink>(conn: &mut C, session_id: &str) -> Result<SessionStats> {
    let query =
        format!("SELECT $1 AS session_id, {SUMS} FROM (SELECT {ADDED} FROM events WHERE session_id = $1) AS held");
    let row: SessionStatsRow = conn.one(diesel::sql_query(query).bind::<Text, _>(session_id)).await?;
    Ok(row.into())
}

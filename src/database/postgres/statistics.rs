//! How much a database holds.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

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
}

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
    let query = diesel::sql_query(
        "SELECT session_id, sum(event)::bigint AS events, coalesce(sum(bytes), 0)::bigint AS payload_bytes FROM ( \
             SELECT session_id, 1 AS event, octet_length(payload_json::text) AS bytes FROM events \
             UNION ALL SELECT id, 0, NULL FROM sessions) AS held \
         GROUP BY session_id ORDER BY session_id COLLATE \"C\"",
    );
    let rows: Vec<SessionStatsRow> = conn.rows(query).await?;
    let stats =
        |SessionStatsRow { session_id, events, payload_bytes }| SessionStats { session_id, events, payload_bytes };
    Ok(rows.into_iter().map(stats).collect())
}

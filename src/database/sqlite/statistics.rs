//! How much a database holds.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::exact;
use super::pragma;
use super::stored::Stored;
use super::transaction;
use super::utf8_bytes::Utf8Bytes;
use crate::database::columns::{Column, StoredText};
use crate::database::statement::Dialect;
use crate::error::Result;
use crate::model::report::{SessionStats, Stats};

#[derive(QueryableByName)]
struct SessionStatsRow {
    #[diesel(sql_type = Text)]
    session_id: Column<StoredText>,
    #[diesel(sql_type = BigInt)]
    events: i64,
    #[diesel(sql_type = BigInt)]
    payload_bytes: i64,
}

impl From<SessionStatsRow> for SessionStats {
    fn from(SessionStatsRow { session_id, events, payload_bytes }: SessionStatsRow) -> Self {
        Self { session_id: session_id.shown(), events, payload_bytes }
    }
}

pub(crate) fn stats(conn: &mut SqliteConnection) -> Result<Stats> {
    transaction::reading(conn, |conn| {
        let sessions = count(conn, Sqlite::SESSIONS)?;
        let events = count(conn, Sqlite::EVENTS)?;
        let page_size = pragma::read(conn, "page_size")?;
        let bytes = pragma::read(conn, "page_count")? * page_size;
        let unused_bytes = pragma::read(conn, "freelist_count")? * page_size;
        Ok(Stats {
            sessions: sessions as u64,
            events: events as u64,
            bytes: bytes as u64,
            unused_bytes: unused_bytes as u64,
        })
    })
}

fn count(conn: &mut SqliteConnection, table: &str) -> QueryResult<i64> {
    diesel::dsl::sql::<BigInt>(&format!("SELECT count(*) FROM {table}")).get_result(conn)
}

pub(crate) fn session_stats(conn: &mut SqliteConnection) -> Result<Vec<SessionStats>> {
    if !exact::is_utf8(conn)? {
        return session_stats_by_hand(conn);
    }
    let rows: Vec<SessionStatsRow> = diesel::sql_query(
        "SELECT session_id, sum(event) AS events, coalesce(sum(bytes), 0) AS payload_bytes FROM ( \
             SELECT session_id, 1 AS event, length(CAST(payload_json AS BLOB)) AS bytes FROM main.events \
             UNION ALL SELECT id, 0, NULL FROM main.sessions) \
         GROUP BY session_id ORDER BY session_id",
    )
    .load(conn)?;
    Ok(rows.into_iter().map(SessionStats::from).collect())
}

/// In a database with another encoding, SQLite knows neither the bytes nor the order of UTF-8.
fn session_stats_by_hand(conn: &mut SqliteConnection) -> Result<Vec<SessionStats>> {
    type Row = (Column<StoredText>, Stored, Option<Utf8Bytes>);
    transaction::reading(conn, |conn| {
        let mut found = BTreeMap::new();
        let mut count = |(id, stored, bytes): Row, events: i64| {
            let stats = found.entry(stored.in_order(id.text())).or_insert_with(|| SessionStats {
                session_id: id.shown(),
                events: 0,
                payload_bytes: 0,
            });
            stats.events += events;
            stats.payload_bytes += bytes.map_or(0, |bytes| bytes.0);
        };
        for (sql, events) in [
            ("SELECT session_id, session_id, payload_json FROM main.events", 1),
            ("SELECT id, id, NULL FROM main.sessions", 0),
        ] {
            let rows = diesel::dsl::sql::<(Text, Text, Nullable<Text>)>(sql);
            for row in rows.load_iter::<Row, _>(conn)? {
                count(row?, events);
            }
        }
        Ok(found.into_values().collect())
    })
}

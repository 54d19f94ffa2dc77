//! How much a database holds.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::exact;
use super::pragma;
use super::stored::Stored;
use super::transaction;
use super::utf8_bytes::Utf8Bytes;
use super::values::Number;
use crate::database::columns::{Column, StoredText, Whole};
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
    #[diesel(sql_type = BigInt)]
    first_index: Column<Whole>,
    #[diesel(sql_type = BigInt)]
    last_index: Column<Whole>,
    #[diesel(sql_type = BigInt)]
    first_time: Column<Number>,
    #[diesel(sql_type = BigInt)]
    last_time: Column<Number>,
}

impl From<SessionStatsRow> for SessionStats {
    fn from(row: SessionStatsRow) -> Self {
        Self {
            session_id: row.session_id.shown(),
            events: row.events,
            payload_bytes: row.payload_bytes,
            first_index: index(row.first_index),
            last_index: index(row.last_index),
            first_time: time(row.first_time),
            last_time: time(row.last_time),
        }
    }
}

fn index(stored: Column<Whole>) -> Option<i64> {
    stored.ok().map(|index| index.0)
}

fn time(stored: Column<Number>) -> Option<DateTime<Utc>> {
    stored.ok().and_then(|time| time.time().ok())
}

/// What an event adds to the statistics of its session.
const ADDED: &str = "1 AS event, length(CAST(payload_json AS BLOB)) AS bytes, \
                     CASE WHEN typeof(event_index) = 'integer' THEN event_index END AS event_index, \
                     CASE WHEN typeof(created_at) IN ('integer', 'real') THEN created_at END AS time";
/// The statistics, from what is added.
const SUMS: &str = "coalesce(sum(event), 0) AS events, coalesce(sum(bytes), 0) AS payload_bytes, \
                    min(event_index) AS first_index, max(event_index) AS last_index, \
                    min(time) AS first_time, max(time) AS last_time";

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
    let query = format!(
        "SELECT session_id, {SUMS} FROM (SELECT session_id, {ADDED} FROM main.events \
         UNION ALL SELECT id, 0, NULL, NULL, NULL FROM main.sessions) GROUP BY session_id ORDER BY session_id"
    );
    let rows: Vec<SessionStatsRow> = diesel::sql_query(query).load(conn)?;
    Ok(rows.into_iter().map(SessionStats::from).collect())
}

/// Also of a session that is not there.
pub(super) fn stats_of_session(conn: &mut SqliteConnection, session_id: &str) -> Result<SessionStats> {
    if !exact::is_utf8(conn)? {
        let mut stats = SessionStats { session_id: session_id.to_owned(), ..NOTHING };
        let rows = diesel::dsl::sql::<OfAnEvent>(
            "SELECT payload_json, event_index, created_at FROM main.events WHERE session_id = ",
        );
        for row in rows.bind::<Text, _>(session_id).load_iter::<AddedByHand, _>(conn)? {
            add(&mut stats, row?);
        }
        return Ok(stats);
    }
    let query = format!("SELECT ?1 AS session_id, {SUMS} FROM (SELECT {ADDED} FROM main.events WHERE session_id = ?1)");
    let row: SessionStatsRow = diesel::sql_query(query).bind::<Text, _>(session_id).get_result(conn)?;
    Ok(row.into())
}

const NOTHING: SessionStats = SessionStats {
    session_id: String::new(),
    events: 0,
    payload_bytes: 0,
    first_index: None,
    last_index: None,
    first_time: None,
    last_time: None,
};

type OfAnEvent = (Nullable<Text>, BigInt, BigInt);
type AddedByHand = (Option<Utf8Bytes>, Column<Whole>, Column<Number>);

fn add(stats: &mut SessionStats, (bytes, stored_index, stored_time): AddedByHand) {
    let (index, time) = (index(stored_index), time(stored_time));
    stats.events += 1;
    stats.payload_bytes += bytes.map_or(0, |bytes| bytes.0);
    // An absent number is less than any.
    stats.first_index = stats.first_index.into_iter().chain(index).min();
    stats.last_index = stats.last_index.max(index);
    stats.first_time = stats.first_time.into_iter().chain(time).min();
    stats.last_time = stats.last_time.max(time);
}

/// In a database with another encoding, SQLite knows neither the bytes nor the order of UTF-8.
fn session_stats_by_hand(conn: &mut SqliteConnection) -> Result<Vec<SessionStats>> {
    type Named<T> = (Column<StoredText>, Stored, T);
    transaction::reading(conn, |conn| {
        let mut found: BTreeMap<_, SessionStats> = BTreeMap::new();
        let events = diesel::dsl::sql::<(Text, Text, OfAnEvent)>(
            "SELECT session_id, session_id, payload_json, event_index, created_at FROM main.events",
        );
        for row in events.load_iter::<Named<AddedByHand>, _>(conn)? {
            let (id, stored, added) = row?;
            add(found.entry(stored.in_order(id.text())).or_insert_with(|| nothing_of(&id)), added);
        }
        let sessions = diesel::dsl::sql::<(Text, Text)>("SELECT id, id FROM main.sessions");
        for row in sessions.load_iter::<(Column<StoredText>, Stored), _>(conn)? {
            let (id, stored) = row?;
            found.entry(stored.in_order(id.text())).or_insert_with(|| nothing_of(&id));
        }
        Ok(found.into_values().collect())
    })
}

fn nothing_of(id: &Column<StoredText>) -> SessionStats {
    SessionStats { session_id: id.shown(), ..NOTHING }
}

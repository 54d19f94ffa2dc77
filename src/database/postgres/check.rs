//! Looking for what cannot be read, and for what does not fit together. The pages themselves are the server's business:
//! its `amcheck` and checksums.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};

use super::pg_link::PgLink;
use super::transaction;
use super::values::{Found, NONE_KNOWN};
use crate::database::Lock;
use crate::database::fields::{Record, place_of};
use crate::error::{Cause, Error, Result};
use crate::model::event::SessionEvent;
use crate::model::report::{CheckReport, DuplicateIndex};
use crate::model::session::SessionRecord;
use crate::schema::{events, sessions};

/// The most findings of one kind in a report.
const MOST: usize = 100;

#[derive(QueryableByName)]
struct DuplicateIndexRow {
    #[diesel(sql_type = Text)]
    session_id: String,
    #[diesel(sql_type = BigInt)]
    event_index: i64,
    #[diesel(sql_type = BigInt)]
    events: i64,
}

#[derive(QueryableByName)]
struct FoundText {
    #[diesel(sql_type = Text)]
    text: String,
}

pub(super) async fn check<C: PgLink>(conn: &mut C) -> Result<CheckReport> {
    transaction::run(conn, Lock::Snapshot, async |conn| {
        let mut report = CheckReport { integrity: invalid_indexes(conn).await?, ..CheckReport::default() };
        let broken = &mut report.undecodable;
        note_undecodable(conn, SessionRecord::TABLE, SessionRecord::COLUMNS, broken, async |conn: &mut C, fetch| {
            const CREATED_AT: usize = place_of(SessionRecord::NAMES, "created_at");
            let rows = conn.rows(diesel::dsl::sql::<sessions::SqlType>(fetch)).await?;
            Ok(causes::<SessionRecord, CREATED_AT>(rows))
        })
        .await?;
        note_undecodable(conn, SessionEvent::TABLE, SessionEvent::COLUMNS, broken, async |conn: &mut C, fetch| {
            const INDEX: usize = place_of(SessionEvent::NAMES, "event_index");
            let rows = conn.rows(diesel::dsl::sql::<events::SqlType>(fetch)).await?;
            Ok(causes::<SessionEvent, INDEX>(rows))
        })
        .await?;
        report.without_record = texts(
            conn,
            &format!(
                "SELECT DISTINCT session_id AS text FROM events AS e \
                 WHERE NOT EXISTS (SELECT 1 FROM sessions AS s WHERE s.id = e.session_id) LIMIT {MOST}"
            ),
        )
        .await?;
        let duplicates = diesel::sql_query(format!(
            "SELECT session_id, event_index, count(*) AS events FROM events \
             GROUP BY session_id, event_index HAVING count(*) > 1 LIMIT {MOST}"
        ));
        let duplicates: Vec<DuplicateIndexRow> = conn.rows(duplicates).await?;
        let duplicate =
            |DuplicateIndexRow { session_id, event_index, events }| DuplicateIndex { session_id, event_index, events };
        report.duplicate_indexes = duplicates.into_iter().map(duplicate).collect();
        let has_legacy = diesel::dsl::sql::<Bool>("to_regclass('events_legacy') IS NOT NULL");
        report.has_events_legacy = conn.one(diesel::select(has_legacy)).await?;
        Ok(report)
    })
    .await
}

/// Indexes that a failed `CREATE INDEX CONCURRENTLY` or `REINDEX` has left behind.
async fn invalid_indexes<C: PgLink>(conn: &mut C) -> Result<Vec<String>> {
    texts(
        conn,
        "SELECT 'index ' || indexrelid::regclass || ' is invalid' AS text FROM pg_index \
         WHERE indrelid IN (to_regclass('sessions'), to_regclass('events'), to_regclass('event_heads')) \
         AND NOT indisvalid",
    )
    .await
}

async fn texts<C: PgLink>(conn: &mut C, query: &str) -> Result<Vec<String>> {
    let found: Vec<FoundText> = conn.rows(diesel::sql_query(query)).await?;
    Ok(found.into_iter().map(|found| found.text).collect())
}

/// Reads all rows, in batches by a cursor of the server's.
async fn note_undecodable<C: PgLink>(
    conn: &mut C,
    table: &str,
    columns: &str,
    found: &mut Vec<String>,
    load: impl AsyncFn(&mut C, &str) -> QueryResult<Vec<Option<Cause>>>,
) -> Result<()> {
    let cursor = format!("DECLARE agent_session_store_check NO SCROLL CURSOR FOR SELECT {columns} FROM {table}");
    conn.batch(&cursor).await?;
    loop {
        let rows = load(conn, "FETCH 100 FROM agent_session_store_check").await?;
        let is_last = rows.is_empty();
        let broken = rows.into_iter().flatten().map(|cause| Error::from(cause).to_string());
        found.extend(broken.take(MOST - found.len()));
        if is_last || found.len() == MOST {
            break;
        }
    }
    conn.batch("CLOSE agent_session_store_check").await?;
    Ok(())
}

fn causes<T, const KEY: usize>(rows: Vec<Found<T, KEY, NONE_KNOWN>>) -> Vec<Option<Cause>> {
    rows.into_iter().map(|row| Some(row.0.err()?.cause)).collect()
}

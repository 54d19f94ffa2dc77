//! What becomes of a session: ended, deleted, forked.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::error::{Error, Result};
use crate::schema::{events, sessions};
use crate::session::{self, SessionRecord};
use crate::transaction;

pub(crate) fn delete(conn: &mut SqliteConnection, id: &str) -> Result<bool> {
    transaction::atomically(conn, |conn| {
        let events = diesel::delete(events::table.filter(events::session_id.eq(id))).execute(conn)?;
        let sessions = diesel::delete(sessions::table.find(id)).execute(conn)?;
        Ok(events + sessions > 0)
    })
}

pub(crate) fn destroy(conn: &mut SqliteConnection, id: &str, at: DateTime<Utc>) -> Result<bool> {
    let marked =
        diesel::update(sessions::table.find(id)).set(sessions::destroyed_at.eq(at.timestamp_millis())).execute(conn)?;
    Ok(marked > 0)
}

pub(crate) fn fork(
    conn: &mut SqliteConnection,
    from_id: &str,
    up_to_index: Option<i64>,
    new: &SessionRecord,
) -> Result<u64> {
    transaction::atomically_reading(conn, |conn| {
        if exists(conn, &new.id)? {
            return Err(Error::SessionExists { id: new.id.clone() });
        }
        if !exists(conn, from_id)? {
            return Err(Error::SessionNotFound { id: from_id.to_owned() });
        }
        session::upsert(conn, new)?;
        // The old id at the end of the new one keeps the order of events that share an index.
        let copied = diesel::sql_query(
            "INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, payload_json) \
             SELECT ?1 || ':' || id, event_index, ?1, created_at, connection_id, sender, payload_json \
             FROM events WHERE session_id = ?2 AND event_index <= ?3 ORDER BY event_index, id",
        )
        .bind::<Text, _>(&new.id)
        .bind::<Text, _>(from_id)
        .bind::<BigInt, _>(up_to_index.unwrap_or(i64::MAX))
        .execute(conn)?;
        Ok(copied as u64)
    })
}

/// Whether there is a session's record, or any event of it.
fn exists(conn: &mut SqliteConnection, id: &str) -> Result<bool> {
    let record = diesel::dsl::exists(sessions::table.find(id));
    let event = diesel::dsl::exists(events::table.filter(events::session_id.eq(id)));
    Ok(diesel::select(record.or(event)).get_result(conn)?)
}

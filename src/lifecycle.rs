//! What becomes of a session: ended, deleted, forked.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{BigInt, Text};

use crate::error::{Error, Result};
use crate::session::{self, SessionRecord};
use crate::tables::{events, sessions};
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
        match copy_events(conn, from_id, up_to_index, &new.id) {
            Err(error @ DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => {
                Err(taken_id(conn, from_id, &new.id)?.unwrap_or_else(|| error.into()))
            }
            copied => Ok(copied? as u64),
        }
    })
}

/// The rows as they are, whatever they hold. The old id at the end of the new one keeps the order of events that share
/// an index.
fn copy_events(
    conn: &mut SqliteConnection,
    from_id: &str,
    up_to_index: Option<i64>,
    new_id: &str,
) -> QueryResult<usize> {
    let range = if up_to_index.is_some() { "AND event_index <= ?3" } else { "" };
    let copy = diesel::sql_query(format!(
        "INSERT INTO main.events (id, event_index, session_id, created_at, connection_id, sender, payload_json) \
         SELECT ?1 || ':' || id, event_index, ?1, created_at, connection_id, sender, payload_json \
         FROM main.events WHERE session_id = ?2 {range} ORDER BY event_index, id"
    ));
    let copy = copy.bind::<Text, _>(new_id).bind::<Text, _>(from_id);
    match up_to_index {
        Some(index) => copy.bind::<BigInt, _>(index).execute(conn),
        None => copy.execute(conn),
    }
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    session_id: String,
}

/// The event that has the id of a copy.
fn taken_id(conn: &mut SqliteConnection, from_id: &str, new_id: &str) -> Result<Option<Error>> {
    let taken: Option<Taken> = diesel::sql_query(
        "SELECT taken.id, taken.session_id FROM main.events AS source \
         JOIN main.events AS taken ON taken.id = ?1 || ':' || source.id WHERE source.session_id = ?2 LIMIT 1",
    )
    .bind::<Text, _>(new_id)
    .bind::<Text, _>(from_id)
    .get_result(conn)
    .optional()?;
    Ok(taken.map(|Taken { id, session_id }| Error::EventIdTaken { id, session_id }))
}

/// Whether there is a session's record, or any event of it.
fn exists(conn: &mut SqliteConnection, id: &str) -> Result<bool> {
    let record = diesel::dsl::exists(sessions::table.find(id));
    let event = diesel::dsl::exists(events::table.filter(events::session_id.eq(id)));
    Ok(diesel::select(record.or(event)).get_result(conn)?)
}

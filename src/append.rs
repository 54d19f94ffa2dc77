//! Appending: events whose indexes the database hands out.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::column::{Column, Row, StoredText, Whole};
use crate::error::{Error, Result};
use crate::event::{NewEvent as EventToInsert, Sender, SessionEvent};
use crate::insert::InsertNew;
use crate::json::Json;
use crate::tables::events;
use crate::transaction;

/// An event that does not have its place in a session yet. `Debug` prints all of it, the payload included.
///
/// ```
/// use agent_session_store::{Json, NewEvent, Sender, SessionStore};
/// use chrono::DateTime;
///
/// let event = NewEvent {
///     id: "event-1".to_owned(),
///     created_at: DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
///     connection_id: "connection-1".to_owned(),
///     sender: Sender::Agent,
///     payload: Json::parse(r#"{"jsonrpc":"2.0","method":"session/update"}"#)?,
/// };
/// let store = SessionStore::open_in_memory()?;
/// assert_eq!(store.append_events("session-1", &[event])?, [1]);
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewEvent {
    /// The key, unique in the whole table; appending it again changes nothing.
    pub id: String,
    /// When it was sent.
    #[serde(with = "crate::time::millis")]
    pub created_at: DateTime<Utc>,
    /// The connection it was sent over.
    pub connection_id: String,
    /// Who sent it.
    pub sender: Sender,
    /// What was sent, byte for byte.
    pub payload: Json,
}

impl NewEvent {
    /// The row it becomes.
    fn at<'a>(&'a self, session_id: &'a str, event_index: i64) -> EventToInsert<'a> {
        EventToInsert {
            id: &self.id,
            event_index,
            session_id,
            created_at: self.created_at.timestamp_millis(),
            connection_id: &self.connection_id,
            sender: self.sender.as_str(),
            payload_json: self.payload.get(),
        }
    }

    fn is_stored_as(&self, event: &SessionEvent, session_id: &str) -> bool {
        event.session_id == session_id
            && event.created_at.timestamp_millis() == self.created_at.timestamp_millis()
            && event.connection_id == self.connection_id
            && event.sender == self.sender
            && event.payload == self.payload
    }
}

#[diesel::dsl::auto_type(no_type_alias)]
fn ids_from_the_end<'a>(session_id: &'a str) -> _ {
    events::table
        .filter(events::session_id.eq(session_id))
        .select((events::id, events::event_index))
        .order((events::event_index.desc(), events::id.desc()))
}

pub(crate) fn last_index(conn: &mut SqliteConnection, session_id: &str) -> Result<Option<i64>> {
    type Last = (Column<StoredText>, Column<Whole>);
    let Some((id, index)) = ids_from_the_end(session_id).get_result::<Last>(conn).optional()? else {
        return Ok(None);
    };
    let index = Row::new("events", &id, None).value("event_index", index)?;
    Ok(Some(index.0))
}

#[diesel::dsl::auto_type(no_type_alias)]
fn by_id<'a>(id: &'a str) -> _ {
    events::table.find(id)
}

/// Appends, if the session ends where it is expected to; `None` expects nothing.
pub(crate) fn append(
    conn: &mut SqliteConnection,
    session_id: &str,
    expected: Option<i64>,
    new: &[NewEvent],
) -> Result<Vec<i64>> {
    transaction::atomically_reading(conn, |conn| {
        let last_index = last_index(conn, session_id)?;
        let first = last_index.unwrap_or(0);
        let mut last = first;
        let mut indexes = Vec::with_capacity(new.len());
        for event in new {
            let next = last.checked_add(1);
            if let Some(next) = next
                && InsertNew(event.at(session_id, next)).execute(conn)? > 0
            {
                last = next;
                indexes.push(next);
                continue;
            }
            let stored: SessionEvent = match by_id(&event.id).get_result(conn).optional()? {
                None if next.is_none() => return Err(Error::IndexesExhausted { session_id: session_id.to_owned() }),
                stored => stored.ok_or(diesel::result::Error::NotFound)?,
            };
            if !event.is_stored_as(&stored, session_id) {
                return Err(Error::EventIdTaken { id: stored.id, session_id: stored.session_id });
            }
            indexes.push(stored.event_index);
        }
        // Asked last: a batch that is there already is no conflict, however the session went on.
        match expected {
            Some(expected) if last > first && expected != first => {
                Err(Error::AppendConflict { session_id: session_id.to_owned(), expected, last_index })
            }
            _ => Ok(indexes),
        }
    })
}

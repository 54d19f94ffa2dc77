//! Appending events, with indexes assigned by the database.

use crate::database::rows::EventRow;
use crate::database::{Database, Lock};
use crate::error::{Error, Result};
use crate::model::append_request::{AppendRequest, Requirement};
use crate::model::event::{NewEvent, SessionEvent};

pub(crate) async fn append_events<D: Database>(db: &mut D, session_id: &str, events: &[NewEvent]) -> Result<Vec<i64>> {
    append_if(db, session_id, None, events).await
}

pub(crate) async fn append_events_after<D: Database>(
    db: &mut D,
    session_id: &str,
    last_index: i64,
    events: &[NewEvent],
) -> Result<Vec<i64>> {
    append_if(db, session_id, Some(last_index), events).await
}

pub(crate) async fn last_event_index<D: Database>(db: &mut D, session_id: &str) -> Result<Option<i64>> {
    db.last_index(session_id).await
}

pub(crate) async fn append<D: Database>(db: &mut D, request: &AppendRequest, events: &[NewEvent]) -> Result<Vec<i64>> {
    let AppendRequest { session_id, ends_at, requires } = request;
    if *requires == Requirement::Nothing || events.is_empty() {
        return append_if(db, session_id, *ends_at, events).await;
    }
    db.atomically(Lock::ReadWrite { session: Some(session_id) }, async |db| {
        let refusal = match db.is_live(session_id).await? {
            None => Some(Error::SessionNotFound { id: session_id.clone() }),
            Some(false) if *requires == Requirement::Live => Some(Error::SessionEnded { id: session_id.clone() }),
            Some(_) => None,
        };
        match refusal {
            None => append_if(db, session_id, *ends_at, events).await,
            Some(refusal) => one_by_one(db, session_id, *ends_at, events, Some(refusal)).await,
        }
    })
    .await
}

/// Appends if the session ends at the expected index; `None` expects nothing.
async fn append_if<D: Database>(
    db: &mut D,
    session_id: &str,
    expected: Option<i64>,
    new: &[NewEvent],
) -> Result<Vec<i64>> {
    match db.append_new(session_id, expected, new).await? {
        Some(indexes) => Ok(indexes),
        None => one_by_one(db, session_id, expected, new, None).await,
    }
}

/// Appends what is not stored yet, unless it is refused.
async fn one_by_one<D: Database>(
    db: &mut D,
    session_id: &str,
    expected: Option<i64>,
    new: &[NewEvent],
    refusal: Option<Error>,
) -> Result<Vec<i64>> {
    db.atomically(Lock::ReadWrite { session: Some(session_id) }, async |db| {
        let last_index = db.last_index(session_id).await?;
        let first = last_index.unwrap_or(0);
        let mut last = first;
        let mut indexes = Vec::with_capacity(new.len());
        for event in new {
            let next = last.checked_add(1);
            if let Some(next) = next
                && db.add_event(EventRow::appended(event, session_id, next)).await?
            {
                last = next;
                indexes.push(next);
                continue;
            }
            let stored = match db.event(&event.id, session_id).await? {
                None if next.is_none() => return Err(Error::IndexesExhausted { session_id: session_id.to_owned() }),
                stored => stored.ok_or(diesel::result::Error::NotFound)?,
            };
            if !is_stored_as(event, &stored, session_id)
                || event.payload != stored.payload && db.as_kept(&event.payload).await? != stored.payload
            {
                return Err(Error::EventIdTaken { id: stored.id, session_id: stored.session_id });
            }
            indexes.push(stored.event_index);
        }
        // Checked last, because a batch that is already stored is no conflict, whatever was appended since.
        match (refusal, expected) {
            (Some(refusal), _) if last > first => Err(refusal),
            (_, Some(expected)) if last > first && expected != first => {
                Err(Error::AppendConflict { session_id: session_id.to_owned(), expected, last_index })
            }
            _ => {
                db.keep_last_index(session_id, last).await?;
                Ok(indexes)
            }
        }
    })
    .await
}

/// Whether the event is the stored one, but for its payload. A retry may have been stamped with another time and
/// connection; what was stored stays.
fn is_stored_as(new: &NewEvent, stored: &SessionEvent, session_id: &str) -> bool {
    stored.session_id == session_id && stored.sender == new.sender
}

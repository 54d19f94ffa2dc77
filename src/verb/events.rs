//! Listing and storing events.

use crate::database::rows::EventRow;
use crate::database::{Database, Lock};
use crate::error::Result;
use crate::model::event::SessionEvent;
use crate::model::page::ListPage;
use crate::model::request::ListEventsRequest;

pub(crate) async fn get_event<D: Database>(db: &mut D, id: &str) -> Result<Option<SessionEvent>> {
    db.event_with_id(id).await
}

pub(crate) async fn list_events<D: Database>(
    db: &mut D,
    request: &ListEventsRequest,
) -> Result<ListPage<SessionEvent>> {
    db.events(&request.listing()?).await
}

/// The newest events that fit, oldest first.
pub(crate) async fn latest_events<D: Database>(
    db: &mut D,
    session_id: &str,
    count: u32,
    max_bytes: Option<usize>,
) -> Result<Vec<SessionEvent>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut request = ListEventsRequest::new(session_id).descending().limit(count);
    if let Some(bytes) = max_bytes {
        request = request.max_bytes(bytes);
    }
    let mut events = list_events(db, &request).await?.items;
    events.reverse();
    Ok(events)
}

/// Upserting is a separate, more expensive statement for the database and for Diesel. Nearly every event is new, so the
/// plain insert goes first.
pub(crate) async fn insert_event<D: Database>(db: &mut D, event: &SessionEvent) -> Result<()> {
    if db.add_event(EventRow::from(event)).await? { Ok(()) } else { db.put_event(EventRow::from(event)).await }
}

pub(crate) async fn insert_events<D: Database>(db: &mut D, events: &[SessionEvent]) -> Result<()> {
    db.atomically(Lock::Write, async |db| {
        if D::PREFERS_MANY && put_events(db, events).await? {
            return Ok(());
        }
        for event in events {
            insert_event(db, event).await?;
        }
        Ok(())
    })
    .await
}

/// Upserts events at once, and returns whether that was possible.
pub(super) async fn put_events<'a, D: Database>(
    db: &mut D,
    events: impl IntoIterator<Item = &'a SessionEvent>,
) -> Result<bool> {
    let rows: Vec<EventRow<&str>> = events.into_iter().map(EventRow::from).collect();
    db.put_events(&rows).await
}

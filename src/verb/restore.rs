//! Writes what an import has read, one transaction at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access::Writing;
use super::events::put_events;
use super::lines::wrong_line;
use super::step::{Next, Parts, Step, step};
use crate::database::rows::{EventRow, SessionRow};
use crate::database::{self, Database, Lock};
use crate::error::{Error, Result};
use crate::model::event::SessionEvent;
use crate::model::session::SessionRecord;

/// How long a step keeps starting further parts.
const WORK_TIME: Duration = Duration::from_millis(20);

/// A session, or a piece of a long one.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The session's record with its line number, if it has one. For a long session it comes with the last piece.
    pub(super) record: Option<(u64, SessionRecord)>,
    pub(super) events: Vec<(u64, SessionEvent)>,
    /// Whether this completes the session.
    pub(super) is_last: bool,
    /// Whether rows that exist stay as they are.
    pub(super) keeps_existing: bool,
}

/// A step: it writes parts starting with this one, each atomically, as many as fit this many rows, but at least one.
pub(super) struct RestoreStep {
    pub(super) parts: Arc<Vec<Part>>,
    pub(super) from: usize,
    pub(super) rows: usize,
}

impl<D: Database> Writing<D> for RestoreStep {
    type Answer = Step<usize>;

    const ADDS_EVENTS: bool = true;

    async fn run(&mut self, db: &mut D) -> Result<Step<usize>> {
        step(db, self.from..self.parts.len(), 0, self).await
    }
}

impl<D: Database> Parts<D> for RestoreStep {
    /// How many rows they had.
    type State = usize;

    async fn work(&self, db: &mut D, part: usize, began: Instant, rows: &usize) -> Result<(usize, Next)> {
        let next_rows = self.parts.get(part + 1).map_or(0, |next| next.events.len() + 1);
        let rows = rows + self.parts[part].events.len() + 1;
        // Boxed, because futures within futures soon exceed what the compiler looks into, in the application that calls.
        Box::pin(restore_part(db, &self.parts[part])).await?;
        let has_room = rows + next_rows <= self.rows && began.elapsed() < WORK_TIME;
        Ok((rows, if has_room { Next::Part } else { Next::Step { is_done: true } }))
    }
}

async fn restore_part<D: Database>(db: &mut D, part: &Part) -> Result<()> {
    if let Some((line, record)) = &part.record {
        let row = SessionRow::from(record);
        let stored = if part.keeps_existing { db.add_session(row).await.map(drop) } else { db.put_session(row).await };
        stored.map_err(|error| about_line(*line, error))?;
    }
    // An error of many is no line's error.
    if D::PREFERS_MANY
        && !part.keeps_existing
        && let Ok(true) = db.atomically(Lock::Write, async |db| at_once(db, &part.events).await).await
    {
        return Ok(());
    }
    for (line, event) in &part.events {
        restore_event(db, event, part.keeps_existing).await.map_err(|error| about_line(*line, error))?;
    }
    Ok(())
}

/// Stores the events at once, if that is possible.
async fn at_once<D: Database>(db: &mut D, events: &[(u64, SessionEvent)]) -> Result<bool> {
    put_events(db, events.iter().map(|(_, event)| event)).await
}

/// Like `insert_event`, but leaves an event of another session alone.
async fn restore_event<D: Database>(db: &mut D, event: &SessionEvent, keeps_existing: bool) -> Result<()> {
    if db.add_event(EventRow::from(event)).await? {
        return Ok(());
    }
    // If there is none, something kept the event out: a trigger that says IGNORE, for example.
    let session_id = db.session_of_event(&event.id, &event.session_id).await?.ok_or(diesel::result::Error::NotFound)?;
    if session_id != event.session_id {
        return Err(Error::EventIdTaken { id: event.id.clone(), session_id });
    }
    if keeps_existing { Ok(()) } else { db.put_event(EventRow::from(event)).await }
}

/// An error in a line's data is that line's error; the state of the database is not.
fn about_line(line: u64, error: Error) -> Error {
    if database::is_about_the_database(&error) { error } else { wrong_line(line, error) }
}

/// If another session has an event with one of these ids, that is the error of its line.
pub(super) async fn check_ids<D: Database>(db: &mut D, session_id: &str, ids: &[(u64, String)]) -> Result<()> {
    let list: Vec<&str> = ids.iter().map(|(_, id)| &**id).collect();
    for (id, session_id) in db.taken_ids(session_id, &list).await? {
        // The database and JSON may disagree about some characters.
        if let Some((line, _)) = ids.iter().find(|line| line.1 == id) {
            return Err(wrong_line(*line, Error::EventIdTaken { id, session_id }));
        }
    }
    Ok(())
}

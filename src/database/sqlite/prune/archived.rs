//! Deletes what is in an archive, in the current transaction.

use diesel::prelude::*;

use super::activity::{is_doomed, last_activity};
use super::delete::{DeleteEmptySession, DeleteEventById};
use crate::database::pruning::Rule;
use crate::database::queries::{EventById, HasRecord, SessionById};
use crate::database::survey::PrunedSession;
use crate::error::Result;
use crate::model::event::SessionEvent;
use crate::model::retention::PruneRequest;
use crate::model::session::SessionRecord;

/// Whether the session is still selected.
pub(in crate::database::sqlite) fn is_selected(
    conn: &mut SqliteConnection,
    request: &PruneRequest,
    session: &PrunedSession,
) -> Result<bool> {
    let session_id = &*session.session_id;
    Ok(match session.rule {
        Rule::Named | Rule::Excess => true,
        Rule::Doomed => is_doomed(conn, request, session_id)?,
        Rule::Orphans => !HasRecord { session_id }.get_result::<bool>(conn)?,
        Rule::Size => last_activity(conn, session_id)? == session.activity,
    })
}

pub(in crate::database::sqlite) fn delete_unchanged(
    conn: &mut SqliteConnection,
    session_id: &str,
    events: &[SessionEvent],
) -> Result<u64> {
    let mut deleted = 0;
    for event in events {
        let found: Option<SessionEvent> = EventById { id: &event.id }.get_result(conn).optional()?;
        if found.as_ref() == Some(event) {
            deleted += DeleteEventById { id: &event.id, session_id }.execute(conn)? as u64;
        }
    }
    Ok(deleted)
}

pub(in crate::database::sqlite) fn delete_emptied(
    conn: &mut SqliteConnection,
    session_id: &str,
    record: Option<&SessionRecord>,
) -> Result<bool> {
    let Some(record) = record else { return Ok(false) };
    let found: Option<SessionRecord> = SessionById { id: session_id }.get_result(conn).optional()?;
    Ok(found.as_ref() == Some(record) && DeleteEmptySession { id: session_id }.execute(conn)? > 0)
}

//! Deletes what was found, in the current transaction.

use std::time::Instant;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::activity::{is_doomed, last_activity};
use super::places::{EventPlace, places};
use super::{Finding, Rule};
use crate::database::Deleted;
use crate::database::queries::HasRecord;
use crate::database::statement::sqlite_statement;
use crate::error::Result;
use crate::model::report::PruneReport;
use crate::model::retention::{PruneRequest, STEP_ROWS, STEP_TIME};

sqlite_statement! {
    DeleteEvent { rowid: i64, session_id: &'a str },
    "DELETE FROM " events " WHERE rowid = " { rowid as BigInt } " AND session_id = " { session_id as Text }
}

sqlite_statement! {
    DeleteAgedEvent { rowid: i64, session_id: &'a str, before: i64 },
    "DELETE FROM " events " WHERE rowid = " { rowid as BigInt } " AND session_id = " { session_id as Text }
    " AND created_at < " { before as BigInt }
}

sqlite_statement! {
    pub(super) DeleteEventById { id: &'a str, session_id: &'a str },
    "DELETE FROM " events " WHERE id = " { id as Text } " AND session_id = " { session_id as Text }
}

sqlite_statement! {
    /// Not while it has events: a trigger may keep them, or others may keep writing.
    pub(super) DeleteEmptySession { id: &'a str },
    "DELETE FROM " sessions " WHERE id = " { id as Text }
    " AND NOT EXISTS (SELECT 1 FROM main.events WHERE session_id = sessions.id)"
}

/// Deletes the rows of a finding, until the transaction has run for too long.
pub(in crate::database::sqlite) fn delete(
    conn: &mut SqliteConnection,
    request: &PruneRequest,
    finding: &Finding,
    from_row: usize,
    began: Instant,
) -> Result<Deleted> {
    let mut report = PruneReport::default();
    let session_id = &*finding.session_id;
    // The session may have changed since it was found.
    let is_hit = match finding.rule {
        Rule::Named | Rule::Excess => true,
        Rule::Doomed => is_doomed(conn, request, session_id)?,
        Rule::Orphans => !HasRecord { session_id }.get_result::<bool>(conn)?,
        Rule::Size => last_activity(conn, session_id)? == finding.activity,
    };
    if !is_hit {
        return Ok(Deleted { report, next_row: None });
    }
    for (row, &rowid) in finding.rowids.iter().enumerate().skip(from_row) {
        if row > from_row && began.elapsed() >= STEP_TIME {
            return Ok(Deleted { report, next_row: Some(row) });
        }
        report.events += match (finding.rule, request.orphans_before) {
            (Rule::Orphans, Some(before)) => DeleteAgedEvent { rowid, session_id, before }.execute(conn)?,
            _ => DeleteEvent { rowid, session_id }.execute(conn)?,
        } as u64;
    }
    let is_whole = finding.is_last && finding.rule.is_whole();
    if is_whole {
        for rowid in newcomers(conn, session_id, finding.after.as_ref())? {
            report.events += DeleteEvent { rowid, session_id }.execute(conn)? as u64;
        }
        // Triggers on its events may have changed it.
        if finding.rule != Rule::Doomed || is_doomed(conn, request, session_id)? {
            report.sessions += DeleteEmptySession { id: session_id }.execute(conn)? as u64;
        }
    }
    Ok(Deleted { report, next_row: None })
}

/// The events appended to a session since it was examined, up to one step of them.
fn newcomers(conn: &mut SqliteConnection, session_id: &str, after: Option<&EventPlace>) -> QueryResult<Vec<i64>> {
    places(conn, session_id, after, |events| {
        let is_new = |place: &EventPlace| after.is_none_or(|after| place > after);
        let events = events.filter(|event| event.as_ref().map_or(true, is_new)).take(STEP_ROWS);
        events.map(|event| event.map(|place| place.rowid)).collect::<QueryResult<Vec<i64>>>()
    })?
}

//! Deletes what was found, in one transaction at a time.

use std::time::Instant;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::plan::{Part, Rule, events_from};
use super::position::Position;
use super::{PruneReport, PruneRequest};
use crate::error::{Error, Result};
use crate::statement::statement;
use crate::steps::{STEP_ROWS, STEP_TIME};
use crate::transaction;

/// How far the parts have been worked off.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    part: usize,
    row: usize,
}

impl Place {
    pub(super) fn is_end_of(self, parts: &[Part]) -> bool {
        self.part >= parts.len()
    }
}

/// What a step did.
#[derive(Debug)]
pub(super) struct Stepped {
    pub(super) report: PruneReport,
    pub(super) place: Place,
    /// What kept it from doing more; the part that it struck has undone itself.
    pub(super) failure: Option<Error>,
    /// Since when the lock was held.
    pub(super) began: Instant,
}

statement! {
    DeleteEvent { rowid: i64 },
    "DELETE FROM main.events WHERE rowid = " { rowid as BigInt } " AND session_id = " { session_id as Text }
}

statement! {
    DeleteAgedEvent { rowid: i64, before: Option<i64> },
    "DELETE FROM main.events WHERE rowid = " { rowid as BigInt } " AND session_id = " { session_id as Text }
    " AND created_at < " { before as Nullable<BigInt> }
}

statement! {
    HasRecord {} -> Bool,
    "SELECT EXISTS (SELECT 1 FROM main.sessions WHERE id = " { session_id as Text } ")"
}

statement! {
    /// Not while it has events: a trigger may keep them, or somebody may go on writing.
    DeleteSession {},
    "DELETE FROM main.sessions WHERE id = " { session_id as Text }
    " AND NOT EXISTS (SELECT 1 FROM main.events WHERE session_id = sessions.id)"
}

/// Deletes as much as there is time for, each part of a session for itself.
pub(super) fn step(
    conn: &mut SqliteConnection,
    request: &PruneRequest,
    parts: &[Part],
    place: Place,
) -> Result<Stepped> {
    let (mut failure, mut struck) = (None, place.part);
    let is_inside = transaction::is_open(conn)?;
    let stepped = transaction::atomically(conn, |conn| {
        let mut stepped = Stepped { report: PruneReport::default(), place, failure: None, began: Instant::now() };
        while let Some(part) = parts.get(stepped.place.part) {
            let rowids = &part.rowids[stepped.place.row.min(part.rowids.len())..];
            match transaction::atomically(conn, |conn| delete(conn, request, part, rowids, stepped.began)) {
                Ok((report, None)) => {
                    stepped.report += report;
                    stepped.place = Place { part: stepped.place.part + 1, row: 0 };
                }
                Ok((report, Some(rows))) => {
                    stepped.report += report;
                    stepped.place.row += rows;
                }
                Err(error) => {
                    (failure, struck) = (Some(error), stepped.place.part);
                    break;
                }
            }
            if stepped.began.elapsed() >= STEP_TIME {
                break;
            }
        }
        Ok(stepped)
    });
    match (stepped, failure) {
        (Ok(stepped), failure) => Ok(Stepped { failure, ..stepped }),
        // It has ended the whole transaction, and so brought back what went before it, which goes once more.
        (Err(_), Some(failure)) if struck > place.part && !is_inside => {
            let again = step(conn, request, &parts[..struck], place)?;
            let failure = again.failure.or((again.place.part == struck).then_some(failure));
            Ok(Stepped { failure, ..again })
        }
        (Err(_), Some(failure)) => Err(failure),
        (Err(error), None) => Err(error),
    }
}

/// Deletes rows of a part; says how many, if the time was up before all of it was done.
fn delete(
    conn: &mut SqliteConnection,
    request: &PruneRequest,
    part: &Part,
    rowids: &[i64],
    began: Instant,
) -> Result<(PruneReport, Option<usize>)> {
    let mut report = PruneReport::default();
    let session_id = &*part.session_id;
    // It may have changed since it was found.
    let is_hit = match part.rule {
        Rule::Named | Rule::Excess => true,
        Rule::Doomed => request.dooms(conn, session_id)?,
        Rule::Orphans => !HasRecord { session_id }.get_result::<bool>(conn)?,
    };
    if !is_hit {
        return Ok((report, None));
    }
    for (place, &rowid) in rowids.iter().enumerate() {
        if place > 0 && began.elapsed() >= STEP_TIME {
            return Ok((report, Some(place)));
        }
        report.events += match part.rule {
            Rule::Orphans => DeleteAgedEvent { rowid, before: request.orphans_before, session_id }.execute(conn)?,
            _ => DeleteEvent { rowid, session_id }.execute(conn)?,
        } as u64;
    }
    let is_whole = part.is_last && matches!(part.rule, Rule::Named | Rule::Doomed);
    if is_whole {
        for rowid in newcomers(conn, session_id, part.after.as_ref())? {
            report.events += DeleteEvent { rowid, session_id }.execute(conn)? as u64;
        }
        // What goes with its events may have changed it.
        if part.rule == Rule::Named || request.dooms(conn, session_id)? {
            report.sessions += DeleteSession { session_id }.execute(conn)? as u64;
        }
    }
    Ok((report, None))
}

/// The events that were written at the end of a session since it was looked at, up to a step of them.
fn newcomers(conn: &mut SqliteConnection, session_id: &str, after: Option<&Position>) -> QueryResult<Vec<i64>> {
    events_from(conn, session_id, after, |events| {
        let is_new = |position: &Position| after.is_none_or(|after| position > after);
        let events = events.filter(|event| event.as_ref().map_or(true, is_new)).take(STEP_ROWS);
        events.map(|event| event.map(|position| position.rowid)).collect::<QueryResult<Vec<i64>>>()
    })?
}

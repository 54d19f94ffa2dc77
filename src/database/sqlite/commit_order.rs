//! The events of all sessions in the order in which they were committed, which in SQLite is that of the rowids: there is
//! one writer at a time, and each row gets the greatest. A rowid is given again once the rows at the end are deleted.

use diesel::SqliteConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::stored::Stored;
use super::transaction;
use crate::database::fields::{Numbered, Record};
use crate::database::statement::sqlite_statement;
use crate::error::{Error, Result};
use crate::model::commit_order::{CommitPage, CommitPosition, Mark};
use crate::model::event::SessionEvent;
use crate::schema::events;

/// A page ends with the row that goes beyond these.
const ROWS: usize = 100;
const BYTES: usize = 1 << 20;

sqlite_statement! {
    IdOfRow { number: &'a i64 } -> Text,
    "SELECT id FROM " events " WHERE rowid = " { number as BigInt }
}

sqlite_statement! {
    RowsUpTo { number: &'a i64 } -> BigInt,
    "SELECT rowid FROM " events " WHERE rowid <= " { number as BigInt } " LIMIT 1"
}

sqlite_statement! {
    RowsAfter { number: &'a i64 } -> (Text, Text, (BigInt, events::SqlType)),
    "SELECT session_id, id, rowid, " [SessionEvent::COLUMNS] " FROM " events " WHERE rowid > " { number as BigInt }
    " ORDER BY rowid"
}

sqlite_statement! {
    LastRows { most: &'a i64 } -> (Text, Text, BigInt),
    "SELECT session_id, id, rowid FROM " events " ORDER BY rowid DESC LIMIT " { most as BigInt }
}

/// What follows a position.
pub(crate) fn committed_after(conn: &mut SqliteConnection, position: &CommitPosition) -> Result<CommitPage> {
    transaction::reading(conn, |conn| {
        let after = last_kept(conn, position)?;
        let mut rows = Vec::new();
        let mut bytes = 0;
        let found = RowsAfter { number: &after.unwrap_or(i64::MIN) };
        for row in found.load_iter::<(Stored, Stored, Numbered<SessionEvent>), _>(conn)? {
            let (session, id, row) = row?;
            bytes += row.record.as_ref().map_or(0, |event| event.payload.get().len());
            rows.push((mark(row.rowid, &id, &session), row.record.map_err(Error::from)));
            if rows.len() >= ROWS || bytes >= BYTES {
                break;
            }
        }
        Ok(CommitPage { after, rows })
    })
}

/// The position after everything that is there.
pub(crate) fn end_of_commits(conn: &mut SqliteConnection) -> Result<CommitPosition> {
    let rows: Vec<(Stored, Stored, i64)> = LastRows { most: &(ROWS as i64) }.load(conn)?;
    let mut end = CommitPosition::default();
    rows.iter().rev().for_each(|(session, id, number)| end.push(mark(*number, id, session)));
    Ok(end)
}

/// The last of the known rows that is still there. All rows that were committed since come after it.
fn last_kept(conn: &mut SqliteConnection, position: &CommitPosition) -> Result<Option<i64>> {
    let Some(last) = position.last() else { return Ok(None) };
    let mut is_kept = |known: Mark| -> QueryResult<bool> {
        let id = IdOfRow { number: &known.number }.get_result::<Stored>(conn).optional()?;
        Ok(id.is_some_and(|id| hash(&id) == known.id))
    };
    if is_kept(last)? {
        return Ok(Some(last.number));
    }
    for known in position.marks() {
        if is_kept(known)? {
            return Ok(Some(known.number));
        }
    }
    match (RowsUpTo { number: &last.number }).get_result::<i64>(conn).optional()? {
        // Whatever is there is new.
        None => Ok(None),
        Some(_) => {
            Err(Error::InvalidCursor { reason: "the events before it were deleted, so nobody knows what is new" })
        }
    }
}

fn mark(number: i64, id: &Stored, session: &Stored) -> Mark {
    Mark { number, id: hash(id), session: hash(session) }
}

/// FNV-1a, 32 bits, the same in every release.
fn hash(value: &Stored) -> u32 {
    let number;
    let (kind, bytes): (u8, &[u8]) = match value {
        Stored::Null => (0, &[]),
        Stored::Integer(value) => {
            number = value.to_le_bytes();
            (1, &number)
        }
        Stored::Real(value) => {
            number = value.to_le_bytes();
            (2, &number)
        }
        Stored::Text(bytes) => (3, bytes),
        Stored::Blob(bytes) => (4, bytes),
    };
    let with = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(with(0x811c_9dc5, &kind), with)
}

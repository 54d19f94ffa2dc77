//! When a session was last active, and whether that, or another of its times, selects it. Each is found with a seek.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::Sqlite;

use crate::database::doomed::Doomed;
use crate::database::statement::{Dialect, sqlite_statement};
use crate::database::survey::LastActivity;
use crate::error::Result;
use crate::model::retention::PruneRequest;

/// The last activity of a session whose last event is `e`. What is not a number cannot be told from a later time.
pub(super) const ACTIVITY: &str = "(SELECT CASE WHEN typeof(at) IN ('integer', 'real') THEN CAST(at AS INTEGER) \
     ELSE 9223372036854775807 END FROM (SELECT max(e.created_at, coalesce((SELECT max(s.created_at, \
     coalesce(s.destroyed_at, s.created_at)) FROM main.sessions AS s WHERE s.id = e.session_id), e.created_at)) AS at))";

sqlite_statement! {
    IsDoomed { id: &'a str, doomed: Doomed<'a> } -> Bool,
    "SELECT EXISTS (SELECT 1 FROM " sessions " WHERE id = " { id as Text } " AND " { doomed } ")"
}

sqlite_statement! {
    IsInactive { id: &'a str, before: i64 } -> Bool,
    "SELECT EXISTS (SELECT 1 FROM (SELECT e.created_at FROM main.events AS e WHERE e.session_id = " { id as Text } " "
    [Sqlite::LAST] ") AS last WHERE last.created_at < " { before as BigInt } ") AND NOT EXISTS (SELECT 1 FROM " sessions
    " WHERE id = " { id as Text } ")"
}

sqlite_statement! {
    ActivityOf { id: &'a str } -> (BigInt, Text),
    "SELECT " [ACTIVITY] ", hex(CAST(e.id AS BLOB)) FROM main.events AS e WHERE e.session_id = " { id as Text } " " [Sqlite::LAST]
}

/// Whether a rule about times selects the session as it is now.
pub(super) fn is_doomed(conn: &mut SqliteConnection, request: &PruneRequest, id: &str) -> Result<bool> {
    let by_record = IsDoomed { id, doomed: Doomed { by: request } };
    Ok(match request.inactive_before {
        _ if by_record.get_result(conn)? => true,
        Some(before) => IsInactive { id, before }.get_result(conn)?,
        None => false,
    })
}

/// The last activity of a session that has events.
pub(super) fn last_activity(conn: &mut SqliteConnection, id: &str) -> Result<Option<LastActivity>> {
    let found: Option<(i64, String)> = ActivityOf { id }.get_result(conn).optional()?;
    Ok(found.map(|(at, last_event)| LastActivity { at, last_event }))
}

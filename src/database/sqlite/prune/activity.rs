//! When a session was last active, and whether that, or another of its times, selects it. Each is found with a seek.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use crate::database::statement::sqlite_statement;
use crate::database::survey::LastActivity;
use crate::error::Result;
use crate::model::retention::PruneRequest;

/// Of some events `e`, the last in order.
pub(super) const LAST: &str = "ORDER BY e.event_index DESC, e.id DESC, e.rowid DESC LIMIT 1";

/// Sessions on record that a time selects: `?1` is `destroyed_before`, `?2` is `created_before`, `?3` is
/// `inactive_before`, any of which may be NULL. The last event is not looked up in vain.
pub(super) const DOOMED: &str = "(destroyed_at < ?1 OR created_at < ?2 OR CASE WHEN created_at < ?3 \
     THEN coalesce(destroyed_at < ?3, 1) AND NOT coalesce((SELECT e.created_at >= ?3 FROM main.events AS e \
     WHERE e.session_id = sessions.id ORDER BY e.event_index DESC, e.id DESC, e.rowid DESC LIMIT 1), 0) END)";

/// The last activity of a session whose last event is `e`. What is not a number cannot be told from a later time.
pub(super) const ACTIVITY: &str = "(SELECT CASE WHEN typeof(at) IN ('integer', 'real') THEN CAST(at AS INTEGER) \
     ELSE 9223372036854775807 END FROM (SELECT max(e.created_at, coalesce((SELECT max(s.created_at, \
     coalesce(s.destroyed_at, s.created_at)) FROM main.sessions AS s WHERE s.id = e.session_id), e.created_at)) AS at))";

sqlite_statement! {
    IsDoomed { id: &'a str, destroyed_before: Option<i64>, created_before: Option<i64>, inactive_before: Option<i64> } -> Bool,
    "SELECT EXISTS (SELECT 1 FROM " sessions " WHERE id = " { id as Text }
    " AND (destroyed_at < " { destroyed_before as Nullable<BigInt> }
    " OR created_at < " { created_before as Nullable<BigInt> }
    " OR CASE WHEN created_at < " { inactive_before as Nullable<BigInt> }
    " THEN coalesce(destroyed_at < " { inactive_before as Nullable<BigInt> }
    ", 1) AND NOT coalesce((SELECT e.created_at >= " { inactive_before as Nullable<BigInt> }
    " FROM main.events AS e WHERE e.session_id = sessions.id " [LAST] "), 0) END))"
}

sqlite_statement! {
    IsInactive { id: &'a str, before: i64 } -> Bool,
    "SELECT EXISTS (SELECT 1 FROM (SELECT e.created_at FROM main.events AS e WHERE e.session_id = " { id as Text } " "
    [LAST] ") AS last WHERE last.created_at < " { before as BigInt } ") AND NOT EXISTS (SELECT 1 FROM " sessions
    " WHERE id = " { id as Text } ")"
}

sqlite_statement! {
    ActivityOf { id: &'a str } -> (BigInt, Text),
    "SELECT " [ACTIVITY] ", hex(CAST(e.id AS BLOB)) FROM main.events AS e WHERE e.session_id = " { id as Text } " " [LAST]
}

/// Whether a rule about times selects the session as it is now.
pub(super) fn is_doomed(conn: &mut SqliteConnection, request: &PruneRequest, id: &str) -> Result<bool> {
    let &PruneRequest { destroyed_before, created_before, inactive_before, .. } = request;
    let by_record = IsDoomed { id, destroyed_before, created_before, inactive_before };
    Ok(match inactive_before {
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

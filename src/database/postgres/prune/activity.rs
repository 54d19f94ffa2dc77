//! When a session was last active, and whether that, or another of its times, selects it.

use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use crate::database::postgres::pg_link::PgLink;
use crate::database::statement::postgres_statement;
use crate::database::survey::LastActivity;
use crate::error::Result;
use crate::model::retention::PruneRequest;

/// Of some events `e`, the last in order.
pub(super) const LAST: &str = "ORDER BY e.event_index DESC, e.id COLLATE \"C\" DESC LIMIT 1";

postgres_statement! {
    /// Waits for whoever is changing the record, and keeps it as it is until the transaction ends.
    IsDoomed { id: &'a str, destroyed_before: Option<i64>, created_before: Option<i64>, inactive_before: Option<i64> } -> Bool,
    "SELECT true FROM sessions WHERE id = " { id as Text }
    " AND (destroyed_at < " { destroyed_before as Nullable<BigInt> }
    " OR created_at < " { created_before as Nullable<BigInt> }
    " OR CASE WHEN created_at < " { inactive_before as Nullable<BigInt> }
    " THEN coalesce(destroyed_at < " { inactive_before as Nullable<BigInt> }
    ", true) AND NOT coalesce((SELECT e.created_at >= " { inactive_before as Nullable<BigInt> }
    " FROM events AS e WHERE e.session_id = sessions.id " [LAST] "), false) END) FOR UPDATE"
}

postgres_statement! {
    IsInactive { id: &'a str, before: i64 } -> Bool,
    "SELECT coalesce((SELECT e.created_at < " { before as BigInt } " FROM events AS e WHERE e.session_id = " { id as Text } " "
    [LAST] "), false) AND NOT EXISTS (SELECT 1 FROM sessions WHERE id = " { id as Text } ")"
}

postgres_statement! {
    HoldRecord { id: &'a str },
    "SELECT 1 FROM sessions WHERE id = " { id as Text } " FOR UPDATE"
}

postgres_statement! {
    ActivityOf { id: &'a str } -> (BigInt, Text),
    "SELECT greatest(e.created_at, s.created_at, s.destroyed_at), e.id FROM events AS e \
     LEFT JOIN sessions AS s ON s.id = e.session_id WHERE e.session_id = " { id as Text } " " [LAST]
}

/// Whether a rule about times selects the session as it is now.
pub(super) async fn is_doomed<C: PgLink>(conn: &mut C, request: &PruneRequest, id: &str) -> Result<bool> {
    let &PruneRequest { destroyed_before, created_before, inactive_before, .. } = request;
    let by_record = IsDoomed { id, destroyed_before, created_before, inactive_before };
    let by_record: Option<bool> = conn.row(by_record).await?;
    Ok(by_record.is_some() || is_inactive(conn, request, id).await?)
}

/// The same for a session without a record.
pub(super) async fn is_inactive<C: PgLink>(conn: &mut C, request: &PruneRequest, id: &str) -> Result<bool> {
    Ok(match request.inactive_before {
        Some(before) => conn.one(IsInactive { id, before }).await?,
        None => false,
    })
}

/// Keeps a record as it is until the transaction ends.
pub(super) async fn hold_record<C: PgLink>(conn: &mut C, id: &str) -> Result<()> {
    conn.run(HoldRecord { id }).await?;
    Ok(())
}

/// The last activity of a session that has events.
pub(super) async fn last_activity<C: PgLink>(conn: &mut C, id: &str) -> Result<Option<LastActivity>> {
    let found: Option<(i64, String)> = conn.row(ActivityOf { id }).await?;
    Ok(found.map(|(at, last_event)| LastActivity { at, last_event }))
}

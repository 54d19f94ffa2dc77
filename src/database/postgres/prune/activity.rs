//! When a session was last active, and whether that, or another of its times, selects it.

use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Bool, Text};

use crate::database::doomed::Doomed;
use crate::database::postgres::pg_link::PgLink;
use crate::database::statement::{Dialect, postgres_statement};
use crate::database::survey::LastActivity;
use crate::error::Result;
use crate::model::retention::PruneRequest;

postgres_statement! {
    /// Waits for whoever is changing the record, and keeps it as it is until the transaction ends.
    IsDoomed { id: &'a str, doomed: Doomed<'a> } -> Bool,
    "SELECT true FROM sessions WHERE id = " { id as Text } " AND " { doomed } " FOR UPDATE"
}

postgres_statement! {
    IsInactive { id: &'a str, before: i64 } -> Bool,
    "SELECT coalesce((SELECT e.created_at < " { before as BigInt } " FROM events AS e WHERE e.session_id = " { id as Text } " "
    [Pg::LAST] "), false) AND NOT EXISTS (SELECT 1 FROM sessions WHERE id = " { id as Text } ")"
}

postgres_statement! {
    HoldRecord { id: &'a str },
    "SELECT 1 FROM sessions WHERE id = " { id as Text } " FOR UPDATE"
}

postgres_statement! {
    ActivityOf { id: &'a str } -> (BigInt, Text),
    "SELECT greatest(e.created_at, s.created_at, s.destroyed_at), e.id FROM events AS e \
     LEFT JOIN sessions AS s ON s.id = e.session_id WHERE e.session_id = " { id as Text } " " [Pg::LAST]
}

/// Whether a rule about times selects the session as it is now.
pub(super) async fn is_doomed<C: PgLink>(conn: &mut C, request: &PruneRequest, id: &str) -> Result<bool> {
    let by_record: Option<bool> = conn.row(IsDoomed { id, doomed: Doomed { by: request } }).await?;
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

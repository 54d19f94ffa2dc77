//! The table `event_heads`: a row for each session that was appended to, with the index that it ends at. Whoever appends
//! to a session holds the lock of its row, so that no two take the same index.
//!
//! The events are what counts. A row may be missing or out of date: a host may delete events, and the reference driver
//! knows nothing of this table. So an append believes the number only of a row that changed while it waited for it.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text};

use super::pg_link::PgLink;
use crate::database::statement::postgres_statement;
use crate::error::Result;

postgres_statement! {
    LockHead { session_id: &'a str },
    "INSERT INTO event_heads AS h (session_id, last_index) VALUES (" { session_id as Text } ", 0) \
     ON CONFLICT (session_id) DO UPDATE SET last_index = h.last_index"
}

postgres_statement! {
    /// In the order in which an append to many locks them.
    LockHeads { session_ids: &'a [&'a str] },
    "INSERT INTO event_heads AS h (session_id, last_index) SELECT u.session_id, 0 FROM unnest("
    { session_ids as Array<Text> } ") AS u (session_id) ORDER BY u.session_id \
     ON CONFLICT (session_id) DO UPDATE SET last_index = h.last_index"
}

postgres_statement! {
    HoldHead { session_id: &'a str },
    "SELECT 1 FROM event_heads WHERE session_id = " { session_id as Text } " FOR UPDATE"
}

postgres_statement! {
    KeepHead { session_id: &'a str, last_index: i64 },
    "UPDATE event_heads SET last_index = " { last_index as BigInt } " WHERE session_id = " { session_id as Text }
}

postgres_statement! {
    DropHead { session_id: &'a str },
    "DELETE FROM event_heads WHERE session_id = " { session_id as Text }
}

postgres_statement! {
    DropEmptyHead { session_id: &'a str },
    "DELETE FROM event_heads WHERE session_id = " { session_id as Text }
    " AND NOT EXISTS (SELECT 1 FROM events WHERE session_id = " { session_id as Text } ")"
}

/// Makes every append to this session wait until the transaction ends. The next statement sees what those before it
/// have committed.
pub(super) async fn lock<C: PgLink>(conn: &mut C, session_id: &str) -> Result<()> {
    conn.run(LockHead { session_id }).await?;
    Ok(())
}

/// The same for several sessions, each named once.
pub(super) async fn lock_all<C: PgLink>(conn: &mut C, session_ids: &[&str]) -> QueryResult<()> {
    conn.run(LockHeads { session_ids }).await?;
    Ok(())
}

/// The same, if the session has been appended to before.
pub(super) async fn hold<C: PgLink>(conn: &mut C, session_id: &str) -> Result<()> {
    conn.run(HoldHead { session_id }).await?;
    Ok(())
}

pub(super) async fn keep<C: PgLink>(conn: &mut C, session_id: &str, last_index: i64) -> Result<()> {
    conn.run(KeepHead { session_id, last_index }).await?;
    Ok(())
}

pub(super) async fn drop<C: PgLink>(conn: &mut C, session_id: &str) -> Result<()> {
    conn.run(DropHead { session_id }).await?;
    Ok(())
}

pub(super) async fn drop_if_empty<C: PgLink>(conn: &mut C, session_id: &str) -> Result<()> {
    conn.run(DropEmptyHead { session_id }).await?;
    Ok(())
}

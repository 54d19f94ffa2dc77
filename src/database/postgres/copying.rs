//! Copying events from one session to another, and finding conflicting ids.

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{Array, BigInt, Nullable, Text};

use super::pg_link::PgLink;
use super::storing::id_is_key;
use super::{heads, transaction};
use crate::database::Lock;
use crate::database::fields::Record;
use crate::database::statement::postgres_statement;
use crate::error::{Error, Result};
use crate::model::event::SessionEvent;

/// The rows as they are, whatever they contain.
pub(super) async fn copy_events<C: PgLink>(
    conn: &mut C,
    from_id: &str,
    up_to_index: Option<i64>,
    new_id: &str,
) -> Result<u64> {
    // A conflict must not abort the transaction, in which the taken id is looked up.
    let copied =
        transaction::run(conn, Lock::Write, async |conn| Ok(copy(conn, from_id, up_to_index, new_id).await?)).await;
    match copied {
        Err(Error::Database { source: error @ DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) }) => {
            Err(taken_by_copy(conn, from_id, new_id).await?.unwrap_or_else(|| error.into()))
        }
        copied => {
            let copied = copied?;
            if let Some((_, last_index)) = super::last_event(conn, new_id).await? {
                heads::keep(conn, new_id, last_index).await?;
            }
            Ok(copied as u64)
        }
    }
}

async fn copy<C: PgLink>(conn: &mut C, from_id: &str, up_to_index: Option<i64>, new_id: &str) -> QueryResult<usize> {
    let columns = SessionEvent::COLUMNS;
    let copied: Vec<&str> = columns
        .split(", ")
        .map(|column| match column {
            "id" => "$1 || ':' || id",
            "session_id" => "$1",
            column => column,
        })
        .collect();
    let copy = diesel::sql_query(format!(
        "INSERT INTO events ({columns}) SELECT {} FROM events \
         WHERE session_id = $2 AND ($3 IS NULL OR event_index <= $3)",
        copied.join(", ")
    ))
    .bind::<Text, _>(new_id)
    .bind::<Text, _>(from_id)
    .bind::<Nullable<BigInt>, _>(up_to_index);
    conn.run(copy).await
}

postgres_statement! {
    TakenByCopy { new_id: &'a str, from_id: &'a str } -> (Text, Text),
    "SELECT taken.id, taken.session_id FROM events AS source JOIN events AS taken ON taken.id = " { new_id as Text }
    " || ':' || source.id WHERE source.session_id = " { from_id as Text } " LIMIT 1"
}

/// The event that already has the id of a copy.
async fn taken_by_copy<C: PgLink>(conn: &mut C, from_id: &str, new_id: &str) -> Result<Option<Error>> {
    let taken: Option<(String, String)> = conn.row(TakenByCopy { new_id, from_id }).await?;
    Ok(taken.map(|(id, session_id)| Error::EventIdTaken { id, session_id }))
}

postgres_statement! {
    TakenIds { ids: &'a [&'a str], session_id: &'a str } -> (Text, Text),
    "SELECT id, session_id FROM events WHERE id = ANY (" { ids as Array<Text> } ") AND session_id <> "
    { session_id as Text }
}

/// The ids in a list that belong to events of other sessions, each with that session: none, if sessions do not share
/// their ids.
pub(super) async fn taken_ids<C: PgLink>(
    conn: &mut C,
    session_id: &str,
    ids: &[&str],
) -> Result<Vec<(String, String)>> {
    if id_is_key(conn).await? { Ok(conn.rows(TakenIds { ids, session_id }).await?) } else { Ok(Vec::new()) }
}

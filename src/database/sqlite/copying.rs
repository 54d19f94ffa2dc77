//! Copying events from one session to another, and finding conflicting ids.

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::{BigInt, Text};

use crate::database::columns::{Column, StoredText};
use crate::database::fields::Record;
use crate::database::link::Link;
use crate::database::statement::sqlite_statement;
use crate::error::{Error, Result};
use crate::model::event::SessionEvent;

/// The rows as they are, whatever they contain.
pub(super) fn copy_events(
    conn: &mut SqliteConnection,
    from_id: &str,
    up_to_index: Option<i64>,
    new_id: &str,
) -> Result<u64> {
    match copy(conn, from_id, up_to_index, new_id) {
        Err(error @ DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => {
            Err(taken_by_copy(conn, from_id, new_id)?.unwrap_or_else(|| error.into()))
        }
        copied => Ok(copied? as u64),
    }
}

fn copy(conn: &mut SqliteConnection, from_id: &str, up_to_index: Option<i64>, new_id: &str) -> QueryResult<usize> {
    let columns = SessionEvent::COLUMNS;
    let copied: Vec<&str> = columns
        .split(", ")
        .map(|column| match column {
            "id" => "?1 || ':' || id",
            "session_id" => "?1",
            column => column,
        })
        .collect();
    let range = if up_to_index.is_some() { "AND event_index <= ?3" } else { "" };
    let copy = diesel::sql_query(format!(
        "INSERT INTO main.events ({columns}) SELECT {} FROM main.events WHERE session_id = ?2 {range} \
         ORDER BY event_index, id",
        copied.join(", ")
    ));
    let copy = copy.bind::<Text, _>(new_id).bind::<Text, _>(from_id);
    match up_to_index {
        Some(index) => copy.bind::<BigInt, _>(index).execute(conn),
        None => copy.execute(conn),
    }
}

/// The event that already has the id of a copy.
fn taken_by_copy(conn: &mut SqliteConnection, from_id: &str, new_id: &str) -> Result<Option<Error>> {
    let taken = diesel::dsl::sql::<(Text, Text)>(
        "SELECT taken.id, taken.session_id FROM main.events AS source JOIN main.events AS taken ON taken.id = ",
    );
    let taken = taken.bind::<Text, _>(new_id).sql(" || ':' || source.id WHERE source.session_id = ");
    let taken = taken.bind::<Text, _>(from_id).sql(" LIMIT 1").get_result::<(String, String)>(conn).optional()?;
    Ok(taken.map(|(id, session_id)| Error::EventIdTaken { id, session_id }))
}

sqlite_statement! {
    TakenIds { ids: &'a str, session_id: &'a str } -> (Text, Text),
    "SELECT events.id, session_id FROM json_each(" { ids as Text } ") AS new \
     CROSS JOIN main.events ON events.id = new.value WHERE session_id <> " { session_id as Text }
}

/// The ids in a list that belong to events of other sessions, each with that session.
pub(super) async fn taken_ids(
    conn: &mut SqliteConnection,
    session_id: &str,
    ids: &[&str],
) -> Result<Vec<(String, String)>> {
    let ids = serde_json::to_string(ids).map_err(|source| Error::InvalidJson { source })?;
    let taken: Vec<(Column<StoredText>, Column<StoredText>)> = conn.rows(TakenIds { ids: &ids, session_id }).await?;
    Ok(taken.into_iter().map(|(id, session_id)| (id.shown(), session_id.shown())).collect())
}

//! The first and the last events of sessions.

use diesel::deserialize::{self, FromSql};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::{Sqlite, SqliteType, SqliteValue};

use super::values::Number;
use crate::database::columns::{Column, StoredText, Whole};
use crate::database::session_ends::{EndEvent, EndPayload, SessionEnds, sender_of};
use crate::database::statement::sqlite_statement;
use crate::error::Result;
use crate::transcript::summary::SessionSummary;

sqlite_statement! {
    FirstEvents { session_id: &'a str } -> (BigInt, (Text, BigInt, BigInt, Text, Text)),
    "SELECT rowid, id, event_index, created_at, sender, payload_json FROM " events " WHERE session_id = "
    { session_id as Text } " ORDER BY event_index, id LIMIT " [&SessionSummary::FIRST_EVENTS.to_string()]
}

sqlite_statement! {
    LastEvents { session_id: &'a str } -> (BigInt, (Text, BigInt, BigInt, Text, Text)),
    "SELECT rowid, id, event_index, created_at, sender, payload_json FROM " events " WHERE session_id = "
    { session_id as Text } " ORDER BY event_index DESC, id DESC LIMIT " [&SessionSummary::LAST_EVENTS.to_string()]
}

type Columns = (Column<StoredText>, Column<Whole>, Column<Number>, Column<StoredText>, EndPayload);

/// A long payload stays where it is: of several, only one is in memory at a time.
impl FromSql<Text, Sqlite> for EndPayload {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        if let Some(SqliteType::Text) = value.value_type()
            && value.read_text().len() > SessionSummary::MAX_PAYLOAD_BYTES
        {
            return Ok(Self::TooLong);
        }
        Ok(Self::of(<Column<StoredText> as FromSql<Text, Sqlite>>::from_sql(value)?))
    }

    fn from_nullable_sql(value: Option<SqliteValue<'_, '_, '_>>) -> deserialize::Result<Self> {
        value.map_or(Ok(Self::Unreadable), Self::from_sql)
    }
}

/// One session after the other: to a database in the same process, many statements are no more than one.
pub(super) fn session_ends(conn: &mut SqliteConnection, ids: &[&str]) -> Result<Vec<SessionEnds>> {
    ids.iter().map(|id| ends(conn, id)).collect()
}

fn ends(conn: &mut SqliteConnection, session_id: &str) -> Result<SessionEnds> {
    let last: Vec<(i64, Columns)> = LastEvents { session_id }.load(conn)?;
    let first: Vec<(i64, Columns)> =
        if last.len() < SessionSummary::LAST_EVENTS { Vec::new() } else { FirstEvents { session_id }.load(conn)? };
    let event = |(row, columns)| (row, event(columns));
    Ok(SessionEnds::joined(first.into_iter().map(event).collect(), last.into_iter().rev().map(event).collect()))
}

fn event((id, index, time, sender, payload): Columns) -> EndEvent {
    EndEvent {
        id: id.ok().map(|id| id.0),
        index: index.ok().map(|index| index.0),
        time: time.ok().and_then(|time| time.time().ok()),
        sender: sender_of(sender),
        payload,
    }
}

//! The statements that every database understands, as values that hold no connection.
//!
//! Each is fixed SQL text. Diesel's query builder would assemble the text at every call, which takes as long as a small
//! insert, and would prepare upserts anew each time.

use diesel::sql_types::{BigInt, Bool, Text};

use super::fields::Record;
use super::rows::SessionRow;
use super::statement::statement;
use crate::model::event::SessionEvent;
use crate::model::session::SessionRecord;
use crate::schema::{events, sessions};

statement! {
    pub(crate) SessionById { id: &'a str } -> sessions::SqlType,
    "SELECT " [SessionRecord::COLUMNS] " FROM " sessions " WHERE id = " { id as Text }
}

statement! {
    /// Upserts a session, overwriting every column, even with NULL.
    pub(crate) PutSession { row: SessionRow<&'a str> },
    "INSERT INTO " sessions " (" [SessionRecord::COLUMNS] ") VALUES (" { row } ") ON CONFLICT (id) DO UPDATE SET "
    [SessionRow::<&str>::OVERWRITE]
}

statement! {
    pub(crate) MarkDestroyed { id: &'a str, at: i64 },
    "UPDATE " sessions " SET destroyed_at = " { at as BigInt } " WHERE id = " { id as Text }
}

statement! {
    pub(crate) DeleteSession { id: &'a str },
    "DELETE FROM " sessions " WHERE id = " { id as Text }
}

statement! {
    pub(crate) HasRecord { session_id: &'a str } -> Bool,
    "SELECT EXISTS (SELECT 1 FROM " sessions " WHERE id = " { session_id as Text } ")"
}

statement! {
    /// Whether a session has a record, or any event.
    pub(crate) SessionExists { id: &'a str } -> Bool,
    "SELECT EXISTS (SELECT 1 FROM " sessions " WHERE id = " { id as Text } ") OR EXISTS (SELECT 1 FROM " events
    " WHERE session_id = " { id as Text } ")"
}

statement! {
    pub(crate) EventById { id: &'a str } -> events::SqlType,
    "SELECT " [SessionEvent::COLUMNS] " FROM " events " WHERE id = " { id as Text }
}

statement! {
    pub(crate) SessionOfEvent { id: &'a str } -> Text,
    "SELECT session_id FROM " events " WHERE id = " { id as Text }
}

statement! {
    pub(crate) CountEvents { session_id: &'a str } -> BigInt,
    "SELECT count(*) FROM " events " WHERE session_id = " { session_id as Text }
}

statement! {
    pub(crate) DeleteEvents { session_id: &'a str },
    "DELETE FROM " events " WHERE session_id = " { session_id as Text }
}

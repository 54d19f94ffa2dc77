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
    /// Inserts a session if its id is new; the row count tells.
    pub(crate) AddSession { row: SessionRow<&'a str> },
    "INSERT INTO " sessions " (" [SessionRecord::COLUMNS] ") VALUES (" { row } ") ON CONFLICT (id) DO NOTHING"
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

/// What every database does with these statements, for its implementation of [`Database`](super::Database).
macro_rules! statements_in_common {
    () => {
        async fn session(&mut self, id: &str) -> Result<Option<SessionRecord>> {
            Ok(self.row(queries::SessionById { id }).await?)
        }

        async fn event_with_id(&mut self, id: &str) -> Result<Option<SessionEvent>> {
            Ok(self.row(queries::EventById { id }).await?)
        }

        async fn session_exists(&mut self, id: &str) -> Result<bool> {
            Ok(self.one(queries::SessionExists { id }).await?)
        }

        async fn put_session(&mut self, row: SessionRow<&str>) -> Result<()> {
            self.run(queries::PutSession { row }).await?;
            Ok(())
        }

        async fn add_session(&mut self, row: SessionRow<&str>) -> Result<bool> {
            Ok(self.run(queries::AddSession { row }).await? > 0)
        }

        async fn mark_destroyed(&mut self, id: &str, at: i64) -> Result<bool> {
            Ok(self.run(queries::MarkDestroyed { id, at }).await? > 0)
        }

        async fn delete_session(&mut self, id: &str) -> Result<bool> {
            Ok(self.run(queries::DeleteSession { id }).await? > 0)
        }

        async fn count_events(&mut self, session_id: &str) -> Result<u64> {
            Ok(self.one::<i64, _>(queries::CountEvents { session_id }).await? as u64)
        }
    };
}

pub(super) use statements_in_common;

//! The session ids that occur in events, each found with one seek, including ids that are not text.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;

use super::stored::Stored;
use crate::database::columns::{Column, RowName, StoredText};
use crate::database::statement::Dialect;
use crate::error::{Error, Result};

#[derive(Debug, Default)]
pub(crate) struct SessionIds {
    last: Option<Stored>,
}

/// An event's id and session id, the latter also as stored, and the rowid.
type FoundId = (Column<StoredText>, Column<StoredText>, Stored, i64);

impl SessionIds {
    /// Returns the next id. One that is not text is an error that names an event with that id.
    pub(super) fn next(&mut self, conn: &mut SqliteConnection) -> Result<Option<String>> {
        let events = Events { operator: ">", session_id: self.last.as_ref() };
        let Some((id, found, stored, rowid)) = events.get_result::<FoundId>(conn).optional()? else { return Ok(None) };
        self.last = Some(stored);
        session_id(&id, found, rowid).map(Some)
    }

    /// Reports every other event with the last id found, which is not text.
    pub(super) fn tell_others(&self, conn: &mut SqliteConnection, tell: &mut dyn FnMut(Error)) -> Result<()> {
        if self.last.is_none() {
            return Ok(());
        }
        let events = Events { operator: "=", session_id: self.last.as_ref() };
        for row in events.load_iter::<FoundId, _>(conn)?.skip(1) {
            let (id, found, _, rowid) = row?;
            if let Err(error) = session_id(&id, found, rowid) {
                tell(error);
            }
        }
        Ok(())
    }
}

fn session_id(id: &Column<StoredText>, found: Column<StoredText>, rowid: i64) -> Result<String> {
    Ok(RowName::new("events", id, Some(rowid)).value("session_id", found)?.0)
}

/// The events whose session id equals a value, or comes after it in SQLite's order of all values, or any.
struct Events<'a> {
    operator: &'static str,
    session_id: Option<&'a Stored>,
}

impl QueryFragment<Sqlite> for Events<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("SELECT id, session_id, session_id, rowid FROM ");
        out.push_sql(Sqlite::EVENTS);
        match self.session_id {
            None => {}
            Some(Stored::Null) => {
                out.push_sql(" WHERE typeof(session_id) ");
                out.push_sql(if self.operator == "=" { "= 'null'" } else { "<> 'null'" });
            }
            Some(value) => {
                let is_number = matches!(value, Stored::Integer(_) | Stored::Real(_));
                // Compared with the column itself, a number would be converted to text.
                out.push_sql(if is_number { " WHERE +session_id " } else { " WHERE session_id " });
                out.push_sql(self.operator);
                out.push_sql(" ");
                value.walk_ast(out.reborrow())?;
            }
        }
        out.push_sql(" ORDER BY session_id, event_index");
        Ok(())
    }
}

impl QueryId for Events<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Events<'_> {
    type SqlType = (Text, Text, Text, BigInt);
}

impl RunQueryDsl<SqliteConnection> for Events<'_> {}

//! A queue of events too large for memory: a temporary database of SQLite, in a file without a name that disappears
//! when it is closed.

use diesel::connection::{DefaultLoadingMode, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use crate::database::fields::Record;
use crate::database::rows::EventRow;
use crate::database::statement::sqlite_statement;
use crate::error::{Error, Result};
use crate::model::event::SessionEvent;
use crate::schema::events;

/// An event with a number from the caller.
pub(crate) type NumberedEvent = (u64, SessionEvent);

pub(crate) struct Overflow {
    conn: SqliteConnection,
    /// The position of the last event taken out.
    taken: i64,
}

sqlite_statement! {
    Keep { number: i64, row: EventRow<&'a str> },
    "INSERT INTO events (number, " [SessionEvent::COLUMNS] ") VALUES (" { number as BigInt } ", " { row } ")"
}

impl Overflow {
    pub(crate) fn new() -> Result<Self> {
        let establish = |source| Error::Open { path: String::new(), source };
        let mut conn = SqliteConnection::establish("").map_err(establish)?;
        conn.batch_execute(&format!(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN; \
             CREATE TABLE events (place INTEGER PRIMARY KEY, number, {})",
            SessionEvent::COLUMNS
        ))?;
        Ok(Self { conn, taken: 0 })
    }

    pub(crate) fn push(&mut self, number: u64, event: &SessionEvent) -> Result<()> {
        Keep { number: number as i64, row: EventRow::from(event) }.execute(&mut self.conn)?;
        Ok(())
    }

    /// Takes events out in first-in, first-out order, as long as each is wanted.
    pub(crate) fn take(&mut self, mut is_wanted: impl FnMut(&SessionEvent) -> bool) -> Result<Vec<NumberedEvent>> {
        let mut taken = Vec::new();
        let rows = diesel::dsl::sql::<(BigInt, BigInt, events::SqlType)>(&format!(
            "SELECT place, number, {} FROM events WHERE place > ",
            SessionEvent::COLUMNS
        ));
        let rows = rows.bind::<BigInt, _>(self.taken).sql(" ORDER BY place");
        for row in rows.load_iter::<(i64, i64, SessionEvent), DefaultLoadingMode>(&mut self.conn)? {
            let (place, number, event) = row?;
            if !is_wanted(&event) {
                break;
            }
            taken.push((number as u64, event));
            self.taken = place;
        }
        Ok(taken)
    }

    /// The numbers and ids of up to this many events still in the queue, after the given position if there is one,
    /// which is updated to the last one's.
    pub(crate) fn ids(&mut self, after: &mut Option<i64>, most: usize) -> Result<Vec<(u64, String)>> {
        let rows = diesel::dsl::sql::<(BigInt, BigInt, Text)>("SELECT place, number, id FROM events WHERE place > ");
        let rows = rows.bind::<BigInt, _>(after.unwrap_or(self.taken));
        let rows = rows.sql(" ORDER BY place LIMIT ").bind::<BigInt, _>(most as i64);
        let rows: Vec<(i64, i64, String)> = rows.load(&mut self.conn)?;
        *after = rows.last().map(|row| row.0).or(*after);
        Ok(rows.into_iter().map(|(_, number, id)| (number as u64, id)).collect())
    }
}

/// Whether an event could not be stored because it is too large for any database.
pub(crate) fn is_too_big(error: &diesel::result::Error) -> bool {
    error.to_string() == "string or blob too big"
}

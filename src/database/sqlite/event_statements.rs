//! The statements on events that SQLite says in its own way.

use diesel::sql_types::{BigInt, Text};

use crate::database::fields::Record;
use crate::database::rows::EventRow;
use crate::database::statement::sqlite_statement;
use crate::model::event::SessionEvent;

sqlite_statement! {
    /// Inserts an event if its id is new, and otherwise leaves the row alone; the row count tells which.
    pub(super) AddEvent { row: EventRow<&'a str> },
    "INSERT INTO " events " (" [SessionEvent::COLUMNS] ") VALUES (" { row } ") ON CONFLICT (id) DO NOTHING"
}

sqlite_statement! {
    /// Upserts an event, overwriting every column.
    pub(super) PutEvent { row: EventRow<&'a str> },
    "INSERT INTO " events " (" [SessionEvent::COLUMNS] ") VALUES (" { row } ") ON CONFLICT (id) DO UPDATE SET "
    [EventRow::<&str>::OVERWRITE]
}

sqlite_statement! {
    /// The id and the index of a session's last event.
    pub(super) LastEvent { session_id: &'a str } -> (Text, BigInt),
    "SELECT id, event_index FROM " events " WHERE session_id = " { session_id as Text }
    " ORDER BY event_index DESC, id DESC LIMIT 1"
}

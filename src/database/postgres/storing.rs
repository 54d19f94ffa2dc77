//! Inserting and overwriting events, on a table whose key is the id and on one whose key is the session with the id: the
//! statements name no key.

use diesel::sql_types::Bool;

use super::pg_link::PgLink;
use crate::database::fields::Record;
use crate::database::rows::{EventArrays, EventRow};
use crate::database::statement::postgres_statement;
use crate::error::Result;
use crate::model::event::SessionEvent;

postgres_statement! {
    AddEvent { row: EventRow<&'a str> },
    "INSERT INTO events (" [SessionEvent::COLUMNS] ") VALUES (" { row } ") ON CONFLICT DO NOTHING"
}

postgres_statement! {
    AddEvents { rows: EventArrays<'a> },
    "INSERT INTO events (" [SessionEvent::COLUMNS] ") SELECT * FROM unnest(" { rows } ") ON CONFLICT DO NOTHING"
}

postgres_statement! {
    /// An insert that fails if there is such an event.
    InsertEvent { row: EventRow<&'a str> },
    "INSERT INTO events (" [SessionEvent::COLUMNS] ") VALUES (" { row } ")"
}

postgres_statement! {
    /// Overwrites the session's event with this id.
    OverwriteEvent { row: EventRow<&'a str> },
    "UPDATE events AS old SET " [OVERWRITE] " FROM (SELECT " { row } ") AS new (" [SessionEvent::COLUMNS] ") \
     WHERE old.session_id = new.session_id AND old.id = new.id"
}

postgres_statement! {
    /// Overwrites each session's events with these ids.
    OverwriteEvents { rows: EventArrays<'a> },
    "UPDATE events AS old SET " [OVERWRITE] " FROM unnest(" { rows } ") AS new (" [SessionEvent::COLUMNS] ") \
     WHERE old.session_id = new.session_id AND old.id = new.id"
}

postgres_statement! {
    /// Overwrites the event with this id, and moves it to the session.
    MoveEvent { row: EventRow<&'a str> },
    "UPDATE events AS old SET session_id = new.session_id, " [OVERWRITE] " FROM (SELECT " { row } ") \
     AS new (" [SessionEvent::COLUMNS] ") WHERE old.id = new.id"
}

/// All columns but the two that may be the key.
const OVERWRITE: &str = "event_index = new.event_index, created_at = new.created_at, \
    connection_id = new.connection_id, sender = new.sender, payload_json = new.payload_json";

/// The most bytes of payload in one statement: a message to the server has room for 1 GB.
pub(super) const MOST_BYTES: usize = 256 << 20;

/// Whether the id alone is a key.
const ID_IS_KEY: &str = "EXISTS (SELECT 1 FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid \
         AND a.attnum = i.indkey[0] WHERE i.indrelid = to_regclass('events') AND i.indisunique AND i.indisvalid \
         AND i.indpred IS NULL AND i.indnkeyatts = 1 AND a.attname = 'id')";

/// Whether an id belongs to one event at most, and not to one event of each session.
pub(super) async fn id_is_key<C: PgLink>(conn: &mut C) -> Result<bool> {
    Ok(conn.one(diesel::select(diesel::dsl::sql::<Bool>(ID_IS_KEY))).await?)
}

/// Inserts an event if its id is new.
pub(super) async fn add_event<C: PgLink>(conn: &mut C, row: EventRow<&str>) -> Result<bool> {
    Ok(conn.run(AddEvent { row }).await? > 0)
}

/// Inserts events and, if some ids are known, overwrites those of the same sessions. Returns whether all were stored:
/// not those of other sessions, and not twice.
pub(super) async fn put_events<C: PgLink>(conn: &mut C, rows: &[EventRow<&str>]) -> Result<bool> {
    if rows.iter().map(|row| row.payload_json.len()).sum::<usize>() > MOST_BYTES {
        return Ok(false);
    }
    let arrays = || rows.iter().cloned().collect();
    let added = conn.run(AddEvents { rows: arrays() }).await?;
    Ok(added == rows.len() || conn.run(OverwriteEvents { rows: arrays() }).await? == rows.len())
}

/// Overwrites an event, or inserts it if there is none after all.
pub(super) async fn put_event<C: PgLink>(conn: &mut C, row: EventRow<&str>) -> Result<()> {
    // Whoever deletes and stores events of this id meanwhile can make every one of these miss it, but not for long.
    for _ in 0..3 {
        let (overwrite, move_here) = (OverwriteEvent { row: row.clone() }, MoveEvent { row: row.clone() });
        if conn.run(overwrite).await? > 0
            || id_is_key(conn).await? && conn.run(move_here).await? > 0
            || add_event(conn, row.clone()).await?
        {
            return Ok(());
        }
    }
    // Another constraint keeps the event out, and says so.
    let inserted = conn.run(InsertEvent { row }).await?;
    if inserted > 0 { Ok(()) } else { Err(diesel::result::Error::NotFound.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_but_the_key_is_overwritten() {
        let columns = SessionEvent::NAMES.iter().filter(|name| !["id", "session_id"].contains(name));
        let columns: Vec<String> = columns.map(|name| format!("{name} = new.{name}")).collect();
        assert_eq!(columns.join(", "), OVERWRITE);
    }
}

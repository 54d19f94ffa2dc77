//! Looking for damage: in SQLite's pages, in the rows, and between them.

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::transaction;
use super::words::is_about_damage;
use crate::database::columns::{Column, StoredText, Whole};
use crate::database::fields::{Numbered, Record};
use crate::database::statement::Dialect;
use crate::error::{Error, Result};
use crate::model::event::SessionEvent;
use crate::model::report::{CheckReport, DuplicateIndex};
use crate::model::session::SessionRecord;
use crate::schema::{events, sessions};

#[derive(QueryableByName)]
struct DuplicateIndexRow {
    #[diesel(sql_type = Text)]
    session_id: Column<StoredText>,
    #[diesel(sql_type = BigInt)]
    event_index: Column<Whole>,
    #[diesel(sql_type = BigInt)]
    events: i64,
}

impl DuplicateIndexRow {
    /// `None` if the index is not a number, which is another finding.
    fn finding(self) -> Option<DuplicateIndex> {
        let Whole(event_index) = self.event_index.ok()?;
        Some(DuplicateIndex { session_id: self.session_id.shown(), event_index, events: self.events })
    }
}

/// The most findings of one kind in a report.
const MOST: usize = 100;

#[derive(QueryableByName)]
struct SessionId {
    #[diesel(sql_type = Text)]
    session_id: Column<StoredText>,
}

pub(crate) fn check(conn: &mut SqliteConnection) -> Result<CheckReport> {
    let (mut report, mut damage) = (CheckReport::default(), Damage::default());
    // If not even the schema can be read, nothing can, until the end of the transaction.
    let looked = transaction::reading(conn, |conn| look(conn, &mut report, &mut damage));
    damage.aside(looked)?;
    if report.integrity.is_empty() {
        report.integrity.extend(damage.0);
    }
    Ok(report)
}

fn look(conn: &mut SqliteConnection, report: &mut CheckReport, damage: &mut Damage) -> Result<()> {
    let integrity = format!("PRAGMA main.integrity_check({MOST})");
    let integrity: Vec<Option<String>> = damage.aside(diesel::dsl::sql::<Nullable<Text>>(&integrity).load(conn))?;
    report.integrity.extend(integrity.into_iter().flatten().filter(|line| line != "ok"));

    let rows = format!("SELECT rowid, {} FROM {}", SessionRecord::COLUMNS, Sqlite::SESSIONS);
    let rows = diesel::dsl::sql::<(BigInt, sessions::SqlType)>(&rows);
    damage.aside(note_undecodable::<SessionRecord>(rows.load_iter(conn), &mut report.undecodable))?;
    let rows = format!("SELECT rowid, {} FROM {}", SessionEvent::COLUMNS, Sqlite::EVENTS);
    let rows = diesel::dsl::sql::<(BigInt, events::SqlType)>(&rows);
    damage.aside(note_undecodable::<SessionEvent>(rows.load_iter(conn), &mut report.undecodable))?;

    let without_record = diesel::sql_query(format!(
        "SELECT DISTINCT session_id FROM main.events \
         WHERE NOT EXISTS (SELECT 1 FROM main.sessions WHERE sessions.id = events.session_id) LIMIT {MOST}"
    ));
    let without_record: Vec<SessionId> = damage.aside(without_record.load(conn))?;
    report.without_record = without_record.into_iter().map(|row| row.session_id.shown()).collect();
    let duplicate_indexes = diesel::sql_query(format!(
        "SELECT session_id, event_index, count(*) AS events FROM main.events \
         GROUP BY session_id, event_index HAVING count(*) > 1 LIMIT {MOST}"
    ));
    let duplicate_indexes: Vec<DuplicateIndexRow> = damage.aside(duplicate_indexes.load(conn))?;
    report.duplicate_indexes = duplicate_indexes.into_iter().filter_map(DuplicateIndexRow::finding).collect();
    let has_events_legacy = diesel::dsl::sql::<diesel::sql_types::Bool>(
        "SELECT EXISTS (SELECT 1 FROM main.sqlite_master WHERE lower(name) = 'events_legacy')",
    );
    report.has_events_legacy = damage.aside(has_events_legacy.get_result(conn))?;
    Ok(())
}

/// SQLite's error at the point where it could not read further. The integrity check says more, if it can.
#[derive(Default)]
struct Damage(Option<String>);

impl Damage {
    /// The result, or an empty one if damage prevents it: that is a finding, and no reason to stop.
    fn aside<T: Default, E: Into<Error>>(&mut self, answer: Result<T, E>) -> Result<T> {
        match answer.map_err(E::into) {
            Err(Error::Database { source: DieselError::DatabaseError(_, information) })
                if is_about_damage(information.message()) =>
            {
                self.0 = Some(information.message().to_owned());
                Ok(T::default())
            }
            answer => answer,
        }
    }
}

/// Iterates over all rows, whatever they contain.
fn note_undecodable<R>(
    rows: QueryResult<impl Iterator<Item = QueryResult<Numbered<R>>>>,
    found: &mut Vec<String>,
) -> Result<()> {
    for row in rows? {
        if let Err(cause) = row?.record {
            if found.len() == MOST {
                return Ok(());
            }
            found.push(Error::from(cause).to_string());
        }
    }
    Ok(())
}

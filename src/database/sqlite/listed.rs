//! The two tables with listings, as SQLite reads them.

use diesel::connection::DefaultLoadingMode;
use diesel::deserialize::{self, FromSql, FromStaticSqlRow};
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::result::UnexpectedEndOfRow;
use diesel::row::{Field, Row};
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;

use super::plain::{Listed, Page, load_page};
use super::values::Number;
use crate::database::fields::{Record, place_of, read_but};
use crate::database::listed_table::{Common, ListedTable};
use crate::database::statement::Dialect;
use crate::model::event::SessionEvent;
use crate::model::request::{EventFilter, SessionFilter};
use crate::model::session::SessionRecord;
use crate::schema::{events, sessions};

impl Listed for EventFilter {
    type Row = OfKnownSession;
    const FROM: &'static str = Sqlite::EVENTS;

    fn record(&self, OfKnownSession(event): OfKnownSession) -> (SessionEvent, Number) {
        let event = SessionEvent { session_id: self.session_id.clone(), ..event };
        let key = Number::Integer(event.event_index);
        (event, key)
    }

    fn id(event: &SessionEvent) -> &str {
        &event.id
    }

    /// If the column has a collation, equal values need not be identical. Otherwise SQLite knows that they are, and
    /// checks once.
    fn push_sameness<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(" AND CASE WHEN +session_id = ");
        out.push_bind_param::<Text, _>(&self.session_id)?;
        out.push_sql(" COLLATE BINARY THEN 1 ELSE abs(-9223372036854775808) END");
        Ok(())
    }

    fn load<'a>(
        page: Page<'a, Self>,
        conn: &'a mut SqliteConnection,
    ) -> QueryResult<impl Iterator<Item = QueryResult<Self::Row>>> {
        load_page!(page, conn)
    }
}

impl Listed for SessionFilter {
    type Row = TimedSession;
    const FROM: &'static str = Sqlite::SESSIONS;

    fn record(&self, TimedSession(session, created_at): TimedSession) -> (SessionRecord, Number) {
        (session, created_at)
    }

    fn id(session: &SessionRecord) -> &str {
        &session.id
    }

    fn push_sameness<'b>(&'b self, _: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        Ok(())
    }

    fn load<'a>(
        page: Page<'a, Self>,
        conn: &'a mut SqliteConnection,
    ) -> QueryResult<impl Iterator<Item = QueryResult<Self::Row>>> {
        load_page!(page, conn)
    }
}

/// An event whose session id is filled in from the filter.
pub(super) struct OfKnownSession(SessionEvent);

impl FromStaticSqlRow<events::SqlType, Sqlite> for OfKnownSession {
    fn build_from_row<'a>(row: &impl Row<'a, Sqlite>) -> deserialize::Result<Self> {
        const SESSION_ID: usize = place_of(SessionEvent::NAMES, "session_id");
        read_but(row, SESSION_ID).map(Self)
    }
}

/// A record with the exact number that orders it.
pub(super) struct TimedSession(SessionRecord, Number);

impl FromStaticSqlRow<sessions::SqlType, Sqlite> for TimedSession {
    fn build_from_row<'a>(row: &impl Row<'a, Sqlite>) -> deserialize::Result<Self> {
        const CREATED_AT: usize = place_of(SessionRecord::NAMES, "created_at");
        let created_at = Number::from_nullable_sql(row.get(CREATED_AT).ok_or(UnexpectedEndOfRow)?.value())?;
        let session = SessionRecord { created_at: created_at.time()?, ..read_but(row, CREATED_AT)? };
        Ok(Self(session, created_at))
    }
}

macro_rules! is_its_own_row {
    ($($row:ty: $columns:ty),*) => {$(
        impl Queryable<$columns, Sqlite> for $row {
            type Row = Self;

            fn build(row: Self) -> deserialize::Result<Self> {
                Ok(row)
            }
        }
    )*};
}

is_its_own_row!(OfKnownSession: events::SqlType, TimedSession: sessions::SqlType);

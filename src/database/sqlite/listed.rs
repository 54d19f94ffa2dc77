//! The two tables with listings, and their filters as SQL.

use diesel::connection::DefaultLoadingMode;
use diesel::deserialize::{self, FromSql, FromStaticSqlRow};
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::result::UnexpectedEndOfRow;
use diesel::row::{Field, Row};
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;

use super::plain::{Common, Listed, Page, load_page};
use super::values::Number;
use crate::database::fields::{Record, place_of, read_but};
use crate::database::statement::Dialect;
use crate::model::event::SessionEvent;
use crate::model::request::{EventFilter, SessionFilter};
use crate::model::session::SessionRecord;
use crate::schema::{events, sessions};

impl Listed for EventFilter {
    type Record = SessionEvent;
    type Row = OfKnownSession;
    const KNOWN: Option<&'static str> = Some("session_id");
    const FROM: &'static str = Sqlite::EVENTS;
    const KEY: &'static str = "event_index";

    fn record(&self, OfKnownSession(event): OfKnownSession) -> (SessionEvent, Number) {
        let event = SessionEvent { session_id: self.session_id.clone(), ..event };
        let key = Number::Integer(event.event_index);
        (event, key)
    }

    fn id(event: &SessionEvent) -> &str {
        &event.id
    }

    fn bytes(event: &SessionEvent) -> usize {
        event.payload.get().len()
    }

    fn is_common(&self) -> bool {
        self.after.is_none() && self.before.is_none() && !self.descending
    }

    /// If the column has a collation, equal values need not be identical. Otherwise SQLite knows that they are, and
    /// checks once.
    fn push_sameness<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(" AND CASE WHEN +session_id = ");
        out.push_bind_param::<Text, _>(&self.session_id)?;
        out.push_sql(" COLLATE BINARY THEN 1 ELSE abs(-9223372036854775808) END");
        Ok(())
    }

    fn push_conditions<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(" AND session_id = ");
        out.push_bind_param::<Text, _>(&self.session_id)
    }

    fn load<'a>(
        page: Page<'a, Self>,
        conn: &'a mut SqliteConnection,
    ) -> QueryResult<impl Iterator<Item = QueryResult<Self::Row>>> {
        load_page!(page, conn)
    }
}

impl Listed for SessionFilter {
    type Record = SessionRecord;
    type Row = TimedSession;
    const KNOWN: Option<&'static str> = None;
    const FROM: &'static str = Sqlite::SESSIONS;
    const KEY: &'static str = "created_at";

    fn record(&self, TimedSession(session, created_at): TimedSession) -> (SessionRecord, Number) {
        (session, created_at)
    }

    fn id(session: &SessionRecord) -> &str {
        &session.id
    }

    fn bytes(_: &SessionRecord) -> usize {
        0
    }

    fn is_common(&self) -> bool {
        *self == Self::default()
    }

    fn push_sameness<'b>(&'b self, _: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        Ok(())
    }

    fn push_conditions<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let Self { agent, sandbox_id, is_live, created_from: _, created_before: _, descending: _ } = self;
        for (column, wanted) in [(" AND agent = ", agent), (" AND sandbox_id = ", sandbox_id)] {
            if let Some(wanted) = wanted {
                out.push_sql(column);
                out.push_bind_param::<Text, _>(wanted)?;
            }
        }
        match is_live {
            None => {}
            Some(true) => out.push_sql(" AND destroyed_at IS NULL"),
            Some(false) => out.push_sql(" AND destroyed_at IS NOT NULL"),
        }
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

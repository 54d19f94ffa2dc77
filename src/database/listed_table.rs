//! The two tables with listings, and their filters as SQL: what is the same for every database.

use std::ops::Bound;

use diesel::backend::Backend;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Text};

use super::fields::Record;
use crate::model::event::SessionEvent;
use crate::model::listing::{Filter, Range};
use crate::model::request::{EventFilter, SessionFilter};
use crate::model::session::SessionRecord;

/// A table with a listing.
pub(crate) trait ListedTable: Filter + 'static {
    type Record: Record;
    /// The column whose value the filter knows, so that it need not be read from every row.
    const KNOWN: Option<&'static str>;
    /// The column that orders the rows.
    const KEY: &'static str;
    /// The column that orders rows with the same key.
    const ID: &'static str;

    /// Whether this is the usual request: from the lowest number up, without further conditions.
    fn is_common(&self) -> bool;
    /// A record's size for the limit on bytes.
    fn bytes(record: &Self::Record) -> usize;
    /// The conditions on rows besides the range, each with a leading `AND`.
    fn push_conditions<'b, DB>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()>
    where
        DB: Backend + HasSqlType<Text>,
        str: ToSql<Text, DB>;

    /// The columns, without the one that the filter knows.
    fn push_columns<DB: Backend>(out: &mut AstPass<'_, '_, DB>) {
        for (place, name) in Self::Record::NAMES.iter().enumerate() {
            out.push_sql(if place > 0 { ", " } else { "" });
            out.push_sql(if Self::KNOWN == Some(*name) { "NULL" } else { name });
        }
    }

    /// The bounds of a range, each with a leading `AND`.
    fn push_range<'b, DB>(range: &'b Range, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()>
    where
        DB: Backend + HasSqlType<BigInt>,
        i64: ToSql<BigInt, DB>,
    {
        for (operator, end) in [
            (" >= ", if let Bound::Included(end) = &range.low { Some(end) } else { None }),
            (" > ", if let Bound::Excluded(end) = &range.low { Some(end) } else { None }),
            (" <= ", if let Bound::Included(end) = &range.high { Some(end) } else { None }),
            (" < ", if let Bound::Excluded(end) = &range.high { Some(end) } else { None }),
        ] {
            if let Some(end) = end {
                out.push_sql(" AND ");
                out.push_sql(Self::KEY);
                out.push_sql(operator);
                out.push_bind_param::<BigInt, _>(end)?;
            }
        }
        Ok(())
    }
}

impl ListedTable for EventFilter {
    type Record = SessionEvent;
    const KNOWN: Option<&'static str> = Some("session_id");
    const KEY: &'static str = "events.event_index";
    const ID: &'static str = "events.id";

    fn is_common(&self) -> bool {
        self.after.is_none() && self.before.is_none() && !self.descending
    }

    fn bytes(event: &SessionEvent) -> usize {
        event.payload.get().len()
    }

    fn push_conditions<'b, DB>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()>
    where
        DB: Backend + HasSqlType<Text>,
        str: ToSql<Text, DB>,
    {
        out.push_sql(" AND events.session_id = ");
        out.push_bind_param::<Text, _>(&*self.session_id)
    }
}

impl ListedTable for SessionFilter {
    type Record = SessionRecord;
    const KNOWN: Option<&'static str> = None;
    const KEY: &'static str = "sessions.created_at";
    const ID: &'static str = "sessions.id";

    fn is_common(&self) -> bool {
        *self == Self::default()
    }

    fn bytes(_: &SessionRecord) -> usize {
        0
    }

    fn push_conditions<'b, DB>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()>
    where
        DB: Backend + HasSqlType<Text>,
        str: ToSql<Text, DB>,
    {
        let Self { agent, sandbox_id, is_live, created_from: _, created_before: _, descending: _ } = self;
        for (column, wanted) in [(" AND sessions.agent = ", agent), (" AND sessions.sandbox_id = ", sandbox_id)] {
            if let Some(wanted) = wanted {
                out.push_sql(column);
                out.push_bind_param::<Text, _>(&**wanted)?;
            }
        }
        match is_live {
            None => {}
            Some(true) => out.push_sql(" AND sessions.destroyed_at IS NULL"),
            Some(false) => out.push_sql(" AND sessions.destroyed_at IS NOT NULL"),
        }
        Ok(())
    }
}

/// The rows of a listing after a position, as one database queries them.
pub(crate) trait PageQuery: Query {
    /// The same type without what it borrows.
    type Lasting: 'static;
}

/// The two usual pages, from the beginning or after a position. Diesel finds their statements by type, without
/// assembling the SQL.
pub(crate) struct Common<P, const FROM_A_PLACE: bool>(pub(crate) P);

impl<DB: Backend, P: QueryFragment<DB>, const FROM_A_PLACE: bool> QueryFragment<DB> for Common<P, FROM_A_PLACE> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }
}

impl<P: PageQuery, const FROM_A_PLACE: bool> QueryId for Common<P, FROM_A_PLACE> {
    type QueryId = Common<P::Lasting, FROM_A_PLACE>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<P: PageQuery, const FROM_A_PLACE: bool> Query for Common<P, FROM_A_PLACE> {
    type SqlType = P::SqlType;
}

impl<C, P, const FROM_A_PLACE: bool> RunQueryDsl<C> for Common<P, FROM_A_PLACE> {}

//! Pages of a listing: each is one index seek, however deep. One row more than the page holds tells whether another page
//! follows.

use std::ops::Bound;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Text};

use super::values::{Found, NONE_KNOWN};
use crate::database::fields::{Record, place_of};
use crate::error::{Error, Result};
use crate::model::cursor::Position;
use crate::model::event::SessionEvent;
use crate::model::listing::{Filter, Listing, Range};
use crate::model::page::ListPage;
use crate::model::request::{EventFilter, SessionFilter};
use crate::model::session::SessionRecord;
use crate::schema::{events, sessions};

/// If a page is limited by bytes, how many rows are read before it is known how large they are.
const FEW_ROWS: usize = 8;

const INDEX: usize = place_of(SessionEvent::NAMES, "event_index");
const SESSION_ID: usize = place_of(SessionEvent::NAMES, "session_id");
const CREATED_AT: usize = place_of(SessionRecord::NAMES, "created_at");

/// A table with a listing.
pub(super) trait Listed: Filter + Sized {
    type Record: Record;
    /// The column whose value the filter knows, so that it need not be sent with every row.
    const KNOWN: Option<&'static str>;
    /// The column that orders the rows.
    const KEY: &'static str;

    /// The conditions on rows besides the range, each with a trailing `AND`.
    fn push_conditions<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
    /// A record's size for the limit on bytes.
    fn bytes(record: &Self::Record) -> usize;
    fn load(page: Page<'_, Self>, conn: &mut PgConnection) -> Result<Vec<Row<Self::Record>>>;
}

/// A row with its place in the order.
pub(super) struct Row<T> {
    place: (i64, String),
    record: Result<T>,
}

pub(super) fn list<F: Listed>(conn: &mut PgConnection, listing: &Listing<'_, F>) -> Result<ListPage<F::Record>> {
    let mut place = match listing.after {
        None => None,
        Some(Position::Row { key, id }) => Some((*key, id.clone())),
        Some(Position::Odd(_)) => {
            return Err(Error::InvalidCursor { reason: "it belongs to another kind of database" });
        }
    };
    let mut items: Vec<F::Record> = Vec::with_capacity(listing.room());
    let mut bytes = 0_usize;
    loop {
        let rows = rows_to_read(listing, items.len(), bytes);
        let page = Page {
            filter: listing.filter,
            range: listing.range(),
            after: place.as_ref().map(|(key, id)| (*key, &**id)),
            rows: rows as i64,
        };
        let found = F::load(page, conn)?;
        let is_last = found.len() < rows;
        for Row { place: next, record } in found {
            let follows = |items, place: Option<(i64, String)>| {
                let position = place.map(|(key, id)| Position::Row { key, id });
                Ok(ListPage { items, next_cursor: position.map(|position| listing.cursor_after(position)) })
            };
            if listing.is_full(items.len()) {
                return follows(items, place);
            }
            let (key, id) = next;
            let record = match record {
                Ok(record) => record,
                Err(error) => return Err(error.with_after(listing.cursor_after(Position::Row { key, id }))),
            };
            bytes = bytes.saturating_add(F::bytes(&record));
            if listing.is_too_much(items.len() + 1, bytes) {
                return follows(items, place);
            }
            items.push(record);
            place = Some((key, id));
        }
        if is_last {
            return Ok(ListPage { items, next_cursor: None });
        }
    }
}

/// How many rows to read next. With a limit on bytes, about as many as fit, by the size of those read so far: large
/// rows that the page has no room for would be sent in vain.
fn rows_to_read<F: Filter>(listing: &Listing<'_, F>, rows: usize, bytes: usize) -> usize {
    let rest = (listing.rows() as usize + 1).saturating_sub(rows).max(1);
    match listing.bytes() {
        None => rest,
        Some(_) if rows == 0 => rest.min(FEW_ROWS),
        Some(limit) => {
            let each = (bytes / rows).max(1);
            rest.min((limit.saturating_sub(bytes) / each).saturating_add(1).max(FEW_ROWS))
        }
    }
}

/// The rows of a listing after a place.
pub(super) struct Page<'a, F> {
    filter: &'a F,
    range: Range,
    after: Option<(i64, &'a str)>,
    rows: i64,
}

impl<F: Listed> QueryFragment<Pg> for Page<'_, F> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let is_descending = self.filter.is_descending();
        out.push_sql("SELECT ");
        for (place, name) in F::Record::NAMES.iter().enumerate() {
            out.push_sql(if place > 0 { ", " } else { "" });
            out.push_sql(if F::KNOWN == Some(*name) { "NULL" } else { name });
        }
        out.push_sql(" FROM ");
        out.push_sql(F::TABLE);
        out.push_sql(" WHERE ");
        self.filter.push_conditions(out.reborrow())?;
        self.push_range(out.reborrow())?;
        if let Some((key, id)) = &self.after {
            out.push_sql("(");
            out.push_sql(F::KEY);
            // By bytes, whatever the database's collation. It is not declared on the column, because the reference
            // driver takes it off there at every start.
            out.push_sql(if is_descending { ", id COLLATE \"C\") < (" } else { ", id COLLATE \"C\") > (" });
            out.push_bind_param::<BigInt, _>(key)?;
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(*id)?;
            out.push_sql(") AND ");
        }
        out.push_sql("true ORDER BY ");
        out.push_sql(F::KEY);
        out.push_sql(if is_descending { " DESC, id COLLATE \"C\" DESC LIMIT " } else { ", id COLLATE \"C\" LIMIT " });
        out.push_bind_param::<BigInt, _>(&self.rows)
    }
}

impl<F: Listed> Page<'_, F> {
    fn push_range<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (operator, end) in [
            (" >= ", if let Bound::Included(end) = &self.range.low { Some(end) } else { None }),
            (" > ", if let Bound::Excluded(end) = &self.range.low { Some(end) } else { None }),
            (" <= ", if let Bound::Included(end) = &self.range.high { Some(end) } else { None }),
            (" < ", if let Bound::Excluded(end) = &self.range.high { Some(end) } else { None }),
        ] {
            if let Some(end) = end {
                out.push_sql(F::KEY);
                out.push_sql(operator);
                out.push_bind_param::<BigInt, _>(end)?;
                out.push_sql(" AND ");
            }
        }
        Ok(())
    }
}

impl<F> QueryId for Page<'_, F> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<F: Listed> Query for Page<'_, F> {
    type SqlType = <F::Record as Record>::SqlType;
}

impl<F> RunQueryDsl<PgConnection> for Page<'_, F> {}

fn rows<T, const KEY: usize, const KNOWN: usize>(
    found: Vec<Found<T, KEY, KNOWN>>,
    complete: impl Fn(T) -> T,
) -> Vec<Row<T>> {
    let row = |Found { key, id, record }: Found<T, KEY, KNOWN>| Row {
        place: (key, id),
        record: record.map(&complete).map_err(Error::from),
    };
    found.into_iter().map(row).collect()
}

impl Listed for EventFilter {
    type Record = SessionEvent;
    const KNOWN: Option<&'static str> = Some("session_id");
    const KEY: &'static str = events::event_index::NAME;

    fn push_conditions<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("session_id = ");
        out.push_bind_param::<Text, _>(&self.session_id)?;
        out.push_sql(" AND ");
        Ok(())
    }

    fn bytes(event: &SessionEvent) -> usize {
        event.payload.get().len()
    }

    fn load(page: Page<'_, Self>, conn: &mut PgConnection) -> Result<Vec<Row<SessionEvent>>> {
        let session_id = &page.filter.session_id;
        let found: Vec<Found<SessionEvent, INDEX, SESSION_ID>> = page.load(conn)?;
        Ok(rows(found, |event| SessionEvent { session_id: session_id.clone(), ..event }))
    }
}

impl Listed for SessionFilter {
    type Record = SessionRecord;
    const KNOWN: Option<&'static str> = None;
    const KEY: &'static str = sessions::created_at::NAME;

    fn push_conditions<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let Self { agent, sandbox_id, is_live, created_from: _, created_before: _, descending: _ } = self;
        for (column, wanted) in [("agent = ", agent), ("sandbox_id = ", sandbox_id)] {
            if let Some(wanted) = wanted {
                out.push_sql(column);
                out.push_bind_param::<Text, _>(wanted)?;
                out.push_sql(" AND ");
            }
        }
        match is_live {
            None => {}
            Some(true) => out.push_sql("destroyed_at IS NULL AND "),
            Some(false) => out.push_sql("destroyed_at IS NOT NULL AND "),
        }
        Ok(())
    }

    fn bytes(_: &SessionRecord) -> usize {
        0
    }

    fn load(page: Page<'_, Self>, conn: &mut PgConnection) -> Result<Vec<Row<SessionRecord>>> {
        let found: Vec<Found<SessionRecord, CREATED_AT, NONE_KNOWN>> = page.load(conn)?;
        Ok(rows(found, |session| session))
    }
}

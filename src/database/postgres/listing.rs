//! Pages of a listing: each is one index seek, however deep. One row more than the page holds tells whether another page
//! follows.

use std::ops::Bound;

use diesel::connection::DefaultLoadingMode;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Text};

use super::values::{Found, NONE_KNOWN, Unread};
use crate::database::fields::{Record, place_of};
use crate::error::{Error, Result};
use crate::model::cursor::Position;
use crate::model::event::SessionEvent;
use crate::model::listing::{DEFAULT_LIMIT, Filter, Listing, Range};
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
pub(super) trait Listed: Filter + Sized + 'static {
    type Record: Record;
    /// The column whose value the filter knows, so that it need not be sent with every row.
    const KNOWN: Option<&'static str>;
    /// The column that orders the rows.
    const KEY: &'static str;

    /// The conditions on rows besides the range, each with a trailing `AND`.
    fn push_conditions<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>;
    /// Whether this is the usual request: from the lowest number up, without further conditions.
    fn is_common(&self) -> bool;
    /// A record, with what the filter knows of it.
    fn complete(&self, record: Self::Record) -> Self::Record;
    /// A record's place in the order.
    fn place(record: &Self::Record) -> (i64, &str);
    /// A record's size for the limit on bytes.
    fn bytes(record: &Self::Record) -> usize;

    /// Runs a page's query, by [`load_page`].
    fn load<'a>(
        page: Page<'a, Self>,
        conn: &'a mut PgConnection,
    ) -> QueryResult<impl Iterator<Item = QueryResult<Result<Self::Record, Unread>>>>;
}

pub(super) fn list<F: Listed>(conn: &mut PgConnection, listing: &Listing<'_, F>) -> Result<ListPage<F::Record>> {
    let start = match listing.after {
        None => None,
        Some(Position::Row { key, id }) => Some((*key, &**id)),
        Some(Position::Odd(_)) => {
            return Err(Error::InvalidCursor { reason: "it belongs to another kind of database" });
        }
    };
    let position = |(key, id): (i64, &str)| Position::Row { key, id: id.to_owned() };
    let mut items: Vec<F::Record> = Vec::with_capacity(listing.room());
    let mut bytes = 0_usize;
    loop {
        let rows = rows_to_read(listing, items.len(), bytes);
        // Its own copy, because the page grows meanwhile.
        let last = items.last().map(F::place).map(|(key, id)| (key, id.to_owned()));
        let page = Page {
            filter: listing.filter,
            range: listing.range(),
            after: last.as_ref().map(|(key, id)| (*key, &**id)).or(start),
            rows: rows as i64,
        };
        let mut found = 0;
        let mut follows = false;
        for record in F::load(page, conn)? {
            found += 1;
            follows = listing.is_full(items.len());
            if follows {
                break;
            }
            let record = match record? {
                Ok(record) => listing.filter.complete(record),
                Err(Unread { key, id, cause }) => {
                    return Err(Error::from(cause).with_after(listing.cursor_after(position((key, &id)))));
                }
            };
            bytes = bytes.saturating_add(F::bytes(&record));
            follows = listing.is_too_much(items.len() + 1, bytes);
            if follows {
                break;
            }
            items.push(record);
        }
        if follows || found < rows {
            let last = items.last().filter(|_| follows).map(F::place);
            let next_cursor = last.map(|last| listing.cursor_after(position(last)));
            return Ok(ListPage { items, next_cursor });
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
        if self.is_usual() {
            // A number that the server does not know it takes for a tenth of the rows, and plans each page anew.
            out.push_sql(&self.rows.to_string());
            return Ok(());
        }
        out.push_bind_param::<BigInt, _>(&self.rows)
    }
}

impl<F: Listed> Page<'_, F> {
    /// Whether the SQL is always the same, but for where the page starts.
    fn is_usual(&self) -> bool {
        self.filter.is_common() && self.rows == i64::from(DEFAULT_LIMIT) + 1
    }

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

/// The two usual pages, from the beginning or after a place. Diesel finds their statements by type, without assembling
/// the SQL.
pub(super) struct Common<'a, F, const FROM_A_PLACE: bool>(Page<'a, F>);

impl<F: Listed, const FROM_A_PLACE: bool> QueryFragment<Pg> for Common<'_, F, FROM_A_PLACE> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }
}

impl<F: 'static, const FROM_A_PLACE: bool> QueryId for Common<'_, F, FROM_A_PLACE> {
    type QueryId = Common<'static, F, FROM_A_PLACE>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<F: Listed, const FROM_A_PLACE: bool> Query for Common<'_, F, FROM_A_PLACE> {
    type SqlType = <F::Record as Record>::SqlType;
}

impl<F, const FROM_A_PLACE: bool> RunQueryDsl<PgConnection> for Common<'_, F, FROM_A_PLACE> {}

/// Runs a page's query for a filter whose types are known.
macro_rules! load_page {
    ($page:ident, $conn:ident, $found:ty) => {{
        let rows = match ($page.is_usual(), $page.after.is_some()) {
            (true, false) => Common::<_, false>($page).load_iter::<$found, DefaultLoadingMode>($conn),
            (true, true) => Common::<_, true>($page).load_iter::<$found, DefaultLoadingMode>($conn),
            (false, _) => $page.load_iter::<$found, DefaultLoadingMode>($conn),
        };
        Ok(rows?.map(|row| Ok(row?.0)))
    }};
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

    fn is_common(&self) -> bool {
        self.after.is_none() && self.before.is_none() && !self.descending
    }

    fn complete(&self, event: SessionEvent) -> SessionEvent {
        SessionEvent { session_id: self.session_id.clone(), ..event }
    }

    fn place(event: &SessionEvent) -> (i64, &str) {
        (event.event_index, &event.id)
    }

    fn bytes(event: &SessionEvent) -> usize {
        event.payload.get().len()
    }

    fn load<'a>(
        page: Page<'a, Self>,
        conn: &'a mut PgConnection,
    ) -> QueryResult<impl Iterator<Item = QueryResult<Result<SessionEvent, Unread>>>> {
        load_page!(page, conn, Found<SessionEvent, INDEX, SESSION_ID>)
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

    fn is_common(&self) -> bool {
        *self == Self::default()
    }

    fn complete(&self, session: SessionRecord) -> SessionRecord {
        session
    }

    fn place(session: &SessionRecord) -> (i64, &str) {
        (session.created_at.timestamp_millis(), &session.id)
    }

    fn bytes(_: &SessionRecord) -> usize {
        0
    }

    fn load<'a>(
        page: Page<'a, Self>,
        conn: &'a mut PgConnection,
    ) -> QueryResult<impl Iterator<Item = QueryResult<Result<SessionRecord, Unread>>>> {
        load_page!(page, conn, Found<SessionRecord, CREATED_AT, NONE_KNOWN>)
    }
}

//! Pages of a listing: each is one index seek, however deep. One row more than the page holds tells whether another page
//! follows.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Text};

use super::pg_link::PgLink;
use super::values::{Found, NONE_KNOWN, Unread};
use crate::database::fields::{Record, place_of};
use crate::database::listed_table::{Common, ListedTable, PageQuery};
use crate::error::{Error, Result};
use crate::model::cursor::Position;
use crate::model::event::SessionEvent;
use crate::model::listing::{DEFAULT_LIMIT, Filter, Listing, Range};
use crate::model::page::ListPage;
use crate::model::request::{EventFilter, SessionFilter};
use crate::model::session::SessionRecord;

/// If a page is limited by bytes, how many rows are read before it is known how large they are.
const FEW_ROWS: usize = 8;

const INDEX: usize = place_of(SessionEvent::NAMES, "event_index");
const SESSION_ID: usize = place_of(SessionEvent::NAMES, "session_id");
const CREATED_AT: usize = place_of(SessionRecord::NAMES, "created_at");

/// What PostgreSQL does its own way with a table that has a listing.
pub(super) trait Listed: ListedTable + Sized {
    /// A record, with what the filter knows of it.
    fn complete(&self, record: Self::Record) -> Self::Record;
    /// A record's place in the order.
    fn place(record: &Self::Record) -> (i64, &str);

    /// Runs a page's query, by [`load_page`], and takes its rows until one is not wanted.
    async fn load<C: PgLink>(
        page: Page<'_, Self>,
        conn: &mut C,
        take: impl FnMut(Result<Self::Record, Unread>) -> bool,
    ) -> QueryResult<()>;
}

pub(super) async fn list<F: Listed, C: PgLink>(conn: &mut C, listing: &Listing<'_, F>) -> Result<ListPage<F::Record>> {
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
        let mut unread = None;
        let take = |record| {
            found += 1;
            follows = listing.is_full(items.len());
            if follows {
                return false;
            }
            let record = match record {
                Ok(record) => listing.filter.complete(record),
                Err(row) => {
                    unread = Some(row);
                    return false;
                }
            };
            bytes = bytes.saturating_add(F::bytes(&record));
            follows = listing.is_too_much(items.len() + 1, bytes);
            if !follows {
                items.push(record);
            }
            !follows
        };
        F::load(page, conn, take).await?;
        if let Some(Unread { key, id, cause }) = unread {
            return Err(Error::from(cause).with_after(listing.cursor_after(position((key, &id)))));
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
        F::push_columns(&mut out);
        out.push_sql(" FROM ");
        out.push_sql(F::TABLE);
        out.push_sql(" WHERE true");
        self.filter.push_conditions(out.reborrow())?;
        F::push_range(&self.range, out.reborrow())?;
        if let Some((key, id)) = &self.after {
            out.push_sql(" AND (");
            out.push_sql(F::KEY);
            // By bytes, whatever the database's collation. It is not declared on the column, because the reference
            // driver takes it off there at every start.
            out.push_sql(if is_descending { ", id COLLATE \"C\") < (" } else { ", id COLLATE \"C\") > (" });
            out.push_bind_param::<BigInt, _>(key)?;
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(*id)?;
            out.push_sql(")");
        }
        out.push_sql(" ORDER BY ");
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
}

impl<F> QueryId for Page<'_, F> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<F: Listed> Query for Page<'_, F> {
    type SqlType = <F::Record as Record>::SqlType;
}

impl<F: Listed> PageQuery for Page<'_, F> {
    type Lasting = Page<'static, F>;
}

/// Runs a page's query for a filter whose types are known.
macro_rules! load_page {
    ($page:ident, $conn:ident, $take:ident, $found:ty) => {{
        let take = |found: $found| $take(found.0);
        match ($page.is_usual(), $page.after.is_some()) {
            (true, false) => $conn.each(Common::<_, false>($page), take).await,
            (true, true) => $conn.each(Common::<_, true>($page), take).await,
            (false, _) => $conn.each($page, take).await,
        }
    }};
}

impl Listed for EventFilter {
    fn complete(&self, event: SessionEvent) -> SessionEvent {
        SessionEvent { session_id: self.session_id.clone(), ..event }
    }

    fn place(event: &SessionEvent) -> (i64, &str) {
        (event.event_index, &event.id)
    }

    async fn load<C: PgLink>(
        page: Page<'_, Self>,
        conn: &mut C,
        mut take: impl FnMut(Result<SessionEvent, Unread>) -> bool,
    ) -> QueryResult<()> {
        load_page!(page, conn, take, Found<SessionEvent, INDEX, SESSION_ID>)
    }
}

impl Listed for SessionFilter {
    fn complete(&self, session: SessionRecord) -> SessionRecord {
        session
    }

    fn place(session: &SessionRecord) -> (i64, &str) {
        (session.created_at.timestamp_millis(), &session.id)
    }

    async fn load<C: PgLink>(
        page: Page<'_, Self>,
        conn: &mut C,
        mut take: impl FnMut(Result<SessionRecord, Unread>) -> bool,
    ) -> QueryResult<()> {
        load_page!(page, conn, take, Found<SessionRecord, CREATED_AT, NONE_KNOWN>)
    }
}

//! The fast path for nearly every page of a listing: valid rows in a UTF-8 database.
//!
//! There is no `LIMIT`, since SQLite would prepare the statement again for every number bound to it. Rows arrive one by
//! one in index order, so a page simply stops reading.

use std::borrow::Cow;

use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error as DieselError;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;

use super::place::Place;
use super::values::Number;
use crate::database::fields::Record;
use crate::database::listed_table::{ListedTable, PageQuery};
use crate::error::Result;
use crate::model::listing::{Listing, Range};
use crate::model::page::ListPage;

/// What SQLite does its own way with a table that has a listing.
pub(super) trait Listed: ListedTable {
    /// A row of a page.
    type Row;
    /// The table.
    const FROM: &'static str;

    /// A row's record, with the exact number that orders it, which the record may have rounded.
    fn record(&self, row: Self::Row) -> (Self::Record, Number);
    fn id(record: &Self::Record) -> &str;
    /// A condition, with a leading `AND`, that ensures that the row's value is exactly the filter's. If it is not,
    /// SQLite raises an error, and the rows are read by the exact path.
    fn push_sameness<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()>;

    /// Runs a page's query, by [`load_page`].
    fn load<'a>(
        page: Page<'a, Self>,
        conn: &'a mut SqliteConnection,
    ) -> QueryResult<impl Iterator<Item = QueryResult<Self::Row>>>
    where
        Self: Sized;
}

/// A condition that holds in a UTF-8 database, where text is compared by its UTF-8 bytes, and is an error elsewhere:
/// the order of these two strings differs between UTF-8 and UTF-16. SQLite decides it once, before the first row.
const IN_UTF8: &str = "CASE WHEN '\u{10000}' > '\u{fffd}' THEN 1 ELSE abs(-9223372036854775808) END";

/// SQLite's message if such a condition does not hold.
const READ_EXACTLY: &str = "integer overflow";

/// Takes a page from the rows, and checks whether another row follows. That row is not decoded, so it cannot be an
/// error of this page. `None` if the rows have to be read by the exact path.
pub(super) fn plain<F: Listed>(
    conn: &mut SqliteConnection,
    listing: &Listing<'_, F>,
    after: Option<(Number, &str)>,
) -> Result<Option<ListPage<F::Record>>> {
    let page = Page { filter: listing.filter, range: listing.range(), after };
    let mut items: Vec<F::Record> = Vec::with_capacity(listing.room());
    let mut last_key = Number::Integer(0);
    let mut bytes = 0_usize;
    for row in F::load(page, conn)? {
        let is_full = listing.is_full(items.len());
        let row = match row {
            Err(DieselError::DeserializationError(_)) if is_full => {
                return Ok(Some(followed(listing, items, last_key, None)));
            }
            Err(DieselError::DeserializationError(_)) => return Ok(None),
            Err(DieselError::DatabaseError(_, information)) if information.message() == READ_EXACTLY => {
                return Ok(None);
            }
            row => row?,
        };
        let (record, key) = listing.filter.record(row);
        bytes = bytes.saturating_add(F::bytes(&record));
        if is_full || listing.is_too_much(items.len() + 1, bytes) {
            return Ok(Some(followed(listing, items, last_key, Some(key))));
        }
        items.push(record);
        last_key = key;
    }
    Ok(Some(ListPage { items, next_cursor: None }))
}

/// A page followed by another row, whose number is given if it has one.
pub(super) fn followed<F: Listed>(
    listing: &Listing<'_, F>,
    items: Vec<F::Record>,
    key: Number,
    next_key: Option<Number>,
) -> ListPage<F::Record> {
    let next_cursor = items.last().map(|item| {
        // In descending order, rows without an id come last among those with the same number.
        let is_tied = listing.filter.is_descending() && next_key.is_none_or(|next| next == key);
        let place = Place::Plain { key, id: Cow::Borrowed(F::id(item)), is_tied };
        listing.cursor_after(place.into_position())
    });
    ListPage { items, next_cursor }
}

/// The rows of a listing after a position.
pub(super) struct Page<'a, F> {
    pub(super) filter: &'a F,
    range: Range,
    pub(super) after: Option<(Number, &'a str)>,
}

impl<F: Listed> QueryFragment<Sqlite> for Page<'_, F> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let is_descending = self.filter.is_descending();
        out.push_sql("SELECT ");
        F::push_columns(&mut out);
        out.push_sql(" FROM ");
        out.push_sql(F::FROM);
        out.push_sql(" WHERE ");
        out.push_sql(IN_UTF8);
        self.filter.push_conditions(out.reborrow())?;
        self.filter.push_sameness(out.reborrow())?;
        F::push_range(&self.range, out.reborrow())?;
        if let Some((key, id)) = &self.after {
            out.push_sql(" AND (");
            out.push_sql(F::KEY);
            out.push_sql(if is_descending { ", id) < (" } else { ", id) > (" });
            key.walk_ast(out.reborrow())?;
            out.push_sql(", ");
            out.push_bind_param::<Text, _>(*id)?;
            out.push_sql(")");
        }
        out.push_sql(" ORDER BY ");
        out.push_sql(F::KEY);
        out.push_sql(if is_descending { " DESC, id DESC" } else { " ASC, id ASC" });
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

impl<F: Listed> PageQuery for Page<'_, F> {
    type Lasting = Page<'static, F>;
}

impl<F> RunQueryDsl<SqliteConnection> for Page<'_, F> {}

/// Runs a page's query for a filter whose types are known.
macro_rules! load_page {
    ($page:ident, $conn:ident) => {
        match ($page.filter.is_common(), $page.after.is_some()) {
            (true, false) => Common::<_, false>($page).load_iter::<Self::Row, DefaultLoadingMode>($conn),
            (true, true) => Common::<_, true>($page).load_iter::<Self::Row, DefaultLoadingMode>($conn),
            (false, _) => $page.load_iter::<Self::Row, DefaultLoadingMode>($conn),
        }
    };
}

pub(super) use load_page;

//! Listing rows whatever they hold: with the exact place of each, also where a value of its key or id is of another type
//! than the column's, and in the byte order of UTF-8 in a database of another encoding.
//!
//! Nearly every page is read by simpler statements. A page is read by these where those cannot tell.

use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::Sqlite;

use crate::column::{Column, Number, StoredText};
use crate::error::{Cause, Result};
use crate::page::{ListPage, Listed, PageRequest};
use crate::place::{OddPlace, Place, Stored};

/// A table's row out of its columns.
pub(crate) trait Record: Sized {
    type Columns;

    fn id(columns: &Self::Columns) -> &Column<StoredText>;

    /// The record, or an error that names the row: by its rowid where it has no id.
    fn from_columns(columns: Self::Columns, rowid: Option<i64>) -> Result<Self, Cause>;
}

/// A row that was found, which need not be a record.
pub(crate) struct Found<T> {
    pub(crate) record: Result<T, Cause>,
    pub(crate) place: Place,
}

impl<T> Found<T> {
    /// The place comes first: so SQLite takes it from the index that the listing follows, whose order it is then a place
    /// in, also where a damaged table says something else.
    pub(crate) fn new<R: Record>(
        (key, id, rowid, columns): (Stored, Stored, i64, R::Columns),
        listed: impl FnOnce(R) -> T,
    ) -> Self {
        let place = match (key.number(), R::id(&columns).text()) {
            (Some(key), Some(id)) => Place::Plain { key, id: id.to_owned(), is_tied: false },
            _ => Place::Odd(Box::new(OddPlace { key, id, rowid })),
        };
        Self { record: R::from_columns(columns, Some(rowid)).map(listed), place }
    }
}

/// The rows of a listing.
pub(crate) trait Rows {
    type Row: Listed;

    /// Reads a page by the statements that do for rows with a number and a text. `None` where they do not: a row of the
    /// page cannot be decoded, or the database is not in UTF-8.
    fn list_plainly(
        &self,
        conn: &mut SqliteConnection,
        page: &PageRequest<'_>,
        after: Option<(Number, &str)>,
    ) -> Result<Option<ListPage<Self::Row>>>;

    fn list_exactly(
        &self,
        conn: &mut SqliteConnection,
        page: &PageRequest<'_>,
        order: Order,
    ) -> Result<ListPage<Self::Row>>;

    /// The columns that order them.
    fn columns(&self) -> Columns;

    /// Whether a row has no key.
    fn lack_a_key(&self, conn: &mut SqliteConnection) -> QueryResult<bool>;

    /// Whether a row with this key has no id.
    fn lack_an_id(&self, conn: &mut SqliteConnection, key: Number) -> QueryResult<bool>;
}

/// Reads a page.
pub(crate) fn list<R: Rows>(conn: &mut SqliteConnection, rows: &R, page: &PageRequest<'_>) -> Result<ListPage<R::Row>> {
    let found = match page.after {
        None => rows.list_plainly(conn, page, None)?,
        Some(Place::Plain { key, is_tied: true, .. }) if rows.lack_an_id(conn, *key)? => None,
        Some(Place::Plain { key, id, .. }) => rows.list_plainly(conn, page, Some((*key, id)))?,
        Some(Place::Odd(_)) => None,
    };
    match found {
        // Downward, NULL comes last, and no comparison with a place before it finds it.
        Some(found)
            if page.is_descending
                && page.after.is_some()
                && found.next_cursor.is_none()
                && rows.lack_a_key(conn)? => {}
        Some(found) => return Ok(found),
        None => {}
    }
    let order = Order {
        columns: rows.columns(),
        is_descending: page.is_descending,
        is_utf8: is_utf8(conn)?,
        some_lack_a_key: page.is_descending && rows.lack_a_key(conn)?,
    };
    rows.list_exactly(conn, page, order)
}

/// Whether the database keeps its texts in UTF-8, by whose bytes it then compares them.
pub(crate) fn is_utf8(conn: &mut SqliteConnection) -> QueryResult<bool> {
    let encoding: String = diesel::dsl::sql::<Text>("PRAGMA encoding").get_result(conn)?;
    Ok(encoding == "UTF-8")
}

/// The names of the columns that order a listing.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    pub(crate) key: &'static str,
    pub(crate) id: &'static str,
    pub(crate) rowid: &'static str,
}

/// The order of a listing, as SQL: by key, then the UTF-8 of the id, then, where there is none, the rowid.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    columns: Columns,
    is_descending: bool,
    is_utf8: bool,
    some_lack_a_key: bool,
}

impl Order {
    /// The id as it is compared. What SQLite calls BINARY compares the bytes of the database's encoding; of the
    /// collations that come with it, RTRIM is one that compares UTF-8 in any. It leaves out spaces at the end, where
    /// therefore something else is put that does not change the order.
    fn id(&self) -> String {
        let id = self.columns.id;
        if self.is_utf8 {
            format!("+{id}")
        } else {
            format!("CASE typeof({id}) WHEN 'text' THEN {id} || char(0) ELSE {id} END COLLATE RTRIM")
        }
    }

    /// The rows that come after a place, which is the place that the listing goes on from.
    pub(crate) fn beyond(self, place: &Place) -> Beyond {
        let (key, id, rowid) = match place {
            Place::Plain { key, id, .. } => (Stored::from(*key), Id::Text(id.clone()), None),
            Place::Odd(odd) => (odd.key.clone(), Id::Any(odd.id.clone()), Some(odd.rowid)),
        };
        Beyond { order: self, key, id, rowid }
    }
}

impl QueryFragment<Sqlite> for Order {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let Columns { key, id, rowid } = self.columns;
        let id = if self.is_utf8 { id.to_owned() } else { self.id() };
        let direction = if self.is_descending { "DESC" } else { "ASC" };
        out.unsafe_to_cache_prepared();
        out.push_sql(&format!("{key} {direction}, {id} {direction}, {rowid} {direction}"));
        Ok(())
    }
}

/// The rowid of a table's row.
#[derive(Clone, Copy)]
pub(crate) struct Rowid(pub(crate) &'static str);

impl QueryFragment<Sqlite> for Rowid {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(self.0);
        Ok(())
    }
}

impl Expression for Rowid {
    type SqlType = BigInt;
}

impl QueryId for Rowid {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl ValidGrouping<()> for Rowid {
    type IsAggregate = is_aggregate::No;
}

impl<QS> AppearsOnTable<QS> for Rowid {}

impl<QS> SelectableExpression<QS> for Rowid {}

enum Id {
    Text(String),
    Any(Stored),
}

/// The condition that a row comes after a place in an [`Order`].
///
/// The unary `+` keeps the columns' affinities out: what is compared are the values as they are. NULL, which compares
/// with nothing, comes first, or last in a descending order; `typeof` tells it, since `IS NULL` is not even asked of a
/// column that is declared NOT NULL, and that may be broken.
pub(crate) struct Beyond {
    order: Order,
    key: Stored,
    id: Id,
    rowid: Option<i64>,
}

impl Beyond {
    fn push_id<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        match &self.id {
            Id::Text(text) => out.push_bind_param::<Text, _>(text)?,
            Id::Any(id) => id.walk_ast(out.reborrow())?,
        }
        if !self.order.is_utf8 && matches!(self.id, Id::Text(_) | Id::Any(Stored::Text(_))) {
            out.push_sql(" || char(0)");
        }
        Ok(())
    }

    /// `id, rowid` compared with the place's, among rows of the same key.
    fn push_ids<'b>(&'b self, operator: &str, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let id = self.order.id();
        match &self.rowid {
            Some(rowid) => {
                out.push_sql(&format!("({id}, {}) {operator} (", self.order.columns.rowid));
                self.push_id(out.reborrow())?;
                out.push_sql(", ");
                out.push_bind_param::<BigInt, _>(rowid)?;
                out.push_sql(")");
                Ok(())
            }
            None => {
                out.push_sql(&format!("{id} {operator} "));
                self.push_id(out.reborrow())
            }
        }
    }

    fn walk_upward<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let Columns { key, id, rowid } = self.order.columns;
        out.push_sql("(");
        if self.key.is_null() {
            out.push_sql(&format!("typeof({key}) <> 'null' OR ("));
        } else {
            self.enter_index(out.reborrow())?;
            out.push_sql(&format!(" AND (+{key} > "));
            self.key.walk_ast(out.reborrow())?;
            out.push_sql(&format!(" OR +{key} = "));
            self.key.walk_ast(out.reborrow())?;
            out.push_sql(" AND (");
        }
        if let Id::Any(Stored::Null) = self.id {
            out.push_sql(&format!("typeof({id}) <> 'null' OR {rowid} > "));
            out.push_bind_param::<BigInt, _>(self.rowid.as_ref().unwrap_or(&i64::MAX))?;
        } else {
            self.push_ids(">", out.reborrow())?;
        }
        out.push_sql(if self.key.is_null() { "))" } else { ")))" });
        Ok(())
    }

    /// A condition that all rows from the place on meet, and that says where in the index they begin.
    fn enter_index<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let Columns { key, id, .. } = self.order.columns;
        match &self.id {
            Id::Text(text) if self.order.is_utf8 => {
                out.push_sql(&format!("({key}, {id}) >= ("));
                self.key.walk_ast(out.reborrow())?;
                out.push_sql(", ");
                out.push_bind_param::<Text, _>(text)?;
                out.push_sql(")");
                Ok(())
            }
            _ => {
                out.push_sql(&format!("{key} >= "));
                self.key.walk_ast(out)
            }
        }
    }

    fn walk_downward<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let Columns { key, id, rowid } = self.order.columns;
        out.push_sql("(");
        if self.key.is_null() {
            out.push_sql(&format!("typeof({key}) = 'null' AND ("));
        } else {
            if self.key.number().is_some() && !self.order.some_lack_a_key {
                // Where the index is entered.
                out.push_sql(&format!("{key} <= "));
                self.key.walk_ast(out.reborrow())?;
                out.push_sql(" AND ");
            }
            out.push_sql(&format!("(typeof({key}) = 'null' OR +{key} < "));
            self.key.walk_ast(out.reborrow())?;
            out.push_sql(&format!(" OR +{key} = "));
            self.key.walk_ast(out.reborrow())?;
            out.push_sql(" AND (");
        }
        if let Id::Any(Stored::Null) = self.id {
            out.push_sql(&format!("typeof({id}) = 'null' AND {rowid} < "));
            out.push_bind_param::<BigInt, _>(self.rowid.as_ref().unwrap_or(&i64::MIN))?;
        } else {
            out.push_sql(&format!("typeof({id}) = 'null' OR "));
            self.push_ids("<", out.reborrow())?;
        }
        out.push_sql(if self.key.is_null() { "))" } else { ")))" });
        Ok(())
    }
}

impl QueryFragment<Sqlite> for Beyond {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        if self.order.is_descending { self.walk_downward(out) } else { self.walk_upward(out) }
    }
}

impl QueryId for Beyond {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryId for Order {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Expression for Beyond {
    type SqlType = Bool;
}

impl Expression for Order {
    type SqlType = Bool;
}

impl ValidGrouping<()> for Beyond {
    type IsAggregate = is_aggregate::No;
}

impl<QS> AppearsOnTable<QS> for Beyond {}

impl<QS> AppearsOnTable<QS> for Order {}

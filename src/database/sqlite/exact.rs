//! The exact path of a listing, for rows with any content: it finds each row's exact position even if its key or id has
//! another type than the column, and orders by UTF-8 bytes even in a database with another encoding.

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;

use super::place::{OddPlace, Place};
use super::plain::{Listed, followed};
use super::stored::Stored;
use super::values::Number;
use crate::database::fields::{Numbered, Record};
use crate::database::listed_table::ListedTable;
use crate::error::{Cause, Error, Result};
use crate::model::listing::{Listing, Range};
use crate::model::page::ListPage;
use crate::model::request::{EventFilter, SessionFilter};
use crate::schema::{events, sessions};

/// The position comes first, so SQLite reads it from the index that the listing follows. Then it is a position in that
/// index's order even if a damaged table says something else.
type Row<F> = (Stored, Stored, Numbered<<F as ListedTable>::Record>);

type Rows<'a, F> = Box<dyn Iterator<Item = QueryResult<Row<F>>> + 'a>;

/// A listing whose rows can be loaded as they are.
pub(super) trait LoadExactly: Listed + Sized {
    fn load_exactly<'a>(page: ExactPage<'a, Self>, conn: &'a mut SqliteConnection) -> QueryResult<Rows<'a, Self>>;
}

macro_rules! loads_exactly {
    ($($filter:ty: $columns:ty),*) => {$(
        impl LoadExactly for $filter {
            fn load_exactly<'a>(page: ExactPage<'a, Self>, conn: &'a mut SqliteConnection) -> QueryResult<Rows<'a, Self>> {
                Ok(Box::new(page.load_iter::<Row<Self>, DefaultLoadingMode>(conn)?))
            }
        }

        impl Query for ExactPage<'_, $filter> {
            type SqlType = (BigInt, Text, (BigInt, $columns));
        }
    )*};
}

loads_exactly!(EventFilter: events::SqlType, SessionFilter: sessions::SqlType);

/// Reads a page. The first row that cannot be decoded is an error that says where the listing continues.
pub(super) fn list<F: LoadExactly>(
    conn: &mut SqliteConnection,
    listing: &Listing<'_, F>,
    after: Option<Place<'_>>,
) -> Result<ListPage<F::Record>> {
    let is_descending = listing.filter.is_descending();
    let order = Order {
        key: F::KEY,
        is_descending,
        is_utf8: is_utf8(conn)?,
        some_lack_a_key: is_descending && lack_a_key(conn, listing.filter)?,
    };
    let beyond = after.map(|after| order.beyond(after));
    let page = ExactPage { filter: listing.filter, range: listing.filter.range(), beyond, order };
    let mut items: Vec<F::Record> = Vec::new();
    let mut last_key = Number::Integer(0);
    let mut bytes = 0_usize;
    for row in F::load_exactly(page, conn)? {
        let (key, id, row) = row?;
        let number = key.number();
        let place = match (number, row.id) {
            (Some(key), Some(id)) => Place::Plain { key, id: id.into(), is_tied: false },
            _ => Place::Odd(Box::new(OddPlace { key, id, rowid: row.rowid })),
        };
        let next_key = match place {
            Place::Plain { key, .. } => Some(key),
            Place::Odd(_) => None,
        };
        if listing.is_full(items.len()) {
            return Ok(followed(listing, items, last_key, next_key));
        }
        let record = match row.record {
            Ok(record) => record,
            Err(cause) => return Err(undecodable(listing, cause, place)),
        };
        bytes = bytes.saturating_add(F::bytes(&record));
        if listing.is_too_much(items.len() + 1, bytes) {
            return Ok(followed(listing, items, last_key, next_key));
        }
        items.push(record);
        // A row without a number there is not a valid record.
        last_key = number.unwrap_or(Number::Integer(0));
    }
    Ok(ListPage { items, next_cursor: None })
}

fn undecodable<F: Listed>(listing: &Listing<'_, F>, cause: Cause, place: Place<'_>) -> Error {
    let place = if listing.filter.is_descending() { place.tied() } else { place };
    Error::from(cause).with_after(listing.cursor_after(place.into_position()))
}

/// Whether the database stores text in UTF-8, and therefore compares it by those bytes.
pub(super) fn is_utf8(conn: &mut SqliteConnection) -> QueryResult<bool> {
    let encoding: String = diesel::dsl::sql::<Text>("PRAGMA encoding").get_result(conn)?;
    Ok(encoding == "UTF-8")
}

/// Whether any row has no key: then the first one has none, since NULL sorts first.
pub(super) fn lack_a_key<F: Listed>(conn: &mut SqliteConnection, filter: &F) -> QueryResult<bool> {
    is_null(conn, First { column: F::KEY, filter, key: None })
}

/// Whether a row with this key has no id.
pub(super) fn lack_an_id<F: Listed>(conn: &mut SqliteConnection, filter: &F, key: Number) -> QueryResult<bool> {
    is_null(conn, First { column: "id", filter, key: Some(key) })
}

fn is_null<F: Listed>(conn: &mut SqliteConnection, first: First<'_, F>) -> QueryResult<bool> {
    Ok(first.get_result::<Stored>(conn).optional()?.is_some_and(|found| found.is_null()))
}

/// The smallest value in a column, among all rows or those with a given key.
struct First<'a, F> {
    column: &'static str,
    filter: &'a F,
    key: Option<Number>,
}

impl<F: Listed> QueryFragment<Sqlite> for First<'_, F> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(&format!("SELECT {} FROM {} WHERE 1", self.column, F::FROM));
        self.filter.push_conditions(out.reborrow())?;
        if let Some(key) = &self.key {
            out.push_sql(&format!(" AND {} = ", F::KEY));
            key.walk_ast(out.reborrow())?;
        }
        out.push_sql(&format!(" ORDER BY {} ASC LIMIT 1", self.column));
        Ok(())
    }
}

/// The rows of a listing after a position, each with its own position.
pub(super) struct ExactPage<'a, F> {
    filter: &'a F,
    range: Range,
    beyond: Option<Beyond>,
    order: Order,
}

impl<F: Listed> QueryFragment<Sqlite> for ExactPage<'_, F> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.unsafe_to_cache_prepared();
        let columns = F::Record::COLUMNS;
        out.push_sql(&format!("SELECT {}, id, rowid, {columns} FROM {} WHERE 1", F::KEY, F::FROM));
        self.filter.push_conditions(out.reborrow())?;
        F::push_range(&self.range, out.reborrow())?;
        if let Some(beyond) = &self.beyond {
            out.push_sql(" AND ");
            beyond.walk_ast(out.reborrow())?;
        }
        out.push_sql(" ORDER BY ");
        self.order.walk_ast(out)
    }
}

macro_rules! is_put_together {
    ($($query:ident),*) => {$(
        impl<F> QueryId for $query<'_, F> {
            type QueryId = ();
            const HAS_STATIC_QUERY_ID: bool = false;
        }

        impl<F> RunQueryDsl<SqliteConnection> for $query<'_, F> {}
    )*};
}

is_put_together!(First, ExactPage);

impl<F: Listed> Query for First<'_, F> {
    type SqlType = BigInt;
}

/// A listing's order as SQL: by key, then by the UTF-8 of the id, then, for rows without an id, by rowid.
#[derive(Clone, Copy)]
struct Order {
    key: &'static str,
    is_descending: bool,
    is_utf8: bool,
    some_lack_a_key: bool,
}

impl Order {
    /// The id as it is compared. SQLite's BINARY collation compares the bytes of the database's encoding. Of its
    /// built-in collations, RTRIM compares UTF-8 in every encoding, but ignores trailing spaces; so something that does
    /// not change the order is appended there.
    fn id(&self) -> &'static str {
        if self.is_utf8 { "+id" } else { "CASE typeof(id) WHEN 'text' THEN id || char(0) ELSE id END COLLATE RTRIM" }
    }

    /// The rows after a position, where the listing continues.
    fn beyond(self, place: Place<'_>) -> Beyond {
        let (key, id, rowid) = match place {
            Place::Plain { key, id, .. } => (Stored::from(key), PlaceId::Text(id.into_owned()), None),
            Place::Odd(odd) => (odd.key, PlaceId::Any(odd.id), Some(odd.rowid)),
        };
        Beyond { order: self, key, id, rowid }
    }
}

impl QueryFragment<Sqlite> for Order {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let id = if self.is_utf8 { "id" } else { self.id() };
        let direction = if self.is_descending { "DESC" } else { "ASC" };
        out.push_sql(&format!("{} {direction}, {id} {direction}, rowid {direction}", self.key));
        Ok(())
    }
}

enum PlaceId {
    Text(String),
    Any(Stored),
}

/// The condition that a row comes after a position in an [`Order`].
///
/// The unary `+` removes the column's affinity, so values are compared as stored. NULL, which compares with nothing,
/// sorts first, or last in descending order. `typeof` detects it, since SQLite skips `IS NULL` for a column declared
/// NOT NULL, and that may be violated.
struct Beyond {
    order: Order,
    key: Stored,
    id: PlaceId,
    rowid: Option<i64>,
}

impl Beyond {
    fn push_id<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        match &self.id {
            PlaceId::Text(text) => out.push_bind_param::<Text, _>(text)?,
            PlaceId::Any(id) => id.walk_ast(out.reborrow())?,
        }
        if !self.order.is_utf8 && matches!(self.id, PlaceId::Text(_) | PlaceId::Any(Stored::Text(_))) {
            out.push_sql(" || char(0)");
        }
        Ok(())
    }

    /// Compares `id, rowid` with the position's, among rows with the same key.
    fn push_ids<'b>(&'b self, operator: &str, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let id = self.order.id();
        match &self.rowid {
            Some(rowid) => {
                out.push_sql(&format!("({id}, rowid) {operator} ("));
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
        let key = self.order.key;
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
        if let PlaceId::Any(Stored::Null) = self.id {
            out.push_sql("typeof(id) <> 'null' OR rowid > ");
            out.push_bind_param::<BigInt, _>(self.rowid.as_ref().unwrap_or(&i64::MAX))?;
        } else {
            self.push_ids(">", out.reborrow())?;
        }
        out.push_sql(if self.key.is_null() { "))" } else { ")))" });
        Ok(())
    }

    /// A condition that all rows from the position on satisfy, and that tells SQLite where in the index to start.
    fn enter_index<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let key = self.order.key;
        match &self.id {
            PlaceId::Text(text) if self.order.is_utf8 => {
                out.push_sql(&format!("({key}, id) >= ("));
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
        let key = self.order.key;
        out.push_sql("(");
        if self.key.is_null() {
            out.push_sql(&format!("typeof({key}) = 'null' AND ("));
        } else {
            if self.key.number().is_some() && !self.order.some_lack_a_key {
                // The starting point in the index.
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
        if let PlaceId::Any(Stored::Null) = self.id {
            out.push_sql("typeof(id) = 'null' AND rowid < ");
            out.push_bind_param::<BigInt, _>(self.rowid.as_ref().unwrap_or(&i64::MIN))?;
        } else {
            out.push_sql("typeof(id) = 'null' OR ");
            self.push_ids("<", out.reborrow())?;
        }
        out.push_sql(if self.key.is_null() { "))" } else { ")))" });
        Ok(())
    }
}

impl QueryFragment<Sqlite> for Beyond {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        if self.order.is_descending { self.walk_downward(out) } else { self.walk_upward(out) }
    }
}

//! Reads a record from a row, column by column. Reading a tuple first would move every value once more.

use std::marker::PhantomData;

use diesel::deserialize::{self, FromStaticSqlRow, Queryable};
use diesel::result::{UnexpectedEndOfRow, UnexpectedNullError};
use diesel::row::{Field, Row};
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;

use super::columns::undecoded;
use super::decode::Decode;
use super::kinds::Kind;
use crate::error::Cause;

/// What a table stores.
pub trait Record: Sized {
    type SqlType;

    const TABLE: &'static str;
    /// The columns, the id first.
    const NAMES: &'static [&'static str];
    /// The same as SQL.
    const COLUMNS: &'static str;
    /// Which of them may be NULL.
    const NULLABLE: &'static [bool];

    fn read<'a, DB: Decode>(fields: &Fields<'_, impl Row<'a, DB>, DB>) -> Result<Self, Cause>;
}

/// The columns of a record. The first is its id.
pub struct Fields<'r, R, DB> {
    row: &'r R,
    first: usize,
    table: &'static str,
    rowid: Option<i64>,
    /// The column that is left blank, for a caller that knows its value.
    blank: Option<usize>,
    backend: PhantomData<DB>,
}

impl<'r, R, DB: Decode> Fields<'r, R, DB> {
    fn new<T: Record>(row: &'r R, first: usize) -> Self {
        Self { row, first, table: T::TABLE, rowid: None, blank: None, backend: PhantomData }
    }

    /// The value of a column, or an error that names it and the row.
    #[inline]
    pub(super) fn value<'a, K: Kind>(&self, place: usize, column: &'static str) -> Result<K::Field, Cause>
    where
        R: Row<'a, DB>,
    {
        if self.blank == Some(place)
            && let Some(blank) = K::blank()
        {
            return Ok(blank);
        }
        let field = self.row.get(self.first + place).ok_or(UnexpectedEndOfRow)?;
        K::read(&field).map_err(|source| self.undecoded(column, source))
    }

    #[cold]
    fn undecoded<'a>(&self, column: &'static str, source: Cause) -> Cause
    where
        R: Row<'a, DB>,
    {
        let id = self.row.get(self.first).map_or_else(String::new, |id| DB::name(&id, self.rowid));
        undecoded(self.table, id, column, source)
    }
}

/// The record in a row.
pub(super) fn read<'a, T: Record, DB: Decode>(row: &impl Row<'a, DB>) -> deserialize::Result<T> {
    T::read(&Fields::new::<T>(row, 0)).map_err(|cause| {
        // An outer join that found nothing: Diesel recognises that by the error of a NULL in a required column.
        if is_no_row::<T, DB>(row) { Box::new(UnexpectedNullError) } else { cause }
    })
}

#[cold]
fn is_no_row<'a, T: Record, DB: Decode>(row: &impl Row<'a, DB>) -> bool {
    let is_null = |place| row.get(place).is_some_and(|field| field.is_null());
    T::NULLABLE.iter().enumerate().all(|(place, nullable)| *nullable || is_null(place))
}

/// The record in a row, except for one column that is left blank.
pub(super) fn read_but<'a, T: Record, DB: Decode>(row: &impl Row<'a, DB>, blank: usize) -> deserialize::Result<T> {
    T::read(&Fields { blank: Some(blank), ..Fields::new::<T>(row, 0) })
}

/// A row preceded by its rowid, which names the row if it has no id. The row need not be a valid record.
pub(super) struct Numbered<T> {
    pub(super) rowid: i64,
    /// The id, if it is valid.
    pub(super) id: Option<String>,
    pub(super) record: Result<T, Cause>,
}

impl<T: Record> FromStaticSqlRow<(BigInt, T::SqlType), Sqlite> for Numbered<T> {
    fn build_from_row<'a>(row: &impl Row<'a, Sqlite>) -> deserialize::Result<Self> {
        let rowid = Sqlite::integer(&row.get(0).ok_or(UnexpectedEndOfRow)?)?;
        let id = Sqlite::text(&row.get(1).ok_or(UnexpectedEndOfRow)?).ok();
        let record = T::read(&Fields { rowid: Some(rowid), ..Fields::new::<T>(row, 1) });
        Ok(Self { rowid, id, record })
    }
}

impl<T: Record> Queryable<(BigInt, T::SqlType), Sqlite> for Numbered<T> {
    type Row = Self;

    fn build(row: Self) -> deserialize::Result<Self> {
        Ok(row)
    }
}

/// The position of a column.
pub(super) const fn place_of(names: &[&str], name: &str) -> usize {
    let mut place = 0;
    while place < names.len() {
        if is_same(names[place].as_bytes(), name.as_bytes()) {
            return place;
        }
        place += 1;
    }
    panic!("there is no such column")
}

const fn is_same(left: &[u8], right: &[u8]) -> bool {
    let mut place = 0;
    while place < left.len() && place < right.len() {
        if left[place] != right[place] {
            return false;
        }
        place += 1;
    }
    left.len() == right.len()
}

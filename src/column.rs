//! What a column really holds. SQLite stores any type of value in any column, and Diesel converts what it finds
//! (a text becomes the number 0, broken UTF-8 is patched); these types look first.

use std::error::Error as StdError;
use std::fmt;

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromStaticSqlRow, Queryable};
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping};
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::{QueryResult, UnexpectedNullError};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, Double, HasSqlType, Text};
use diesel::sqlite::{Sqlite, SqliteType, SqliteValue};

use crate::error::{Cause, Error};

/// One column of a row: its value, or why there is none. Whether that is an error is for the row to say, which can
/// name itself.
#[derive(Debug)]
pub struct Column<T>(Result<T, Cause>);

impl<T, ST, DB> FromSql<ST, DB> for Column<T>
where
    DB: Backend,
    T: FromSql<ST, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(T::from_sql(value)))
    }

    fn from_nullable_sql(value: Option<DB::RawValue<'_>>) -> deserialize::Result<Self> {
        Ok(Self(T::from_nullable_sql(value)))
    }
}

impl<T, ST, DB> Queryable<ST, DB> for Column<T>
where
    DB: Backend,
    Self: FromStaticSqlRow<ST, DB>,
{
    type Row = Self;

    fn build(row: Self) -> deserialize::Result<Self> {
        Ok(row)
    }
}

impl<T> Column<T> {
    /// The value, where there is one.
    pub(crate) fn ok(self) -> Option<T> {
        self.0.ok()
    }

    /// Whether NULL is there that cannot be.
    pub(crate) fn is_unexpected_null(&self) -> bool {
        matches!(&self.0, Err(cause) if cause.is::<UnexpectedNullError>())
    }
}

/// The name of a row, for the errors of its columns. It borrows the id, which is therefore taken out last.
pub(crate) struct Row<'a> {
    table: &'static str,
    id: &'a Column<StoredText>,
    rowid: Option<i64>,
}

impl<'a> Row<'a> {
    /// Names a row by its id; where that is NULL, by its rowid, if it is known.
    pub(crate) fn new(table: &'static str, id: &'a Column<StoredText>, rowid: Option<i64>) -> Self {
        Self { table, id, rowid }
    }

    /// The value of one of the row's columns.
    pub(crate) fn value<T>(&self, column: &'static str, value: Column<T>) -> Result<T, Cause> {
        value.0.map_err(|source| undecoded(self.table, self.id.name(self.rowid), column, source))
    }
}

#[cold]
fn undecoded(table: &'static str, id: String, column: &'static str, source: Cause) -> Cause {
    Error::Decode { table, id, column, source, after: None }.into()
}

impl From<String> for Column<StoredText> {
    fn from(text: String) -> Self {
        Self(Ok(StoredText(text)))
    }
}

impl Column<StoredText> {
    /// The row's id itself.
    pub(crate) fn id(self, table: &'static str, rowid: Option<i64>) -> Result<String, Cause> {
        let name = if self.0.is_err() { self.name(rowid) } else { String::new() };
        self.0.map(|text| text.0).map_err(|source| undecoded(table, name, "id", source))
    }

    /// The text, where it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        self.0.as_ref().ok().map(|text| &*text.0)
    }

    /// As much of it as can be shown.
    pub(crate) fn shown(&self) -> String {
        self.name(None)
    }

    #[cold]
    fn name(&self, rowid: Option<i64>) -> String {
        let not_text = match &self.0 {
            Ok(text) => return text.0.clone(),
            Err(cause) => cause.downcast_ref::<NotText>(),
        };
        match (not_text, rowid) {
            (Some(not_text), _) => not_text.shown.clone(),
            (None, Some(rowid)) => format!("NULL (rowid {rowid})"),
            (None, None) => "NULL".to_owned(),
        }
    }
}

/// TEXT that is valid UTF-8.
#[derive(Debug)]
pub struct StoredText(pub(crate) String);

impl FromSql<Text, Sqlite> for StoredText {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        if !matches!(value.value_type(), Some(SqliteType::Text)) {
            let problem = wrong_type(&value, "TEXT");
            let shown = match value.value_type() {
                Some(SqliteType::Binary) => cut(&String::from_utf8_lossy(value.read_blob())),
                _ => cut(value.read_text()),
            };
            return Err(NotText { problem, shown }.into());
        }
        let text = value.read_text().to_owned();
        // Diesel puts U+FFFD where the UTF-8 is broken. Where there is one, the bytes tell whether it was stored.
        if !text.is_ascii() && text.contains(char::REPLACEMENT_CHARACTER) && !is_spelled_by(&text, value.read_blob()) {
            return Err(NotText { problem: "invalid UTF-8", shown: cut(&text) }.into());
        }
        Ok(Self(text))
    }
}

/// Whether the bytes are the text, in any of SQLite's encodings.
fn is_spelled_by(text: &str, bytes: &[u8]) -> bool {
    bytes == text.as_bytes()
        || text.encode_utf16().flat_map(u16::to_le_bytes).eq(bytes.iter().copied())
        || text.encode_utf16().flat_map(u16::to_be_bytes).eq(bytes.iter().copied())
}

/// What is shown of an id that is no text: enough to find the row by.
const SHOWN: usize = 32;

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A value that should be text and is not.
struct NotText {
    problem: &'static str,
    /// As much of it as can be shown, if it is an id. No error of another column may show it.
    shown: String,
}

impl fmt::Debug for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem)
    }
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem)
    }
}

impl StdError for NotText {}

/// A number as it is stored: a column of INTEGER affinity keeps a fraction, and integers beyond 64 bits, as REAL.
#[derive(Clone, Copy, Debug, PartialEq, QueryId, ValidGrouping)]
pub enum Number {
    Integer(i64),
    Real(f64),
}

impl Queryable<BigInt, Sqlite> for Number {
    type Row = Self;

    fn build(row: Self) -> deserialize::Result<Self> {
        Ok(row)
    }
}

impl FromSql<BigInt, Sqlite> for Number {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        match value.value_type() {
            Some(SqliteType::SmallInt | SqliteType::Integer | SqliteType::Long) => Ok(Self::Integer(value.read_long())),
            Some(SqliteType::Float | SqliteType::Double) => Ok(Self::Real(value.read_double())),
            _ => Err(wrong_type(&value, "INTEGER").into()),
        }
    }
}

/// In a query it is bound as what it is; a bound value of the type BigInt could only be an integer.
impl Expression for Number {
    type SqlType = BigInt;
}

impl<DB> QueryFragment<DB> for Number
where
    DB: Backend + HasSqlType<BigInt> + HasSqlType<Double>,
    i64: ToSql<BigInt, DB>,
    f64: ToSql<Double, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        match self {
            Self::Integer(value) => out.push_bind_param::<BigInt, _>(value),
            Self::Real(value) => out.push_bind_param::<Double, _>(value),
        }
    }
}

impl<QS> AppearsOnTable<QS> for Number {}

impl<QS> SelectableExpression<QS> for Number {}

/// A whole number of 64 bits.
#[derive(Debug)]
pub struct Whole(pub(crate) i64);

impl<DB: Backend> FromSql<BigInt, DB> for Whole
where
    Number: FromSql<BigInt, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        match Number::from_sql(value)? {
            Number::Integer(value) => Ok(Self(value)),
            Number::Real(_) => Err("REAL where a whole number belongs".into()),
        }
    }
}

/// Unix milliseconds. Finer parts are dropped.
#[derive(Debug)]
pub struct Millis(pub(crate) DateTime<Utc>);

impl<DB: Backend> FromSql<BigInt, DB> for Millis
where
    Number: FromSql<BigInt, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        let whole = match Number::from_sql(value)? {
            Number::Integer(value) => Some(value),
            Number::Real(value) => crate::time::floor(value),
        };
        let time = whole.and_then(DateTime::from_timestamp_millis);
        time.map(Self).ok_or_else(|| crate::time::OUT_OF_RANGE.into())
    }
}

fn wrong_type(value: &SqliteValue<'_, '_, '_>, wanted: &'static str) -> &'static str {
    match (value.value_type(), wanted) {
        (Some(SqliteType::Text), _) => "TEXT where INTEGER belongs",
        (Some(SqliteType::Binary), "TEXT") => "BLOB where TEXT belongs",
        (Some(SqliteType::Binary), _) => "BLOB where INTEGER belongs",
        _ => "a number where TEXT belongs",
    }
}

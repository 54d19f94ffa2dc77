//! What a column really contains. SQLite stores any type of value in any column, and Diesel converts what it finds
//! (text becomes the number 0, invalid UTF-8 is patched). These conversions check first.

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, Queryable};
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping};
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::{QueryResult, UnexpectedNullError};
use diesel::row::Field;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{BigInt, Double, HasSqlType, Text};
use diesel::sqlite::{Sqlite, SqliteType, SqliteValue};

use crate::database::columns::{Column, NotText, StoredText, Whole};
use crate::database::decode::Decode;
use crate::database::kinds::JsonText;
use crate::error::Cause;
use crate::model::time;

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
        // Diesel replaces invalid UTF-8 by U+FFFD. If there is one, the bytes tell whether it was really stored.
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

/// The part of an id that is shown if it is not text: enough to find the row.
const SHOWN: usize = 32;

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A number as stored: a column of INTEGER affinity keeps fractions, and integers beyond 64 bits, as REAL.
#[derive(Clone, Copy, Debug, PartialEq, QueryId, ValidGrouping)]
pub enum Number {
    Integer(i64),
    Real(f64),
}

impl Number {
    fn whole(self) -> Result<i64, Cause> {
        match self {
            Self::Integer(value) => Ok(value),
            Self::Real(_) => Err("REAL where a whole number belongs".into()),
        }
    }

    /// The time of these Unix milliseconds. Finer parts are dropped.
    pub(super) fn time(self) -> Result<DateTime<Utc>, Cause> {
        let whole = match self {
            Self::Integer(value) => Some(value),
            Self::Real(value) => time::floor(value),
        };
        whole.and_then(DateTime::from_timestamp_millis).ok_or_else(|| time::OUT_OF_RANGE.into())
    }
}

/// Values that Diesel's own conversions accept are fine. The rest is examined to say what is wrong.
impl Decode for Sqlite {
    #[inline]
    fn text<'a>(field: &impl Field<'a, Self>) -> Result<String, Cause> {
        let Some(value) = field.value() else { return Err(UnexpectedNullError.into()) };
        if let Some(SqliteType::Text) = value.value_type()
            && let Ok(text) = FromSql::<Text, Sqlite>::from_sql(value)
        {
            return Ok(text);
        }
        <StoredText as FromSql<Text, Self>>::from_nullable_sql(field.value()).map(|text| text.0)
    }

    #[inline]
    fn word<'a, T>(field: &impl Field<'a, Self>, known: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let mut value = field.value()?;
        if let Some(SqliteType::Text) = value.value_type() { known(value.read_text()) } else { None }
    }

    #[inline]
    fn integer<'a>(field: &impl Field<'a, Self>) -> Result<i64, Cause> {
        Number::from_nullable_sql(field.value())?.whole()
    }

    #[inline]
    fn time<'a>(field: &impl Field<'a, Self>) -> Result<DateTime<Utc>, Cause> {
        Number::from_nullable_sql(field.value())?.time()
    }

    fn name<'a>(id: &impl Field<'a, Self>, rowid: Option<i64>) -> String {
        Column(<StoredText as FromSql<Text, Self>>::from_nullable_sql(id.value())).name(rowid)
    }
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

/// Bound to a query with its own type; a bound value of type BigInt could only be an integer.
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

impl FromSql<BigInt, Sqlite> for Whole {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        Number::from_sql(value)?.whole().map(Self)
    }
}

fn wrong_type(value: &SqliteValue<'_, '_, '_>, wanted: &'static str) -> &'static str {
    match (value.value_type(), wanted) {
        (Some(SqliteType::Text), _) => "found TEXT, expected INTEGER",
        (Some(SqliteType::Binary), "TEXT") => "found BLOB, expected TEXT",
        (Some(SqliteType::Binary), _) => "found BLOB, expected INTEGER",
        _ => "found a number, expected TEXT",
    }
}

impl ToSql<JsonText, Sqlite> for str {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        ToSql::<Text, Sqlite>::to_sql(self, out)
    }
}

//! What a column contains. PostgreSQL keeps to a column's type, but a database of another making may have JSON as `json`,
//! `jsonb` or `text`.

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromStaticSqlRow, Queryable};
use diesel::pg::{Pg, PgValue};
use diesel::result::{UnexpectedEndOfRow, UnexpectedNullError};
use diesel::row::{Field, Row};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{BigInt, Text};

use crate::database::columns::{StoredText, Whole};
use crate::database::decode::Decode;
use crate::database::fields;
use crate::database::kinds::JsonText;
use crate::error::Cause;
use crate::model::event::SessionEvent;
use crate::model::session::SessionRecord;
use crate::model::time;
use crate::schema::{events, sessions};

/// The type `jsonb`, whose text has a version in front of it.
const JSONB: u32 = 3802;
const JSONB_VERSION: u8 = 1;

impl Decode for Pg {
    fn text<'a>(field: &impl Field<'a, Self>) -> Result<String, Cause> {
        Ok(text(&field.value().ok_or(UnexpectedNullError)?)?.to_owned())
    }

    fn word<'a, T>(field: &impl Field<'a, Self>, known: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        known(text(&field.value()?).ok()?)
    }

    fn integer<'a>(field: &impl Field<'a, Self>) -> Result<i64, Cause> {
        integer(&field.value().ok_or(UnexpectedNullError)?)
    }

    fn time<'a>(field: &impl Field<'a, Self>) -> Result<DateTime<Utc>, Cause> {
        DateTime::from_timestamp_millis(Self::integer(field)?).ok_or_else(|| time::OUT_OF_RANGE.into())
    }

    fn name<'a>(id: &impl Field<'a, Self>, _: Option<i64>) -> String {
        Self::text(id).unwrap_or_else(|_| "NULL".to_owned())
    }
}

fn text<'v>(value: &'v PgValue<'_>) -> Result<&'v str, Cause> {
    let bytes = match (value.get_oid().get(), value.as_bytes()) {
        (JSONB, [JSONB_VERSION, text @ ..]) => text,
        (JSONB, _) => return Err("JSONB of an unknown version".into()),
        (_, bytes) => bytes,
    };
    Ok(std::str::from_utf8(bytes)?)
}

fn integer(value: &PgValue<'_>) -> Result<i64, Cause> {
    match *value.as_bytes() {
        [a, b, c, d, e, f, g, h] => Ok(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
        [a, b, c, d] => Ok(i32::from_be_bytes([a, b, c, d]).into()),
        _ => Err("it is not an integer".into()),
    }
}

impl FromSql<Text, Pg> for StoredText {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(text(&value)?.to_owned()))
    }
}

impl FromSql<BigInt, Pg> for Whole {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        integer(&value).map(Self)
    }
}

/// The text as it is. The server checks it, and converts it if the column has another type.
impl ToSql<JsonText, Pg> for str {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<Text, Pg>::to_sql(self, out)
    }
}

/// A row of a listing: its record, or why it has none.
pub(super) struct Found<T, const KEY: usize, const KNOWN: usize>(pub(super) Result<T, Unread>);

/// A row that is no record, with its place.
pub(super) struct Unread {
    pub(super) key: i64,
    pub(super) id: String,
    pub(super) cause: Cause,
}

/// For [`Found`]: every column is read from the row.
pub(super) const NONE_KNOWN: usize = usize::MAX;

macro_rules! found {
    ($($record:ty: $columns:ty),*) => {$(
        impl<const KEY: usize, const KNOWN: usize> FromStaticSqlRow<$columns, Pg> for Found<$record, KEY, KNOWN> {
            fn build_from_row<'a>(row: &impl Row<'a, Pg>) -> deserialize::Result<Self> {
                let cause = match fields::read_but(row, KNOWN) {
                    Ok(record) => return Ok(Self(Ok(record))),
                    Err(cause) => cause,
                };
                let key = Pg::integer(&row.get(KEY).ok_or(UnexpectedEndOfRow)?)?;
                let id = Pg::text(&row.get(0).ok_or(UnexpectedEndOfRow)?)?;
                Ok(Self(Err(Unread { key, id, cause })))
            }
        }

        impl<const KEY: usize, const KNOWN: usize> Queryable<$columns, Pg> for Found<$record, KEY, KNOWN> {
            type Row = Self;

            fn build(row: Self) -> deserialize::Result<Self> {
                Ok(row)
            }
        }
    )*};
}

found!(SessionEvent: events::SqlType, SessionRecord: sessions::SqlType);

//! Where a session's walk is, whatever its rows hold.

use std::cmp::Ordering;

use diesel::deserialize::{self, FromSql, Queryable};
use diesel::sql_types::BigInt;
use diesel::sqlite::{Sqlite, SqliteType, SqliteValue};

use crate::column::Number;

/// A value of any type, as it is stored. They are ordered as SQLite orders them.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    Null,
    Number(Number),
    /// In the encoding of the database, sound or not.
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl FromSql<BigInt, Sqlite> for Raw {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        Ok(match value.value_type() {
            None => Self::Null,
            Some(SqliteType::Text) => Self::Text(value.read_blob().to_vec()),
            Some(SqliteType::Binary) => Self::Blob(value.read_blob().to_vec()),
            Some(_) => Self::Number(Number::from_sql(value)?),
        })
    }

    fn from_nullable_sql(value: Option<SqliteValue<'_, '_, '_>>) -> deserialize::Result<Self> {
        value.map_or(Ok(Self::Null), Self::from_sql)
    }
}

impl Queryable<BigInt, Sqlite> for Raw {
    type Row = Self;

    fn build(row: Self) -> deserialize::Result<Self> {
        Ok(row)
    }
}

impl Ord for Raw {
    fn cmp(&self, other: &Self) -> Ordering {
        let class = |value: &Self| match value {
            Self::Null => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
            Self::Blob(_) => 3,
        };
        match (self, other) {
            (Self::Number(left), Self::Number(right)) => compare_numbers(*left, *right),
            (Self::Text(left), Self::Text(right)) | (Self::Blob(left), Self::Blob(right)) => left.cmp(right),
            _ => class(self).cmp(&class(other)),
        }
    }
}

fn compare_numbers(left: Number, right: Number) -> Ordering {
    match (left, right) {
        (Number::Integer(left), Number::Integer(right)) => left.cmp(&right),
        (Number::Real(left), Number::Real(right)) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
        (Number::Integer(left), Number::Real(right)) => compare_exactly(left, right),
        (Number::Real(left), Number::Integer(right)) => compare_exactly(right, left).reverse(),
    }
}

/// Neither of the two types has room for all values of the other.
fn compare_exactly(integer: i64, real: f64) -> Ordering {
    // 2^63, and what is not less than it, is greater than every integer.
    if real >= 9_223_372_036_854_775_808.0 {
        return Ordering::Less;
    }
    if real < -9_223_372_036_854_775_808.0 {
        return Ordering::Greater;
    }
    let whole = real.trunc();
    integer.cmp(&(whole as i64)).then_with(|| {
        if real > whole {
            Ordering::Less
        } else if real < whole {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    })
}

impl PartialOrd for Raw {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Raw {}

/// The place of a row among the events of its session: their order, and the row itself where even that is shared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) event_index: Raw,
    pub(super) id: Raw,
    pub(super) rowid: i64,
}

impl Position {
    /// The index to begin at, so that what comes before it is not read again. Only a number has an index to seek for.
    pub(super) fn number(&self) -> Option<Number> {
        match self.event_index {
            Raw::Number(number) => Some(number),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;

    use super::*;

    #[derive(QueryableByName)]
    struct Value {
        #[diesel(sql_type = BigInt)]
        value: Raw,
    }

    /// SQLite sorts a list of values, and so does Rust, from either end.
    #[test]
    #[expect(clippy::unwrap_used, reason = "a test says what it expects")]
    fn values_are_ordered_as_sqlite_orders_them() {
        let mut conn = SqliteConnection::establish(":memory:").unwrap();
        let sorted: Vec<Value> = diesel::sql_query(
            "WITH v (value) AS (VALUES (x'ff'), (x''), (CAST(x'ff' AS TEXT)), ('b'), ('a'), (''), (NULL), (0), (-0.5), \
             (0.5), (1), (1.5), (-1.5), (-1), (9007199254740993), (9007199254740992.0), (9007199254740991), \
             (9223372036854775807), (9223372036854775808.0), (9223372036854774784.0), (-9223372036854775808.5e3), \
             (-9223372036854775807 - 1), (9e999), (-9e999), (1e300)) SELECT value FROM v ORDER BY value",
        )
        .load(&mut conn)
        .unwrap();
        assert_eq!(sorted.len(), 25);
        for (place, left) in sorted.iter().enumerate() {
            for (other, right) in sorted.iter().enumerate() {
                assert_eq!(left.value.cmp(&right.value), place.cmp(&other), "{:?} {:?}", left.value, right.value);
            }
        }
        assert_eq!(Raw::Number(Number::Integer(3)), Raw::Number(Number::Real(3.0)));
        assert_eq!(Raw::Number(Number::Real(-9_223_372_036_854_775_808.0)), Raw::Number(Number::Integer(i64::MIN)));
    }
}

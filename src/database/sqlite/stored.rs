//! A stored SQLite value of any type.

use std::cmp::Ordering;

use diesel::deserialize::{self, FromSql, FromStaticSqlRow, Queryable};
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Binary, Double};
use diesel::sqlite::{Sqlite, SqliteType, SqliteValue};

use super::values::Number;
use crate::model::cursor::{hex, integer, parse_integer, unhex};

/// Ordered, and equal, as SQLite orders and compares values.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    Null,
    Integer(i64),
    Real(f64),
    /// In the database's encoding, valid or not.
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl From<Number> for Stored {
    fn from(number: Number) -> Self {
        match number {
            Number::Integer(value) => Self::Integer(value),
            Number::Real(value) => Self::Real(value),
        }
    }
}

impl Stored {
    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Integer(value) => Some(Number::Integer(*value)),
            Self::Real(value) => Some(Number::Real(*value)),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A sort key that orders values as SQLite does, and text by its UTF-8, which is passed in if valid.
    pub(super) fn in_order(self, text: Option<&str>) -> (u8, Vec<u8>) {
        match (self, text) {
            (_, Some(text)) => (2, text.into()),
            (Self::Null, _) => (0, Vec::new()),
            (number @ (Self::Integer(_) | Self::Real(_)), _) => (1, number.spelled().into()),
            (Self::Text(bytes), _) => (2, bytes),
            (Self::Blob(bytes), _) => (3, bytes),
        }
    }

    /// A letter for the type, then the value; for a float its bits, which no formatting could round.
    pub(super) fn spelled(&self) -> String {
        match self {
            Self::Null => "z".to_owned(),
            Self::Integer(value) => integer(*value),
            Self::Real(value) => format!("r{:x}", value.to_bits()),
            Self::Text(bytes) => format!("t{}", hex(bytes)),
            Self::Blob(bytes) => format!("b{}", hex(bytes)),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, value) = (text.get(..1)?, text.get(1..)?);
        Some(match kind {
            "z" => Self::Null,
            "r" => Self::Real(f64::from_bits(u64::from_str_radix(value, 16).ok()?)),
            "t" => Self::Text(unhex(value)?),
            "b" => Self::Blob(unhex(value)?),
            _ => Self::Integer(parse_integer(text)?),
        })
    }
}

impl<ST> FromSql<ST, Sqlite> for Stored {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        Ok(match value.value_type() {
            None => Self::Null,
            Some(SqliteType::SmallInt | SqliteType::Integer | SqliteType::Long) => Self::Integer(value.read_long()),
            Some(SqliteType::Float | SqliteType::Double) => Self::Real(value.read_double()),
            Some(SqliteType::Text) => Self::Text(value.read_blob().to_owned()),
            Some(SqliteType::Binary) => Self::Blob(value.read_blob().to_owned()),
        })
    }

    fn from_nullable_sql(value: Option<SqliteValue<'_, '_, '_>>) -> deserialize::Result<Self> {
        value.map_or(Ok(Self::Null), <Self as FromSql<ST, Sqlite>>::from_sql)
    }
}

impl<ST> Queryable<ST, Sqlite> for Stored
where
    Self: FromStaticSqlRow<ST, Sqlite>,
{
    type Row = Self;

    fn build(row: Self) -> deserialize::Result<Self> {
        Ok(row)
    }
}

/// Bound to a query with its own type.
impl QueryFragment<Sqlite> for Stored {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        match self {
            Self::Null => {
                out.push_sql("NULL");
                Ok(())
            }
            Self::Integer(value) => out.push_bind_param::<BigInt, _>(value),
            Self::Real(value) => out.push_bind_param::<Double, _>(value),
            Self::Blob(bytes) => out.push_bind_param::<Binary, _>(bytes),
            Self::Text(bytes) => {
                // `||` yields text of exactly these bytes. A cast would take them for UTF-8 even if the database is in
                // UTF-16, and a text parameter cannot contain invalid text.
                out.push_sql("(x'' || ");
                out.push_bind_param::<Binary, _>(bytes)?;
                out.push_sql(")");
                Ok(())
            }
        }
    }
}

impl Ord for Stored {
    fn cmp(&self, other: &Self) -> Ordering {
        let class = |value: &Self| match value {
            Self::Null => 0,
            Self::Integer(_) | Self::Real(_) => 1,
            Self::Text(_) => 2,
            Self::Blob(_) => 3,
        };
        match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => left.cmp(right),
            (Self::Real(left), Self::Real(right)) => left.partial_cmp(right).unwrap_or(Ordering::Equal),
            (Self::Integer(left), Self::Real(right)) => compare_exactly(*left, *right),
            (Self::Real(left), Self::Integer(right)) => compare_exactly(*right, *left).reverse(),
            (Self::Text(left), Self::Text(right)) | (Self::Blob(left), Self::Blob(right)) => left.cmp(right),
            _ => class(self).cmp(&class(other)),
        }
    }
}

/// Neither type can represent all values of the other.
fn compare_exactly(integer: i64, real: f64) -> Ordering {
    // 2^63 and above are greater than every integer.
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

impl PartialOrd for Stored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Stored {}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;

    use super::*;

    #[derive(QueryableByName)]
    struct Value {
        #[diesel(sql_type = BigInt)]
        value: Stored,
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
        assert_eq!(Stored::Integer(3), Stored::Real(3.0));
        assert_eq!(Stored::Real(-9_223_372_036_854_775_808.0), Stored::Integer(i64::MIN));
    }
}

//! Where a row stands in the order of a listing, whatever it holds.

use std::borrow::Cow;
use std::fmt::Write as _;

use diesel::deserialize::{self, FromSql, FromStaticSqlRow, Queryable};
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Binary, Double};
use diesel::sqlite::{Sqlite, SqliteType, SqliteValue};

use crate::column::Number;

/// A place in the order.
#[derive(Clone, PartialEq)]
pub(crate) enum Place {
    /// Of a row with a number and a text, as the columns' types suggest.
    Plain {
        key: Number,
        id: String,
        /// Whether a row without an id may share the key and follow, which a comparison with this id would pass over.
        is_tied: bool,
    },
    Odd(Box<OddPlace>),
}

/// The place of any other row.
#[derive(Clone, PartialEq)]
pub(crate) struct OddPlace {
    pub(crate) key: Stored,
    pub(crate) id: Stored,
    /// Tells rows without an id apart.
    pub(crate) rowid: i64,
}

impl Place {
    /// The same place, after which a row without an id may follow.
    pub(crate) fn tied(self) -> Self {
        match self {
            Self::Plain { key, id, .. } => Self::Plain { key, id, is_tied: true },
            Self::Odd(odd) => Self::Odd(odd),
        }
    }

    /// The parts that a cursor is made of: key, id and, for some, a third. The id of a plain place is its text.
    pub(crate) fn parts(&self) -> (String, Cow<'_, str>, Option<String>) {
        match self {
            Self::Plain { key, id, is_tied } => {
                (Stored::from(*key).spelled(), Cow::Borrowed(id), is_tied.then(|| TIED.to_owned()))
            }
            Self::Odd(odd) => {
                (odd.key.spelled(), Cow::Owned(odd.id.spelled()), Some(Stored::Integer(odd.rowid).spelled()))
            }
        }
    }

    /// The place out of the parts of a cursor's text, where an id that is text is in hexadecimal digits. It takes more
    /// than a cursor writes.
    pub(crate) fn parse(key: &str, id: &str, third: Option<&str>) -> Option<Self> {
        let key = Stored::parse(key)?;
        match third {
            None | Some(TIED) => {
                let id = String::from_utf8(unhex(id)?).ok()?;
                Some(Self::Plain { key: key.number()?, id, is_tied: third.is_some() })
            }
            Some(rowid) => {
                let Stored::Integer(rowid) = Stored::parse(rowid)? else { return None };
                Some(Self::Odd(Box::new(OddPlace { key, id: Stored::parse(id)?, rowid })))
            }
        }
    }
}

const TIED: &str = "t";

/// A value as SQLite holds it. Text is in bytes, in the encoding of the database: it need not be valid.
#[derive(Clone, PartialEq)]
pub(crate) enum Stored {
    Null,
    Integer(i64),
    Real(f64),
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
    pub(crate) fn number(&self) -> Option<Number> {
        match self {
            Self::Integer(value) => Some(Number::Integer(*value)),
            Self::Real(value) => Some(Number::Real(*value)),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// What sorts as SQLite sorts values, and texts by their UTF-8, which is given where it is valid.
    pub(crate) fn in_order(self, text: Option<&str>) -> (u8, Vec<u8>) {
        match (self, text) {
            (_, Some(text)) => (2, text.into()),
            (Self::Null, _) => (0, Vec::new()),
            (number @ (Self::Integer(_) | Self::Real(_)), _) => (1, number.spelled().into()),
            (Self::Text(bytes), _) => (2, bytes),
            (Self::Blob(bytes), _) => (3, bytes),
        }
    }

    /// A letter for the type, and the value: of a float its bits, which no formatting could round.
    fn spelled(&self) -> String {
        match self {
            Self::Null => "z".to_owned(),
            Self::Integer(value) if *value < 0 => format!("n{}", value.unsigned_abs()),
            Self::Integer(value) => format!("i{value}"),
            Self::Real(value) => format!("r{:x}", value.to_bits()),
            Self::Text(bytes) => format!("t{}", hex(bytes)),
            Self::Blob(bytes) => format!("b{}", hex(bytes)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, value) = (text.get(..1)?, text.get(1..)?);
        Some(match kind {
            "z" => Self::Null,
            "i" => Self::Integer(value.parse().ok()?),
            "n" => Self::Integer(0_i64.checked_sub_unsigned(value.parse().ok()?)?),
            "r" => Self::Real(f64::from_bits(u64::from_str_radix(value, 16).ok()?)),
            "t" => Self::Text(unhex(value)?),
            "b" => Self::Blob(unhex(value)?),
            _ => return None,
        })
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    // Writing to a string cannot fail.
    bytes.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
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

/// In a query it is bound as what it is.
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
                // What `||` makes is text of these very bytes. A cast would take them for UTF-8, also where the
                // database is in UTF-16, and a parameter of the type text cannot be broken.
                out.push_sql("(x'' || ");
                out.push_bind_param::<Binary, _>(bytes)?;
                out.push_sql(")");
                Ok(())
            }
        }
    }
}

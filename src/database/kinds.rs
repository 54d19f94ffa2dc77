//! The kinds of columns: for each, its conversions to SQL, from SQL, and to and from a record's field.

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, TypedExpressionType, ValidGrouping};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::UnexpectedNullError;
use diesel::row::Field;
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Nullable, SingleValue, SqlType, Text, is_nullable};

use super::decode::Decode;
use crate::error::{Cause, Result};
use crate::model::event::{Sender, UnknownSender};
use crate::model::json::Json;

/// The type of a column with JSON text, as values are bound to it: databases may have a type for JSON.
#[derive(Debug, Clone, Copy, QueryId, SqlType)]
#[diesel(sqlite_type(name = "Text"))]
#[cfg_attr(feature = "postgres-backend", diesel(postgres_type(oid = 114, array_oid = 199)))]
pub struct JsonText;

pub trait Kind {
    /// The value to be written to a table or a line; `S` is the type of its text.
    type Written<S>;
    /// The type of the column in `schema.rs`.
    type Sql: SingleValue + TypedExpressionType;
    /// The type that a value is bound with.
    type Bound: SingleValue;
    /// The value in a record.
    type Field;
    const IS_NULLABLE: bool = false;

    fn write(field: &Self::Field) -> Self::Written<&str>;
    fn parse(written: Self::Written<String>) -> Result<Self::Field>;
    fn read<'a, DB: Decode>(field: &impl Field<'a, DB>) -> Result<Self::Field, Cause>;

    /// The placeholder for a value that is not read, for kinds that have one.
    fn blank() -> Option<Self::Field> {
        None
    }
}

/// A text.
#[derive(Debug)]
pub enum Words {}

impl Kind for Words {
    type Written<S> = S;
    type Sql = Text;
    type Bound = Text;
    type Field = String;

    fn write(field: &String) -> &str {
        field
    }

    fn parse(written: String) -> Result<String> {
        Ok(written)
    }

    fn read<'a, DB: Decode>(field: &impl Field<'a, DB>) -> Result<String, Cause> {
        DB::text(field)
    }

    fn blank() -> Option<String> {
        Some(String::new())
    }
}

/// An integer.
#[derive(Debug)]
pub enum Integer {}

impl Kind for Integer {
    type Written<S> = i64;
    type Sql = BigInt;
    type Bound = BigInt;
    type Field = i64;

    fn write(field: &i64) -> i64 {
        *field
    }

    fn parse(written: i64) -> Result<i64> {
        Ok(written)
    }

    fn read<'a, DB: Decode>(field: &impl Field<'a, DB>) -> Result<i64, Cause> {
        DB::integer(field)
    }
}

/// Unix milliseconds.
#[derive(Debug)]
pub enum Time {}

impl Kind for Time {
    type Written<S> = i64;
    type Sql = BigInt;
    type Bound = BigInt;
    type Field = DateTime<Utc>;

    fn write(field: &DateTime<Utc>) -> i64 {
        field.timestamp_millis()
    }

    /// Already checked when the line was read.
    fn parse(written: i64) -> Result<DateTime<Utc>> {
        Ok(DateTime::from_timestamp_millis(written).unwrap_or_default())
    }

    fn read<'a, DB: Decode>(field: &impl Field<'a, DB>) -> Result<DateTime<Utc>, Cause> {
        DB::time(field)
    }

    fn blank() -> Option<DateTime<Utc>> {
        Some(DateTime::UNIX_EPOCH)
    }
}

impl Kind for Sender {
    type Written<S> = Self;
    type Sql = Text;
    type Bound = Text;
    type Field = Self;

    fn write(field: &Self) -> Self {
        *field
    }

    fn parse(written: Self) -> Result<Self> {
        Ok(written)
    }

    fn read<'a, DB: Decode>(field: &impl Field<'a, DB>) -> Result<Self, Cause> {
        DB::word(field, |word| word.parse().ok()).map_or_else(|| known_sender(&DB::text(field)?), Ok)
    }
}

impl Kind for Json {
    type Written<S> = S;
    type Sql = Text;
    type Bound = JsonText;
    type Field = Self;

    fn write(field: &Self) -> &str {
        field.get()
    }

    fn parse(written: String) -> Result<Self> {
        Self::parse(written)
    }

    fn read<'a, DB: Decode>(field: &impl Field<'a, DB>) -> Result<Self, Cause> {
        Ok(Self::parse(DB::text(field)?)?)
    }
}

/// The word may be anything, and an error never quotes stored data.
pub(super) fn known_sender(word: &str) -> Result<Sender, Cause> {
    word.parse().map_err(|_: UnknownSender| "neither \"client\" nor \"agent\"".into())
}

/// NULL, or a value of another kind.
#[derive(Debug)]
pub struct Optional<K>(K);

impl<K> Kind for Optional<K>
where
    K: Kind<Sql: SqlType<IsNull = is_nullable::NotNull>, Bound: SqlType<IsNull = is_nullable::NotNull>>,
    Nullable<K::Sql>: SingleValue + TypedExpressionType,
    Nullable<K::Bound>: SingleValue,
{
    type Written<S> = Option<K::Written<S>>;
    type Sql = Nullable<K::Sql>;
    type Bound = Nullable<K::Bound>;
    type Field = Option<K::Field>;
    const IS_NULLABLE: bool = true;

    fn write(field: &Option<K::Field>) -> Option<K::Written<&str>> {
        field.as_ref().map(K::write)
    }

    fn parse(written: Option<K::Written<String>>) -> Result<Option<K::Field>> {
        written.map(K::parse).transpose()
    }

    fn read<'a, DB: Decode>(field: &impl Field<'a, DB>) -> Result<Option<K::Field>, Cause> {
        match K::read(field) {
            Err(cause) if cause.is::<UnexpectedNullError>() => Ok(None),
            read => read.map(Some),
        }
    }
}

/// A value in an INSERT of the application's: for Diesel it has the column's type, and it is bound with its own.
#[expect(missing_debug_implementations, reason = "its value may be anything")]
pub struct ColumnValue<'a, K: Kind>(pub(super) K::Written<&'a str>);

impl<K: Kind> Expression for ColumnValue<'_, K> {
    type SqlType = K::Sql;
}

impl<'a, K: Kind, DB> QueryFragment<DB> for ColumnValue<'a, K>
where
    DB: Backend + HasSqlType<K::Bound>,
    K::Written<&'a str>: ToSql<K::Bound, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_bind_param::<K::Bound, _>(&self.0)
    }
}

impl<K: Kind + 'static> QueryId for ColumnValue<'_, K> {
    type QueryId = ColumnValue<'static, K>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<QS, K: Kind> AppearsOnTable<QS> for ColumnValue<'_, K> {}

impl<QS, K: Kind> SelectableExpression<QS> for ColumnValue<'_, K> {}

impl<GB, K: Kind> ValidGrouping<GB> for ColumnValue<'_, K> {
    type IsAggregate = diesel::expression::is_aggregate::Never;
}

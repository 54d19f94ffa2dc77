//! The kinds of columns: for each, its conversions to SQL, from SQL, and to and from a record's field.

use chrono::{DateTime, Utc};
use diesel::result::UnexpectedNullError;
use diesel::row::Field;
use diesel::sql_types::{BigInt, Nullable, Text};

use super::decode::Decode;
use crate::error::{Cause, Result};
use crate::model::event::{Sender, UnknownSender};
use crate::model::json::Json;

pub trait Kind {
    /// The value to be written to a table or a line; `S` is the type of its text.
    type Written<S>;
    type Sql;
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

impl<K: Kind> Kind for Optional<K> {
    type Written<S> = Option<K::Written<S>>;
    type Sql = Nullable<K::Sql>;
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

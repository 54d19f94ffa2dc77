//! Decoding a database's values.

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::row::Field;

use crate::error::Cause;

/// Decodes strictly: a value of another type is an error, never converted.
pub trait Decode: Backend {
    fn text<'a>(field: &impl Field<'a, Self>) -> Result<String, Cause>;

    /// What a text stands for, if it is a known one.
    fn word<'a, T>(field: &impl Field<'a, Self>, known: impl FnOnce(&str) -> Option<T>) -> Option<T>;

    fn integer<'a>(field: &impl Field<'a, Self>) -> Result<i64, Cause>;

    /// A time in Unix milliseconds. Anything finer is dropped.
    fn time<'a>(field: &impl Field<'a, Self>) -> Result<DateTime<Utc>, Cause>;

    /// The name of the row with this id or, if that is NULL, with its rowid if known.
    fn name<'a>(id: &impl Field<'a, Self>, rowid: Option<i64>) -> String;
}

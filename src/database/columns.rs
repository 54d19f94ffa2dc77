//! The columns of a row on their way to a record: each is a value, or the reason why there is none.

use std::error::Error as StdError;
use std::fmt;

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromStaticSqlRow, Queryable};
#[cfg(feature = "postgres-backend")]
use diesel::result::UnexpectedNullError;

use crate::error::{Cause, Error};

/// One column of a row: its value, or why there is none. Only the row can turn that into an error, because only the row
/// can name itself.
#[derive(Debug)]
pub struct Column<T>(pub(super) Result<T, Cause>);

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
    /// The value, if there is one.
    pub(crate) fn ok(self) -> Option<T> {
        self.0.ok()
    }

    /// Whether it is NULL, if the value cannot be.
    #[cfg(feature = "postgres-backend")]
    pub(crate) fn is_null(&self) -> bool {
        self.0.as_ref().is_err_and(|cause| cause.is::<UnexpectedNullError>())
    }
}

/// The name of a row, for the errors of its columns.
pub(crate) struct RowName<'a> {
    table: &'static str,
    id: &'a Column<StoredText>,
    rowid: Option<i64>,
}

impl<'a> RowName<'a> {
    /// Names a row by its id or, if that is NULL, by its rowid if known.
    pub(crate) fn new(table: &'static str, id: &'a Column<StoredText>, rowid: Option<i64>) -> Self {
        Self { table, id, rowid }
    }

    /// The value of one of the row's columns.
    pub(crate) fn value<T>(&self, column: &'static str, value: Column<T>) -> Result<T, Cause> {
        value.0.map_err(|source| undecoded(self.table, self.id.name(self.rowid), column, source))
    }
}

#[cold]
pub(super) fn undecoded(table: &'static str, id: String, column: &'static str, source: Cause) -> Cause {
    Error::Decode { table, id, column, source, after: None }.into()
}

impl From<String> for Column<StoredText> {
    fn from(text: String) -> Self {
        Self(Ok(StoredText(text)))
    }
}

impl Column<StoredText> {
    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        self.0.as_ref().ok().map(|text| &*text.0)
    }

    /// As much of the value as can be shown.
    pub(crate) fn shown(&self) -> String {
        self.name(None)
    }

    #[cold]
    pub(super) fn name(&self, rowid: Option<i64>) -> String {
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

/// Text that is valid UTF-8.
#[derive(Debug)]
pub struct StoredText(pub(crate) String);

/// A 64-bit integer.
#[derive(Debug)]
pub struct Whole(pub(crate) i64);

/// A value that should be text but is not.
pub(crate) struct NotText {
    pub(crate) problem: &'static str,
    /// As much of the value as can be shown if it is an id. Errors of other columns must not show it.
    pub(crate) shown: String,
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

//! Conversions from a database's or a client's values to this crate's types.

use std::str::FromStr;

use diesel::result::Error as DieselError;
use serde::{Deserialize, Deserializer};

use super::sqlite;
use crate::error::{Cause, Error};
use crate::model::cursor::Cursor;

/// Recognises, by the database's messages, errors for which Diesel has no type.
impl From<DieselError> for Error {
    fn from(source: DieselError) -> Self {
        match source {
            DieselError::DeserializationError(cause) => Cause::into(cause),
            source => recognise(source),
        }
    }
}

/// The databases' messages have nothing in common, so the one that knows a message is right.
fn recognise(source: DieselError) -> Error {
    match sqlite::words::recognise(source) {
        #[cfg(feature = "postgres-backend")]
        Error::Database { source } => super::postgres::words::recognise(source),
        error => error,
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::InvalidCursor`] if the text is not a cursor.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text, sqlite::is_odd_position)
            .ok_or(Error::InvalidCursor { reason: "it was not made by this crate" })
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

//! The size of a text, whatever the database's encoding.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::sql_types::Text;
use diesel::sqlite::{Sqlite, SqliteType, SqliteValue};

/// The bytes of a value in UTF-8.
#[derive(FromSqlRow)]
pub(super) struct Utf8Bytes(pub(super) i64);

impl FromSql<Text, Sqlite> for Utf8Bytes {
    fn from_sql(mut value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        // Once read as text, the bytes are UTF-8.
        let text = value.read_text().len();
        let bytes = if let Some(SqliteType::Text | SqliteType::Binary) = value.value_type() {
            value.read_blob().len()
        } else {
            text
        };
        Ok(Self(bytes as i64))
    }
}

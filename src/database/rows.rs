//! The rows of both tables: their columns, and how each one maps to a record. To add a column, add a line here, a field
//! to the record, and a migration.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromStaticSqlRow, Queryable};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::row::Row;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{BigInt, HasSqlType, Nullable, Text};
use diesel::sqlite::Sqlite;
use serde::{Deserialize, Serialize};

use super::columns::StoredText;
use super::decode::Decode;
use super::fields::{self, Fields, Record};
use super::kinds::{ColumnValue, Integer, JsonText, Kind, Optional, Time, Words, known_sender};
use crate::error::{Cause, Error, Result};
use crate::model::event::{NewEvent, Sender, SessionEvent};
use crate::model::json::Json;
use crate::model::session::SessionRecord;
use crate::schema::{events, sessions};

/// Describes a table: the kind of each column after the id, and its field in the record.
macro_rules! table {
    (
        $table:ident: $record:ident, $row:ident {
            id,
            $($(#[$attribute:meta])* $column:ident: $kind:ty => $field:ident,)*
        }
        $(and in a line {
            $(#[$line_attribute:meta])* $in_a_line:ident: $line_type:ty
        })?
        $(and in arrays $arrays:ident)?
    ) => {
        /// A row to be written to the table or to a line of an export.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", bound(deserialize = "S: Deserialize<'de>"))]
        pub(crate) struct $row<S> {
            pub(crate) id: S,
            $($(#[$attribute])* pub(crate) $column: <$kind as Kind>::Written<S>,)*
            $($(#[$line_attribute])* pub(crate) $in_a_line: Option<$line_type>,)?
        }

        impl<S> $row<S> {
            /// The SQL that overwrites a conflicting row.
            pub(crate) const OVERWRITE: &'static str = assignments!($($column)*);
        }

        #[cfg(feature = "postgres-backend")]
        arrays! { [$($arrays)?] $row { $($column: $kind),* } }

        impl<'a> From<&'a $record> for $row<&'a str> {
            fn from(record: &'a $record) -> Self {
                Self { id: &record.id, $($column: <$kind as Kind>::write(&record.$field),)* $($in_a_line: None,)? }
            }
        }

        impl TryFrom<$row<String>> for $record {
            type Error = Error;

            fn try_from(row: $row<String>) -> Result<Self> {
                Ok(Self { id: row.id, $($field: <$kind as Kind>::parse(row.$column)?,)* })
            }
        }

        /// The values, in the order of the columns.
        impl<S, DB> QueryFragment<DB> for $row<S>
        where
            DB: Backend + HasSqlType<Text> + HasSqlType<BigInt> + HasSqlType<JsonText>,
            S: ToSql<Text, DB> + ToSql<JsonText, DB>,
            str: ToSql<Text, DB>,
            i64: ToSql<BigInt, DB>,
            Option<S>: ToSql<Nullable<Text>, DB> + ToSql<Nullable<JsonText>, DB>,
            Option<i64>: ToSql<Nullable<BigInt>, DB>,
        {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
                out.push_bind_param::<Text, _>(&self.id)?;
                $(
                    out.push_sql(", ");
                    out.push_bind_param::<<$kind as Kind>::Bound, _>(&self.$column)?;
                )*
                Ok(())
            }
        }

        impl<'a> Insertable<$table::table> for &'a $record {
            type Values = <(
                diesel::dsl::Eq<$table::id, &'a str>,
                $(diesel::dsl::Eq<$table::$column, ColumnValue<'a, $kind>>,)*
            ) as Insertable<$table::table>>::Values;

            fn values(self) -> Self::Values {
                let row = $row::from(self).for_the_table();
                ($table::id.eq(row.id), $($table::$column.eq(ColumnValue(row.$column)),)*).values()
            }
        }

        impl<DB: Backend> Queryable<$table::SqlType, DB> for $record
        where
            Self: FromStaticSqlRow<$table::SqlType, DB>,
        {
            type Row = Self;

            fn build(row: Self) -> deserialize::Result<Self> {
                Ok(row)
            }
        }

        // Implemented per database, because Diesel may add a blanket implementation one day.
        impl FromStaticSqlRow<$table::SqlType, Sqlite> for $record {
            fn build_from_row<'a>(row: &impl Row<'a, Sqlite>) -> deserialize::Result<Self> {
                fields::read(row)
            }
        }

        #[cfg(feature = "postgres-backend")]
        impl FromStaticSqlRow<$table::SqlType, diesel::pg::Pg> for $record {
            fn build_from_row<'a>(row: &impl Row<'a, diesel::pg::Pg>) -> deserialize::Result<Self> {
                fields::read(row)
            }
        }

        /// The columns are in the order of the table and of the record's fields, or this does not compile.
        const _: fn() = || {
            type Table = $table::table;
            let _: <Table as diesel::Table>::AllColumns = ($table::id, $($table::$column,)*);
            let _: <$record as diesel::Selectable<Sqlite>>::SelectExpression = ($table::id, $($table::$column,)*);
        };

        impl Record for $record {
            type SqlType = $table::SqlType;

            const TABLE: &'static str = stringify!($table);
            const NAMES: &'static [&'static str] = &["id", $(stringify!($column)),*];
            const COLUMNS: &'static str = concat!("id", $(", ", stringify!($column)),*);
            const NULLABLE: &'static [bool] = &[false, $(<$kind as Kind>::IS_NULLABLE),*];

            fn read<'a, DB: Decode>(fields: &Fields<'_, impl Row<'a, DB>, DB>) -> Result<Self, Cause> {
                let place = 0;
                $(
                    let place = place + 1;
                    let $field = fields.value::<$kind>(place, stringify!($column))?;
                )*
                // Last, so that errors of other columns take precedence.
                let id = fields.value::<Words>(0, "id")?;
                let _ = place;
                Ok(Self { id, $($field,)* })
            }
        }
    };
}

/// Many rows, an array for each column.
#[cfg(feature = "postgres-backend")]
macro_rules! arrays {
    ([] $row:ident { $($column:ident: $kind:ty),* }) => {};
    ([$arrays:ident] $row:ident { $($column:ident: $kind:ty),* }) => {
        #[derive(Debug, Default)]
        pub(crate) struct $arrays<'a> {
            pub(crate) id: Vec<&'a str>,
            $(pub(crate) $column: Vec<<$kind as Kind>::Written<&'a str>>,)*
        }

        impl<'a> Extend<$row<&'a str>> for $arrays<'a> {
            fn extend<I: IntoIterator<Item = $row<&'a str>>>(&mut self, rows: I) {
                for row in rows {
                    self.id.push(row.id);
                    $(self.$column.push(row.$column);)*
                }
            }
        }

        impl<'a> FromIterator<$row<&'a str>> for $arrays<'a> {
            fn from_iter<I: IntoIterator<Item = $row<&'a str>>>(rows: I) -> Self {
                let mut arrays = Self::default();
                arrays.extend(rows);
                arrays
            }
        }

        /// The arrays, in the order of the columns.
        impl QueryFragment<diesel::pg::Pg> for $arrays<'_> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, diesel::pg::Pg>) -> QueryResult<()> {
                use diesel::sql_types::Array;

                out.push_bind_param::<Array<Text>, _>(&self.id)?;
                $(
                    out.push_sql(", ");
                    out.push_bind_param::<Array<<$kind as Kind>::Bound>, _>(&self.$column)?;
                )*
                Ok(())
            }
        }
    };
}

macro_rules! assignments {
    ($first:ident $($column:ident)*) => {
        concat!(
            stringify!($first), " = excluded.", stringify!($first)
            $(, ", ", stringify!($column), " = excluded.", stringify!($column))*
        )
    };
}

table! {
    events: SessionEvent, EventRow {
        id,
        event_index: Integer => event_index,
        session_id: Words => session_id,
        #[serde(deserialize_with = "crate::model::time::checked_millis")]
        created_at: Time => created_at,
        connection_id: Words => connection_id,
        sender: Sender => sender,
        payload_json: Json => payload,
    }
    and in arrays EventArrays
}

table! {
    sessions: SessionRecord, SessionRow {
        id,
        agent: Words => agent,
        agent_session_id: Words => agent_session_id,
        last_connection_id: Words => last_connection_id,
        #[serde(deserialize_with = "crate::model::time::checked_millis")]
        created_at: Time => created_at,
        #[serde(
            default,
            deserialize_with = "crate::model::time::optional_checked_millis",
            skip_serializing_if = "Option::is_none"
        )]
        destroyed_at: Optional<Time> => destroyed_at,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sandbox_id: Optional<Words> => sandbox_id,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_init_json: Optional<Json> => session_init,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        config_options_json: Optional<Json> => config_options,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        modes_json: Optional<Json> => modes,
    }
    and in a line {
        /// How many of its events follow.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        events: u64
    }
}

impl<'a> EventRow<&'a str> {
    /// The row of an event appended to a session.
    pub(crate) fn appended(event: &'a NewEvent, session_id: &'a str, event_index: i64) -> Self {
        Self {
            id: &event.id,
            event_index,
            session_id,
            created_at: event.created_at.timestamp_millis(),
            connection_id: &event.connection_id,
            sender: event.sender,
            payload_json: event.payload.get(),
        }
    }

    fn for_the_table(self) -> Self {
        self
    }
}

impl<'a> SessionRow<&'a str> {
    /// The row stored for a record: JSON `null` becomes NULL where the two mean the same. An export keeps it, since
    /// another program may have stored it.
    pub(crate) fn for_the_table(self) -> Self {
        let unless_null = |json: Option<&'a str>| json.filter(|json| json.trim_ascii() != "null");
        Self {
            session_init_json: unless_null(self.session_init_json),
            config_options_json: unless_null(self.config_options_json),
            ..self
        }
    }
}

impl<DB: Backend> FromSql<Text, DB> for Sender
where
    StoredText: FromSql<Text, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        known_sender(&StoredText::from_sql(value)?.0)
    }
}

impl<DB: Backend> ToSql<Text, DB> for Sender
where
    str: ToSql<Text, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.as_str().to_sql(out)
    }
}

impl<DB: Backend> FromSql<Text, DB> for Json
where
    StoredText: FromSql<Text, DB>,
{
    fn from_sql(value: DB::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self::parse(StoredText::from_sql(value)?.0)?)
    }
}

impl<DB: Backend> ToSql<Text, DB> for Json
where
    str: ToSql<Text, DB>,
{
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
        self.get().to_sql(out)
    }
}

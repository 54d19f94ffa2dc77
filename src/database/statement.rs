//! Statements with fixed SQL. Diesel prepares these once per connection; a `sql_query` it would prepare anew at every
//! call, and its query builder takes as long over a short query as the database does.

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::query_builder::AstPass;

/// How a database names the tables.
pub(crate) trait Dialect: Backend {
    const EVENTS: &'static str;
    const SESSIONS: &'static str;
    /// What makes a column compare by bytes, where it would not.
    const BY_BYTES: &'static str;
    /// Of some events `e`, the last in order.
    const LAST: &'static str;

    /// Writes the time of the session with this id, which its record shows as this number of milliseconds: with its
    /// fraction, where the database keeps one.
    fn push_created_at<'b>(out: AstPass<'_, 'b, Self>, millis: &'b i64, id: &'b str) -> QueryResult<()>;
}

/// Defines a statement that every database understands: its values, and its SQL in pieces. A piece is a literal,
/// `events` or `sessions` for the table's name, `[…]` for computed text, `{ value as SqlType }` for a bound value, or
/// `{ value }` for a value that writes itself. The text is always the same. A statement with a result type is a query for
/// rows of these types.
macro_rules! statement {
    ($($tokens:tt)*) => {
        $crate::database::statement::define! { [sqlite postgres] $($tokens)* }
    };
}

/// The same for one database.
macro_rules! sqlite_statement {
    ($($tokens:tt)*) => {
        $crate::database::statement::define! { [sqlite] $($tokens)* }
    };
}

#[cfg(feature = "postgres-backend")]
macro_rules! postgres_statement {
    ($($tokens:tt)*) => {
        $crate::database::statement::define! { [postgres] $($tokens)* }
    };
}

/// A statement's type, and its SQL for each of these databases.
macro_rules! define {
    (
        [$($database:ident)*]
        $(#[$doc:meta])*
        $vis:vis $name:ident { $($field:ident: $type:ty),* $(,)? } $(-> $answer:ty)?,
        $($piece:tt)*
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        $vis struct $name<'a> {
            $($vis $field: $type,)*
        }

        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        $(
            impl diesel::query_builder::Query for $name<'_> {
                type SqlType = $answer;
            }
        )?

        $crate::database::statement::written! { [$($database)*] $name ($($piece)*) }
    };
}

/// A statement's SQL, for one database after the other.
macro_rules! written {
    ([] $name:ident $pieces:tt) => {};
    ([sqlite $($others:ident)*] $name:ident $pieces:tt) => {
        $crate::database::statement::written! { $name, diesel::sqlite::Sqlite, $pieces }

        impl diesel::RunQueryDsl<diesel::SqliteConnection> for $name<'_> {}

        $crate::database::statement::written! { [$($others)*] $name $pieces }
    };
    ([postgres] $name:ident $pieces:tt) => {
        #[cfg(feature = "postgres-backend")]
        $crate::database::statement::written! { $name, diesel::pg::Pg, $pieces }
    };
    ($name:ident, $db:ty, ($($piece:tt)*)) => {
        impl diesel::query_builder::QueryFragment<$db> for $name<'_> {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, $db>,
            ) -> diesel::QueryResult<()> {
                $($crate::database::statement::piece!(out, self, $db, $piece);)*
                Ok(())
            }
        }
    };
}

/// Writes one piece of a statement.
macro_rules! piece {
    ($out:ident, $statement:ident, $db:ty, events) => {
        $out.push_sql(<$db as $crate::database::statement::Dialect>::EVENTS)
    };
    ($out:ident, $statement:ident, $db:ty, sessions) => {
        $out.push_sql(<$db as $crate::database::statement::Dialect>::SESSIONS)
    };
    ($out:ident, $statement:ident, $db:ty, [$text:expr]) => {
        $out.push_sql($text)
    };
    ($out:ident, $statement:ident, $db:ty, { $value:ident as $sql_type:ty }) => {
        $out.push_bind_param::<$sql_type, _>(&$statement.$value)?
    };
    ($out:ident, $statement:ident, $db:ty, { $value:ident }) => {
        diesel::query_builder::QueryFragment::<$db>::walk_ast(&$statement.$value, $out.reborrow())?
    };
    ($out:ident, $statement:ident, $db:ty, $text:literal) => {
        $out.push_sql($text)
    };
}

#[cfg(feature = "postgres-backend")]
pub(crate) use postgres_statement;
pub(crate) use {define, piece, sqlite_statement, statement, written};

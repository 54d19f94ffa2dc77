//! Statements whose SQL is known beforehand. Diesel prepares them once per connection; a query of `sql_query` it would
//! prepare anew at every call.

/// Defines a statement about a session: its other values, and its text in pieces, between which the values are bound,
/// each as an SQL type or as what it is. The text is always the same. Where it names an answer, it is a query for rows of
/// these types.
macro_rules! statement {
    (
        $(#[$doc:meta])*
        $vis:vis $name:ident { $($value:ident: $type:ty),* $(,)? } $(-> $answer:ty)?,
        $($text:literal $({ $bound:ident $(as $sql_type:ty)? })?)*
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        $vis struct $name<'a> {
            $($vis $value: $type,)*
            $vis session_id: &'a str,
        }

        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl diesel::query_builder::QueryFragment<diesel::sqlite::Sqlite> for $name<'_> {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::sqlite::Sqlite>,
            ) -> diesel::QueryResult<()> {
                $(
                    out.push_sql($text);
                    $($crate::statement::bind!(out, self.$bound $(, $sql_type)?);)?
                )*
                Ok(())
            }
        }

        impl diesel::RunQueryDsl<diesel::SqliteConnection> for $name<'_> {}

        $(
            impl diesel::query_builder::Query for $name<'_> {
                type SqlType = $answer;
            }
        )?
    };
}

/// Binds one value.
macro_rules! bind {
    ($out:ident, $value:expr, $sql_type:ty) => {
        $out.push_bind_param::<$sql_type, _>(&$value)?
    };
    ($out:ident, $value:expr) => {
        diesel::query_builder::QueryFragment::<diesel::sqlite::Sqlite>::walk_ast(&$value, $out.reborrow())?
    };
}

pub(crate) use {bind, statement};

//! How a statement reaches a connection. On a blocking connection its future is ready when it is first polled.

use diesel::backend::Backend;
use diesel::deserialize::FromSqlRow;
use diesel::expression::QueryMetadata;
use diesel::prelude::*;
use diesel::query_builder::{Query, QueryFragment, QueryId};

/// A connection that runs statements.
pub(crate) trait Link: Sized {
    type Backend: Backend;

    /// Runs a statement, and returns how many rows it changed.
    async fn run<Q>(&mut self, statement: Q) -> QueryResult<usize>
    where
        Q: QueryFragment<Self::Backend> + QueryId;

    /// The rows that a query finds.
    async fn rows<T, Q>(&mut self, query: Q) -> QueryResult<Vec<T>>
    where
        Q: Query + QueryFragment<Self::Backend> + QueryId,
        Self::Backend: QueryMetadata<Q::SqlType>,
        T: FromSqlRow<Q::SqlType, Self::Backend>;

    /// Takes the rows one by one, until one is not wanted.
    async fn each<T, Q>(&mut self, query: Q, take: impl FnMut(T) -> bool) -> QueryResult<()>
    where
        Q: Query + QueryFragment<Self::Backend> + QueryId,
        Self::Backend: QueryMetadata<Q::SqlType>,
        T: FromSqlRow<Q::SqlType, Self::Backend>;

    /// The first row, if there is one.
    async fn row<T, Q>(&mut self, query: Q) -> QueryResult<Option<T>>
    where
        Q: Query + QueryFragment<Self::Backend> + QueryId,
        Self::Backend: QueryMetadata<Q::SqlType>,
        T: FromSqlRow<Q::SqlType, Self::Backend>,
    {
        let mut first = None;
        self.each(query, |row| {
            first = Some(row);
            false
        })
        .await?;
        Ok(first)
    }

    /// The row of a query that always finds one.
    async fn one<T, Q>(&mut self, query: Q) -> QueryResult<T>
    where
        Q: Query + QueryFragment<Self::Backend> + QueryId,
        Self::Backend: QueryMetadata<Q::SqlType>,
        T: FromSqlRow<Q::SqlType, Self::Backend>,
    {
        self.row(query).await?.ok_or(diesel::result::Error::NotFound)
    }
}

/// A connection of Diesel's own. Written for each one, since all of them together could not be told from diesel-async's.
macro_rules! blocking_link {
    ($connection:ty) => {
        impl $crate::database::link::Link for $connection {
            type Backend = <Self as diesel::Connection>::Backend;

            async fn run<Q>(&mut self, statement: Q) -> diesel::QueryResult<usize>
            where
                Q: diesel::query_builder::QueryFragment<Self::Backend> + diesel::query_builder::QueryId,
            {
                diesel::Connection::execute_returning_count(self, &statement)
            }

            async fn rows<T, Q>(&mut self, query: Q) -> diesel::QueryResult<Vec<T>>
            where
                Q: diesel::query_builder::Query
                    + diesel::query_builder::QueryFragment<Self::Backend>
                    + diesel::query_builder::QueryId,
                Self::Backend: diesel::expression::QueryMetadata<Q::SqlType>,
                T: diesel::deserialize::FromSqlRow<Q::SqlType, Self::Backend>,
            {
                let rows =
                    diesel::connection::LoadConnection::<diesel::connection::DefaultLoadingMode>::load(self, query)?;
                let build = |row| T::build_from_row(&row).map_err(diesel::result::Error::DeserializationError);
                rows.map(|row| build(row?)).collect()
            }

            async fn each<T, Q>(&mut self, query: Q, mut take: impl FnMut(T) -> bool) -> diesel::QueryResult<()>
            where
                Q: diesel::query_builder::Query
                    + diesel::query_builder::QueryFragment<Self::Backend>
                    + diesel::query_builder::QueryId,
                Self::Backend: diesel::expression::QueryMetadata<Q::SqlType>,
                T: diesel::deserialize::FromSqlRow<Q::SqlType, Self::Backend>,
            {
                for row in
                    diesel::connection::LoadConnection::<diesel::connection::DefaultLoadingMode>::load(self, query)?
                {
                    let row = T::build_from_row(&row?).map_err(diesel::result::Error::DeserializationError)?;
                    if !take(row) {
                        break;
                    }
                }
                Ok(())
            }
        }
    };
}

pub(crate) use blocking_link;

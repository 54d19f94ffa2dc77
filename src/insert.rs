//! The insert of new events, as one piece of SQL. Diesel's builder would put its text together at every call, which
//! takes as long as the insert itself.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;

use crate::event::NewEvent;

/// Inserts an event if its id is new, and else leaves the row alone; the number of rows tells which.
#[derive(Debug)]
pub(crate) struct InsertNew<'a>(pub(crate) NewEvent<'a>);

impl QueryId for InsertNew<'_> {
    type QueryId = InsertNew<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<SqliteConnection> for InsertNew<'_> {}

impl QueryFragment<Sqlite> for InsertNew<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let event = &self.0;
        out.push_sql(
            "INSERT INTO `events` (`id`, `event_index`, `session_id`, `created_at`, `connection_id`, `sender`, \
             `payload_json`) VALUES (",
        );
        out.push_bind_param::<Text, _>(event.id)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&event.event_index)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(event.session_id)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&event.created_at)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(event.connection_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(event.sender)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(event.payload_json)?;
        out.push_sql(") ON CONFLICT (`id`) DO NOTHING");
        Ok(())
    }
}

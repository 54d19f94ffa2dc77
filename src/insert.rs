//! The insert of new events, as one piece of SQL. Diesel's builder would put its text together at every call, which
//! takes as long as the insert itself.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;

use crate::event::NewEvent;

/// Inserts the events whose ids are new, and leaves the others alone; the number of rows tells how many were new.
///
/// `OR FAIL` lets SQLite do without a copy of the pages that a failure half-way would have to restore; so where there
/// are several rows, the caller has to.
#[derive(Debug)]
pub(crate) struct InsertNew<'a, const ROWS: usize>(pub(crate) [NewEvent<'a>; ROWS]);

impl<const ROWS: usize> QueryId for InsertNew<'_, ROWS> {
    type QueryId = InsertNew<'static, ROWS>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl<const ROWS: usize> RunQueryDsl<SqliteConnection> for InsertNew<'_, ROWS> {}

impl<const ROWS: usize> QueryFragment<Sqlite> for InsertNew<'_, ROWS> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(
            "INSERT OR FAIL INTO events \
             (id, event_index, session_id, created_at, connection_id, sender, payload_json) VALUES ",
        );
        for (row, event) in self.0.iter().enumerate() {
            out.push_sql(if row == 0 { "(" } else { ", (" });
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
            out.push_sql(")");
        }
        out.push_sql(" ON CONFLICT (id) DO NOTHING");
        Ok(())
    }
}

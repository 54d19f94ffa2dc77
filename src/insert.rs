//! The inserts, each as one piece of SQL. Diesel's builder would put their text together at every call, which takes as
//! long as the insert itself, and prepare anew what overwrites.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::Sqlite;

use crate::event::NewEvent;
use crate::session::NewSession;

const EVENT: &str = "INSERT INTO `main`.`events` (`id`, `event_index`, `session_id`, `created_at`, `connection_id`, \
                     `sender`, `payload_json`) VALUES (";

/// Inserts an event if its id is new, and else leaves the row alone; the number of rows tells which.
#[derive(Debug)]
pub(crate) struct InsertNew<'a>(pub(crate) NewEvent<'a>);

impl QueryFragment<Sqlite> for InsertNew<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(EVENT);
        push_event(&self.0, out.reborrow())?;
        out.push_sql(") ON CONFLICT (`id`) DO NOTHING");
        Ok(())
    }
}

/// Inserts an event, or overwrites every column of the one with its id.
#[derive(Debug)]
pub(crate) struct Overwrite<'a>(pub(crate) NewEvent<'a>);

impl QueryFragment<Sqlite> for Overwrite<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(EVENT);
        push_event(&self.0, out.reborrow())?;
        out.push_sql(
            ") ON CONFLICT (`id`) DO UPDATE SET `event_index` = excluded.`event_index`, \
             `session_id` = excluded.`session_id`, `created_at` = excluded.`created_at`, \
             `connection_id` = excluded.`connection_id`, `sender` = excluded.`sender`, \
             `payload_json` = excluded.`payload_json`",
        );
        Ok(())
    }
}

fn push_event<'b>(event: &'b NewEvent<'_>, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
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
    out.push_bind_param::<Text, _>(event.payload_json)
}

/// Inserts a session, or overwrites every column of the one with its id, also where a field is absent now.
#[derive(Debug)]
pub(crate) struct PutSession<'a>(pub(crate) NewSession<'a>);

impl QueryFragment<Sqlite> for PutSession<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let session = &self.0;
        out.push_sql(
            "INSERT INTO `main`.`sessions` (`id`, `agent`, `agent_session_id`, `last_connection_id`, `created_at`, \
             `destroyed_at`, `sandbox_id`, `session_init_json`, `config_options_json`, `modes_json`) VALUES (",
        );
        out.push_bind_param::<Text, _>(session.id)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(session.agent)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(session.agent_session_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Text, _>(session.last_connection_id)?;
        out.push_sql(", ");
        out.push_bind_param::<BigInt, _>(&session.created_at)?;
        out.push_sql(", ");
        out.push_bind_param::<Nullable<BigInt>, _>(&session.destroyed_at)?;
        for text in [&session.sandbox_id, &session.session_init_json, &session.config_options_json, &session.modes_json]
        {
            out.push_sql(", ");
            out.push_bind_param::<Nullable<Text>, _>(text)?;
        }
        out.push_sql(
            ") ON CONFLICT (`id`) DO UPDATE SET `agent` = excluded.`agent`, \
             `agent_session_id` = excluded.`agent_session_id`, `last_connection_id` = excluded.`last_connection_id`, \
             `created_at` = excluded.`created_at`, `destroyed_at` = excluded.`destroyed_at`, \
             `sandbox_id` = excluded.`sandbox_id`, `session_init_json` = excluded.`session_init_json`, \
             `config_options_json` = excluded.`config_options_json`, `modes_json` = excluded.`modes_json`",
        );
        Ok(())
    }
}

macro_rules! runs_on_sqlite {
    ($($statement:ident)*) => {$(
        impl QueryId for $statement<'_> {
            type QueryId = $statement<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl RunQueryDsl<SqliteConnection> for $statement<'_> {}
    )*};
}

runs_on_sqlite!(InsertNew Overwrite PutSession);

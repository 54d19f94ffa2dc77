//! PostgreSQL: the seam on a Diesel connection. The tables are found by the connection's `search_path`.

mod append;
mod check;
mod connection;
mod copying;
mod embedded;
mod heads;
mod holding;
mod listing;
pub(crate) mod migrate;
mod prune;
mod session_ids;
mod statistics;
mod storing;
pub(crate) mod transaction;
mod values;
pub(crate) mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::sql_types::{BigInt, Bool, Text};

pub(crate) use self::append::{Appending, append_all};
pub(crate) use self::holding::Holdable;
pub(crate) use self::storing::{Stored, put_all};
use super::kinds::JsonText;
use super::queries::{self, DeleteEvents, EventById, SessionOfEvent, statements_in_common};
use super::rows::{EventRow, SessionRow};
use super::statement::{Dialect, postgres_statement};
use super::{Database, Deleted, Lock};
use crate::database::fields::Record;
use crate::error::{Error, Result};
use crate::model::event::{NewEvent, SessionEvent};
use crate::model::json::Json;
use crate::model::listing::Listing;
use crate::model::page::ListPage;
use crate::model::report::{CheckReport, PruneReport, SessionStats, Stats};
use crate::model::request::{EventFilter, SessionFilter};
use crate::model::retention::PruneRequest;
use crate::model::session::SessionRecord;
use crate::schema::events;

impl Dialect for Pg {
    const EVENTS: &'static str = "events";
    const SESSIONS: &'static str = "sessions";
    const BY_BYTES: &'static str = " COLLATE \"C\"";

    fn push_created_at<'b>(mut out: AstPass<'_, 'b, Self>, millis: &'b i64, _: &'b str) -> QueryResult<()> {
        out.push_bind_param::<BigInt, _>(millis)
    }
}

postgres_statement! {
    LastEvent { session_id: &'a str } -> (Text, BigInt),
    "SELECT id, event_index FROM events WHERE session_id = " { session_id as Text }
    " ORDER BY event_index DESC LIMIT 1"
}

postgres_statement! {
    /// The record stays as it is until the transaction ends.
    IsLive { id: &'a str } -> Bool,
    "SELECT destroyed_at IS NULL FROM sessions WHERE id = " { id as Text } " FOR SHARE"
}

postgres_statement! {
    EventInSession { id: &'a str, session_id: &'a str } -> events::SqlType,
    "SELECT " [SessionEvent::COLUMNS] " FROM events WHERE id = " { id as Text } " AND session_id = "
    { session_id as Text }
}

postgres_statement! {
    /// The text that a payload has once it is stored: JSONB has its own.
    AsKept { payload: &'a str } -> Text,
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('events') \
     AND attname = 'payload_json' AND atttypid = 'jsonb'::regtype) THEN p.json::jsonb::text ELSE p.json::text END \
     FROM (SELECT " { payload as JsonText } " AS json) AS p"
}

/// The id and the index of a session's last event.
fn last_event(conn: &mut PgConnection, session_id: &str) -> Result<Option<(String, i64)>> {
    Ok(LastEvent { session_id }.get_result(conn).optional()?)
}

impl Database for PgConnection {
    type SessionIds = session_ids::SessionIds;
    type Search = prune::Search;
    type Finding = prune::Finding;

    const PREFERS_MANY: bool = true;
    /// Rows are locked, not tables.
    const WRITERS_WAIT: bool = false;

    statements_in_common!();

    async fn is_live(&mut self, id: &str) -> Result<Option<bool>> {
        Ok(IsLive { id }.get_result(self).optional()?)
    }

    async fn sessions(&mut self, listing: &Listing<'_, SessionFilter>) -> Result<ListPage<SessionRecord>> {
        listing::list(self, listing)
    }

    async fn event(&mut self, id: &str, session_id: &str) -> Result<Option<SessionEvent>> {
        let here = EventInSession { id, session_id };
        match here.get_result(self).optional()? {
            None => Ok(EventById { id }.get_result(self).optional()?),
            found => Ok(found),
        }
    }

    async fn events(&mut self, listing: &Listing<'_, EventFilter>) -> Result<ListPage<SessionEvent>> {
        listing::list(self, listing)
    }

    async fn as_kept(&mut self, payload: &Json) -> Result<Json> {
        Json::parse(AsKept { payload: payload.get() }.get_result::<String>(self)?)
    }

    async fn session_of_event(&mut self, id: &str, session_id: &str) -> Result<Option<String>> {
        let found: Vec<String> = SessionOfEvent { id }.load(self)?;
        let is_here = found.iter().any(|found| found == session_id);
        Ok(if is_here { Some(session_id.to_owned()) } else { found.into_iter().next() })
    }

    async fn last_index(&mut self, session_id: &str) -> Result<Option<i64>> {
        Ok(last_event(self, session_id)?.map(|(_, index)| index))
    }

    async fn add_event(&mut self, row: EventRow<&str>) -> Result<bool> {
        storing::add_event(self, row)
    }

    async fn put_events(&mut self, rows: &[EventRow<&str>]) -> Result<bool> {
        storing::put_events(self, rows)
    }

    async fn append_new(
        &mut self,
        session_id: &str,
        expected: Option<i64>,
        events: &[NewEvent],
    ) -> Result<Option<Vec<i64>>> {
        append::append(self, Appending { session_id, expected, events })
    }

    async fn keep_last_index(&mut self, session_id: &str, last_index: i64) -> Result<()> {
        heads::keep(self, session_id, last_index)
    }

    async fn put_event(&mut self, row: EventRow<&str>) -> Result<()> {
        storing::put_event(self, row)
    }

    async fn copy_events(&mut self, from_id: &str, up_to_index: Option<i64>, new_id: &str) -> Result<u64> {
        copying::copy_events(self, from_id, up_to_index, new_id)
    }

    async fn delete_events(&mut self, session_id: &str) -> Result<bool> {
        // First an append in progress is waited for, also the first of its session, so that its events are seen here.
        heads::lock(self, session_id)?;
        let deleted = DeleteEvents { session_id }.execute(self)?;
        heads::drop(self, session_id)?;
        Ok(deleted > 0)
    }

    async fn taken_ids(&mut self, session_id: &str, ids: &[&str]) -> Result<Vec<(String, String)>> {
        copying::taken_ids(self, session_id, ids)
    }

    async fn next_session_id(&mut self, ids: &mut Self::SessionIds) -> Result<Option<String>> {
        ids.next(self)
    }

    /// Every id can be decoded.
    async fn tell_others(&mut self, _: &Self::SessionIds, _: &mut (dyn FnMut(Error) + Send)) -> Result<()> {
        Ok(())
    }

    fn search(request: &Arc<PruneRequest>) -> prune::Search {
        prune::Search::new(Arc::clone(request))
    }

    async fn find(&mut self, search: &mut prune::Search, rows: usize) -> Result<Option<Vec<prune::Finding>>> {
        search.look(self, rows)
    }

    async fn delete_found(
        &mut self,
        request: &PruneRequest,
        finding: &prune::Finding,
        _: usize,
        _: Instant,
    ) -> Result<Deleted> {
        prune::delete(self, request, finding)
    }

    async fn dry_run(&mut self, request: &PruneRequest) -> Result<PruneReport> {
        prune::dry_run(self, request)
    }

    async fn reclaim_space(&mut self) -> Result<()> {
        // Each in its own message, since it must not run in a transaction.
        for table in ["VACUUM events", "VACUUM sessions", "VACUUM event_heads"] {
            self.batch_execute(table)?;
        }
        Ok(())
    }

    async fn stats(&mut self) -> Result<Stats> {
        statistics::stats(self)
    }

    async fn session_stats(&mut self) -> Result<Vec<SessionStats>> {
        statistics::session_stats(self)
    }

    async fn check(&mut self) -> Result<CheckReport> {
        check::check(self)
    }

    fn is_in_transaction(&mut self) -> Result<bool> {
        transaction::is_open(self)
    }

    async fn atomically<T>(&mut self, lock: Lock<'_>, work: impl AsyncFnOnce(&mut Self) -> Result<T>) -> Result<T> {
        transaction::run(self, lock, work).await
    }

    async fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

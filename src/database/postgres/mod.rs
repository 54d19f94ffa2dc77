//! PostgreSQL: the seam on a Diesel connection. The tables are found by the connection's `search_path`.

pub(crate) mod append;
#[cfg(feature = "diesel-async")]
mod async_connection;
#[cfg(feature = "diesel-async")]
mod async_pg_link;
#[cfg(feature = "postgres")]
pub(crate) mod awaited;
mod check;
#[cfg(feature = "postgres")]
mod connection;
mod copying;
mod embedded;
mod ends;
mod heads;
#[cfg(feature = "postgres")]
mod holding;
mod listing;
pub(crate) mod migrate;
mod pg_link;
mod prune;
#[cfg(feature = "postgres")]
mod put_all;
mod session_ids;
mod statistics;
mod storing;
pub(crate) mod transaction;
mod values;
pub(crate) mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::sql_types::{BigInt, Bool, Text};

use self::append::Appending;
#[cfg(feature = "postgres")]
pub(crate) use self::connection::checked;
#[cfg(feature = "postgres")]
pub(crate) use self::holding::Holdable;
use self::pg_link::PgLink;
#[cfg(feature = "postgres")]
pub(crate) use self::put_all::{Stored, put_all};
use super::kinds::JsonText;
use super::link::Link;
use super::queries::{self, DeleteEvents, EventById, SessionOfEvent, statements_in_common};
use super::rows::{EventRow, SessionRow};
use super::session_ends::SessionEnds;
use super::statement::{Dialect, postgres_statement};
use super::survey::PrunedSession;
use super::{Database, Deleted, Lock};
use crate::database::fields::Record;
use crate::error::{Error, Result};
use crate::model::event::{NewEvent, SessionEvent};
use crate::model::json::Json;
use crate::model::listing::Listing;
use crate::model::page::ListPage;
use crate::model::report::{CheckReport, SessionStats, Stats};
use crate::model::request::{EventFilter, SessionFilter};
use crate::model::retention::PruneRequest;
use crate::model::session::SessionRecord;
use crate::schema::events;

impl Dialect for Pg {
    const EVENTS: &'static str = "events";
    const SESSIONS: &'static str = "sessions";
    const BY_BYTES: &'static str = " COLLATE \"C\"";
    const LAST: &'static str = "ORDER BY e.event_index DESC, e.id COLLATE \"C\" DESC LIMIT 1";

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
async fn last_event<C: PgLink>(conn: &mut C, session_id: &str) -> Result<Option<(String, i64)>> {
    Ok(conn.row(LastEvent { session_id }).await?)
}

/// The seam on one connection. The functions behind it serve any.
macro_rules! database {
    ($connection:ty) => {
        impl Database for $connection {
            type SessionIds = session_ids::SessionIds;
            type Search = prune::Search;
            type Finding = prune::Finding;

            const PREFERS_MANY: bool = true;
            /// Rows are locked, not tables.
            const WRITERS_WAIT: bool = false;

            statements_in_common!();

            async fn is_live(&mut self, id: &str) -> Result<Option<bool>> {
                Ok(self.row(IsLive { id }).await?)
            }

            async fn sessions(&mut self, listing: &Listing<'_, SessionFilter>) -> Result<ListPage<SessionRecord>> {
                listing::list(self, listing).await
            }

            async fn event(&mut self, id: &str, session_id: &str) -> Result<Option<SessionEvent>> {
                let here = EventInSession { id, session_id };
                match self.row(here).await? {
                    None => Ok(self.row(EventById { id }).await?),
                    found => Ok(found),
                }
            }

            async fn events(&mut self, listing: &Listing<'_, EventFilter>) -> Result<ListPage<SessionEvent>> {
                listing::list(self, listing).await
            }

            async fn session_ends(&mut self, ids: &[&str]) -> Result<Vec<SessionEnds>> {
                ends::session_ends(self, ids).await
            }

            async fn as_kept(&mut self, payload: &Json) -> Result<Json> {
                Json::parse(self.one::<String, _>(AsKept { payload: payload.get() }).await?)
            }

            async fn session_of_event(&mut self, id: &str, session_id: &str) -> Result<Option<String>> {
                let found: Vec<String> = self.rows(SessionOfEvent { id }).await?;
                let is_here = found.iter().any(|found| found == session_id);
                Ok(if is_here { Some(session_id.to_owned()) } else { found.into_iter().next() })
            }

            async fn last_index(&mut self, session_id: &str) -> Result<Option<i64>> {
                Ok(last_event(self, session_id).await?.map(|(_, index)| index))
            }

            async fn add_event(&mut self, row: EventRow<&str>) -> Result<bool> {
                storing::add_event(self, row).await
            }

            async fn put_events(&mut self, rows: &[EventRow<&str>]) -> Result<bool> {
                storing::put_events(self, rows).await
            }

            async fn append_new(
                &mut self,
                session_id: &str,
                expected: Option<i64>,
                events: &[NewEvent],
            ) -> Result<Option<Vec<i64>>> {
                append::append(self, Appending { session_id, expected, events }).await
            }

            async fn keep_last_index(&mut self, session_id: &str, last_index: i64) -> Result<()> {
                heads::keep(self, session_id, last_index).await
            }

            async fn put_event(&mut self, row: EventRow<&str>) -> Result<()> {
                storing::put_event(self, row).await
            }

            async fn copy_events(&mut self, from_id: &str, up_to_index: Option<i64>, new_id: &str) -> Result<u64> {
                copying::copy_events(self, from_id, up_to_index, new_id).await
            }

            async fn delete_events(&mut self, session_id: &str) -> Result<bool> {
                // First an append in progress is waited for, also the first of its session, so that its events are seen here.
                heads::lock(self, session_id).await?;
                let deleted = self.run(DeleteEvents { session_id }).await?;
                heads::drop(self, session_id).await?;
                Ok(deleted > 0)
            }

            async fn taken_ids(&mut self, session_id: &str, ids: &[&str]) -> Result<Vec<(String, String)>> {
                copying::taken_ids(self, session_id, ids).await
            }

            async fn next_session_id(&mut self, ids: &mut Self::SessionIds) -> Result<Option<String>> {
                ids.next(self).await
            }

            /// Every id can be decoded.
            async fn tell_others(&mut self, _: &Self::SessionIds, _: &mut (dyn FnMut(Error) + Send)) -> Result<()> {
                Ok(())
            }

            fn search(request: &Arc<PruneRequest>) -> prune::Search {
                prune::Search::new(Arc::clone(request))
            }

            async fn find(&mut self, search: &mut prune::Search, rows: usize) -> Result<Option<Vec<prune::Finding>>> {
                search.look(self, rows).await
            }

            async fn delete_found(
                &mut self,
                request: &PruneRequest,
                finding: &prune::Finding,
                _: usize,
                _: Instant,
            ) -> Result<Deleted> {
                prune::delete(self, request, finding).await
            }

            async fn survey(&mut self, request: &PruneRequest) -> Result<Vec<PrunedSession>> {
                prune::survey(self, request).await
            }

            async fn is_selected(&mut self, request: &PruneRequest, session: &PrunedSession) -> Result<bool> {
                prune::is_selected(self, request, session).await
            }

            async fn delete_unchanged(&mut self, session_id: &str, events: &[SessionEvent]) -> Result<u64> {
                prune::delete_unchanged(self, session_id, events).await
            }

            async fn delete_emptied(&mut self, session_id: &str, record: Option<&SessionRecord>) -> Result<bool> {
                prune::delete_emptied(self, session_id, record).await
            }

            async fn reclaim_at_once(&mut self) -> Result<()> {
                // Each in its own message, since it must not run in a transaction.
                for table in ["VACUUM events", "VACUUM sessions", "VACUUM event_heads"] {
                    self.batch(table).await?;
                }
                Ok(())
            }

            async fn reclaimable_pages(&mut self) -> Result<Option<u64>> {
                Ok(None)
            }

            async fn reclaim_pages(&mut self, _: u64) -> Result<()> {
                Ok(())
            }

            async fn shrink_file(&mut self) -> Result<()> {
                Ok(())
            }

            async fn stats(&mut self) -> Result<Stats> {
                statistics::stats(self).await
            }

            async fn session_stats(&mut self) -> Result<Vec<SessionStats>> {
                statistics::session_stats(self).await
            }

            async fn stats_of_session(&mut self, session_id: &str) -> Result<SessionStats> {
                statistics::stats_of_session(self, session_id).await
            }

            async fn check(&mut self) -> Result<CheckReport> {
                check::check(self).await
            }

            fn is_in_transaction(&mut self) -> Result<bool> {
                transaction::is_open(self)
            }

            async fn atomically<T>(
                &mut self,
                lock: Lock<'_>,
                work: impl AsyncFnOnce(&mut Self) -> Result<T>,
            ) -> Result<T> {
                transaction::run(self, lock, work).await
            }

            /// Others write meanwhile anyway.
            async fn pause(&mut self, _: Duration) {}
        }
    };
}

#[cfg(feature = "postgres")]
database!(diesel::PgConnection);
#[cfg(feature = "diesel-async")]
database!(diesel_async::AsyncPgConnection);

//! SQLite: the seam on a Diesel connection, and file maintenance.

pub(crate) mod adopt;
pub(crate) mod atomic_file;
pub(crate) mod awaited;
pub(crate) mod backup;
mod check;
pub(crate) mod checkpoint;
pub(crate) mod commit_order;
mod connection;
mod copying;
pub(crate) mod disk;
pub(crate) mod embedded;
mod ends;
mod event_statements;
mod exact;
#[cfg(feature = "diesel-async")]
mod harness;
mod listed;
pub(crate) mod migrate;
pub(crate) mod overflow;
mod paging;
mod place;
mod plain;
pub(crate) mod pragma;
mod prune;
mod session_ids;
mod statistics;
mod stored;
pub(crate) mod transaction;
pub(crate) mod unfinished;
pub(crate) mod uri;
mod utf8_bytes;
mod values;
pub(crate) mod waiting;
pub(crate) mod words;
#[cfg(feature = "diesel-async")]
mod wrapped;

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::query_builder::AstPass;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::Sqlite;

use self::event_statements::{AddEvent, LastEvent, PutEvent};
pub(super) use self::place::is_odd_position;
use super::columns::{Column, RowName, StoredText, Whole};
use super::link::{Link, blocking_link};
use super::queries::{self, DeleteEvents, EventById, SessionOfEvent, statements_in_common};
use super::rows::{EventRow, SessionRow};
use super::session_ends::SessionEnds;
use super::statement::{Dialect, sqlite_statement};
use super::survey::PrunedSession;
use super::{Database, Deleted, Lock, ready};
use crate::error::{Error, Result};
use crate::model::event::{NewEvent, SessionEvent};
use crate::model::json::Json;
use crate::model::listing::Listing;
use crate::model::page::ListPage;
use crate::model::report::{CheckReport, SessionStats, Stats};
use crate::model::request::{EventFilter, SessionFilter};
use crate::model::retention::PruneRequest;
use crate::model::session::SessionRecord;

/// We only use the tables in `main`, whatever temporary or attached ones a connection has.
impl Dialect for Sqlite {
    const EVENTS: &'static str = "main.events";
    const SESSIONS: &'static str = "main.sessions";
    const BY_BYTES: &'static str = "";
    const LAST: &'static str = "ORDER BY e.event_index DESC, e.id DESC, e.rowid DESC LIMIT 1";

    fn push_created_at<'b>(mut out: AstPass<'_, 'b, Self>, millis: &'b i64, id: &'b str) -> QueryResult<()> {
        out.push_sql("coalesce((SELECT s.created_at FROM main.sessions AS s WHERE s.id = ");
        out.push_bind_param::<Text, _>(id)?;
        out.push_sql(" AND typeof(s.created_at) = 'real' AND s.created_at >= ");
        out.push_bind_param::<BigInt, _>(millis)?;
        out.push_sql(" AND s.created_at < 1 + ");
        out.push_bind_param::<BigInt, _>(millis)?;
        out.push_sql("), ");
        out.push_bind_param::<BigInt, _>(millis)?;
        out.push_sql(")");
        Ok(())
    }
}

sqlite_statement! {
    IsLive { id: &'a str } -> Bool,
    "SELECT destroyed_at IS NULL FROM main.sessions WHERE id = " { id as Text }
}

blocking_link!(SqliteConnection);

impl Database for SqliteConnection {
    type SessionIds = session_ids::SessionIds;
    type Search = prune::Search;
    type Finding = prune::Finding;

    const PREFERS_MANY: bool = false;
    const WRITERS_WAIT: bool = true;

    statements_in_common!();

    /// Nobody else writes meanwhile.
    async fn is_live(&mut self, id: &str) -> Result<Option<bool>> {
        Ok(IsLive { id }.get_result(self).optional()?)
    }

    async fn sessions(&mut self, listing: &Listing<'_, SessionFilter>) -> Result<ListPage<SessionRecord>> {
        paging::list(self, listing)
    }

    async fn event(&mut self, id: &str, _: &str) -> Result<Option<SessionEvent>> {
        Ok(EventById { id }.get_result(self).optional()?)
    }

    async fn events(&mut self, listing: &Listing<'_, EventFilter>) -> Result<ListPage<SessionEvent>> {
        paging::list(self, listing)
    }

    async fn session_ends(&mut self, ids: &[&str]) -> Result<Vec<SessionEnds>> {
        ends::session_ends(self, ids)
    }

    async fn as_kept(&mut self, payload: &Json) -> Result<Json> {
        Ok(payload.clone())
    }

    async fn session_of_event(&mut self, id: &str, _: &str) -> Result<Option<String>> {
        let Some(found) = SessionOfEvent { id }.get_result::<Column<StoredText>>(self).optional()? else {
            return Ok(None);
        };
        let id = Column::from(id.to_owned());
        Ok(Some(RowName::new("events", &id, None).value("session_id", found)?.0))
    }

    async fn last_index(&mut self, session_id: &str) -> Result<Option<i64>> {
        type LastIndex = (Column<StoredText>, Column<Whole>);
        let Some((id, index)) = LastEvent { session_id }.get_result::<LastIndex>(self).optional()? else {
            return Ok(None);
        };
        Ok(Some(RowName::new("events", &id, None).value("event_index", index)?.0))
    }

    async fn add_event(&mut self, row: EventRow<&str>) -> Result<bool> {
        Ok(AddEvent { row }.execute(self)? > 0)
    }

    async fn put_event(&mut self, row: EventRow<&str>) -> Result<()> {
        PutEvent { row }.execute(self)?;
        Ok(())
    }

    /// One by one is as fast.
    async fn put_events(&mut self, _: &[EventRow<&str>]) -> Result<bool> {
        Ok(false)
    }

    async fn append_new(&mut self, _: &str, _: Option<i64>, _: &[NewEvent]) -> Result<Option<Vec<i64>>> {
        Ok(None)
    }

    async fn keep_last_index(&mut self, _: &str, _: i64) -> Result<()> {
        Ok(())
    }

    async fn copy_events(&mut self, from_id: &str, up_to_index: Option<i64>, new_id: &str) -> Result<u64> {
        copying::copy_events(self, from_id, up_to_index, new_id)
    }

    async fn delete_events(&mut self, session_id: &str) -> Result<bool> {
        Ok(DeleteEvents { session_id }.execute(self)? > 0)
    }

    async fn taken_ids(&mut self, session_id: &str, ids: &[&str]) -> Result<Vec<(String, String)>> {
        copying::taken_ids(self, session_id, ids).await
    }

    async fn next_session_id(&mut self, ids: &mut Self::SessionIds) -> Result<Option<String>> {
        ids.next(self)
    }

    async fn tell_others(&mut self, ids: &Self::SessionIds, tell: &mut (dyn FnMut(Error) + Send)) -> Result<()> {
        ids.tell_others(self, tell)
    }

    fn search(request: &Arc<PruneRequest>) -> prune::Search {
        prune::Search::new(Arc::clone(request))
    }

    async fn find(&mut self, search: &mut prune::Search, rows: usize) -> Result<Option<Vec<prune::Finding>>> {
        transaction::reading(self, |conn| ready(search.look(conn, rows)))
    }

    async fn delete_found(
        &mut self,
        request: &PruneRequest,
        finding: &prune::Finding,
        from_row: usize,
        began: Instant,
    ) -> Result<Deleted> {
        prune::delete(self, request, finding, from_row, began)
    }

    async fn survey(&mut self, request: &PruneRequest) -> Result<Vec<PrunedSession>> {
        prune::survey(self, request)
    }

    async fn is_selected(&mut self, request: &PruneRequest, session: &PrunedSession) -> Result<bool> {
        prune::is_selected(self, request, session)
    }

    async fn delete_unchanged(&mut self, session_id: &str, events: &[SessionEvent]) -> Result<u64> {
        prune::delete_unchanged(self, session_id, events)
    }

    async fn delete_emptied(&mut self, session_id: &str, record: Option<&SessionRecord>) -> Result<bool> {
        prune::delete_emptied(self, session_id, record)
    }

    async fn reclaim_at_once(&mut self) -> Result<()> {
        self.batch_execute("VACUUM")?;
        checkpoint::unasked(self)
    }

    async fn reclaimable_pages(&mut self) -> Result<Option<u64>> {
        transaction::reading(self, |conn| {
            let is_made_for_it = pragma::read(conn, "main.auto_vacuum")? == pragma::INCREMENTAL;
            Ok(if is_made_for_it { Some(pragma::read(conn, "main.freelist_count")? as u64) } else { None })
        })
    }

    async fn reclaim_pages(&mut self, most: u64) -> Result<()> {
        Ok(self.batch_execute(&format!("PRAGMA main.incremental_vacuum({most})"))?)
    }

    /// With a write-ahead log, the file shrinks at the next checkpoint.
    async fn shrink_file(&mut self) -> Result<()> {
        checkpoint::unasked(self)
    }

    async fn stats(&mut self) -> Result<Stats> {
        statistics::stats(self)
    }

    async fn session_stats(&mut self) -> Result<Vec<SessionStats>> {
        statistics::session_stats(self)
    }

    async fn stats_of_session(&mut self, session_id: &str) -> Result<SessionStats> {
        statistics::stats_of_session(self, session_id)
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

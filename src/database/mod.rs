//! The seam: what a database must do for the verbs to work on it. Each database is a folder next to this file.
//!
//! The statements are `async`, so the verbs written over them serve async and blocking connections alike. On a blocking
//! connection every future is ready when it is first polled: [`ready`].

pub(crate) mod columns;
mod conversions;
mod decode;
mod doomed;
pub(crate) mod fields;
mod kinds;
pub(crate) mod link;
mod listed_table;
pub(crate) mod migrations;
mod page_expressions;
#[cfg(feature = "postgres-backend")]
pub(crate) mod postgres;
pub(crate) mod pruning;
pub(crate) mod queries;
pub(crate) mod rows;
pub(crate) mod session_ends;
pub(crate) mod sqlite;
pub(crate) mod statement;
pub(crate) mod survey;

#[cfg(feature = "diesel-async")]
pub use self::migrations::migrate_async;
pub use self::migrations::{MIGRATIONS, Migrations, migrate};
pub use self::page_expressions::{EventsOrder, EventsPredicate, SessionsOrder, SessionsPredicate};
#[cfg(feature = "postgres")]
pub use self::postgres::migrate::convert_jsonb;
#[cfg(feature = "diesel-async")]
pub use self::postgres::migrate::convert_jsonb_async;
pub(crate) use self::sqlite::atomic_file::AtomicFile;
pub(crate) use self::sqlite::disk::error as disk_error;
pub(crate) use self::sqlite::overflow::{NumberedEvent, Overflow, is_too_big};

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use self::rows::{EventRow, SessionRow};
use self::session_ends::SessionEnds;
use self::survey::PrunedSession;
use crate::error::{Error, Result};
use crate::model::event::{NewEvent, SessionEvent};
use crate::model::json::Json;
use crate::model::listing::Listing;
use crate::model::page::ListPage;
use crate::model::report::{CheckReport, PruneReport, SessionStats, Stats};
use crate::model::request::{EventFilter, SessionFilter};
use crate::model::retention::PruneRequest;
use crate::model::session::SessionRecord;

/// What a transaction locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock<'a> {
    /// Nothing: it only reads, from a consistent snapshot.
    Snapshot,
    /// It writes.
    Write,
    /// It reads, and writes depending on what it read: to this session, or to any. No other transaction does so
    /// meanwhile.
    ReadWrite { session: Option<&'a str> },
}

/// A connection to a database with both tables.
pub(crate) trait Database: Sized {
    /// The progress of [`next_session_id`](Self::next_session_id).
    type SessionIds: Default;
    /// The progress of a prune's search.
    type Search;
    /// Some rows of one session that the search found.
    type Finding: Send + Sync + 'static;

    /// Whether [`put_events`](Self::put_events) is worth calling.
    const PREFERS_MANY: bool;
    /// Whether all other writers wait while one writes.
    const WRITERS_WAIT: bool;

    async fn session(&mut self, id: &str) -> Result<Option<SessionRecord>>;
    async fn sessions(&mut self, listing: &Listing<'_, SessionFilter>) -> Result<ListPage<SessionRecord>>;
    /// Whether a session is live, if it has a record. In a transaction that changes, it stays so until the end.
    async fn is_live(&mut self, id: &str) -> Result<Option<bool>>;
    /// Whether a session has a record, or any event.
    async fn session_exists(&mut self, id: &str) -> Result<bool>;
    async fn put_session(&mut self, row: SessionRow<&str>) -> Result<()>;
    /// Inserts a session if its id is new, and returns whether it was.
    async fn add_session(&mut self, row: SessionRow<&str>) -> Result<bool>;
    /// Returns whether there is such a record.
    async fn mark_destroyed(&mut self, id: &str, at: i64) -> Result<bool>;
    /// Returns whether there was such a record.
    async fn delete_session(&mut self, id: &str) -> Result<bool>;

    /// The event with this id. Where ids are unique only within a session, any of them.
    async fn event_with_id(&mut self, id: &str) -> Result<Option<SessionEvent>>;
    /// The event with this id. Where ids are unique only within a session, first the one in this session.
    async fn event(&mut self, id: &str, session_id: &str) -> Result<Option<SessionEvent>>;
    async fn events(&mut self, listing: &Listing<'_, EventFilter>) -> Result<ListPage<SessionEvent>>;
    /// The first and the last events of each of these sessions, by index seeks.
    async fn session_ends(&mut self, ids: &[&str]) -> Result<Vec<SessionEnds>>;
    /// A payload's text as the database keeps it.
    async fn as_kept(&mut self, payload: &Json) -> Result<Json>;
    /// The session of the event with this id. Where ids are unique only within a session, first this one.
    async fn session_of_event(&mut self, id: &str, session_id: &str) -> Result<Option<String>>;
    async fn last_index(&mut self, session_id: &str) -> Result<Option<i64>>;
    async fn count_events(&mut self, session_id: &str) -> Result<u64>;
    /// Inserts an event if its id is new, and returns whether it was.
    async fn add_event(&mut self, row: EventRow<&str>) -> Result<bool>;
    /// Upserts events with few statements, except those whose ids belong to other sessions or occur twice here. Returns
    /// whether all were stored; if not, some may have been.
    async fn put_events(&mut self, rows: &[EventRow<&str>]) -> Result<bool>;
    /// Appends events with one statement, if the database can do that and nothing speaks against it: the session ends
    /// at the expected index, and all ids are new. Otherwise does nothing and returns `None`.
    async fn append_new(
        &mut self,
        session_id: &str,
        expected: Option<i64>,
        events: &[NewEvent],
    ) -> Result<Option<Vec<i64>>>;
    /// Keeps the index that a session ends at, for databases that count. The session must be locked.
    async fn keep_last_index(&mut self, session_id: &str, last_index: i64) -> Result<()>;
    /// Upserts an event.
    async fn put_event(&mut self, row: EventRow<&str>) -> Result<()>;
    /// Copies a session's events up to an index, whatever they contain. Each copy's id is the new session's id, `:` and
    /// its old id, which keeps the order of events that share an index.
    async fn copy_events(&mut self, from_id: &str, up_to_index: Option<i64>, new_id: &str) -> Result<u64>;
    /// Returns whether there were any.
    async fn delete_events(&mut self, session_id: &str) -> Result<bool>;
    /// The ids in a list that belong to events of other sessions, each with that session.
    async fn taken_ids(&mut self, session_id: &str, ids: &[&str]) -> Result<Vec<(String, String)>>;

    /// The next of the session ids that occur in events, found with one seek. A database may leave out those that have a
    /// record. An id that cannot be decoded is an error that names an event with that id.
    async fn next_session_id(&mut self, ids: &mut Self::SessionIds) -> Result<Option<String>>;
    /// If the last id found cannot be decoded, reports every other event that has it.
    async fn tell_others(&mut self, ids: &Self::SessionIds, tell: &mut (dyn FnMut(Error) + Send)) -> Result<()>;

    fn search(request: &Arc<PruneRequest>) -> Self::Search;
    /// Finds up to about this many rows to delete: perhaps none yet, and `None` once everything has been searched. It
    /// takes no lock that would block a writer.
    async fn find(&mut self, search: &mut Self::Search, rows: usize) -> Result<Option<Vec<Self::Finding>>>;
    /// Deletes what was found, starting at one of its rows, until the transaction has run for too long.
    async fn delete_found(
        &mut self,
        request: &PruneRequest,
        finding: &Self::Finding,
        from_row: usize,
        began: Instant,
    ) -> Result<Deleted>;
    /// What a prune would delete, session by session.
    async fn survey(&mut self, request: &PruneRequest) -> Result<Vec<PrunedSession>>;
    /// Locks a session until the transaction ends, and returns whether it is still selected.
    async fn is_selected(&mut self, request: &PruneRequest, session: &PrunedSession) -> Result<bool>;
    /// Deletes the events of a session, which are in order, that are stored exactly like this. Returns how many.
    async fn delete_unchanged(&mut self, session_id: &str, events: &[SessionEvent]) -> Result<u64>;
    /// Ends the deletion of a session: deletes its record if that is stored exactly like this, and no events are left.
    /// Returns whether it did.
    async fn delete_emptied(&mut self, session_id: &str, record: Option<&SessionRecord>) -> Result<bool>;
    /// Returns unused space to the file system, in one go.
    async fn reclaim_at_once(&mut self) -> Result<()>;
    /// How many pages can be returned to the file system one by one; `None` if that is only possible at once.
    async fn reclaimable_pages(&mut self) -> Result<Option<u64>>;
    /// Returns up to this many pages.
    async fn reclaim_pages(&mut self, most: u64) -> Result<()>;
    /// Gives the file its size after pages were returned.
    async fn shrink_file(&mut self) -> Result<()>;

    async fn stats(&mut self) -> Result<Stats>;
    async fn session_stats(&mut self) -> Result<Vec<SessionStats>>;
    /// Of a session that may not be there.
    async fn stats_of_session(&mut self, session_id: &str) -> Result<SessionStats>;
    async fn check(&mut self) -> Result<CheckReport>;

    /// Whether the caller has a transaction open.
    fn is_in_transaction(&mut self) -> Result<bool>;
    /// Runs `work` atomically: in a transaction, or in a savepoint inside the caller's transaction.
    async fn atomically<T>(&mut self, lock: Lock<'_>, work: impl AsyncFnOnce(&mut Self) -> Result<T>) -> Result<T>;
    /// Waits, so that others can write.
    async fn pause(&mut self, time: Duration);
}

/// How much of what was found has been deleted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deleted {
    pub(crate) report: PruneReport,
    /// The row to continue from; `None` if nothing is left.
    pub(crate) next_row: Option<usize>,
}

/// Whether an error is about the database itself, not about the data being written.
pub(crate) fn is_about_the_database(error: &Error) -> bool {
    #[cfg(feature = "postgres-backend")]
    if postgres::words::is_about_the_server(error) {
        return true;
    }
    sqlite::words::is_about_the_file(error)
}

/// Whether a write that failed so, and stored nothing, fares better if it is repeated: it was in a circle of transactions
/// that waited for each other, and has been chosen to break it.
#[cfg_attr(not(feature = "postgres-backend"), expect(unused_variables, reason = "writers of a file wait in a line"))]
pub(crate) fn is_worth_repeating(error: &Error) -> bool {
    #[cfg(feature = "postgres-backend")]
    return postgres::words::is_deadlock(error);
    #[cfg(not(feature = "postgres-backend"))]
    return false;
}

/// The result of a blocking connection's future.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("a blocking connection never waits"),
    }
}

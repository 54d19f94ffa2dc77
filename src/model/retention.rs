//! What a prune should delete.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// The most rows that one step of a prune or an import writes, unless its disk is known to be fast.
pub(crate) const STEP_ROWS: usize = 500;

/// How long a step of a prune works before it commits, however few rows it has handled.
pub(crate) const STEP_TIME: Duration = Duration::from_millis(10);

/// What to delete. Each rule selects rows on its own; a request without rules deletes nothing.
///
/// ```
/// use agent_session_store::{PruneRequest, SessionStore};
/// use chrono::DateTime;
///
/// let month_ago = DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
/// let request = PruneRequest::new().destroyed_before(month_ago).max_events_per_session(10_000);
///
/// let store = SessionStore::open_in_memory()?;
/// let would_go = store.prune(&request.clone().dry_run())?;
/// let gone = store.prune(&request)?;
/// assert_eq!(would_go, gone);
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct PruneRequest {
    pub(crate) sessions: Vec<String>,
    pub(crate) destroyed_before: Option<i64>,
    pub(crate) created_before: Option<i64>,
    pub(crate) inactive_before: Option<i64>,
    pub(crate) max_events_per_session: Option<u32>,
    pub(crate) orphans_before: Option<i64>,
    pub(crate) max_total_bytes: Option<u64>,
    pub(crate) archive: Option<PathBuf>,
    dry_run: bool,
    reclaim_space: bool,
}

impl PruneRequest {
    /// A request without rules.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// assert_eq!(PruneRequest::new(), PruneRequest::default());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Deletes the session with this id and its events, with or without a record. Call it again to add more sessions.
    ///
    /// The session is deleted in steps, with room for other writers in between;
    /// [`delete_session`](crate::SessionPersistDriver::delete_session) deletes it in one transaction. Inside your own
    /// transaction there is no difference.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().session("session-1").session("session-2");
    /// ```
    pub fn session(mut self, id: impl Into<String>) -> Self {
        self.sessions.push(id.into());
        self
    }

    /// Deletes sessions that ended before this time, with their events.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().destroyed_before(chrono::DateTime::UNIX_EPOCH);
    /// ```
    pub fn destroyed_before(mut self, time: DateTime<Utc>) -> Self {
        self.destroyed_before = Some(time.timestamp_millis());
        self
    }

    /// Deletes sessions that began before this time, with their events, whether they have ended or not.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().created_before(chrono::DateTime::UNIX_EPOCH);
    /// ```
    pub fn created_before(mut self, time: DateTime<Utc>) -> Self {
        self.created_before = Some(time.timestamp_millis());
        self
    }

    /// Deletes sessions whose last activity was before this time, with their events, whether they have ended or not, with
    /// or without a record. The last activity is the `created_at` of the last event, or the record's `created_at` or
    /// `destroyed_at` if that is later.
    ///
    /// A session that becomes active while the prune is running stays, with the events that it still has.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().inactive_before(chrono::DateTime::UNIX_EPOCH);
    /// ```
    pub fn inactive_before(mut self, time: DateTime<Utc>) -> Self {
        self.inactive_before = Some(time.timestamp_millis());
        self
    }

    /// Deletes whole sessions until the payloads of all events together take no more than this many bytes, as
    /// [`session_stats`](crate::SessionPersistDriver::session_stats) counts them: those whose last activity is longest
    /// ago go first, ended or not. For the last activity, see [`inactive_before`](Self::inactive_before).
    ///
    /// This rule comes last: it counts what the others leave. Sessions without events weigh nothing and stay. A session
    /// that becomes active while the prune is running stays, and the total may then be larger until the next prune. The
    /// database is larger than its payloads; see the crate's `docs/retention.md`.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().max_total_bytes(2_000_000_000);
    /// ```
    pub fn max_total_bytes(mut self, bytes: u64) -> Self {
        self.max_total_bytes = Some(bytes);
        self
    }

    /// Deletes the oldest events of each session that has more than this many, until it has this many.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().max_events_per_session(10_000);
    /// ```
    pub fn max_events_per_session(mut self, events: u32) -> Self {
        self.max_events_per_session = Some(events);
        self
    }

    /// Deletes events created before this time whose session has no record.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().orphans_before(chrono::DateTime::UNIX_EPOCH);
    /// ```
    pub fn orphans_before(mut self, time: DateTime<Utc>) -> Self {
        self.orphans_before = Some(time.timestamp_millis());
        self
    }

    /// Exports what the rules select to a new file before anything is deleted, and then deletes what is in the file: a
    /// row that was changed meanwhile stays. [`import`](crate::SessionPersistDriver::import) restores it, from
    /// [`Import::from_path`](crate::Import::from_path). If its name ends in `.zst`, the file is compressed (feature
    /// `zstd`).
    ///
    /// The file is never overwritten: one that exists is an error, and nothing is deleted. It gets its name once it is
    /// complete, on disk, and has been read back. On Unix, it is private to its owner. If nothing is selected, there is
    /// no file; a [`dry_run`](Self::dry_run) writes none either.
    ///
    /// ```
    /// # use agent_session_store::{Import, Json, PruneRequest, Sender, SessionEvent, SessionStore};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("archive.jsonl");
    /// # let store = SessionStore::open_in_memory()?;
    /// # let time = chrono::DateTime::UNIX_EPOCH;
    /// # store.insert_event(&SessionEvent::new("e", 1, "session-1", time, "c", Sender::Agent, Json::parse("{}")?))?;
    /// store.prune(&PruneRequest::new().session("session-1").archive_to(&path))?;
    /// // To get it back:
    /// store.import(Import::from_path(&path)?)?;
    /// # assert_eq!(store.stats()?.events, 1);
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn archive_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.archive = Some(path.into());
        self
    }

    /// Only reports what would be deleted.
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().max_events_per_session(10_000).dry_run();
    /// ```
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Returns the freed space to the file system afterwards, like
    /// [`reclaim_space`](crate::FileMaintenance::reclaim_space) and at the same cost. On PostgreSQL it makes the space
    /// usable again (`VACUUM`).
    ///
    /// ```
    /// # use agent_session_store::PruneRequest;
    /// let request = PruneRequest::new().max_events_per_session(10_000).reclaim_space();
    /// ```
    pub fn reclaim_space(mut self) -> Self {
        self.reclaim_space = true;
        self
    }

    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    pub(crate) fn reclaims_space(&self) -> bool {
        self.reclaim_space && !self.dry_run
    }
}

//! The reports that verbs return.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How much a database holds.
///
/// ```
/// use agent_session_store::SessionStore;
///
/// let stats = SessionStore::open_in_memory()?.stats()?;
/// assert_eq!((stats.sessions, stats.events), (0, 0));
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Sessions that have a record.
    pub sessions: u64,
    /// Events, including those of sessions without a record.
    pub events: u64,
    /// The size of the database in bytes, including your own tables and unused pages, but not what is only in the
    /// write-ahead log so far. On PostgreSQL, the size of this crate's tables with their indexes.
    pub bytes: u64,
    /// How many of these bytes are unused and could be [reclaimed](crate::FileMaintenance::reclaim_space). On PostgreSQL it is
    /// not known, and 0.
    pub unused_bytes: u64,
}

/// How much one session holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionStats {
    /// The session id; as much of it as can be shown if it is not text.
    pub session_id: String,
    /// The number of its events.
    pub events: i64,
    /// The total size of their payloads in bytes (UTF-8).
    pub payload_bytes: i64,
    /// The least index, of those that are integers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_index: Option<i64>,
    /// The greatest index, of those that are integers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_index: Option<i64>,
    /// When the earliest event was sent, if that is a time.
    #[serde(default, with = "super::time::optional_millis", skip_serializing_if = "Option::is_none")]
    pub first_time: Option<DateTime<Utc>>,
    /// When the latest event was sent, if that is a time.
    #[serde(default, with = "super::time::optional_millis", skip_serializing_if = "Option::is_none")]
    pub last_time: Option<DateTime<Utc>>,
}

/// The problems found in a database. Each list holds at most the first hundred findings.
///
/// ```
/// use agent_session_store::SessionStore;
///
/// let report = SessionStore::open_in_memory()?.check()?;
/// assert!(report.is_sound());
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// The output of SQLite's integrity check, unless it is "ok". On PostgreSQL, indexes that are invalid.
    pub integrity: Vec<String>,
    /// Rows that cannot be decoded, each with the message of its [`Error::Decode`](crate::Error::Decode).
    pub undecodable: Vec<String>,
    /// Sessions that have events but no record. An application may store events first, so this is not necessarily a
    /// problem.
    pub without_record: Vec<String>,
    /// Indexes shared by several events of a session. Such events are ordered by id; appends never create them.
    pub duplicate_indexes: Vec<DuplicateIndex>,
    /// Whether there is a table `events_legacy`, left behind by an interrupted rebuild of the reference driver.
    pub has_events_legacy: bool,
}

/// An index shared by several events of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DuplicateIndex {
    /// The session id; as much of it as can be shown if it is not text.
    pub session_id: String,
    /// The index.
    pub event_index: i64,
    /// The number of events that share it.
    pub events: i64,
}

impl CheckReport {
    /// Whether the check found nothing that could lose or hide data. Sessions without a record and duplicate indexes do
    /// not.
    ///
    /// ```
    /// # use agent_session_store::CheckReport;
    /// assert!(CheckReport::default().is_sound());
    /// ```
    pub fn is_sound(&self) -> bool {
        self.integrity.is_empty() && self.undecodable.is_empty() && !self.has_events_legacy
    }
}

/// How much [`prune`](crate::SessionPersistDriver::prune) deleted or, in a dry run, would have deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PruneReport {
    /// Sessions.
    pub sessions: u64,
    /// Events, including those of the deleted sessions.
    pub events: u64,
}

impl std::ops::AddAssign for PruneReport {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.events += other.events;
    }
}

/// How much has been exported or imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Sessions, including those that have events but no record.
    pub sessions: u64,
    /// Events.
    pub events: u64,
}

/// The result of a [`checkpoint`](crate::FileMaintenance::checkpoint).
///
/// ```
/// use agent_session_store::SessionStore;
///
/// let store = SessionStore::open_in_memory()?;
/// assert!(store.checkpoint()?.is_complete); // there is no log
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointReport {
    /// Whether everything is in the database file and the log is empty. Always true without a write-ahead log.
    pub is_complete: bool,
    /// The number of frames in the log; a frame is one page as of one commit.
    pub log_frames: u64,
    /// The number of these frames that are in the database file as well. The others are held back by a connection that
    /// is still reading, or were written in the meantime.
    pub moved_frames: u64,
}

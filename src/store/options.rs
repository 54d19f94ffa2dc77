//! The options of a store.

use std::time::Duration;

use super::engine::OnOpen;

/// What an acknowledged write survives.
///
/// ```
/// use agent_session_store::{Durability, SessionStore};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("sessions.db");
///
/// let store = SessionStore::builder().durability(Durability::Normal).open(path)?;
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Power loss and operating system crashes: SQLite's `synchronous = EXTRA`, which with a write-ahead log is the
    /// same as `FULL`. Every commit waits for the disk, from a tenth of a millisecond to tens of milliseconds;
    /// concurrent writes share one commit.
    #[default]
    Full,
    /// A crash or kill of the process: `synchronous = NORMAL`. A commit does not wait for the disk. After power loss or
    /// an operating system crash the file is intact, but the last writes may be missing. With a rollback journal this
    /// is the same as `Full`, since anything less would not keep the file intact on every disk.
    Normal,
}

/// How SQLite makes transactions atomic.
///
/// ```
/// use agent_session_store::{JournalMode, SessionStore};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("sessions.db");
///
/// let store = SessionStore::builder().journal_mode(JournalMode::Rollback).open(path)?;
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JournalMode {
    /// A write-ahead log, in two files next to the database (`-wal`, `-shm`): readers and the writer do not wait for
    /// each other, and a commit takes one disk sync. All processes must be on the same machine. If the file system does
    /// not support it, SQLite stays with the rollback journal.
    #[default]
    Wal,
    /// A rollback journal (SQLite's `DELETE` mode), for network file systems and for files that other programs copy
    /// while they are open. A commit takes two to four disk syncs, and readers and the writer wait for each other.
    Rollback,
}

/// All options, as collected by [`SessionStoreBuilder`](super::SessionStoreBuilder).
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) durability: Durability,
    pub(super) journal_mode: JournalMode,
    pub(super) busy_timeout: Duration,
    pub(super) readers: usize,
    pub(super) create: bool,
    pub(super) read_only: bool,
    pub(super) file_mode: u32,
    pub(super) log_size_limit: u64,
    pub(super) auto_checkpoint: bool,
    pub(super) incremental_vacuum: bool,
    pub(super) schema: Option<String>,
    pub(super) transaction_pooling: bool,
    /// `None` if the engine decides.
    pub(super) watch_interval: Option<Duration>,
    pub(super) on_open: OnOpen,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            journal_mode: JournalMode::default(),
            busy_timeout: Duration::from_secs(5),
            readers: 4,
            create: true,
            read_only: false,
            file_mode: 0o600,
            log_size_limit: 64 << 20,
            auto_checkpoint: true,
            incremental_vacuum: false,
            schema: None,
            transaction_pooling: false,
            watch_interval: None,
            on_open: OnOpen::default(),
        }
    }
}

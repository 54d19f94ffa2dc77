//! The choices that a store is opened with.

use std::time::Duration;

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
    /// Power loss, and a crash of the operating system: SQLite's `synchronous = EXTRA`, which with a write-ahead log
    /// is the same as `FULL`. Every commit waits for the disk, for between a tenth of a millisecond and tens of
    /// milliseconds; writes that wait at the same time share one commit.
    #[default]
    Full,
    /// A crash or kill of the process: `synchronous = NORMAL`. A commit does not wait for the disk. After power loss
    /// or a crash of the operating system the file is intact, but the last writes before it may be missing. With a
    /// rollback journal this is the same as `Full`: less would not keep the file intact on every disk.
    Normal,
}

/// How SQLite keeps a transaction apart until it is committed.
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
    /// A write-ahead log, in two files beside the database (`-wal`, `-shm`): readers and the writer do not wait for
    /// each other, and a commit is one disk sync. All processes must be on one machine. Where the file system cannot
    /// do it, SQLite stays with the rollback journal.
    #[default]
    Wal,
    /// A rollback journal (SQLite's `DELETE`), for network file systems and files that other programs copy while they
    /// are open. A commit is two to four disk syncs, and readers and the writer wait for each other.
    Rollback,
}

/// All of them, as [`SessionStoreBuilder`](super::SessionStoreBuilder) has collected them.
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
        }
    }
}

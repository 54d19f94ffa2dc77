//! How a store is opened.

use std::path::Path;
use std::time::Duration;

use super::blocking::SessionStore;
use super::engine::Engine;
use super::options::{Durability, JournalMode, Options};
use crate::error::Result;

/// The choices that [`SessionStore::open`] makes, one by one.
///
/// ```
/// use std::time::Duration;
/// use agent_session_store::SessionStore;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("sessions.db");
///
/// let store = SessionStore::builder().busy_timeout(Duration::from_secs(10)).readers(8).open(path)?;
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct SessionStoreBuilder(Options);

impl SessionStoreBuilder {
    /// What an acknowledged write survives; [`Durability::Full`] unless set.
    ///
    /// ```
    /// # use agent_session_store::{Durability, SessionStore};
    /// let builder = SessionStore::builder().durability(Durability::Normal);
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.0.durability = durability;
        self
    }

    /// Write-ahead log or rollback journal; [`JournalMode::Wal`] unless set. It is a property of the file: opening
    /// changes it for everybody, and waits for others to let it.
    ///
    /// ```
    /// # use agent_session_store::{JournalMode, SessionStore};
    /// let builder = SessionStore::builder().journal_mode(JournalMode::Rollback);
    /// ```
    pub fn journal_mode(mut self, journal_mode: JournalMode) -> Self {
        self.0.journal_mode = journal_mode;
        self
    }

    /// How long to wait for another process (or another store on the same file) that holds the lock, before a call
    /// fails with [`Error::Busy`](crate::Error::Busy); 5 seconds unless set. Precise to the millisecond.
    ///
    /// Opening a file that has to be migrated, or that another process is migrating, waits longer, see
    /// [`migrate`](crate::migrate); opening one for reading alone does not.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().busy_timeout(std::time::Duration::from_millis(500));
    /// ```
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.0.busy_timeout = timeout;
        self
    }

    /// How many connections may read at the same time; 4 unless set, and at least 1. Each is opened when it is first
    /// needed and takes up to 2 MB for its cache. Calls beyond this number wait for one to be free. Exports and copies do
    /// not count: each takes a connection of its own.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().readers(16);
    /// ```
    pub fn readers(mut self, connections: usize) -> Self {
        self.0.readers = connections.max(1);
        self
    }

    /// Whether to create a file that is not there, or that a link leads to; `true` unless set. If `false`, opening fails
    /// with [`Error::Open`](crate::Error::Open). Folders are never created.
    ///
    /// ```
    /// # use agent_session_store::{Error, SessionStore};
    /// let result = SessionStore::builder().create(false).open("no such file.db");
    /// assert!(matches!(result, Err(Error::Open { .. })));
    /// ```
    pub fn create(mut self, create: bool) -> Self {
        self.0.create = create;
        self
    }

    /// Whether to open the file for reading alone; `false` unless set. The file must exist; it is read as it is, also
    /// where it belongs to the reference driver and has never been migrated. If it has an older shape, opening fails with
    /// [`Error::MigrationNeeded`](crate::Error::MigrationNeeded), and every write with
    /// [`Error::ReadOnly`](crate::Error::ReadOnly). Journal mode, durability and what concerns the log do not apply.
    ///
    /// Neither the database nor its log or journal is changed by a byte. SQLite reads a log by way of an index in shared
    /// memory, the `-shm` file: while the store is open, an empty `-wal` and a `-shm` may come to lie beside a database
    /// in WAL mode that has none, and are taken away when it closes. Where there is a log with something in it, the
    /// `-shm` is created or written anew as needed, and stays with the log.
    ///
    /// Opening fails with [`Error::Open`](crate::Error::Open) where reading would take a write: a transaction that was
    /// interrupted is to be rolled back, or there is no `-shm` and the folder cannot be written to.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("sessions.db");
    /// # SessionStore::open(&path)?.close()?;
    /// let store = SessionStore::builder().read_only(true).open(path)?;
    /// assert_eq!(store.get_session("session-1")?, None);
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.0.read_only = read_only;
        self
    }

    /// Which users may read and write a file that is created, on Unix: its mode, whatever the umask of the process;
    /// `0o600` unless set, so that it is its owner's alone. The owner may always do both. The files beside it (`-wal`,
    /// `-shm`, `-journal`) get the same mode, from SQLite. A file that is there keeps its own; change that with
    /// [`set_permissions`](std::fs::set_permissions) while nobody has it open.
    ///
    /// Elsewhere this does nothing: on Windows a new file has the rights that its folder hands down.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let shared_with_the_group = SessionStore::builder().file_mode(0o660);
    /// ```
    pub fn file_mode(mut self, mode: u32) -> Self {
        self.0.file_mode = mode & 0o777 | 0o600;
        self
    }

    /// How large the write-ahead log (`-wal`) may be, in bytes; 64 MiB unless set. A log that is larger after a write is
    /// moved into the file and emptied as soon as those who read from it let that happen; the store's own writes wait for
    /// it, for a fifth of a second at most besides the copying. It is tried again after a tenth of a second, or after up
    /// to 30 seconds where one reader is in the way for long, such as an export: until then the log grows. A single write
    /// may also make it larger than this. See [`checkpoint`](SessionStore::checkpoint) to do it at once.
    ///
    /// A log that is emptied often costs time: each commit makes the file grow again. Below some megabytes the space
    /// saved is seldom worth it.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().log_size_limit(16 << 20);
    /// ```
    pub fn log_size_limit(mut self, bytes: u64) -> Self {
        self.0.log_size_limit = bytes;
        self
    }

    /// Whether the log is moved into the file without being asked; `true` unless set. If `false`, neither SQLite nor the
    /// store does so, however large it becomes and also not when the store is closed: for programs such as Litestream
    /// that copy the log and take care of it themselves. [`log_size_limit`](Self::log_size_limit) does not apply then.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().auto_checkpoint(false);
    /// ```
    pub fn auto_checkpoint(mut self, automatic: bool) -> Self {
        self.0.auto_checkpoint = automatic;
        self
    }

    /// Opens a database file, and [migrates](crate::migrate) it where that is needed. A relative path is taken from the
    /// working directory of this moment.
    ///
    /// Every character of the path stands for itself, with two exceptions. `":memory:"` is
    /// [in memory](Self::open_in_memory), as to SQLite. What begins with `file:` would be a URI to SQLite and is refused:
    /// say what it would say with [`read_only`](Self::read_only) and [`create`](Self::create). Files of such names are
    /// `"./:memory:"` and `"./file:x"`.
    ///
    /// # Errors
    ///
    /// [`Error::Open`](crate::Error::Open), also for what is no file (a folder, a named pipe, a device) and for what a
    /// killed [`backup_to`](SessionStore::backup_to) has left; [`Error::Busy`](crate::Error::Busy), and those of
    /// [`migrate`](crate::migrate).
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("sessions.db");
    /// let store = SessionStore::builder().open(path)?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn open(self, path: impl AsRef<Path>) -> Result<SessionStore> {
        Engine::open(path.as_ref(), self.0).map(SessionStore::over)
    }

    /// Opens a database that lives in memory as long as the store, for tests. Everything goes through one connection.
    /// [`read_only`](Self::read_only) does nothing there.
    ///
    /// # Errors
    ///
    /// Whatever the database reports.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let store = SessionStore::builder().open_in_memory()?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn open_in_memory(self) -> Result<SessionStore> {
        Engine::open_in_memory(self.0).map(SessionStore::over)
    }
}

impl SessionStore {
    /// Opens a store in another way than [`SessionStore::open`] does.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().readers(8);
    /// ```
    pub fn builder() -> SessionStoreBuilder {
        SessionStoreBuilder::default()
    }
}

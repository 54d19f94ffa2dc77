//! The store's builder.

use std::marker::PhantomData;
use std::time::Duration;

use super::blocking::SessionStore;
use super::engine::{OnOpen, StoreConnection};
use super::options::{Durability, JournalMode, Options};
use crate::error::Result;

/// Opens a [`SessionStore`] with your own options instead of the defaults of [`SessionStore::open`].
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
///
/// `AsyncSessionStore::builder` returns one whose `open`, `connect` and `open_in_memory` open an `AsyncSessionStore`.
#[derive(Clone, Debug)]
#[must_use]
pub struct SessionStoreBuilder<S = SessionStore>(pub(super) Options, PhantomData<fn() -> S>);

impl<S> SessionStoreBuilder<S> {
    pub(super) fn of(options: Options) -> Self {
        Self(options, PhantomData)
    }

    /// What an acknowledged write survives. Default: [`Durability::Full`].
    ///
    /// ```
    /// # use agent_session_store::{Durability, SessionStore};
    /// let builder = SessionStore::builder().durability(Durability::Normal);
    /// ```
    pub fn durability(mut self, durability: Durability) -> Self {
        self.0.durability = durability;
        self
    }

    /// Whether to use a write-ahead log or a rollback journal. Default: [`JournalMode::Wal`]. The journal mode is a
    /// property of the file: opening changes it for everyone, and waits until other connections allow the change.
    ///
    /// ```
    /// # use agent_session_store::{JournalMode, SessionStore};
    /// let builder = SessionStore::builder().journal_mode(JournalMode::Rollback);
    /// ```
    pub fn journal_mode(mut self, journal_mode: JournalMode) -> Self {
        self.0.journal_mode = journal_mode;
        self
    }

    /// How long to wait for a lock held by another process (or another store on the same file) before a call fails with
    /// [`Error::Busy`](crate::Error::Busy), with millisecond precision. Default: 5 seconds.
    ///
    /// Opening a file that has to be migrated, or that another process is migrating, waits longer, see
    /// [`migrate`](crate::migrate). Opening it read-only does not.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().busy_timeout(std::time::Duration::from_millis(500));
    /// ```
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.0.busy_timeout = timeout;
        self
    }

    /// How many connections may read at the same time, at least 1. Default: 4. Each is opened on first use and takes up
    /// to 2 MB of cache. Further reads wait for a free connection. Exports and backups do not count: each opens its own
    /// connection. On PostgreSQL, as many transactions may run at the same time, on further connections.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().readers(16);
    /// ```
    pub fn readers(mut self, connections: usize) -> Self {
        self.0.readers = connections.max(1);
        self
    }

    /// Whether to create a missing file, also at the target of a link. Default: `true`. If `false`, opening a missing
    /// file fails with [`Error::Open`](crate::Error::Open). Folders are never created.
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

    /// Whether to open the file read-only. Default: `false`. The file must exist and is read as it is, even if it
    /// belongs to the reference driver and was never migrated. If it has an older schema, opening fails with
    /// [`Error::MigrationNeeded`](crate::Error::MigrationNeeded). Every write fails with
    /// [`Error::ReadOnly`](crate::Error::ReadOnly). The options for journal mode, durability and the log do not apply.
    ///
    /// Not a byte of the database, its log or its journal changes. SQLite reads a log through an index in shared
    /// memory, the `-shm` file. While the store is open, an empty `-wal` and a `-shm` may appear next to a database in
    /// WAL mode that has none; they are removed when it closes. If there is a log with content, the `-shm` is created
    /// or rewritten as needed, and stays with the log.
    ///
    /// Opening fails with [`Error::Open`](crate::Error::Open) if reading would require a write: because an interrupted
    /// transaction has to be rolled back, or because there is no `-shm` and the folder is not writable.
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

    /// The mode of a file that the store creates, on Unix, regardless of the process's umask. Default: `0o600`, private
    /// to its owner. The owner can always read and write. SQLite gives the files next to it (`-wal`, `-shm`,
    /// `-journal`) the same mode. An existing file keeps its mode; change it with
    /// [`set_permissions`](std::fs::set_permissions) while nobody has the file open.
    ///
    /// On other systems this does nothing: on Windows a new file inherits the permissions of its folder.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let shared_with_the_group = SessionStore::builder().file_mode(0o660);
    /// ```
    pub fn file_mode(mut self, mode: u32) -> Self {
        self.0.file_mode = mode & 0o777 | 0o600;
        self
    }

    /// The size in bytes above which the store empties the write-ahead log (`-wal`). Default: 64 MiB. If the log is
    /// larger after a write, the store moves it into the file and empties it as soon as its readers allow. Its own
    /// writes wait for that, at most a fifth of a second on top of the copying. If readers are in the way, it tries
    /// again after a tenth of a second, or after up to 30 seconds if one of them runs for long, such as an export;
    /// until then the log grows. A single write may also exceed the limit. To empty the log at once, see
    /// [`checkpoint`](SessionStore::checkpoint).
    ///
    /// Emptying the log often costs time, since each commit has to grow the file again. Below a few megabytes the saved
    /// space is rarely worth it.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().log_size_limit(16 << 20);
    /// ```
    pub fn log_size_limit(mut self, bytes: u64) -> Self {
        self.0.log_size_limit = bytes;
        self
    }

    /// Whether to checkpoint the log automatically. Default: `true`. If `false`, neither SQLite nor the store moves the
    /// log into the file, however large it becomes, not even when the store closes. Use this with programs such as
    /// Litestream that copy the log and checkpoint it themselves. [`log_size_limit`](Self::log_size_limit) does not
    /// apply then.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().auto_checkpoint(false);
    /// ```
    pub fn auto_checkpoint(mut self, automatic: bool) -> Self {
        self.0.auto_checkpoint = automatic;
        self
    }

    /// Whether a new file is made for returning unused space in small steps: SQLite's `auto_vacuum = INCREMENTAL`.
    /// Default: `false`. On such a file, [`reclaim_space`](SessionStore::reclaim_space) lets others write in between, on
    /// others it rewrites the file at once (`VACUUM`). It costs one page in about eight hundred, and a little time at
    /// every write that needs a new page. A file that exists stays as it is; nothing is returned before you ask for it.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("sessions.db");
    /// let store = SessionStore::builder().incremental_vacuum(true).open(path)?;
    /// store.reclaim_space()?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn incremental_vacuum(mut self, incremental: bool) -> Self {
        self.0.incremental_vacuum = incremental;
        self
    }

    /// The PostgreSQL schema with the tables, created if it does not exist. Default: the one that the server's
    /// `search_path` says, usually `public`. A store uses this schema and no other, so tenants with a schema each are
    /// kept apart. A file has no schemas.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().schema("tenant_7");
    /// ```
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.0.schema = Some(name.into());
        self
    }

    /// Whether a pool in front of the PostgreSQL server lends its connections for one transaction at a time (PgBouncer's
    /// transaction mode). Default: `false`. If `true`, the store prepares no statements and sets nothing on a connection,
    /// since the next client to get that connection would be affected. So [`schema`](Self::schema) and
    /// [`read_only`](Self::read_only) are refused, and [`busy_timeout`](Self::busy_timeout) and
    /// [`durability`](Self::durability) have no effect: set these for the role, with `ALTER ROLE … SET`. Statements take
    /// longer, see [the guide](crate::guide::scale#connection-pools-in-front).
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().transaction_pooling(true);
    /// ```
    pub fn transaction_pooling(mut self, pooling: bool) -> Self {
        self.0.transaction_pooling = pooling;
        self
    }

    /// How often the store looks for commits by others while anybody [follows](SessionStore::follow) or waits for changes.
    /// Default: 50 milliseconds for a file, 1 second on PostgreSQL, where other stores tell of theirs at once, and only
    /// the commits of programs that tell nobody have to be found. The store's own commits need no looking. The cost
    /// does not depend on the number of followers. From 1 millisecond to a day.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().watch_interval(std::time::Duration::from_millis(10));
    /// ```
    pub fn watch_interval(mut self, interval: Duration) -> Self {
        self.0.watch_interval = Some(interval.clamp(Duration::from_millis(1), Duration::from_secs(24 * 60 * 60)));
        self
    }

    /// Runs your code on each connection that the store opens, before it sends anything else: the writing connection,
    /// the reading ones, those that replace a lost one, and those that look at a backup or tidy up at the end. A further
    /// call replaces the hook of an earlier one.
    ///
    /// With SQLCipher in place of SQLite (feature `bundled-sqlcipher` of `libsqlite3-sys`, without this crate's
    /// `bundled`), `PRAGMA key` makes an encrypted store of a new file, and opens it again. A
    /// [backup](SessionStore::backup_to) is encrypted with the same key. With another key, opening fails with
    /// [`Error::NotADatabase`](crate::Error::NotADatabase). Exports, and the temporary file of an import, are not
    /// encrypted. On PostgreSQL, use it for `SET`. The store's own settings follow: those of [`schema`](Self::schema),
    /// [`busy_timeout`](Self::busy_timeout), [`durability`](Self::durability) and [`read_only`](Self::read_only).
    ///
    /// The connections are opened at any time and on any thread, also read-only, and also by calls that only read. So
    /// do what is the same each time, do not write, and leave no transaction open. The store does not wait for locks
    /// yet. With [`transaction_pooling`](Self::transaction_pooling), whoever has the connection next meets what you set.
    ///
    /// An error fails the call that opens the connection. A database's message is passed on without what it quotes of
    /// your statement, as [`Error::Open`](crate::Error::Open), since that may be part of the key. Diesel's
    /// instrumentation sees the whole statement; pass nothing secret on to your logs there.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("sessions.db");
    /// # let key = "x'2DD29CA851E7B56E4697B0E1F08507293D761A05CE4D1B628663F411A8086D99'";
    /// // Without SQLCipher this does nothing.
    /// let store = SessionStore::builder().on_open(move |conn| conn.batch_execute(&format!("PRAGMA key = \"{key}\""))).open(path)?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn on_open(mut self, hook: impl Fn(&mut StoreConnection<'_>) -> Result<()> + Send + Sync + 'static) -> Self {
        self.0.on_open = OnOpen::new(hook);
        self
    }
}

impl SessionStore {
    /// Returns a builder with the defaults of [`SessionStore::open`].
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().readers(8);
    /// ```
    pub fn builder() -> SessionStoreBuilder {
        SessionStoreBuilder::default()
    }
}

impl Default for SessionStoreBuilder {
    fn default() -> Self {
        Self::of(Options::default())
    }
}

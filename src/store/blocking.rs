//! The store: its type, opening and closing.

use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::engine::Engine;
use super::reentrance::{ANYTHING, Activity, ActivityGuard, is_inside, refuse};
use crate::error::Result;

/// A store of sessions and events in a database file, or on a PostgreSQL server. It manages connections, settings,
/// migration and threads for you. It is cheap to clone; share it between any number of threads.
///
/// **Writes** return once they are committed and, unless you choose [`Durability::Normal`](crate::Durability::Normal),
/// on disk. Concurrent writes share one transaction and one disk sync, but each gets its own result: one that fails
/// does not fail the others. Up to 1,024 writes wait in a queue inside the store, each with a copy of its data; further
/// calls block until there is room. The writes of one thread stay in order.
///
/// **Reads** run on separate connections and see every write that has returned. With a write-ahead log, and on a server,
/// they never wait for a writer.
///
/// Other processes, including the reference driver, can use the same database at the same time. Calls block; in async code,
/// use `AsyncSessionStore` from the feature `async`.
///
/// # Reentrant calls
///
/// Your code that the store runs may call the store: an export's or import's callback, its writer or reader, a waker,
/// Diesel's instrumentation. Such a call either works or, if it would wait for the very call it is made from, fails at
/// once with [`Error::Reentrant`](crate::Error::Reentrant):
///
/// - During an import, everything works. After [`close`](Self::close), the import ends with
///   [`Error::Closed`](crate::Error::Closed).
/// - During an export, everything works except [`close`](Self::close) and [`reclaim_space`](Self::reclaim_space) and,
///   if the file was opened with a rollback journal, all writes. In memory everything works.
/// - In a [`transaction`](Self::transaction), nothing works but the verbs of the transaction.
/// - In the instrumentation of a read, the same rules apply as during an export. In that of a write you can read but
///   not write. Instrumentation of a store in memory cannot call the store at all.
///
/// The store cannot detect that your code waits for another thread or task that makes such a call. Do not wait for one.
///
/// # Instrumentation
///
/// You can observe everything the store does, including slow and failing queries, with Diesel's instrumentation. Call
/// [`set_default_instrumentation`](diesel::connection::set_default_instrumentation) before you open the store; the
/// instrumentation then sees its connections, queries, transactions and errors.
///
/// ```
/// use agent_session_store::{Json, ListEventsRequest, Sender, SessionEvent, SessionStore};
/// use chrono::DateTime;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("sessions.db");
///
/// let store = SessionStore::open(path)?;
/// store.insert_event(&SessionEvent::new("event-1", 1, "session-1", DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(), "connection-1", Sender::Client, Json::parse(r#"{"jsonrpc":"2.0","id":1,"method":"session/new"}"#)?))?;
/// let page = store.list_events(&ListEventsRequest::new("session-1"))?;
/// assert_eq!(page.items.len(), 1);
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone)]
pub struct SessionStore(pub(super) Arc<Owner>);

/// Shared by the clones of a store; the connections close when the last clone is dropped. The store's own threads hold
/// the connections but not this, so closing never depends on their progress.
pub(super) struct Owner(Arc<OpenStore>);

pub(super) struct OpenStore {
    pub(super) engine: Engine,
    /// Held while closing, so that a second call to close waits for the first.
    closing: Mutex<()>,
}

impl SessionStore {
    /// Opens a database file, creating it if it does not exist, and [migrates](crate::migrate) it if necessary. It uses
    /// a write-ahead log, full durability, and the other defaults of [`SessionStore::builder`]. A new file is private
    /// to its owner, see [`file_mode`](crate::SessionStoreBuilder::file_mode). `":memory:"` opens a database in memory;
    /// [`SessionStoreBuilder::open`](crate::SessionStoreBuilder::open) describes how a path is interpreted.
    ///
    /// # Errors
    ///
    /// [`Error::Open`](crate::Error::Open), [`Error::Busy`](crate::Error::Busy), and the errors of
    /// [`migrate`](crate::migrate).
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("sessions.db");
    /// let store = SessionStore::open(path)?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// Opens what a URL names, with the defaults of [`SessionStore::builder`]: `postgres://…` is a PostgreSQL database
    /// (feature `postgres`), `sqlite:…` or a path is a file. So an application that outgrows its file changes its URL.
    /// [`SessionStoreBuilder::connect`](crate::SessionStoreBuilder::connect) describes the forms of a URL.
    ///
    /// # Errors
    ///
    /// Those of [`SessionStoreBuilder::connect`](crate::SessionStoreBuilder::connect).
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let store = SessionStore::connect("sqlite::memory:")?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn connect(url: &str) -> Result<Self> {
        Self::builder().connect(url)
    }

    /// Opens a database in memory that lives as long as the store, for tests.
    ///
    /// # Errors
    ///
    /// Any error from the database.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let store = SessionStore::open_in_memory()?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn open_in_memory() -> Result<Self> {
        Self::builder().open_in_memory()
    }

    pub(super) fn over(engine: Engine) -> Self {
        Self(Arc::new(Owner(Arc::new(OpenStore { engine, closing: Mutex::new(()) }))))
    }

    /// Closes the store for all its clones. It waits for calls in progress, moves the write-ahead log into the file as
    /// far as other processes allow, and closes the connections. For the log it waits for other processes, or blocks
    /// their writers, for at most a twentieth of a second. Every later call fails with
    /// [`Error::Closed`](crate::Error::Closed); closing again does nothing.
    ///
    /// Dropping the last clone does the same, but ignores errors.
    ///
    /// # Errors
    ///
    /// [`Error::Reentrant`](crate::Error::Reentrant) from inside another call that it would wait for; the store then
    /// stays open. Also any error from the database while moving the log. No data is lost then: acknowledged writes are
    /// in the log, and whoever opens the file next reads them from there.
    ///
    /// ```
    /// # use agent_session_store::{Error, SessionStore};
    /// let store = SessionStore::open_in_memory()?;
    /// store.close()?;
    /// assert!(matches!(store.get_session("session-1"), Err(Error::Closed)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn close(&self) -> Result<()> {
        self.0.close()
    }
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore").field("location", self.0.engine.location()).finish_non_exhaustive()
    }
}

impl OpenStore {
    fn close(&self) -> Result<()> {
        let id = self.engine.id();
        refuse(id, ANYTHING)?;
        let _inside = ActivityGuard::enter(id, Activity::Closing);
        let _closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        self.engine.close()
    }
}

impl Deref for Owner {
    type Target = Arc<OpenStore>;

    fn deref(&self) -> &Arc<OpenStore> {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let store = Arc::clone(&self.0);
        // There is nobody to report an error to, or a panic in the application's instrumentation.
        let close = move || _ = catch_unwind(AssertUnwindSafe(|| store.close()));
        if is_inside(self.engine.id(), ANYTHING) {
            // Dropped by code that the store called. This thread cannot wait for the call that it is in.
            let _ = std::thread::Builder::new().name("agent-session-store".to_owned()).spawn(close);
        } else {
            close();
        }
    }
}

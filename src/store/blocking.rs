//! The store: what it is, and how it is opened and closed.

use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::engine::{Engine, StoreEngine};
use super::reentrance::{ANYTHING, Activity, ActivityGuard, is_inside, refuse};
use crate::error::Result;

/// Sessions and events in a database file of the store's own making: connections, settings, migration and threads are
/// its business. Cheap to clone; share it between any number of threads.
///
/// **Writes** return when they are committed and, unless [`Durability::Normal`](crate::Durability::Normal) was chosen,
/// on the disk. Those that wait at the same time become one transaction and one disk sync, each answered for itself: one
/// that fails does not fail the others. Up to 1,024 writes wait inside the store with a copy of what they write; a
/// further call blocks until there is room. The writes of one thread keep their order.
///
/// **Reads** run on connections of their own, see every write that was answered before, and with a write-ahead log
/// never wait for a writer.
///
/// Other processes, the reference driver among them, may use the same file at the same time. Calls block; from async
/// code use the `async` feature's `AsyncSessionStore`.
///
/// # Calls from inside
///
/// Code of yours that the store runs may use the store: an export's or import's callback, its writer or reader, a
/// waker, Diesel's instrumentation. Each call works, or it is [`Error::Reentrant`](crate::Error::Reentrant) at once, where
/// it would wait for the very call that it is made from:
///
/// - during an import, everything works; after [`close`](Self::close) it ends with [`Error::Closed`](crate::Error::Closed),
/// - during an export, everything works but [`close`](Self::close) and [`reclaim_space`](Self::reclaim_space), and, if the
///   file was opened with a rollback journal, whatever writes; in memory everything works,
/// - instrumentation of a read is in the same position; that of a write may read, but not write; in memory it can do
///   nothing.
///
/// What cannot be noticed is another thread or task that makes such a call while yours waits for it: do not wait for one.
///
/// # Watching it
///
/// Everything the store does, and what is slow or fails, can be watched with Diesel's instrumentation: what
/// [`set_default_instrumentation`](diesel::connection::set_default_instrumentation) installs before the store is
/// opened sees its connections, queries, transactions and errors.
///
/// ```
/// use agent_session_store::{Json, ListEventsRequest, Sender, SessionEvent, SessionStore};
/// use chrono::DateTime;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("sessions.db");
///
/// let store = SessionStore::open(path)?;
/// store.insert_event(&SessionEvent {
///     id: "event-1".to_owned(),
///     event_index: 1,
///     session_id: "session-1".to_owned(),
///     created_at: DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
///     connection_id: "connection-1".to_owned(),
///     sender: Sender::Client,
///     payload: Json::parse(r#"{"jsonrpc":"2.0","id":1,"method":"session/new"}"#)?,
/// })?;
/// let page = store.list_events(&ListEventsRequest::new("session-1"))?;
/// assert_eq!(page.items.len(), 1);
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone)]
pub struct SessionStore(pub(super) Arc<Owner>);

/// What the clones of a store share; the connections close when the last of them is gone. The store's own threads hold
/// the connections and not this, so that closing never depends on how far they are.
pub(super) struct Owner(Arc<OpenStore>);

pub(super) struct OpenStore {
    pub(super) engine: Engine,
    /// Held while closing: who closes as well has to wait for that.
    closing: Mutex<()>,
}

impl SessionStore {
    /// Opens a database file, creates it if it is not there, and [migrates](crate::migrate) it if that is needed:
    /// with a write-ahead log, full durability, and the other choices of [`SessionStore::builder`]. A new file is its
    /// owner's alone, see [`file_mode`](crate::SessionStoreBuilder::file_mode). What a path stands for is said at
    /// [`SessionStoreBuilder::open`](crate::SessionStoreBuilder::open): `":memory:"` is a database in memory.
    ///
    /// # Errors
    ///
    /// [`Error::Open`](crate::Error::Open), [`Error::Busy`](crate::Error::Busy), and those of
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

    /// Opens a database that lives in memory as long as the store, for tests.
    ///
    /// # Errors
    ///
    /// Whatever the database reports.
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

    /// Closes the store, for every clone of it: waits for the calls that were begun, moves the write-ahead log into
    /// the file as far as other processes let it (waiting for them, or keeping writers waiting, for a twentieth of a second at most), and closes the
    /// connections. Every later call is answered with
    /// [`Error::Closed`](crate::Error::Closed), except this one, which then does nothing.
    ///
    /// Dropping the last clone does the same, without a word about errors.
    ///
    /// # Errors
    ///
    /// [`Error::Reentrant`](crate::Error::Reentrant) from inside another call, which it would wait for; the store stays
    /// open then. And what the database reports about moving the log. Nothing is lost then: what was acknowledged is in the log, and
    /// the next one to open the file reads it there.
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
        // Nobody is left to tell, of errors or of a panic in the host's instrumentation.
        let close = move || _ = catch_unwind(AssertUnwindSafe(|| store.close()));
        if is_inside(self.engine.id(), ANYTHING) {
            // Dropped by code that the store called. This thread cannot wait for what it is in the middle of.
            let _ = std::thread::Builder::new().name("agent-session-store".to_owned()).spawn(close);
        } else {
            close();
        }
    }
}

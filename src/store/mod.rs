//! A store that owns its connections: one that writes, some that read.

#[cfg(feature = "async")]
mod asynchronous;
mod builder;
mod connection;
mod readers;
#[cfg(feature = "async")]
mod reading;
mod ticket;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use diesel::SqliteConnection;

#[cfg(feature = "async")]
pub use self::asynchronous::AsyncSessionStore;
use self::builder::Options;
pub use self::builder::{Durability, JournalMode, SessionStoreBuilder};
use self::connection::Location;
use self::readers::Readers;
use self::writer::Writer;
use crate::driver::SessionPersistDriver;
use crate::error::Result;
use crate::event::SessionEvent;
use crate::page::{ListEventsRequest, ListPage, ListSessionsRequest};
use crate::session::SessionRecord;

/// Sessions and events in a database file of the store's own making: connections, settings, migration and threads are
/// its business. Cheap to clone; share it between any number of threads.
///
/// **Writes** return when they are committed and, unless [`Durability::Normal`] was chosen, on the disk. Those that
/// wait at the same time become one transaction and one disk sync, each answered for itself: one that fails does not
/// fail the others. Up to 1,024 writes wait inside the store with a copy of what they write; a further call blocks
/// until there is room. The writes of one thread keep their order.
///
/// **Reads** run on connections of their own, see every write that was answered before, and with a write-ahead log
/// never wait for a writer.
///
/// Other processes, the reference driver among them, may use the same file at the same time. Calls block; from async
/// code use the `async` feature's `AsyncSessionStore`.
///
/// Everything the store does can be watched with Diesel's instrumentation: what
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
pub struct SessionStore(Arc<Connections>);

pub(crate) struct Connections {
    location: Location,
    writer: Arc<Writer>,
    readers: Readers,
}

impl SessionStore {
    /// Opens a database file, creates it if it is not there, and [migrates](crate::migrate) it if that is needed:
    /// with a write-ahead log, full durability, and the other choices of [`SessionStore::builder`].
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

    /// Opens a store in another way than [`SessionStore::open`] does.
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// let builder = SessionStore::builder().readers(8);
    /// ```
    pub fn builder() -> SessionStoreBuilder {
        SessionStoreBuilder::default()
    }

    fn establish(location: Location, options: Options) -> Result<Self> {
        let writer = Arc::new(Writer::new(connection::writer(&location, &options)?));
        let readers = Readers::new(location.clone(), options);
        Ok(Self(Arc::new(Connections { location, writer, readers })))
    }

    /// The session with this id, if there is one.
    ///
    /// # Errors
    ///
    /// As [`SessionPersistDriver::get_session`], and [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// assert_eq!(SessionStore::open_in_memory()?.get_session("nobody")?, None);
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn get_session(&self, id: &str) -> Result<Option<SessionRecord>> {
        self.0.read(|conn| conn.get_session(id))
    }

    /// A page of the sessions, ordered by `created_at`, then `id` (byte order).
    ///
    /// # Errors
    ///
    /// As [`SessionPersistDriver::list_sessions`], and [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::{ListSessionsRequest, SessionStore};
    /// let page = SessionStore::open_in_memory()?.list_sessions(&ListSessionsRequest::new())?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn list_sessions(&self, request: &ListSessionsRequest) -> Result<ListPage<SessionRecord>> {
        self.0.read(|conn| conn.list_sessions(request))
    }

    /// Stores a session: inserts it, or overwrites every column of the one with its id.
    ///
    /// # Errors
    ///
    /// As [`SessionPersistDriver::update_session`], and [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::{SessionRecord, SessionStore};
    /// # let session = SessionRecord { id: "s".into(), agent: "claude".into(), agent_session_id: "a".into(),
    /// #     last_connection_id: "c".into(), created_at: Default::default(), destroyed_at: None,
    /// #     sandbox_id: None, session_init: None, config_options: None, modes: None };
    /// let store = SessionStore::open_in_memory()?;
    /// store.update_session(&session)?;
    /// assert_eq!(store.get_session(&session.id)?, Some(session));
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn update_session(&self, session: &SessionRecord) -> Result<()> {
        self.0.write(session, |conn, session| conn.update_session(session))
    }

    /// A page of one session's events, ordered by `event_index`, then `id` (byte order).
    ///
    /// # Errors
    ///
    /// As [`SessionPersistDriver::list_events`], and [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::{ListEventsRequest, SessionStore};
    /// let page = SessionStore::open_in_memory()?.list_events(&ListEventsRequest::new("session-1"))?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn list_events(&self, request: &ListEventsRequest) -> Result<ListPage<SessionEvent>> {
        self.0.read(|conn| conn.list_events(request))
    }

    /// Stores an event: inserts it, or overwrites every column of the one with its id.
    ///
    /// # Errors
    ///
    /// As [`SessionPersistDriver::insert_event`], and [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::{Json, Sender, SessionEvent, SessionStore};
    /// # let event = SessionEvent { id: "e".into(), event_index: 1, session_id: "s".into(), created_at: Default::default(),
    /// #     connection_id: "c".into(), sender: Sender::Agent, payload: Json::parse("{}")? };
    /// SessionStore::open_in_memory()?.insert_event(&event)?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn insert_event(&self, event: &SessionEvent) -> Result<()> {
        self.0.write(event, |conn, event| conn.insert_event(event))
    }

    /// Stores several events, of one session or of many, all or nothing.
    ///
    /// # Errors
    ///
    /// As [`SessionPersistDriver::insert_events`], and [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::{Json, Sender, SessionEvent, SessionStore};
    /// # let event = SessionEvent { id: "e".into(), event_index: 1, session_id: "s".into(), created_at: Default::default(),
    /// #     connection_id: "c".into(), sender: Sender::Agent, payload: Json::parse("{}")? };
    /// SessionStore::open_in_memory()?.insert_events(&[event])?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn insert_events(&self, events: &[SessionEvent]) -> Result<()> {
        self.0.write(events, |conn, events| conn.insert_events(events))
    }

    /// Closes the store, for every clone of it: waits for the writes that were begun, moves the write-ahead log into
    /// the file as far as other processes let it, and closes the connections. Every later call is answered with
    /// [`Error::Closed`](crate::Error::Closed), except this one, which then does nothing.
    ///
    /// Dropping the last clone does the same, without a word about errors.
    ///
    /// # Errors
    ///
    /// What the database reports about moving the log. Nothing is lost then: what was acknowledged is in the log, and
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
        f.debug_struct("SessionStore").field("location", &self.0.location).finish_non_exhaustive()
    }
}

impl Connections {
    fn read<T>(&self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        match self.location {
            Location::File { .. } => self.readers.with(work),
            Location::Memory => self.writer.with(work),
        }
    }

    /// Runs a verb with its argument: on this thread if nobody else is writing, else with a copy in the queue.
    fn write<A, T>(
        &self,
        argument: &A,
        verb: impl Fn(&mut SqliteConnection, &A) -> Result<T> + Send + 'static,
    ) -> Result<T>
    where
        A: ToOwned<Owned: Send> + ?Sized + 'static,
        T: Send + 'static,
    {
        use std::borrow::Borrow;
        if let Some(result) = self.writer.write_now(|conn| verb(conn, argument)) {
            return result;
        }
        let argument = argument.to_owned();
        self.writer.submit(move |conn| verb(conn, argument.borrow()))?.wait()
    }

    fn close(&self) -> Result<()> {
        let conn = self.writer.close();
        self.readers.close();
        match (conn, &self.location) {
            (Some(mut conn), Location::File { .. }) => connection::checkpoint(&mut conn),
            _ => Ok(()),
        }
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.close();
    }
}

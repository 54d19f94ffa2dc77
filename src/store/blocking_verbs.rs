//! The verbs of [`SessionStore`]: each is one call of the engine.

use std::io::{BufRead, Write};
use std::path::Path;

use chrono::{DateTime, Utc};

use super::blocking::SessionStore;
use super::engine::{Engine, StoreEngine};
use super::forwarded_verbs::{argument_type, forwarded_verbs, from_owned};
use crate::append::NewEvent;
use crate::checkpoint::CheckpointReport;
use crate::driver::SessionPersistDriver;
use crate::error::{Error, Result};
use crate::event::SessionEvent;
use crate::inspect::{CheckReport, SessionStats, Stats};
use crate::page::ListPage;
use crate::prune::{PruneReport, PruneRequest};
use crate::request::{ListEventsRequest, ListSessionsRequest};
use crate::session::SessionRecord;
use crate::transfer::{Progress, Selection};
use crate::walk::walk;

/// A verb that writes: with what its caller has, or with a copy of that if it has to queue.
macro_rules! write {
    ($store:ident, $verb:ident($($how:ident $argument:ident),*)) => {
        $store.engine().write(
            |conn| conn.$verb($($argument),*),
            || {
                $(let $argument = $argument.to_owned();)*
                move |conn| conn.$verb($(from_owned!($how $argument)),*)
            },
        )
    };
}

impl SessionStore {
    fn engine(&self) -> &Engine {
        &self.0.engine
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
        self.engine().read(|conn| conn.get_session(id))
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
        self.engine().read(|conn| conn.list_sessions(request))
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
        write!(self, update_session(ref session))
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
        self.engine().read(|conn| conn.list_events(request))
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
        write!(self, insert_event(ref event))
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
        write!(self, insert_events(ref events))
    }

    /// All events of a listing, read page by page as they are asked for; the limit of the request is the size of the
    /// pages, and one page is in memory. An event that cannot be decoded is an error in its place, and no end; any other
    /// error is the last item.
    ///
    /// ```
    /// # use agent_session_store::{ListEventsRequest, SessionStore};
    /// let store = SessionStore::open_in_memory()?;
    /// for event in store.events(ListEventsRequest::new("session-1")) {
    ///     println!("{}", event?.payload);
    /// }
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn events(&self, request: ListEventsRequest) -> impl Iterator<Item = Result<SessionEvent>> {
        walk(|request| self.list_events(request), request)
    }

    /// Deletes what is old, as [`SessionPersistDriver::prune`] does, and lets other writes of the store in between.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::{PruneRequest, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// let report = store.prune(&PruneRequest::new().max_events_per_session(10_000))?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn prune(&self, request: &PruneRequest) -> Result<PruneReport> {
        self.engine().prune(request)
    }

    /// Gives unused space back to the file system, as [`SessionPersistDriver::reclaim_space`] does. Other writes wait
    /// until it is done.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// SessionStore::open_in_memory()?.reclaim_space()?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn reclaim_space(&self) -> Result<()> {
        self.engine().reclaim_space()
    }

    /// Moves the write-ahead log into the file and empties it, as [`SessionPersistDriver::checkpoint`] does. Other writes
    /// of the store wait meanwhile.
    ///
    /// # Errors
    ///
    /// As there, [`Error::ReadOnly`](crate::Error::ReadOnly) for a store that only reads, and
    /// [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("sessions.db");
    /// let store = SessionStore::open(path)?;
    /// assert!(store.checkpoint()?.is_complete);
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn checkpoint(&self) -> Result<CheckpointReport> {
        self.engine().checkpoint()
    }

    /// Writes sessions as JSON Lines, as [`SessionPersistDriver::export`] does, while other threads read and write.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::{Selection, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// store.export(std::io::stdout(), &Selection::all())?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn export<W: Write>(&self, writer: W, selection: &Selection) -> Result<Progress> {
        self.export_with_progress(writer, selection, |_| {})
    }

    /// As [`export`](Self::export), and tells how far it is: after every session and every 1,000 events. What is called,
    /// and the writer, may use the store; see [calls from inside](Self#calls-from-inside). A store in memory calls both
    /// when it has read everything.
    ///
    /// # Errors
    ///
    /// As [`export`](Self::export).
    ///
    /// ```
    /// # use agent_session_store::{Selection, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// store.export_with_progress(std::io::stdout(), &Selection::all(), |done| eprintln!("{} events", done.events))?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn export_with_progress<W: Write>(
        &self,
        writer: W,
        selection: &Selection,
        progress: impl FnMut(Progress),
    ) -> Result<Progress> {
        self.engine().read_aside(writer, progress, |conn, writer, progress| {
            conn.export_with_progress(writer, selection, progress)
        })
    }

    /// Writes what can be decoded, and tells of each row that is left out, as
    /// [`SessionPersistDriver::export_readable`] does. What is called, and the writer, may use the store, as in
    /// [`export_with_progress`](Self::export_with_progress).
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::{Selection, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// store.export_readable(std::io::stdout(), &Selection::all(), |row| eprintln!("left out: {row}"))?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn export_readable<W: Write>(
        &self,
        writer: W,
        selection: &Selection,
        left_out: impl FnMut(Error),
    ) -> Result<Progress> {
        self.engine()
            .read_aside(writer, left_out, |conn, writer, left_out| conn.export_readable(writer, selection, left_out))
    }

    /// Reads what [`export`](Self::export) wrote, as [`SessionPersistDriver::import`] does. Other writes come in between:
    /// none waits for the reader.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # let store = SessionStore::open_in_memory()?;
    /// # let lines = "{\"format\":\"agent-session-store\",\"version\":1}\n";
    /// let done = store.import(lines.as_bytes())?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn import<R: BufRead>(&self, reader: R) -> Result<Progress> {
        self.import_with_progress(reader, |_| {})
    }

    /// As [`import`](Self::import), and tells how far it is: after every session and every 1,000 events, when these are
    /// committed. What is called may use the store.
    ///
    /// # Errors
    ///
    /// As [`import`](Self::import).
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # let store = SessionStore::open_in_memory()?;
    /// # let lines = "{\"format\":\"agent-session-store\",\"version\":1}\n";
    /// store.import_with_progress(lines.as_bytes(), |done| eprintln!("{} events", done.events))?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn import_with_progress<R: BufRead>(&self, reader: R, mut progress: impl FnMut(Progress)) -> Result<Progress> {
        self.engine().import(reader, &mut progress)
    }

    /// Copies the whole database into a new file, as [`SessionPersistDriver::backup_to`] does, while others go on
    /// writing.
    ///
    /// # Errors
    ///
    /// As there, and [`Error::Closed`](crate::Error::Closed).
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # let store = SessionStore::open_in_memory()?;
    /// # let folder = tempfile::tempdir().unwrap();
    /// store.backup_to(folder.path().join("copy.db"))?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn backup_to(&self, path: impl AsRef<Path>) -> Result<()> {
        self.engine().backup_to(path.as_ref())
    }
}

macro_rules! forward {
    ($($kind:ident $verb:ident($($how:ident $argument:ident: $type:ty),*) -> $answer:ty, $example:literal;)*) => {
        impl SessionStore {
            $(
                #[doc = concat!("As [`SessionPersistDriver::", stringify!($verb), "`].")]
                ///
                /// # Errors
                ///
                /// As there, and [`Error::Closed`](crate::Error::Closed).
                ///
                /// ```
                /// # use agent_session_store::{SessionRecord, SessionStore};
                /// # let new = SessionRecord { id: "new".into(), agent: "a".into(), agent_session_id: "a".into(),
                /// #     last_connection_id: "c".into(), created_at: Default::default(), destroyed_at: None,
                /// #     sandbox_id: None, session_init: None, config_options: None, modes: None };
                /// # let store = SessionStore::open_in_memory()?;
                /// # store.update_session(&SessionRecord { id: "session-1".into(), ..new.clone() })?;
                #[doc = concat!("let answer = store.", stringify!($verb), "(", $example, ")?;")]
                /// # Ok::<(), agent_session_store::Error>(())
                /// ```
                pub fn $verb(&self, $($argument: argument_type!($how $type)),*) -> Result<$answer> {
                    forward!(@ $kind self, $verb($($how $argument),*))
                }
            )*
        }
    };
    (@ read $store:ident, $verb:ident($($how:ident $argument:ident),*)) => {
        $store.engine().read(|conn| conn.$verb($($argument),*))
    };
    (@ write $store:ident, $verb:ident($($how:ident $argument:ident),*)) => {
        write!($store, $verb($($how $argument),*))
    };
}

forwarded_verbs!(forward);

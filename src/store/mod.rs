//! A store that owns its connections: one that writes, some that read.

#[cfg(feature = "async")]
mod asynchronous;
mod builder;
mod connection;
mod deferred;
mod driver;
mod inside;
mod log;
mod place;
mod read_only;
mod readers;
mod ticket;
mod verbs;
#[cfg(feature = "async")]
mod workers;
mod writer;

use std::fmt;
use std::io::{BufRead, Write};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use diesel::SqliteConnection;

#[cfg(feature = "async")]
pub use self::asynchronous::{AsyncEvents, AsyncSessionStore};
use self::builder::Options;
pub use self::builder::{Durability, JournalMode, SessionStoreBuilder};
use self::connection::Location;
use self::deferred::Calls;
use self::inside::{ANYTHING, Inside, StoreId, Use, is_inside, refuse};
use self::log::Log;
use self::read_only::Traces;
use self::readers::Readers;
use self::verbs::{argument_type, forwarded_verbs, from_owned};
use self::writer::Writer;
use crate::append::NewEvent;
use crate::backup;
use crate::checkpoint::{self, CheckpointReport};
use crate::disk;
use crate::driver::SessionPersistDriver;
use crate::error::{Error, Result};
use crate::event::SessionEvent;
use crate::inspect::{CheckReport, SessionStats, Stats};
use crate::page::ListPage;
use crate::pragma;
use crate::prune::{self, PruneReport, PruneRequest};
use crate::request::{ListEventsRequest, ListSessionsRequest};
use crate::session::SessionRecord;
use crate::steps::Access;
use crate::transfer::{self, Progress, Selection};
use crate::uri;
use crate::walk::walk;

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
pub struct SessionStore(Arc<Owner>);

/// What the clones of a store share; the connections close when the last of them is gone. The store's own threads hold
/// the connections and not this, so that closing never depends on how far they are.
struct Owner(Arc<Connections>);

pub(crate) struct Connections {
    id: StoreId,
    location: Location,
    writer: Arc<Writer>,
    readers: Readers,
    is_read_only: bool,
    last_act: LastAct,
    /// Held while closing: who closes as well has to wait for that.
    closing: Mutex<()>,
}

/// What closing does about the log.
enum LastAct {
    /// There is none.
    Nothing,
    Checkpoint,
    /// Another program takes care of it.
    KeepLog,
    /// The store has only read, and leaves nothing behind.
    Remove(Traces),
}

impl SessionStore {
    /// Opens a database file, creates it if it is not there, and [migrates](crate::migrate) it if that is needed:
    /// with a write-ahead log, full durability, and the other choices of [`SessionStore::builder`]. A new file is its
    /// owner's alone, see [`file_mode`](SessionStoreBuilder::file_mode). What a path stands for is said at
    /// [`SessionStoreBuilder::open`]: `":memory:"` is a database in memory.
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
        let id = StoreId::new();
        let (mut conn, last_act) = if options.read_only {
            let (conn, traces) = read_only::open(&location, &options)?;
            (conn, traces.map_or(LastAct::Nothing, LastAct::Remove))
        } else {
            let conn = connection::writer(&location, &options).map_err(|error| location.explain(error))?;
            let last_act = match location {
                Location::Memory => LastAct::Nothing,
                Location::File { .. } if options.auto_checkpoint => LastAct::Checkpoint,
                Location::File { .. } => LastAct::KeepLog,
            };
            (conn, last_act)
        };
        let log = match last_act {
            LastAct::Checkpoint => location.resolved().map(|file| uri::beside(&file, "-wal")),
            _ => None,
        };
        let waits_for_readers = pragma::journal_mode(&mut conn)? != "wal";
        let log = Log::new(log, options.log_size_limit);
        let writer = Arc::new(Writer::new(id, waits_for_readers, conn, log));
        let is_read_only = options.read_only;
        let readers = Readers::new(id, location.clone(), options);
        let connections =
            Connections { id, location, writer, readers, is_read_only, last_act, closing: Mutex::new(()) };
        Ok(Self(Arc::new(Owner(Arc::new(connections)))))
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
        if request.is_dry_run() {
            return self.0.read(|conn| prune::dry_run(conn, request));
        }
        if request.reclaims_space() {
            refuse(self.0.id, &[Use::Reading])?;
        }
        let mut connections: &Connections = &self.0;
        prune::in_steps(&mut connections, request, |_| self.reclaim_space())
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
        // The log stays as long as this thread reads it.
        refuse(self.0.id, &[Use::Reading])?;
        self.0.writer.with(|conn| conn.reclaim_space())
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
        if self.0.is_read_only {
            return Err(read_only::refusal());
        }
        self.0.writer.with(|conn| conn.checkpoint())
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
        self.0.export(writer, progress, |conn, writer, progress| conn.export_with_progress(writer, selection, progress))
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
        self.0.export(writer, left_out, |conn, writer, left_out| conn.export_readable(writer, selection, left_out))
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
        let mut connections: &Connections = &self.0;
        transfer::in_steps(&mut connections, reader, &mut progress)
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
        let backup = |conn: &mut SqliteConnection| backup::backup(conn, path.as_ref());
        match self.0.location {
            Location::File { .. } => self.0.readers.aside(backup),
            Location::Memory => self.0.writer.with(backup),
        }
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
        $store.0.read(|conn| conn.$verb($($argument),*))
    };
    (@ write $store:ident, $verb:ident($($how:ident $argument:ident),*)) => {{
        $(let $argument = $argument.to_owned();)*
        $store.0.write_owned(move |conn| conn.$verb($(from_owned!($how $argument)),*))
    }};
}

forwarded_verbs!(forward);

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore").field("location", &self.0.location).finish_non_exhaustive()
    }
}

impl Connections {
    fn read<T>(&self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        match self.location {
            Location::File { .. } if self.is_read_only => {
                self.readers.with(work).map_err(|error| self.location.explain_reading(error))
            }
            Location::File { .. } => self.readers.with(work),
            Location::Memory => self.writer.with(work),
        }
    }

    /// Runs an export, whose writer and callback may use the store.
    fn export<T>(
        &self,
        mut writer: impl Write,
        mut callback: impl FnMut(T),
        export: impl FnOnce(&mut SqliteConnection, &mut dyn Write, &mut dyn FnMut(T)) -> Result<Progress>,
    ) -> Result<Progress> {
        match self.location {
            Location::File { .. } => self.readers.aside(|conn| export(conn, &mut writer, &mut callback)),
            Location::Memory => {
                let calls = Calls::default();
                let done = self.writer.with(|conn| export(conn, &mut &calls, &mut |told| calls.tell(told)));
                calls.make(writer, callback)?;
                done
            }
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

    /// Runs work that has its own copy of what it writes.
    fn write_owned<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut SqliteConnection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if let Some(result) = self.writer.write_now(&mut work) {
            return result;
        }
        self.writer.submit(work)?.wait()
    }

    fn close(&self) -> Result<()> {
        refuse(self.id, ANYTHING)?;
        let _inside = Inside::enter(self.id, Use::Closing);
        let _closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        let conn = self.writer.close();
        self.readers.close();
        let Some(mut conn) = conn else { return Ok(()) };
        match &self.last_act {
            LastAct::Nothing => Ok(()),
            LastAct::Checkpoint => checkpoint::unasked(&mut conn).map_err(|error| disk::explain(&mut conn, error)),
            LastAct::KeepLog => {
                let keeper = connection::keeper(&self.location);
                drop(conn);
                keeper.map(drop)
            }
            LastAct::Remove(traces) => {
                drop(conn);
                traces.remove();
                Ok(())
            }
        }
    }
}

/// Each step is one of the store's writes, so that the others are served in between.
impl Access for &Connections {
    fn read<T>(&mut self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        Connections::read(self, work)
    }

    fn write<T: Send + 'static>(
        &mut self,
        work: impl FnMut(&mut SqliteConnection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.write_owned(work)
    }
}

impl Deref for Owner {
    type Target = Arc<Connections>;

    fn deref(&self) -> &Arc<Connections> {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let connections = Arc::clone(&self.0);
        // Nobody is left to tell, of errors or of a panic in the host's instrumentation.
        let close = move || _ = catch_unwind(AssertUnwindSafe(|| connections.close()));
        if is_inside(self.id, ANYTHING) {
            // Dropped by code that the store called. This thread cannot wait for what it is in the middle of.
            let _ = std::thread::Builder::new().name("agent-session-store".to_owned()).spawn(close);
        } else {
            close();
        }
    }
}

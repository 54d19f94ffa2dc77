//! The verbs, on a Diesel connection.

use std::io::{BufRead, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use diesel::SqliteConnection;

use crate::append::{self, NewEvent};
use crate::backup;
use crate::checkpoint::{self, CheckpointReport};
use crate::error::{Error, Result};
use crate::event::{self, SessionEvent};
use crate::inspect::{self, CheckReport, SessionStats, Stats};
use crate::lifecycle;
use crate::page::ListPage;
use crate::prune::{self, PruneReport, PruneRequest};
use crate::request::{ListEventsRequest, ListSessionsRequest};
use crate::session::{self, SessionRecord};
use crate::transaction;
use crate::transfer::{self, Progress, Selection, Undecodable};
use crate::walk::walk;

/// The verbs of the reference driver, and what goes beyond it, as methods of a connection.
///
/// They run inside the transaction that the connection is in, if any, and leave committing to you. The connection
/// must belong to a [migrated](crate::migrate) database. A connection from a pool works as it is: it dereferences to
/// the connection that has these methods.
///
/// **A failure may end your transaction.** SQLite ends it by itself for a full disk, for example, or a trigger of yours
/// that says `ROLLBACK`. Then Diesel knows of none any more, your own commit or rollback is answered with
/// `NotInTransaction`, and what is written before that stands by itself: leave a transaction at the first error.
/// A trigger's `FAIL` keeps what its statement did before, and its `IGNORE` is no error, as everywhere in SQLite.
///
/// ```
/// use agent_session_store::diesel::{Connection, SqliteConnection};
/// use agent_session_store::{Error, SessionPersistDriver, migrate};
/// # use agent_session_store::{Json, Sender, SessionEvent};
/// # let event = SessionEvent { id: "e".into(), event_index: 1, session_id: "s".into(), created_at: Default::default(),
/// #     connection_id: "c".into(), sender: Sender::Agent, payload: Json::parse("{}")? };
///
/// let mut conn = SqliteConnection::establish(":memory:").unwrap();
/// migrate(&mut conn)?;
/// conn.transaction(|conn| {
///     // … your own queries …
///     conn.insert_event(&event)
/// })?;
/// # Ok::<(), Error>(())
/// ```
pub trait SessionPersistDriver {
    /// The session with this id, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`](crate::Error::Decode) if the row holds a value that cannot be decoded, and whatever the
    /// database reports.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// assert_eq!(conn.get_session("nobody")?, None);
    /// # Ok::<(), Error>(())
    /// ```
    fn get_session(&mut self, id: &str) -> Result<Option<SessionRecord>>;

    /// A page of the sessions, ordered by `created_at`, then `id` (byte order).
    ///
    /// A page costs what it holds, however many sessions there are and however deep it lies.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) for a cursor of another listing,
    /// [`Error::Decode`](crate::Error::Decode) if a row of the page cannot be decoded, which says where the listing goes on
    /// after it, and whatever the database reports.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, ListSessionsRequest, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// let page = conn.list_sessions(&ListSessionsRequest::new().limit(20))?;
    /// assert!(page.items.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    fn list_sessions(&mut self, request: &ListSessionsRequest) -> Result<ListPage<SessionRecord>>;

    /// Stores a session: inserts it, or overwrites every column of the one with its id. A field that is absent now
    /// becomes NULL, even if the row had a value.
    ///
    /// # Errors
    ///
    /// Whatever the database reports; then nothing was written.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, SessionRecord, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # let mut session = SessionRecord { id: "s".into(), agent: "claude".into(), agent_session_id: "a".into(),
    /// #     last_connection_id: "c".into(), created_at: Default::default(), destroyed_at: None,
    /// #     sandbox_id: Some("box".into()), session_init: None, config_options: None, modes: None };
    /// conn.update_session(&session)?;
    /// session.sandbox_id = None;
    /// conn.update_session(&session)?;
    /// assert_eq!(conn.get_session(&session.id)?, Some(session));
    /// # Ok::<(), Error>(())
    /// ```
    fn update_session(&mut self, session: &SessionRecord) -> Result<()>;

    /// A page of one session's events, ordered by `event_index`, then `id` (byte order).
    ///
    /// A page costs what it holds, however long the session is and however deep it lies.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) for a cursor of another listing,
    /// [`Error::Decode`](crate::Error::Decode) if a row of the page cannot be decoded, which says where the listing goes on
    /// after it, and whatever the database reports.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, ListEventsRequest, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// let page = conn.list_events(&ListEventsRequest::new("session-1"))?;
    /// assert!(page.items.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    fn list_events(&mut self, request: &ListEventsRequest) -> Result<ListPage<SessionEvent>>;

    /// Stores an event: inserts it, or overwrites every column of the one with its id. Its session need not exist.
    ///
    /// Overwriting takes two statements, the first of which finds that the id is there; a `BEFORE INSERT` trigger of
    /// yours sees both.
    ///
    /// # Errors
    ///
    /// Whatever the database reports; then nothing was written.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, Json, ListEventsRequest, Sender, SessionEvent, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # let event = SessionEvent { id: "e".into(), event_index: 1, session_id: "s".into(), created_at: Default::default(),
    /// #     connection_id: "c".into(), sender: Sender::Agent, payload: Json::parse("{}")? };
    /// conn.insert_event(&event)?;
    /// assert_eq!(conn.list_events(&ListEventsRequest::new("s"))?.items, [event]);
    /// # Ok::<(), Error>(())
    /// ```
    fn insert_event(&mut self, event: &SessionEvent) -> Result<()>;

    /// Stores several events, of one session or of many, all or nothing: inserts each, or overwrites every column of
    /// the one with its id.
    ///
    /// In a transaction of yours it is a savepoint.
    ///
    /// # Errors
    ///
    /// Whatever the database reports; then none was written.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, Json, ListEventsRequest, Sender, SessionEvent, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # let event = |index: i64| Ok::<_, Error>(SessionEvent { id: format!("e{index}"), event_index: index,
    /// #     session_id: "s".into(), created_at: Default::default(), connection_id: "c".into(), sender: Sender::Agent,
    /// #     payload: Json::parse("{}")? });
    /// let events = [event(1)?, event(2)?];
    /// conn.insert_events(&events)?;
    /// assert_eq!(conn.list_events(&ListEventsRequest::new("s"))?.items, events);
    /// # Ok::<(), Error>(())
    /// ```
    fn insert_events(&mut self, events: &[SessionEvent]) -> Result<()>;

    /// Stores events at the end of a session, and hands out their indexes: the ones given, in order, from the last one
    /// plus 1; the first event of a session gets 1. However many append to a session at the same time, in threads or
    /// processes, there is no gap and no duplicate. All or nothing.
    ///
    /// An event whose id is already stored in this session, with the same content, keeps its index, and nothing is
    /// written for it: so an append whose answer was lost can be repeated.
    ///
    /// In a transaction of yours it takes the right to write when it begins, which SQLite refuses at once (as
    /// [`Error::Busy`](crate::Error::Busy)) if the transaction has read before and another connection has written
    /// since; begin such a transaction with `immediate_transaction`.
    ///
    /// # Errors
    ///
    /// [`Error::EventIdTaken`](crate::Error::EventIdTaken) if an id is stored with other content or in another session,
    /// and whatever the database reports; then nothing was written.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # use agent_session_store::{Json, NewEvent, Sender};
    /// # let event = |id: &str| Ok::<_, Error>(NewEvent { id: id.into(), created_at: Default::default(),
    /// #     connection_id: "c".into(), sender: Sender::Agent, payload: Json::parse("{}")? });
    /// assert_eq!(conn.append_events("session-1", &[event("a")?, event("b")?])?, [1, 2]);
    /// assert_eq!(conn.append_events("session-1", &[event("b")?, event("c")?])?, [2, 3]);
    /// # Ok::<(), Error>(())
    /// ```
    fn append_events(&mut self, session_id: &str, events: &[NewEvent]) -> Result<Vec<i64>>;

    /// As [`append_events`](Self::append_events), but only if the session still ends at `last_index`; 0 stands for a
    /// session without events. Events that are all stored already are no conflict, however the session went on.
    ///
    /// # Errors
    ///
    /// [`Error::AppendConflict`](crate::Error::AppendConflict), which says where the session ends, and those of
    /// [`append_events`](Self::append_events).
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # use agent_session_store::{Json, NewEvent, Sender};
    /// # let event = |id: &str| Ok::<_, Error>(NewEvent { id: id.into(), created_at: Default::default(),
    /// #     connection_id: "c".into(), sender: Sender::Agent, payload: Json::parse("{}")? });
    /// conn.append_events_after("session-1", 0, &[event("a")?])?;
    /// let late = conn.append_events_after("session-1", 0, &[event("b")?]);
    /// assert!(matches!(late, Err(Error::AppendConflict { last_index: Some(1), .. })));
    /// # Ok::<(), Error>(())
    /// ```
    fn append_events_after(&mut self, session_id: &str, last_index: i64, events: &[NewEvent]) -> Result<Vec<i64>>;

    /// The greatest index in a session, found by one seek; `None` if the session has no events.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`](crate::Error::Decode) if that index is no whole number, and whatever the database reports.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// assert_eq!(conn.last_event_index("session-1")?, None);
    /// # Ok::<(), Error>(())
    /// ```
    fn last_event_index(&mut self, session_id: &str) -> Result<Option<i64>>;

    /// The newest events of a session that fit, oldest first: what a new agent needs to be told. At most `count`, and at
    /// most `max_bytes` of payload, but one event at least if there is any and `count` is not 0. It costs what it returns,
    /// however long the session.
    ///
    /// # Errors
    ///
    /// As [`list_events`](Self::list_events). The cursor in an error is one of
    /// [`ListEventsRequest::descending`](crate::ListEventsRequest::descending).
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// let replay = conn.latest_events("session-1", 50, Some(100_000))?;
    /// # Ok::<(), Error>(())
    /// ```
    fn latest_events(&mut self, session_id: &str, count: u32, max_bytes: Option<usize>) -> Result<Vec<SessionEvent>>;

    /// All events of a listing, read page by page as they are asked for; the limit of the request is the size of the
    /// pages, and one page is in memory. An event that cannot be decoded is an error in its place, and the next item is
    /// the event after it; any other error is the last item.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # use agent_session_store::ListEventsRequest;
    /// for event in conn.events(ListEventsRequest::new("session-1")) {
    ///     println!("{}", event?.payload);
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    fn events(&mut self, request: ListEventsRequest) -> impl Iterator<Item = Result<SessionEvent>>
    where
        Self: Sized,
    {
        walk(|request| self.list_events(request), request)
    }

    /// Deletes a session: its record and its events, all or nothing. Says whether there was any of either.
    ///
    /// It is one transaction, and nobody else can write until it is done: some ten seconds for a million events, more on
    /// a slow disk. For long sessions there is [`PruneRequest::session`], which goes in steps.
    ///
    /// # Errors
    ///
    /// Whatever the database reports, such as a foreign key of yours that forbids it; then nothing was deleted.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// assert!(!conn.delete_session("nobody")?);
    /// # Ok::<(), Error>(())
    /// ```
    fn delete_session(&mut self, id: &str) -> Result<bool>;

    /// Marks a session as ended: sets its `destroyed_at`, to the millisecond. Says whether there is such a record.
    ///
    /// # Errors
    ///
    /// Whatever the database reports.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// assert!(!conn.destroy_session("nobody", chrono::DateTime::UNIX_EPOCH)?);
    /// # Ok::<(), Error>(())
    /// ```
    fn destroy_session(&mut self, id: &str, at: DateTime<Utc>) -> Result<bool>;

    /// Starts a session as a copy of another: stores the record `new`, and copies the events of `from_id`, all of them
    /// or those up to and including an index. The copies have the same indexes and, as ids, the new session's id, `:` and
    /// the old id. Returns how many there are. All or nothing.
    ///
    /// It is one transaction, and nobody else can write until it is done: some ten seconds for a million events, more on
    /// a slow disk.
    ///
    /// # Errors
    ///
    /// [`Error::SessionNotFound`](crate::Error::SessionNotFound) if there is nothing to copy from,
    /// [`Error::SessionExists`](crate::Error::SessionExists) if the new session has a record or events already,
    /// [`Error::EventIdTaken`](crate::Error::EventIdTaken) if another event has the id of a copy, and whatever the
    /// database reports; then nothing was written.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # use agent_session_store::SessionRecord;
    /// # let session = |id: &str| SessionRecord { id: id.into(), agent: "claude".into(), agent_session_id: "a".into(),
    /// #     last_connection_id: "c".into(), created_at: Default::default(), destroyed_at: None, sandbox_id: None,
    /// #     session_init: None, config_options: None, modes: None };
    /// conn.update_session(&session("one"))?;
    /// assert_eq!(conn.fork_session("one", None, &session("two"))?, 0);
    /// # Ok::<(), Error>(())
    /// ```
    fn fork_session(&mut self, from_id: &str, up_to_index: Option<i64>, new: &SessionRecord) -> Result<u64>;

    /// Deletes what is old, in transactions of about 500 rows and some ten milliseconds. After a
    /// tenth of a second of them it leaves the database to others for long enough to be seen by SQLite's busy handler, so
    /// that a write of theirs waits for less than a quarter of a second. What is found at the beginning is asked again in
    /// each transaction; a session's record goes when it has no events left.
    ///
    /// Interrupted, it has done some of it, and goes on where it is called again. In a transaction of yours it is part of
    /// that, without pauses, and all or nothing.
    ///
    /// Looking for what to delete takes no lock that hinders a writer of a database with a write-ahead log; with a
    /// rollback journal, others wait while `max_events_per_session` counts what stays in a session (a tenth of a second
    /// for a million events).
    ///
    /// # Errors
    ///
    /// Whatever the database reports, such as a foreign key of yours that forbids it, or a lock that was held for too long:
    /// as [`Error::Unfinished`](crate::Error::Unfinished) with the report of what was deleted before, if anything was, and
    /// else as it is.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # use agent_session_store::PruneRequest;
    /// let report = conn.prune(&PruneRequest::new().max_events_per_session(10_000))?;
    /// assert_eq!(report.events, 0);
    /// # Ok::<(), Error>(())
    /// ```
    fn prune(&mut self, request: &PruneRequest) -> Result<PruneReport>;

    /// Gives unused space back to the file system (SQLite's `VACUUM`).
    ///
    /// It writes the whole database anew: it takes as long as copying the file, needs up to twice its size on the disk
    /// meanwhile, and no one else can write until it is done. SQLite reuses space that is not given back, so a file that
    /// is pruned regularly stops growing without this.
    ///
    /// With a write-ahead log, a [`checkpoint`](Self::checkpoint) follows, unless the connection's automatic checkpoints
    /// are switched off (`PRAGMA wal_autocheckpoint = 0`). It waits for no reader, beside whom the file may keep its size
    /// for the time being.
    ///
    /// # Errors
    ///
    /// [`Error::Database`](crate::Error::Database) inside a transaction, [`Error::DiskFull`](crate::Error::DiskFull),
    /// [`Error::Busy`](crate::Error::Busy), and whatever else the database reports. Nothing is lost then.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// conn.reclaim_space()?;
    /// # Ok::<(), Error>(())
    /// ```
    fn reclaim_space(&mut self) -> Result<()>;

    /// Moves what the write-ahead log holds into the database file, and empties the log. Without a log there is nothing
    /// to do.
    ///
    /// SQLite does the first by itself when the log has 1,000 frames, and the store empties a log that has become large.
    /// Call it to have everything in one file, or when readers that kept the log in use have gone.
    ///
    /// It takes as long as copying what the log holds, and keeps nobody from reading or writing meanwhile. Then it waits
    /// for connections that still read from the log, for about a twentieth of a second; writers wait with it. If some of
    /// them read for longer, the report says that it is not complete: call it again later.
    ///
    /// # Errors
    ///
    /// [`Error::Database`](crate::Error::Database) inside a transaction, [`Error::ReadOnly`](crate::Error::ReadOnly),
    /// [`Error::DiskFull`](crate::Error::DiskFull), and whatever else the database reports. Nothing is lost then.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// assert!(conn.checkpoint()?.is_complete);
    /// # Ok::<(), Error>(())
    /// ```
    fn checkpoint(&mut self) -> Result<CheckpointReport>;

    /// Writes sessions as JSON Lines, as they are at one moment, with one page of events in memory. The JSON columns come
    /// out byte for byte. The format is described in the crate's `docs/export.md`. Returns how much was written. Where the
    /// lines go, and who can read them there, is the writer's business: create a file with a mode of `0o600`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) from the writer, [`Error::Decode`](crate::Error::Decode) for a row that cannot be
    /// decoded, and whatever the database reports.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # use agent_session_store::Selection;
    /// let mut lines = Vec::new();
    /// conn.export(&mut lines, &Selection::all())?;
    /// assert_eq!(lines, b"{\"format\":\"agent-session-store\",\"version\":1}\n");
    /// # Ok::<(), Error>(())
    /// ```
    fn export<W: Write>(&mut self, writer: W, selection: &Selection) -> Result<Progress>
    where
        Self: Sized,
    {
        self.export_with_progress(writer, selection, |_| {})
    }

    /// As [`export`](Self::export), and tells how far it is: after every session and every 1,000 events.
    ///
    /// # Errors
    ///
    /// As [`export`](Self::export).
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # use agent_session_store::Selection;
    /// conn.export_with_progress(std::io::sink(), &Selection::all(), |done| eprintln!("{} sessions", done.sessions))?;
    /// # Ok::<(), Error>(())
    /// ```
    fn export_with_progress<W: Write>(
        &mut self,
        writer: W,
        selection: &Selection,
        progress: impl FnMut(Progress),
    ) -> Result<Progress>
    where
        Self: Sized;

    /// As [`export`](Self::export), but a row that cannot be decoded does not end it: the row is left out, and `left_out` is
    /// called with the error that names it, once for each such row. What is written can be imported.
    ///
    /// The events of a session whose record cannot be decoded are written as those of a session without one. Events whose
    /// `session_id` is no text belong to no session that could be named, and are left out. To count what follows, it
    /// reads each session's events twice.
    ///
    /// # Errors
    ///
    /// As [`export`](Self::export), [`Error::Decode`](crate::Error::Decode) excepted.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # use agent_session_store::Selection;
    /// let mut left_out = Vec::new();
    /// conn.export_readable(std::io::sink(), &Selection::all(), |error| left_out.push(error))?;
    /// assert!(left_out.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    fn export_readable<W: Write>(
        &mut self,
        writer: W,
        selection: &Selection,
        left_out: impl FnMut(Error),
    ) -> Result<Progress>
    where
        Self: Sized;

    /// Reads what [`export`](Self::export) wrote. Each session is stored as [`update_session`] and [`insert_event`] would,
    /// so that importing twice is the same as once, and what was there and is not in the import stays.
    ///
    /// A session is read to its end before any of it is written, and no lock is held meanwhile: 2 MB of it in memory, the
    /// rest in a temporary file. One of up to 500 events and a megabyte is all or nothing; a longer one may be
    /// written in several transactions, so that others write in between, with its record in the last. If the process
    /// dies before, importing again finishes it. In a transaction of yours everything is part of that.
    ///
    /// A line may be 1 GiB long, and one line is in memory at a time.
    ///
    /// [`update_session`]: Self::update_session
    /// [`insert_event`]: Self::insert_event
    ///
    /// # Errors
    ///
    /// [`Error::Import`](crate::Error::Import), which names the line, if a line cannot be used, among other reasons because
    /// it is too long or its event has an id that an event of another session has. Its session is not imported, those before
    /// are, and the error counts them. [`Error::Io`](crate::Error::Io) from the reader or the temporary file, and whatever
    /// the database reports: as [`Error::Unfinished`](crate::Error::Unfinished) if something was imported before.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// let lines = "{\"format\":\"agent-session-store\",\"version\":1}\n";
    /// assert_eq!(conn.import(lines.as_bytes())?.sessions, 0);
    /// # Ok::<(), Error>(())
    /// ```
    fn import<R: BufRead>(&mut self, reader: R) -> Result<Progress>
    where
        Self: Sized,
    {
        self.import_with_progress(reader, |_| {})
    }

    /// As [`import`](Self::import), and tells how far it is: after every session and every 1,000 events, when these are
    /// committed. No lock is held then.
    ///
    /// # Errors
    ///
    /// As [`import`](Self::import).
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # let lines = "{\"format\":\"agent-session-store\",\"version\":1}\n";
    /// conn.import_with_progress(lines.as_bytes(), |done| eprintln!("{} sessions", done.sessions))?;
    /// # Ok::<(), Error>(())
    /// ```
    fn import_with_progress<R: BufRead>(&mut self, reader: R, progress: impl FnMut(Progress)) -> Result<Progress>
    where
        Self: Sized;

    /// Copies the whole database, a host's tables included, into a new file, as it is at one moment, while others go on
    /// writing. The copy is compact, and on the disk when this returns. Of several that copy to one path at once, one
    /// succeeds.
    ///
    /// The copy is made in a folder beside it, `<name>.agent-session-store-backup-<process>-<number>.tmp`, and gets its
    /// name when it is whole: if the process is killed, there is no file of that name, or all of it. Where a file cannot
    /// have two names (FAT, some network file systems), a kill in the moment of the renaming may leave an empty one. What
    /// a killed process leaves is refused by [`SessionStore::open`](crate::SessionStore::open) and
    /// [`migrate`](crate::migrate), may be deleted, and is deleted by the next copy into the same folder.
    ///
    /// On Unix, who may read and write the copy is who may do so with the database: it has the same mode and, where this
    /// process may give it away, the same group; otherwise the group may do what everybody may. It belongs to the user of
    /// this process. A copy from memory is its owner's alone, and so is any until it is whole. Access control lists are
    /// not copied. Elsewhere the copy has the rights that its folder hands down.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) if the file exists (it is never overwritten, and the kind is
    /// [`AlreadyExists`](std::io::ErrorKind::AlreadyExists)) or cannot be created,
    /// [`Error::Database`](crate::Error::Database) inside a transaction, [`Error::DiskFull`](crate::Error::DiskFull), and
    /// whatever else the database reports. Then no file is left behind.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("copy.db");
    /// conn.backup_to(&path)?;
    /// assert!(conn.backup_to(&path).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    fn backup_to(&mut self, path: impl AsRef<Path>) -> Result<()>
    where
        Self: Sized;

    /// How many sessions and events there are, and how large the database is. It counts: the time it takes grows with
    /// their number.
    ///
    /// # Errors
    ///
    /// Whatever the database reports.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// assert_eq!(conn.stats()?.sessions, 0);
    /// # Ok::<(), Error>(())
    /// ```
    fn stats(&mut self) -> Result<Stats>;

    /// How many events each session has, and how large they are, by session id. It reads all events.
    ///
    /// # Errors
    ///
    /// Whatever the database reports.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// assert!(conn.session_stats()?.is_empty());
    /// # Ok::<(), Error>(())
    /// ```
    fn session_stats(&mut self) -> Result<Vec<SessionStats>>;

    /// Looks for damage: SQLite's own integrity check, every row that cannot be decoded, events without a session,
    /// indexes that events share, and an `events_legacy` that was left behind. It reads everything and changes nothing.
    ///
    /// # Errors
    ///
    /// What is found is no error, whatever a row or a page holds. A file that cannot be read as our database at all is
    /// [`Error::NotADatabase`](crate::Error::NotADatabase) or [`Error::NotMigrated`](crate::Error::NotMigrated), and
    /// locks and the like are reported as ever.
    ///
    /// ```
    /// # use agent_session_store::diesel::{Connection, SqliteConnection};
    /// # use agent_session_store::{Error, SessionPersistDriver, migrate};
    /// # let mut conn = SqliteConnection::establish(":memory:").unwrap();
    /// # migrate(&mut conn)?;
    /// assert!(conn.check()?.is_sound());
    /// # Ok::<(), Error>(())
    /// ```
    fn check(&mut self) -> Result<CheckReport>;
}

impl SessionPersistDriver for SqliteConnection {
    fn get_session(&mut self, id: &str) -> Result<Option<SessionRecord>> {
        transaction::checked(self, |conn| session::get(conn, id))
    }

    fn list_sessions(&mut self, request: &ListSessionsRequest) -> Result<ListPage<SessionRecord>> {
        transaction::checked(self, |conn| session::list(conn, request))
    }

    fn update_session(&mut self, session: &SessionRecord) -> Result<()> {
        transaction::checked(self, |conn| session::upsert(conn, session))
    }

    fn list_events(&mut self, request: &ListEventsRequest) -> Result<ListPage<SessionEvent>> {
        transaction::checked(self, |conn| event::list(conn, request))
    }

    fn insert_event(&mut self, event: &SessionEvent) -> Result<()> {
        transaction::checked(self, |conn| event::upsert(conn, event))
    }

    fn insert_events(&mut self, events: &[SessionEvent]) -> Result<()> {
        transaction::atomically(self, |conn| events.iter().try_for_each(|event| event::upsert(conn, event)))
    }

    fn append_events(&mut self, session_id: &str, events: &[NewEvent]) -> Result<Vec<i64>> {
        append::append(self, session_id, None, events)
    }

    fn append_events_after(&mut self, session_id: &str, last_index: i64, events: &[NewEvent]) -> Result<Vec<i64>> {
        append::append(self, session_id, Some(last_index), events)
    }

    fn last_event_index(&mut self, session_id: &str) -> Result<Option<i64>> {
        transaction::checked(self, |conn| append::last_index(conn, session_id))
    }

    fn latest_events(&mut self, session_id: &str, count: u32, max_bytes: Option<usize>) -> Result<Vec<SessionEvent>> {
        transaction::checked(self, |conn| event::latest(conn, session_id, count, max_bytes))
    }

    fn delete_session(&mut self, id: &str) -> Result<bool> {
        lifecycle::delete(self, id)
    }

    fn destroy_session(&mut self, id: &str, at: DateTime<Utc>) -> Result<bool> {
        transaction::checked(self, |conn| lifecycle::destroy(conn, id, at))
    }

    fn fork_session(&mut self, from_id: &str, up_to_index: Option<i64>, new: &SessionRecord) -> Result<u64> {
        lifecycle::fork(self, from_id, up_to_index, new)
    }

    fn prune(&mut self, request: &PruneRequest) -> Result<PruneReport> {
        prune::prune(self, request)
    }

    fn reclaim_space(&mut self) -> Result<()> {
        transaction::checked(self, prune::reclaim_space)
    }

    fn checkpoint(&mut self) -> Result<CheckpointReport> {
        checkpoint::checkpoint(self)
    }

    fn export_with_progress<W: Write>(
        &mut self,
        writer: W,
        selection: &Selection,
        mut progress: impl FnMut(Progress),
    ) -> Result<Progress> {
        transfer::export(self, writer, selection, &mut progress, Undecodable::Refused)
    }

    fn export_readable<W: Write>(
        &mut self,
        writer: W,
        selection: &Selection,
        mut left_out: impl FnMut(Error),
    ) -> Result<Progress> {
        transfer::export(self, writer, selection, &mut |_| {}, Undecodable::LeftOut(&mut left_out))
    }

    fn import_with_progress<R: BufRead>(&mut self, reader: R, mut progress: impl FnMut(Progress)) -> Result<Progress> {
        transfer::import(self, reader, &mut progress)
    }

    fn backup_to(&mut self, path: impl AsRef<Path>) -> Result<()> {
        backup::backup(self, path.as_ref())
    }

    fn stats(&mut self) -> Result<Stats> {
        inspect::stats(self)
    }

    fn session_stats(&mut self) -> Result<Vec<SessionStats>> {
        transaction::checked(self, inspect::session_stats)
    }

    fn check(&mut self) -> Result<CheckReport> {
        inspect::check(self)
    }
}

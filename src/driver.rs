//! The verbs, on a Diesel connection.

use diesel::SqliteConnection;

use crate::error::Result;
use crate::event::{self, SessionEvent};
use crate::page::{ListEventsRequest, ListPage, ListSessionsRequest};
use crate::session::{self, SessionRecord};
use crate::transaction;

/// The verbs of the reference driver, as methods of a connection.
///
/// They run inside the transaction that the connection is in, if any, and leave committing to you. The connection
/// must belong to a [migrated](crate::migrate) database. A connection from a pool works as it is: it dereferences to
/// the connection that has these methods.
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
    /// [`Error::Decode`](crate::Error::Decode) if a row of the page cannot be decoded, and whatever the database
    /// reports.
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
    /// [`Error::Decode`](crate::Error::Decode) if a row of the page cannot be decoded, and whatever the database
    /// reports.
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
}

impl SessionPersistDriver for SqliteConnection {
    fn get_session(&mut self, id: &str) -> Result<Option<SessionRecord>> {
        session::get(self, id)
    }

    fn list_sessions(&mut self, request: &ListSessionsRequest) -> Result<ListPage<SessionRecord>> {
        session::list(self, request)
    }

    fn update_session(&mut self, session: &SessionRecord) -> Result<()> {
        session::upsert(self, session)
    }

    fn list_events(&mut self, request: &ListEventsRequest) -> Result<ListPage<SessionEvent>> {
        event::list(self, request)
    }

    fn insert_event(&mut self, event: &SessionEvent) -> Result<()> {
        event::upsert(self, event)
    }

    fn insert_events(&mut self, events: &[SessionEvent]) -> Result<()> {
        transaction::atomically(self, |conn| events.iter().try_for_each(|event| event::upsert(conn, event)))
    }
}

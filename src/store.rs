//! A store that owns its connection.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};

use crate::driver::SessionPersistDriver;
use crate::error::{Error, Result};
use crate::event::SessionEvent;
use crate::migrations::migrate;
use crate::page::{ListEventsRequest, ListPage, ListSessionsRequest};
use crate::session::SessionRecord;

/// Sessions and events in one database file, for any number of threads.
#[derive(Clone)]
pub struct SessionStore {
    connection: Arc<Mutex<SqliteConnection>>,
}

impl std::fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionStore").finish_non_exhaustive()
    }
}

impl SessionStore {
    /// Opens a file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().display().to_string();
        Self::establish(&path)
    }

    /// In memory.
    pub fn open_in_memory() -> Result<Self> {
        Self::establish(":memory:")
    }

    fn establish(url: &str) -> Result<Self> {
        let mut conn =
            SqliteConnection::establish(url).map_err(|source| Error::Open { path: url.to_owned(), source })?;
        conn.batch_execute("PRAGMA busy_timeout = 5000")?;
        migrate(&mut conn)?;
        Ok(Self { connection: Arc::new(Mutex::new(conn)) })
    }

    fn connection(&self) -> MutexGuard<'_, SqliteConnection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// get
    pub fn get_session(&self, id: &str) -> Result<Option<SessionRecord>> {
        self.connection().get_session(id)
    }
    /// list
    pub fn list_sessions(&self, request: &ListSessionsRequest) -> Result<ListPage<SessionRecord>> {
        self.connection().list_sessions(request)
    }
    /// up
    pub fn update_session(&self, session: &SessionRecord) -> Result<()> {
        self.connection().update_session(session)
    }
    /// ins
    pub fn insert_event(&self, event: &SessionEvent) -> Result<()> {
        self.connection().insert_event(event)
    }
    /// list
    pub fn list_events(&self, request: &ListEventsRequest) -> Result<ListPage<SessionEvent>> {
        self.connection().list_events(request)
    }
}

//! How a builder opens a store: at once, or for async code.

use std::path::Path;
#[cfg(feature = "async")]
use std::path::PathBuf;
#[cfg(feature = "async")]
use std::sync::LazyLock;

#[cfg(feature = "async")]
use super::asynchronous::AsyncSessionStore;
use super::blocking::SessionStore;
use super::builder::SessionStoreBuilder;
use super::engine::Engine;
#[cfg(feature = "async")]
use super::options::Options;
#[cfg(feature = "async")]
use super::workers::Workers;
use crate::error::Result;

impl SessionStoreBuilder {
    /// Opens a database file and [migrates](crate::migrate) it if necessary. A relative path is resolved against the
    /// current working directory, once.
    ///
    /// The path is taken literally, with two exceptions. `":memory:"` opens a database
    /// [in memory](Self::open_in_memory), as in SQLite. A path that begins with `file:`, which SQLite would read as a URI,
    /// is refused: use [`read_only`](Self::read_only) and [`create`](Self::create) instead of URI parameters. To open
    /// files with such names, write `"./:memory:"` and `"./file:x"`.
    ///
    /// # Errors
    ///
    /// [`Error::Open`](crate::Error::Open), also if the path is not a file (a folder, a named pipe, a device) or is
    /// left over from a killed [`backup_to`](SessionStore::backup_to); [`Error::Busy`](crate::Error::Busy); and the
    /// errors of [`migrate`](crate::migrate).
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

    /// Opens what a URL names, and [migrates](crate::migrate) it if necessary:
    ///
    /// - `postgres://user:password@host:port/database?sslmode=verify-full`, with all the parameters that libpq knows,
    ///   also as `postgresql://`: a PostgreSQL database (feature `postgres`).
    /// - `sqlite:path`, `sqlite:///path`, or a path: a file, as by [`open`](Self::open).
    ///
    /// On PostgreSQL, [`busy_timeout`](Self::busy_timeout) is the server's `lock_timeout`,
    /// [`durability`](Self::durability) its `synchronous_commit`, and the options about the file do not apply. The
    /// store has one writing connection and up to [`readers`](Self::readers) reading ones. A connection that is lost is
    /// replaced by the next call.
    ///
    /// # Errors
    ///
    /// [`Error::Open`](crate::Error::Open) if the server refuses the connection, and says why (its message may be in the
    /// server's language), [`Error::Unsupported`](crate::Error::Unsupported) without the feature,
    /// [`Error::ReadOnly`](crate::Error::ReadOnly) if the role must not create the tables that are missing, and the errors
    /// of [`open`](Self::open) and [`migrate`](crate::migrate).
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let url = format!("sqlite://{}", folder.path().join("sessions.db").display());
    /// let store = SessionStore::builder().readers(8).connect(&url)?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn connect(self, url: &str) -> Result<SessionStore> {
        Engine::connect(url, self.0).map(SessionStore::over)
    }

    /// Opens a database in memory that lives as long as the store, for tests. All calls share one connection.
    /// [`read_only`](Self::read_only) has no effect.
    ///
    /// # Errors
    ///
    /// Any error from the database.
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

/// Shared by all stores, since a store that is being opened has no threads yet.
#[cfg(feature = "async")]
static OPENING: LazyLock<Workers> = LazyLock::new(|| Workers::new(64, "agent-session-store-open", None));

#[cfg(feature = "async")]
impl AsyncSessionStore {
    /// Returns a builder with the defaults of [`AsyncSessionStore::open`]: the options are those of
    /// [`SessionStore::builder`], and its `open`, `connect` and `open_in_memory` open an async store.
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example() -> Result<(), agent_session_store::Error> {
    /// let store = AsyncSessionStore::builder().readers(8).open("sessions.db").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> SessionStoreBuilder<Self> {
        SessionStoreBuilder::of(Options::default())
    }
}

#[cfg(feature = "async")]
impl SessionStoreBuilder<AsyncSessionStore> {
    /// Like `open` of [`SessionStore::builder`], but without blocking a thread of the runtime.
    ///
    /// # Errors
    ///
    /// The same.
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example() -> Result<(), agent_session_store::Error> {
    /// let store = AsyncSessionStore::builder().create(false).open("sessions.db").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open(self, path: impl Into<PathBuf>) -> Result<AsyncSessionStore> {
        self.open_async(path).await
    }

    /// Like `connect` of [`SessionStore::builder`], but without blocking a thread of the runtime.
    ///
    /// # Errors
    ///
    /// The same.
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example() -> Result<(), agent_session_store::Error> {
    /// let store = AsyncSessionStore::builder().schema("tenant_7").connect("postgres://localhost/app").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(self, url: impl Into<String>) -> Result<AsyncSessionStore> {
        self.connect_async(url).await
    }

    /// Like `open_in_memory` of [`SessionStore::builder`].
    ///
    /// # Errors
    ///
    /// The same.
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// let store = AsyncSessionStore::builder().open_in_memory()?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn open_in_memory(self) -> Result<AsyncSessionStore> {
        Engine::open_in_memory(self.0).map(SessionStore::over).map(AsyncSessionStore::from)
    }
}

#[cfg(feature = "async")]
impl<S> SessionStoreBuilder<S> {
    /// Opens an async store, whichever store the builder is of. See
    /// [`AsyncSessionStore::builder`].
    ///
    /// # Errors
    ///
    /// Those of [`SessionStore::open`].
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # async fn example() -> Result<(), agent_session_store::Error> {
    /// let store = SessionStore::builder().readers(8).open_async("sessions.db").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open_async(self, path: impl Into<PathBuf>) -> Result<AsyncSessionStore> {
        let (path, options) = (path.into(), self.0);
        OPENING.run(move || Engine::open(&path, options).map(SessionStore::over)).await.map(AsyncSessionStore::from)
    }

    /// Opens an async store, whichever store the builder is of. See
    /// [`AsyncSessionStore::builder`].
    ///
    /// # Errors
    ///
    /// Those of [`SessionStore::connect`].
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # async fn example() -> Result<(), agent_session_store::Error> {
    /// let store = SessionStore::builder().schema("tenant_7").connect_async("postgres://localhost/app").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_async(self, url: impl Into<String>) -> Result<AsyncSessionStore> {
        let (url, options) = (url.into(), self.0);
        OPENING.run(move || Engine::connect(&url, options).map(SessionStore::over)).await.map(AsyncSessionStore::from)
    }
}

//! The database behind a store. Nothing outside this folder names one.

mod chance;
mod on_open;
#[cfg(feature = "postgres")]
mod postgres;
mod session_locks;
mod sqlite;
mod store_connection;
mod store_engine;
mod url;

use std::fmt;
use std::path::Path;

use diesel::result::ConnectionError;

pub(super) use self::on_open::OnOpen;
#[cfg(feature = "postgres")]
use self::postgres::PostgresEngine;
pub(super) use self::session_locks::{SessionLocks, SessionUse};
use self::sqlite::SqliteEngine;
pub use self::store_connection::StoreConnection;
pub(super) use self::store_connection::on_connection;
pub(super) use self::store_engine::StoreEngine;
use self::url::Target;
use super::options::Options;
use super::reentrance::{Activity, ActivityGuard, StoreId};
use crate::error::{Error, Result};
use crate::model::report::CheckpointReport;

/// One engine or the other. What has a type of its own for each is called by [`on_engine`].
pub(super) enum Engine {
    Sqlite(SqliteEngine),
    #[cfg(feature = "postgres")]
    Postgres(PostgresEngine),
}

/// Evaluates an expression with the engine, whichever it is.
macro_rules! on_engine {
    ($store:expr, $engine:ident => $work:expr) => {
        match $store {
            $crate::store::engine::Engine::Sqlite($engine) => $work,
            #[cfg(feature = "postgres")]
            $crate::store::engine::Engine::Postgres($engine) => $work,
        }
    };
}

pub(super) use on_engine;

impl Engine {
    /// Opens a file.
    pub(super) fn open(path: &Path, options: Options) -> Result<Self> {
        SqliteEngine::open(path, options).map(Self::Sqlite)
    }

    pub(super) fn open_in_memory(options: Options) -> Result<Self> {
        SqliteEngine::open_in_memory(options).map(Self::Sqlite)
    }

    /// Connects to what a URL names.
    pub(super) fn connect(url: &str, options: Options) -> Result<Self> {
        match Target::of(url) {
            Target::File(path) => Self::open(path, options),
            // The rest of it may be secret.
            Target::Unknown(scheme) => Err(Error::Open {
                path: format!("{scheme}://…"),
                source: ConnectionError::BadConnection("its scheme is neither postgres nor sqlite".to_owned()),
            }),
            #[cfg(feature = "postgres")]
            Target::Server => PostgresEngine::connect(url, options).map(Self::Postgres),
            #[cfg(not(feature = "postgres"))]
            Target::Server => {
                Err(Error::Unsupported { reason: "PostgreSQL needs the feature \"postgres\" of agent-session-store" })
            }
        }
    }

    pub(super) fn id(&self) -> StoreId {
        on_engine!(self, engine => engine.id())
    }

    pub(super) fn location(&self) -> &dyn fmt::Debug {
        on_engine!(self, engine => engine.location())
    }

    #[cfg(feature = "async")]
    pub(super) fn reading_connections(&self) -> usize {
        on_engine!(self, engine => engine.reading_connections())
    }

    /// Runs work in one transaction, on this thread and once.
    pub(super) fn transaction<T>(&self, work: impl FnOnce(StoreConnection<'_>) -> Result<T>) -> Result<T> {
        let id = self.id();
        on_engine!(self, engine => engine.transaction(|conn| {
            let _inside = ActivityGuard::enter(id, Activity::Transacting);
            work(conn.into())
        }))
    }

    pub(super) fn close(&self) -> Result<()> {
        on_engine!(self, engine => engine.close())
    }
}

#[cfg(test)]
impl Engine {
    fn sqlite(&self) -> &SqliteEngine {
        match self {
            Self::Sqlite(engine) => engine,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => panic!("these tests are about files"),
        }
    }
}

/// File maintenance.
impl Engine {
    pub(super) fn reclaim_space(&self) -> Result<()> {
        let reason = "autovacuum makes space usable again; to return it to the file system, run VACUUM (FULL)";
        self.file(reason)?.reclaim_space()
    }

    pub(super) fn checkpoint(&self) -> Result<CheckpointReport> {
        self.file("only a database file has a write-ahead log of its own to empty")?.checkpoint()
    }

    pub(super) fn backup_to(&self, path: &Path) -> Result<()> {
        self.file("only a database file is copied; use pg_dump, or export")?.backup_to(path)
    }

    /// The engine, if its database is a file.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "it is always a file"))]
    fn file(&self, reason: &'static str) -> Result<&SqliteEngine> {
        match self {
            Self::Sqlite(engine) => Ok(engine),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Err(Error::Unsupported { reason }),
        }
    }
}

//! Where the database is, and opening it: to look, or to write.

use std::ffi::OsStr;
use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use agent_session_store::{Error, SessionStore, SessionStoreBuilder};

use crate::arguments::{Global, Looking};
use crate::copying;
use crate::failure::{Exit, Failure, Result};
use crate::interrupt::ScratchFolder;

/// A file or a server.
#[derive(Debug)]
pub enum Place {
    File(PathBuf),
    Server { url: String, schema: Option<String> },
}

/// A store, and the folder of the copy that it is open on, if it is.
#[derive(Debug)]
pub struct OpenPlace {
    // Closed before the folder goes.
    store: SessionStore,
    _copy: Option<ScratchFolder>,
}

impl Deref for OpenPlace {
    type Target = SessionStore;

    fn deref(&self) -> &SessionStore {
        &self.store
    }
}

impl Place {
    pub fn of(global: &Global) -> Result<Self> {
        let Some(named) = global.db.as_deref().filter(|named| !named.is_empty()) else {
            return Err(Failure::usage(
                "which database? Give it with --db FILE or --db postgres://user@host/database, or set AGENT_SESSIONS_DB",
            ));
        };
        let place = Self::named(named, global.schema.clone())?;
        match &place {
            Self::File(_) if global.schema.is_some() => {
                Err(Failure::usage("a file has no schemas: leave --schema out"))
            }
            _ => Ok(place),
        }
    }

    fn named(named: &OsStr, schema: Option<String>) -> Result<Self> {
        let Some(text) = named.to_str() else { return Ok(Self::File(named.into())) };
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Server { url: text.to_owned(), schema });
        }
        if let Some(rest) = text.strip_prefix("sqlite:") {
            return Ok(Self::File(rest.strip_prefix("//").unwrap_or(rest).into()));
        }
        match text.split_once("://") {
            // The rest of it may be secret.
            Some((scheme, _)) if !scheme.contains(['/', '.']) => Err(Failure::usage(format!(
                "{scheme}://… is no database that is known here: give a path or a postgres:// URL"
            ))),
            _ => Ok(Self::File(text.into())),
        }
    }

    /// The file, or that the command is for files.
    pub fn file(&self, otherwise: &str) -> Result<&Path> {
        match self {
            Self::File(path) => Ok(path),
            Self::Server { .. } => Err(Failure::usage(otherwise)),
        }
    }

    /// The file, which has to be there: looking creates none.
    pub fn existing(&self) -> Result<()> {
        match self {
            Self::File(path) if std::fs::symlink_metadata(path).is_err() => Err(Failure::said(
                Exit::NotFound,
                format!("there is no file {}: give the path of a database with --db", path.display()),
            )),
            Self::File(path) if path.is_dir() => {
                Err(Failure::usage(format!("{} is a folder: give the path of a database with --db", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// Opens the database to look at it: nothing in it changes.
    pub fn look(&self, looking: Looking) -> Result<OpenPlace> {
        self.existing()?;
        match self.read_only() {
            Ok(store) => Ok(OpenPlace { store, _copy: None }),
            Err(Error::MigrationNeeded { .. }) if looking.copy && matches!(self, Self::File(_)) => self.look_at_copy(),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// The same for commands that know no copy.
    pub fn look_as_it_is(&self) -> Result<OpenPlace> {
        self.look(Looking { copy: false })
    }

    fn look_at_copy(&self) -> Result<OpenPlace> {
        let file = self.file("a server's database is not copied: run `agent-sessions migrate`")?;
        let folder = ScratchFolder::new()?;
        let copy = folder.path().join("copy.db");
        copying::copy(file, &copy)?;
        let store = SessionStore::open(&copy)?;
        Ok(OpenPlace { store, _copy: Some(folder) })
    }

    /// Opens the database to write to it. One of an older format is not migrated by the way.
    pub fn write(&self) -> Result<SessionStore> {
        self.look_as_it_is()?.close()?;
        self.open(SessionStore::builder().create(false)).map_err(|error| self.explain(error))
    }

    /// The same, and creates a file that is missing or empty.
    pub fn write_or_create(&self) -> Result<SessionStore> {
        match self {
            Self::File(path) if std::fs::metadata(path).map_or(true, |found| found.is_file() && found.len() == 0) => {
                self.open(SessionStore::builder()).map_err(|error| self.explain(error))
            }
            _ => self.write(),
        }
    }

    pub fn read_only(&self) -> Result<SessionStore, Error> {
        self.open(SessionStore::builder().read_only(true))
    }

    fn open(&self, builder: SessionStoreBuilder) -> Result<SessionStore, Error> {
        match self {
            // A name that the library would take for something else is a file's here.
            Self::File(path)
                if path.as_os_str() == ":memory:" || path.as_os_str().as_encoded_bytes().starts_with(b"file:") =>
            {
                builder.open(Path::new(".").join(path))
            }
            Self::File(path) => builder.open(path),
            Self::Server { url, schema: Some(schema) } => builder.schema(schema).connect(url),
            Self::Server { url, schema: None } => builder.connect(url),
        }
    }

    /// Connects to a server to migrate it.
    pub fn migrated_server(&self) -> Result<SessionStore> {
        self.open(SessionStore::builder()).map_err(|error| self.explain(error))
    }

    /// Says of an error what to do about it here.
    pub fn explain(&self, error: Error) -> Failure {
        match (error, self) {
            (Error::MigrationNeeded { reason }, Self::File(_)) => Failure::said(
                Exit::NotMigrated,
                format!(
                    "{self} has to be migrated first ({reason}): run `agent-sessions migrate --db {self}`; list, show, events, \
                     stats, check and export also take --copy, to show a migrated copy"
                ),
            ),
            (Error::MigrationNeeded { reason }, Self::Server { .. }) => Failure::said(
                Exit::NotMigrated,
                format!("{self} has to be migrated first ({reason}): run `agent-sessions migrate` with the same --db"),
            ),
            (error @ Error::Open { .. }, Self::Server { .. }) => Failure::said(
                Exit::Unavailable,
                // The server's message may have several lines.
                format!(
                    "{}: check the URL, and that the server runs",
                    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
                ),
            ),
            (error, _) => error.into(),
        }
    }
}

/// For messages: a path as a shell takes it, a server without what may be secret.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => {
                let shown = path.display().to_string();
                let is_plain = |sign: char| sign.is_alphanumeric() || "/._-+=:,@".contains(sign);
                match shown.chars().all(is_plain) {
                    true => f.write_str(&shown),
                    false => write!(f, "'{}'", shown.replace('\'', r"'\''")),
                }
            }
            Self::Server { .. } => f.write_str("the server's database"),
        }
    }
}

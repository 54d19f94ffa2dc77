//! Where a store's database is, and how a path is interpreted.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use diesel::prelude::*;
use diesel::result::ConnectionError;

use super::new_file;
use crate::database::sqlite::waiting::Preparation;
use crate::database::sqlite::{disk, unfinished, uri};
use crate::error::{Error, Result};
use crate::store::engine::OnOpen;
use crate::store::engine::url::is_server;
use crate::store::options::Options;

#[derive(Clone, Debug)]
pub(super) enum Location {
    File { path: String, file: PathBuf, uri: String, file_mode: u32, on_open: OnOpen },
    Memory { on_open: OnOpen },
}

/// What a connection may do with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenMode {
    Read,
    Write,
    /// Like `Write`, and create the file if it does not exist.
    Create,
}

impl Location {
    /// A file is opened by URI: only a URI can ask SQLite not to create or change it, and makes no name special
    /// (`:memory:`, `file:…`).
    ///
    /// The path is made absolute, since connections are also opened later, when the working directory may have changed.
    pub(super) fn file(path: &Path, options: &Options) -> Result<Self> {
        let shown = path.display().to_string();
        let absolute = find(path).map_err(ConnectionError::BadConnection).and_then(|path| {
            // SQLite would end the name there.
            let no_nul = CString::new(path.as_os_str().as_encoded_bytes());
            no_nul.map(|_| path).map_err(ConnectionError::InvalidCString)
        });
        let absolute = match absolute {
            Ok(absolute) => absolute,
            Err(source) => return Err(Error::Open { path: shown, source }),
        };
        let uri = uri::of_file(&absolute);
        let (file_mode, on_open) = (options.file_mode, options.on_open.clone());
        Ok(Self::File { path: shown, file: absolute, uri, file_mode, on_open })
    }

    /// A connection with SQLite's defaults, and whatever the application sets on it.
    pub(super) fn connect(&self, mode: OpenMode) -> Result<SqliteConnection> {
        let (path, url) = match self {
            Self::File { path, file, uri, file_mode, .. } => {
                let mode = match mode {
                    OpenMode::Read => "ro",
                    OpenMode::Write => "rw",
                    OpenMode::Create => new_file::create(file, *file_mode)?,
                };
                (&**path, format!("{uri}?mode={mode}"))
            }
            Self::Memory { .. } => (":memory:", ":memory:".to_owned()),
        };
        let established = SqliteConnection::establish(&url);
        let mut conn = established.map_err(|source| Error::Open { path: path.to_owned(), source })?;
        self.prepare(&mut conn)?;
        Ok(conn)
    }

    /// Does to a connection what the application wants done to every one, before anything else.
    fn prepare(&self, conn: &mut SqliteConnection) -> Result<()> {
        match self {
            Self::File { path, on_open, .. } => on_open.run(conn, path),
            Self::Memory { on_open } => on_open.run(conn, &":memory:"),
        }
    }

    /// Passes that to some work which opens a connection by itself, if there is anything to do.
    pub(super) fn with_preparation<T>(&self, work: impl FnOnce(Option<Preparation<'_>>) -> T) -> T {
        let (Self::File { on_open, .. } | Self::Memory { on_open }) = self;
        let prepare = |conn: &mut SqliteConnection| self.prepare(conn);
        work(on_open.is_set().then_some(&prepare))
    }

    /// The file itself if the path is a link: its other files are next to it.
    pub(super) fn resolved(&self) -> Option<PathBuf> {
        match self {
            Self::File { file, .. } => std::fs::canonicalize(file).ok(),
            Self::Memory { .. } => None,
        }
    }

    /// The file that SQLite keeps next to the database under this suffix.
    pub(super) fn beside(&self, suffix: &str) -> Option<PathBuf> {
        self.resolved().map(|file| uri::beside(&file, suffix))
    }

    /// Explains why SQLite could not create a file next to the database.
    pub(super) fn explain(&self, error: Error) -> Error {
        match self {
            Self::File { file, .. } => disk::explain_beside(file, error),
            Self::Memory { .. } => error,
        }
    }
}

/// Makes a path absolute, or says why it cannot be a database.
fn find(path: &Path) -> Result<PathBuf, String> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.is_empty() {
        return Err("the path is empty; use open_in_memory for a database without a file".to_owned());
    }
    if bytes.starts_with(b"file:") {
        return Err(format!(
            "URIs are not supported: use SessionStoreBuilder's read_only and create; to open a file of that name, write {:?}",
            Path::new(".").join(path)
        ));
    }
    if path.to_str().is_some_and(is_server) {
        return Err("it is the URL of a server: use SessionStore::connect".to_owned());
    }
    let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
    let found = std::fs::canonicalize(&absolute);
    if unfinished::is_unfinished(found.as_deref().unwrap_or(&absolute)) {
        return Err("it is an unfinished backup".to_owned());
    }
    // Opening a pipe would wait for another process to open its other end.
    match std::fs::metadata(&absolute) {
        Ok(found) if !found.is_file() => Err(format!("it is a {}, not a database file", kind(found.file_type()))),
        _ => Ok(absolute),
    }
}

fn kind(found: std::fs::FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if found.is_fifo() {
            return "named pipe";
        }
        if found.is_socket() {
            return "socket";
        }
        if found.is_char_device() || found.is_block_device() {
            return "device";
        }
    }
    if found.is_dir() { "folder" } else { "special file" }
}

//! Where a store's database is, and how a path is interpreted.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use diesel::prelude::*;
use diesel::result::ConnectionError;

use super::new_file;
use crate::database::sqlite::{backup, disk, uri};
use crate::error::{Error, Result};
use crate::store::engine::url::is_server;

#[derive(Clone, Debug)]
pub(super) enum Location {
    File { path: String, file: PathBuf, uri: String, file_mode: u32 },
    Memory,
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
    pub(super) fn file(path: &Path, file_mode: u32) -> Result<Self> {
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
        Ok(Self::File { path: shown, file: absolute, uri, file_mode })
    }

    /// A connection with SQLite's defaults.
    pub(super) fn connect(&self, mode: OpenMode) -> Result<SqliteConnection> {
        let (path, url) = match self {
            Self::File { path, file, uri, file_mode } => {
                let mode = match mode {
                    OpenMode::Read => "ro",
                    OpenMode::Write => "rw",
                    OpenMode::Create => new_file::create(file, *file_mode)?,
                };
                (&**path, format!("{uri}?mode={mode}"))
            }
            Self::Memory => (":memory:", ":memory:".to_owned()),
        };
        SqliteConnection::establish(&url).map_err(|source| Error::Open { path: path.to_owned(), source })
    }

    /// The file itself if the path is a link: its other files are next to it.
    pub(super) fn resolved(&self) -> Option<PathBuf> {
        match self {
            Self::File { file, .. } => std::fs::canonicalize(file).ok(),
            Self::Memory => None,
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
            Self::Memory => error,
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
    if backup::is_unfinished(found.as_deref().unwrap_or(&absolute)) {
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

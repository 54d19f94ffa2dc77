//! A connection of the store's own: how a file is opened, and with which settings.

use std::ffi::CString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::result::ConnectionError;
use diesel::sql_types::Text;

use super::builder::{Durability, JournalMode, Options};
use super::place;
use crate::disk;
use crate::error::{Error, Result};
use crate::migrations::migrate;
use crate::pragma;

/// Where a store's database is.
#[derive(Clone, Debug)]
pub(super) enum Location {
    File { path: String, file: PathBuf, uri: String, file_mode: u32 },
    Memory,
}

impl Location {
    /// A file is opened by URI: only so can it be asked for without creating or changing it, and no name has a meaning
    /// of its own (`:memory:`, `file:…`).
    ///
    /// It is made absolute, since connections are opened later too, when the working directory may be another.
    pub(super) fn file(path: &Path, file_mode: u32) -> Result<Self> {
        let shown = path.display().to_string();
        let absolute = place::find(path).map_err(ConnectionError::BadConnection).and_then(|path| {
            // To SQLite the name would end there.
            let no_nul = CString::new(path.as_os_str().as_encoded_bytes());
            no_nul.map(|_| path).map_err(ConnectionError::InvalidCString)
        });
        let absolute = match absolute {
            Ok(absolute) => absolute,
            Err(source) => return Err(Error::Open { path: shown, source }),
        };
        // A path that begins with two slashes would name a host.
        let mut uri = if cfg!(windows) { "file:///" } else { "file://" }.to_owned();
        for &byte in absolute.as_os_str().as_encoded_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' | b'~' => uri.push(char::from(byte)),
                b'\\' if cfg!(windows) => uri.push('/'),
                b':' if cfg!(windows) => uri.push(':'),
                _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
                // Writing to a string cannot fail.
                _ => _ = write!(uri, "%{byte:02X}"),
            }
        }
        Ok(Self::File { path: shown, file: absolute, uri, file_mode })
    }

    /// Says what kept SQLite from creating a file beside the database.
    pub(super) fn explain(&self, error: Error) -> Error {
        match self {
            Self::File { file, .. } => disk::explain_beside(file, error),
            Self::Memory => error,
        }
    }

    fn establish(&self, mode: &str, busy_timeout: Duration) -> Result<SqliteConnection> {
        let (path, url) = match self {
            Self::File { path, file, uri, file_mode } => {
                let mode = if mode == "rwc" { place::create(file, *file_mode)? } else { mode };
                (&**path, format!("{uri}?mode={mode}"))
            }
            Self::Memory => (":memory:", ":memory:".to_owned()),
        };
        let mut conn =
            SqliteConnection::establish(&url).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        // Before anything that may meet another connection's lock.
        // SQLite counts in 32 bits.
        let millis = i32::try_from(busy_timeout.as_millis()).unwrap_or(i32::MAX);
        pragma::write(&mut conn, "busy_timeout", i64::from(millis))?;
        Ok(conn)
    }
}

/// The connection that writes, to a migrated database.
pub(super) fn writer(location: &Location, options: &Options) -> Result<SqliteConnection> {
    let mode = match (options.read_only, options.create) {
        (true, _) => "ro",
        (false, true) => "rwc",
        (false, false) => "rw",
    };
    let mut conn = location.establish(mode, options.busy_timeout)?;
    if options.read_only || matches!(location, Location::Memory) {
        migrate(&mut conn)?;
        return Ok(conn);
    }
    set_durability(&mut conn, options)?;
    // Before the switch to another journal, which needs the file for itself: another process may be migrating it, and
    // only `migrate` waits as long as that takes.
    migrate(&mut conn)?;
    let journal_mode = set_journal_mode(&mut conn, options)?;
    if options.durability == Durability::Normal && journal_mode == "wal" {
        pragma::write(&mut conn, "synchronous", 1)?;
    }
    Ok(conn)
}

/// A connection that only reads. It never creates the file: the writer has it.
pub(super) fn reader(location: &Location, options: &Options) -> Result<SqliteConnection> {
    let mode = if options.read_only { "ro" } else { "rw" };
    let mut conn = location.establish(mode, options.busy_timeout)?;
    pragma::write(&mut conn, "query_only", 1)?;
    Ok(conn)
}

/// Another connection that does the same at the same moment can make this fail at once, whatever the busy timeout
/// says: each holds what the other waits for. Then one of them has to try again.
///
/// Says which journal the file has then.
fn set_journal_mode(conn: &mut SqliteConnection, options: &Options) -> Result<String> {
    let wanted = match options.journal_mode {
        JournalMode::Wal => "wal",
        JournalMode::Rollback => "delete",
    };
    let started = Instant::now();
    loop {
        match try_journal_mode(conn, wanted).map_err(Error::from) {
            Err(Error::Busy { .. }) if started.elapsed() < options.busy_timeout => {
                std::thread::sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
}

fn try_journal_mode(conn: &mut SqliteConnection, wanted: &str) -> QueryResult<String> {
    let current: String = diesel::dsl::sql::<Text>("PRAGMA journal_mode").get_result(conn)?;
    if current == wanted {
        return Ok(current);
    }
    diesel::dsl::sql::<Text>(&format!("PRAGMA journal_mode = {wanted}")).get_result(conn)
}

fn set_durability(conn: &mut SqliteConnection, options: &Options) -> Result<()> {
    // EXTRA: FULL, and with a rollback journal the folder is synced too. A commit deletes the journal; without that it
    // could be back after power loss, and be rolled back into the file, which may have been cut short since. With NORMAL
    // a journal may also be torn when it is played back. So less will do only once there is a write-ahead log.
    pragma::write(conn, "synchronous", 3)?;
    // There, only this flushes the drive's own cache.
    let bears_less = options.durability == Durability::Normal && options.journal_mode == JournalMode::Wal;
    if cfg!(target_vendor = "apple") && !bears_less {
        pragma::write(conn, "fullfsync", 1)?;
        pragma::write(conn, "checkpoint_fullfsync", 1)?;
    }
    Ok(())
}

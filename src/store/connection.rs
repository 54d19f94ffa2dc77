//! A connection of the store's own: how a file is opened, and with which settings.

use std::ffi::CString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::result::ConnectionError;
use diesel::sql_types::Text;

use super::builder::{Durability, JournalMode, Options};
use super::place;
use crate::disk;
use crate::error::{Error, Result};
use crate::migrations::{bring_up_to_date, migrate};
use crate::waiting::{self, PATIENCE, Schema};
use crate::{pragma, uri};

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
        let uri = uri::of_file(&absolute);
        Ok(Self::File { path: shown, file: absolute, uri, file_mode })
    }

    /// Says what kept SQLite from creating a file beside the database.
    pub(super) fn explain(&self, error: Error) -> Error {
        match self {
            Self::File { file, .. } => disk::explain_beside(file, error),
            Self::Memory => error,
        }
    }

    pub(super) fn establish(&self, mode: &str, busy_timeout: Duration) -> Result<SqliteConnection> {
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
    let mode = if options.create { "rwc" } else { "rw" };
    let mut conn = location.establish(mode, options.busy_timeout)?;
    if matches!(location, Location::Memory) {
        migrate(&mut conn)?;
        return Ok(conn);
    }
    // Nothing before this reads the file: another process may be migrating it, which takes as long as it takes.
    let patience = match waiting::look(&mut conn, options.busy_timeout)? {
        Schema::Current => {
            set_durability(&mut conn, options)?;
            options.busy_timeout
        }
        Schema::Pending => {
            waiting::patiently(&mut conn, |conn| set_durability(conn, options))?;
            // Before the switch to another journal, which needs the file for itself.
            bring_up_to_date(&mut conn)?;
            PATIENCE.max(options.busy_timeout)
        }
    };
    let (mut conn, journal_mode) = set_journal_mode(conn, location, options, patience)?;
    if options.durability == Durability::Normal && journal_mode == "wal" {
        pragma::write(&mut conn, "synchronous", 1)?;
    }
    set_log_limit(&mut conn, options)?;
    Ok(conn)
}

/// A connection that keeps the log where it is when it closes after the others: the last one to close moves the log
/// into the file and deletes it, unless it cannot write.
pub(super) fn keeper(location: &Location) -> Result<SqliteConnection> {
    let mut conn = location.establish("ro", Duration::from_secs(1))?;
    pragma::read_schema(&mut conn)?;
    Ok(conn)
}

/// A connection that only reads. It never creates the file: the writer has it.
pub(super) fn reader(location: &Location, options: &Options) -> Result<SqliteConnection> {
    let mode = if options.read_only { "ro" } else { "rw" };
    let mut conn = location.establish(mode, options.busy_timeout)?;
    pragma::write(&mut conn, "query_only", 1)?;
    Ok(conn)
}

/// Brings the file to the journal mode that is wanted, on this connection or on a new one, and says which one it has
/// then.
///
/// Others that do the same at the same moment can make this fail at once, whatever the busy timeout says: each holds
/// what the others wait for. With a write-ahead log, which a file is to leave, that is the mere connection. So it is
/// let go between the attempts, and the time between them is a matter of chance.
fn set_journal_mode(
    conn: SqliteConnection,
    location: &Location,
    options: &Options,
    patience: Duration,
) -> Result<(SqliteConnection, String)> {
    let started = Instant::now();
    let mut conn = Some(conn);
    let mut longest = 4;
    loop {
        let attempt = match conn.take() {
            Some(conn) => Ok(conn),
            None => reopen(location, options),
        };
        let busy = match attempt.and_then(|conn| try_journal_mode(conn, options.journal_mode)) {
            Err(busy @ Error::Busy { .. }) => busy,
            result => return result,
        };
        let Some(left) = patience.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) else {
            return Err(busy);
        };
        std::thread::sleep(Duration::from_millis(1 + by_chance() % longest).min(left));
        longest = (2 * longest).min(64);
    }
}

fn reopen(location: &Location, options: &Options) -> Result<SqliteConnection> {
    let mut conn = location.establish("rw", options.busy_timeout)?;
    set_durability(&mut conn, options)?;
    Ok(conn)
}

fn try_journal_mode(mut conn: SqliteConnection, journal_mode: JournalMode) -> Result<(SqliteConnection, String)> {
    let wanted = match journal_mode {
        JournalMode::Wal => "wal",
        JournalMode::Rollback => "delete",
    };
    let current = pragma::journal_mode(&mut conn)?;
    if current == wanted {
        return Ok((conn, current));
    }
    // Where the file system cannot have a write-ahead log, it stays as it was.
    let set = diesel::dsl::sql::<Text>(&format!("PRAGMA journal_mode = {wanted}")).get_result(&mut conn)?;
    Ok((conn, set))
}

/// A number that no two threads or processes have in common, except by chance.
fn by_chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Who takes care of the log, and how much of it is left when it has been begun anew.
fn set_log_limit(conn: &mut SqliteConnection, options: &Options) -> Result<()> {
    if options.auto_checkpoint {
        let limit = i64::try_from(options.log_size_limit).unwrap_or(i64::MAX);
        Ok(pragma::write(conn, "journal_size_limit", limit)?)
    } else {
        Ok(pragma::write(conn, "wal_autocheckpoint", 0)?)
    }
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

//! How long to wait for a file locked by another connection: minutes if it is being migrated, otherwise the busy
//! timeout.
//!
//! With a rollback journal, a larger transaction locks out readers too, so we cannot read from the tables whether the
//! file still needs migrating. Then we read them without a lock. The result may be torn or never committed; it only
//! decides how long to wait.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use diesel::prelude::*;

use super::embedded::is_current;
use super::{pragma, uri};
use crate::error::{Error, Result};

/// How long a process waits for another that is migrating the same file, unless its busy timeout is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// What has to be done to each connection to a file before it can be read, if it is encrypted.
pub(crate) type Preparation<'a> = &'a dyn Fn(&mut SqliteConnection) -> Result<()>;

/// The state of the schema on opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    Current,
    /// It needs migrating, or is being migrated.
    Pending,
}

/// Finds out whether the file needs migrating, within the given time. `Error::Busy` then means that the file is locked,
/// but not by a migration.
pub(crate) fn look(conn: &mut SqliteConnection, at_most: Duration, prepare: Option<Preparation<'_>>) -> Result<Schema> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let busy = match pragma::with(conn, "busy_timeout", 0, is_current) {
            Ok(true) => return Ok(Schema::Current),
            Ok(false) => return Ok(Schema::Pending),
            Err(busy @ Error::Busy { .. }) => busy,
            Err(error) => return Err(error),
        };
        if is_being_migrated(conn, prepare) {
            return Ok(Schema::Pending);
        }
        let Some(left) = at_most.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) else {
            return Err(busy);
        };
        std::thread::sleep(pause.min(left));
        pause = (2 * pause).min(Duration::from_millis(50));
    }
}

/// Runs work that may have to wait for a migration.
pub(crate) fn patiently<T>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T> {
    let patience = pragma::read(conn, "busy_timeout")?.max(PATIENCE.as_millis() as i64);
    pragma::with(conn, "busy_timeout", patience, work)
}

/// Whether the transaction that locks the file is a migration, or might be one.
fn is_being_migrated(conn: &mut SqliteConnection, prepare: Option<Preparation<'_>>) -> bool {
    let Some(file) = pragma::file(conn) else { return false };
    let journal = uri::beside(&file, "-journal");
    // Without a journal no transaction has written to the file. (A write-ahead log does not lock out readers.)
    if !journal.exists() {
        return false;
    }
    match unlocked(&file, None) {
        // The transaction may already have recorded the migration as done. But it has changed the schema, and the
        // journal has the page with the schema version from before.
        Ok((true, version)) => schema_before(&journal).is_some_and(|before| before != version),
        Ok((false, _)) => true,
        // It is encrypted, and so is the journal, which then tells nothing.
        Err(Error::NotADatabase { .. }) => {
            prepare.is_some_and(|prepare| matches!(unlocked(&file, Some(prepare)), Ok((false, _))))
        }
        // Torn by a concurrent write.
        Err(_) => true,
    }
}

/// Whether the file is current, and its schema version, read past all locks.
fn unlocked(file: &Path, prepare: Option<Preparation<'_>>) -> Result<(bool, u32)> {
    let url = format!("{}?mode=ro&immutable=1", uri::of_file(file));
    let mut conn =
        SqliteConnection::establish(&url).map_err(|source| Error::Open { path: file.display().to_string(), source })?;
    if let Some(prepare) = prepare {
        prepare(&mut conn)?;
    }
    let is_current = is_current(&mut conn)?;
    // The version has 32 bits, which SQLite reads as signed.
    Ok((is_current, pragma::read(&mut conn, "schema_version")? as u32))
}

/// The schema version before the journal's transaction, or `None` if the first page that it changed is not the one with
/// the version. (The first statement of a migration creates a table, which changes that page.)
///
/// SQLite's "Database File Format", part 3, describes the format. SQLite has no lock on the journal, so reading it here
/// releases none.
fn schema_before(journal: &Path) -> Option<u32> {
    let mut journal = File::open(journal).ok()?;
    let mut number_at = |offset: u64| -> Option<u32> {
        let mut bytes = [0; 4];
        journal.seek(SeekFrom::Start(offset)).ok()?;
        journal.read_exact(&mut bytes).ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    let first_record = u64::from(number_at(20)?);
    let page = number_at(first_record)?;
    // At offset 40 of the first page.
    if page == 1 { number_at(first_record + 4 + 40) } else { None }
}

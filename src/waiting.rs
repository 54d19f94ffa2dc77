//! How long to wait for a file that another connection has locked: minutes if a migration is under way in it, else as
//! long as the busy timeout says.
//!
//! With a rollback journal, a transaction of some size locks out readers as well, so the tables that would tell whether
//! the file is still to be migrated cannot be read. Then they are looked at without a lock. What is seen that way may be
//! torn or never committed: it decides how long to wait, and nothing else.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use diesel::prelude::*;

use crate::error::{Error, Result};
use crate::migrations::is_current;
use crate::{pragma, uri};

/// How long a process waits for another one that is migrating the same file, unless its busy timeout is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// What an opening finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    Current,
    /// It is to be migrated, or somebody is at it.
    Pending,
}

/// Finds out whether the file has to be migrated. It waits at most as long as it is told: `Error::Busy` then means that
/// the file is locked, and not for a migration.
pub(crate) fn look(conn: &mut SqliteConnection, at_most: Duration) -> Result<Schema> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let busy = match pragma::with(conn, "busy_timeout", 0, is_current) {
            Ok(true) => return Ok(Schema::Current),
            Ok(false) => return Ok(Schema::Pending),
            Err(busy @ Error::Busy { .. }) => busy,
            Err(error) => return Err(error),
        };
        if is_being_migrated(conn) {
            return Ok(Schema::Pending);
        }
        let Some(left) = at_most.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) else {
            return Err(busy);
        };
        std::thread::sleep(pause.min(left));
        pause = (2 * pause).min(Duration::from_millis(50));
    }
}

/// Does some work that may have to wait for a migration.
pub(crate) fn patiently<T>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T> {
    let patience = pragma::read(conn, "busy_timeout")?.max(PATIENCE.as_millis() as i64);
    pragma::with(conn, "busy_timeout", patience, work)
}

/// Whether the transaction that holds the file is a migration, or can at least not be told from one.
fn is_being_migrated(conn: &mut SqliteConnection) -> bool {
    let Some(file) = pragma::file(conn) else { return false };
    let journal = uri::beside(&file, "-journal");
    // Without a journal there is no transaction that has written to the file. (With a write-ahead log readers are
    // not locked out.)
    if !journal.exists() {
        return false;
    }
    match unlocked(&file) {
        // The transaction may have come as far as writing down that the migration is done. It changes the schema all
        // the same, and the journal has the page that says which version of it was there before.
        Ok((true, version)) => schema_before(&journal).is_some_and(|before| before != version),
        Ok((false, _)) => true,
        // Torn: it has just been written to.
        Err(_) => true,
    }
}

/// Whether the file is current, and the version of its schema, read past all locks.
fn unlocked(file: &Path) -> Result<(bool, u32)> {
    let url = format!("{}?mode=ro&immutable=1", uri::of_file(file));
    let mut conn =
        SqliteConnection::establish(&url).map_err(|source| Error::Open { path: file.display().to_string(), source })?;
    let is_current = is_current(&mut conn)?;
    // The version is 32 bits, which SQLite reads as signed.
    Ok((is_current, pragma::read(&mut conn, "schema_version")? as u32))
}

/// The version of the schema before the transaction that the journal belongs to; `None` if the first page that it
/// changed is not the one that holds it. (The first statement of a migration creates a table, which changes that page.)
///
/// The format is described in SQLite's "Database File Format", part 3. No lock of SQLite's is on the journal, so
/// reading it here releases none.
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

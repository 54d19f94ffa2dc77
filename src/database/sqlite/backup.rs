//! Copying a whole database into a new file.
//!
//! The copy is written in its own folder next to the target, synced, and only then given its name: whenever the process
//! is killed, there is either no such file or a complete one.

mod unfinished;

use std::fs::{File, OpenOptions};
use std::io::{Error as IoError, ErrorKind, Write as _};
use std::path::Path;

use diesel::prelude::*;
use diesel::result::ConnectionError;
use diesel::sql_types::Text;

use self::unfinished::Unfinished;
pub(crate) use self::unfinished::is_unfinished;
use super::waiting::Preparation;
use super::{disk, pragma, uri};
use crate::error::{Error, Result};

/// Copies a consistent snapshot of the database to a file that must not exist. A copy of an encrypted database has its
/// key.
pub(crate) fn backup(conn: &mut SqliteConnection, path: &Path, prepare: Option<Preparation<'_>>) -> Result<()> {
    // The working directory may change meanwhile.
    let target = std::path::absolute(path)?;
    // Checked before the work, and again when the copy gets its name.
    if target.symlink_metadata().is_ok() && !remove_reservation(&target) {
        return Err(IoError::new(ErrorKind::AlreadyExists, "the file already exists").into());
    }
    let (Some(folder), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(IoError::new(ErrorKind::InvalidInput, "the path names no file").into());
    };
    if is_unfinished(&target) {
        return Err(IoError::new(ErrorKind::InvalidInput, "the name is that of an unfinished backup").into());
    }
    unfinished::remove_leftovers(folder);
    let unfinished = Unfinished::begin(folder, name)?;
    // Without this, a connection that is read-only for its own database cannot write another one.
    let copied = pragma::with(conn, "query_only", 0, |conn| {
        diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(unfinished.copy()).execute(conn)
    });
    if let Err(error) = copied {
        return Err(disk::explain_beside(unfinished.copy().as_ref(), error.into()));
    }
    if let Some(prepare) = prepare {
        check_readable(unfinished.copy().as_ref(), &target, prepare)?;
    }
    let source = pragma::file(conn);
    finish(unfinished.copy().as_ref(), source.as_deref(), &target, folder).map_err(disk::error)
}

/// Makes sure that whoever can read the database can read its copy: SQLCipher encrypts that with the same key, but with
/// its default settings.
fn check_readable(copy: &Path, target: &Path, prepare: Preparation<'_>) -> Result<()> {
    let unreadable = |reason: &str| Error::Open {
        path: target.display().to_string(),
        source: ConnectionError::BadConnection(reason.to_owned()),
    };
    let established = SqliteConnection::establish(&format!("{}?mode=rw", uri::of_file(copy)));
    let mut conn = established.map_err(|error| unreadable(&error.to_string()))?;
    prepare(&mut conn)?;
    match pragma::read_schema(&mut conn).map_err(Error::from) {
        Err(Error::NotADatabase { .. }) => Err(unreadable(
            "the copy cannot be read with the settings of on_open; where they differ from SQLCipher's own, make them its \
             own with PRAGMA cipher_default_…",
        )),
        read => read,
    }
}

/// Syncs the copy, and then moves it to its place.
fn finish(copy: &Path, source: Option<&Path>, target: &Path, folder: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).open(copy)?;
    share_as(&file, source);
    file.sync_all()?;
    // No connection may have the file open by now: on Unix, closing it here would drop the locks of the whole process.
    drop(file);
    // If folders can be opened, sync the name too.
    let folder = if cfg!(unix) { Some(File::open(folder)?) } else { None };
    put_in_place(copy, target)?;
    if let Some(Err(error)) = folder.map(|folder| folder.sync_all()) {
        // Only what was put there.
        let _ = std::fs::remove_file(target);
        return Err(error);
    }
    Ok(())
}

/// Gives access to the copy to exactly those who have access to the database. Until then it is private to its owner,
/// and it stays so if there is no file to take the mode from, or if the file system has no modes.
#[cfg(unix)]
fn share_as(copy: &File, source: Option<&Path>) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let Some(Ok(source)) = source.map(std::fs::metadata) else { return };
    let Ok(made) = copy.metadata() else { return };
    let mut mode = source.mode() & 0o777;
    if made.gid() != source.gid() && fchown(copy, None, Some(source.gid())).is_err() {
        // Another group gets the permissions of others.
        mode &= !0o070 | (mode & 0o007) << 3;
    }
    let _ = copy.set_permissions(std::fs::Permissions::from_mode(mode));
}

#[cfg(not(unix))]
fn share_as(_: &File, _: Option<&Path>) {}

/// Gives the copy its name, unless the file already exists.
fn put_in_place(copy: &Path, target: &Path) -> std::io::Result<()> {
    match std::fs::hard_link(copy, target) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => rename_into_place(copy, target),
        linked => linked,
    }
}

/// The content of the target for a moment, on file systems without hard links. It is not a database.
const RESERVATION: &[u8] = b"agent-session-store: a backup is about to be put here\n";

/// The same without hard links, as on FAT and some network file systems. Renaming would overwrite a file that someone
/// has created meanwhile, so the name is taken first.
fn rename_into_place(copy: &Path, target: &Path) -> std::io::Result<()> {
    let mut reservation = OpenOptions::new().write(true).create_new(true).open(target)?;
    let written = reservation.write_all(RESERVATION).and_then(|()| reservation.sync_all());
    drop(reservation);
    let renamed = written.and_then(|()| std::fs::rename(copy, target));
    if renamed.is_err() {
        let _ = std::fs::remove_file(target);
    }
    renamed
}

/// Removes what a run killed at that moment has left in the target's place. Returns whether there was anything.
fn remove_reservation(target: &Path) -> bool {
    let is_reservation = target.symlink_metadata().is_ok_and(|found| {
        found.is_file()
            && found.len() == RESERVATION.len() as u64
            && std::fs::read(target).is_ok_and(|text| text == RESERVATION)
    });
    is_reservation && std::fs::remove_file(target).is_ok()
}

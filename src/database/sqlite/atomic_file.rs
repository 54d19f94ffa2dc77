//! A new file that gets its name once it is complete.
//!
//! It is written in its own folder next to the target, synced, and only then given its name: whenever the process is
//! killed, there is either no such file or a complete one.

use std::fs::{File, OpenOptions};
use std::io::{Error as IoError, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::unfinished::{self, Unfinished, is_unfinished};
use crate::error::Result;

/// A file in the making. It is removed when this is dropped.
pub(crate) struct AtomicFile {
    target: PathBuf,
    folder: PathBuf,
    unfinished: Unfinished,
}

impl AtomicFile {
    /// Begins a file that must not exist.
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        // The working directory may change meanwhile.
        let target = std::path::absolute(path)?;
        // Checked before the work, and again when the file gets its name.
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
        Ok(Self { folder: folder.to_owned(), unfinished, target })
    }

    /// Where to write: an empty file, private to its owner.
    pub(crate) fn path(&self) -> &str {
        self.unfinished.copy()
    }

    /// The name that it will have.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Syncs what was written, and then moves it to its place. On Unix, the file must not be a database that is open:
    /// closing it here would drop the locks of the whole process.
    pub(crate) fn finish(self, prepare: impl FnOnce(&File)) -> std::io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path())?;
        prepare(&file);
        file.sync_all()?;
        drop(file);
        // If folders can be opened, sync the name too.
        let folder = if cfg!(unix) { Some(File::open(&self.folder)?) } else { None };
        put_in_place(self.path().as_ref(), &self.target)?;
        if let Some(Err(error)) = folder.map(|folder| folder.sync_all()) {
            // Only what was put there.
            let _ = std::fs::remove_file(&self.target);
            return Err(error);
        }
        Ok(())
    }
}

/// Gives the file its name, unless the file already exists.
fn put_in_place(file: &Path, target: &Path) -> std::io::Result<()> {
    match std::fs::hard_link(file, target) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => rename_into_place(file, target),
        linked => linked,
    }
}

/// The content of the target for a moment, on file systems without hard links. It is not a database.
const RESERVATION: &[u8] = b"agent-session-store: a backup is about to be put here\n";

/// The same without hard links, as on FAT and some network file systems. Renaming would overwrite a file that someone
/// has created meanwhile, so the name is taken first.
fn rename_into_place(file: &Path, target: &Path) -> std::io::Result<()> {
    let mut reservation = OpenOptions::new().write(true).create_new(true).open(target)?;
    let written = reservation.write_all(RESERVATION).and_then(|()| reservation.sync_all());
    drop(reservation);
    let renamed = written.and_then(|()| std::fs::rename(file, target));
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

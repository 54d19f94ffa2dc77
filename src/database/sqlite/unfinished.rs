//! The folder in which a backup or an archive is written, and its cleanup after a killed process.

use std::ffi::OsStr;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::database::sqlite::{disk, uri};
use crate::error::{Error, Result};

/// Between the target's name and the numbers.
const MARK: &str = ".agent-session-store-backup-";
const END: &str = ".tmp";

/// In the folder: the copy, and a file whose lock shows that its process is alive.
const COPY: &str = "copy.db";
const LOCK: &str = "lock";

/// How many characters of the target's name the folder's name keeps, so that the whole stays within every file system's
/// limit.
const LONGEST_NAME: usize = 50;

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A folder `<target>.agent-session-store-backup-<process>-<number>.tmp` with an empty file for the copy; it is removed
/// when this is dropped. SQLite cannot open a folder, so nobody mistakes half a copy for an empty database.
pub(super) struct Unfinished {
    folder: PathBuf,
    copy: String,
    lock: Option<SqliteConnection>,
}

impl Unfinished {
    pub(super) fn begin(beside: &Path, name: &OsStr) -> Result<Self> {
        let name: String = name.to_string_lossy().chars().take(LONGEST_NAME).collect();
        for _ in 0..1_000 {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let folder = beside.join(format!("{name}{MARK}{}-{number}{END}", std::process::id()));
            let Some(copy) = folder.join(COPY).to_str().map(str::to_owned) else {
                return Err(IoError::new(ErrorKind::InvalidInput, "SQLite needs a folder whose path is UTF-8").into());
            };
            match create_folder(&folder) {
                // Left over from a process with the same number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                created => created.map_err(disk::error)?,
            }
            let mut unfinished = Self { folder, copy, lock: None };
            match unfinished.fill() {
                // Another process took it for a leftover and removed it before it was locked.
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                filled => return filled.map(|_| unfinished).map_err(disk::error),
            }
        }
        Err(IoError::other("cannot keep a temporary folder next to the file").into())
    }

    /// Returns whether this process owns the folder: another may be about to remove it.
    fn fill(&mut self) -> std::io::Result<bool> {
        create_file(&self.folder.join(LOCK))?;
        let Some(mut lock) = connect(&self.folder.join(LOCK)) else {
            let is_there = self.folder.join(LOCK).exists();
            return if is_there { Err(IoError::other("the lock cannot be opened")) } else { Ok(false) };
        };
        // Other errors mean that there are no locks; then nobody can recognise this as a leftover.
        if let Err(Error::Busy { .. }) = lock.batch_execute("BEGIN EXCLUSIVE").map_err(Error::from) {
            return Ok(false);
        }
        self.lock = Some(lock);
        create_file(Path::new(&self.copy))?;
        Ok(true)
    }

    /// The path of the copy: an empty file, private to its owner.
    pub(super) fn copy(&self) -> &str {
        &self.copy
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not every system can remove an open file.
        self.lock = None;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Whether a path is a backup's folder, or is in one.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    path.ancestors().take(2).filter_map(Path::file_name).any(is_name)
}

fn is_name(name: &OsStr) -> bool {
    let numbers = name.to_str().and_then(|name| Some(name.strip_suffix(END)?.rsplit_once(MARK)?.1));
    numbers.and_then(|numbers| numbers.split_once('-')).is_some_and(|(process, number)| {
        [process, number].iter().all(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Removes what backups into the same folder have left behind, whatever their targets, if their processes are gone.
pub(super) fn remove_leftovers(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if is_name(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_if_dead(&entry.path());
        }
    }
}

/// Removes a folder whose lock nobody holds. A process that has just created the folder and not locked it yet takes
/// another name.
fn remove_if_dead(folder: &Path) {
    // Checked before the lock. The lock is created before the copy, so if there is a copy and then no lock, the lock is
    // gone.
    let has_copy = folder.join(COPY).symlink_metadata().is_ok();
    let lock = folder.join(LOCK);
    match lock.symlink_metadata() {
        Ok(found) if found.is_file() && found.len() == 0 => {
            // Held until the folder is gone, so that nobody uses it meanwhile.
            let Some(mut held) = connect(&lock) else { return };
            if held.batch_execute("BEGIN EXCLUSIVE").is_err() {
                return;
            }
            #[cfg(not(unix))]
            drop(held);
            let _ = std::fs::remove_dir_all(folder);
        }
        Err(error) if error.kind() == ErrorKind::NotFound && has_copy => _ = std::fs::remove_dir_all(folder),
        // The folder is being created, or nearly gone: remove it only if it is empty.
        Err(error) if error.kind() == ErrorKind::NotFound => _ = std::fs::remove_dir(folder),
        _ => {}
    }
}

/// A connection for SQLite's locks, which work between processes and threads wherever its databases do. It does not
/// create the file, which may be missing because another process is removing the folder.
fn connect(lock: &Path) -> Option<SqliteConnection> {
    SqliteConnection::establish(&format!("{}?mode=rw", uri::of_file(lock))).ok()
}

/// Creates a folder that is private to its owner.
fn create_folder(path: &Path) -> std::io::Result<()> {
    #[allow(unused_mut, reason = "elsewhere a folder hands down who may see what is in it")]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Creates an empty file that is private to its owner.
fn create_file(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path).map(drop)
}

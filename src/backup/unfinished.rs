//! The folder that a backup is made in, and what becomes of it when its process is killed.

use std::ffi::OsStr;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::disk;
use crate::error::{Error, Result};

/// Between the target's name and the numbers.
const MARK: &str = ".agent-session-store-backup-";
const END: &str = ".tmp";

/// In the folder: the copy, and a file whose lock says that its process is alive.
const COPY: &str = "copy.db";
const LOCK: &str = "lock";

/// Characters of the target's name that the folder's has: with what follows, no file system's limit is reached.
const LONGEST_NAME: usize = 50;

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A folder `<target>.agent-session-store-backup-<process>-<number>.tmp` with an empty file for the copy, which goes
/// when this is dropped. A folder is opened by no SQLite as the empty database that half a copy would look like.
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
                // Left by a process that had the same number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                created => created.map_err(disk::error)?,
            }
            let mut unfinished = Self { folder, copy, lock: None };
            match unfinished.fill() {
                // Taken for a leftover, before it could be locked.
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                filled => return filled.map(|_| unfinished).map_err(disk::error),
            }
        }
        Err(IoError::other("no folder can be kept beside the file").into())
    }

    /// Says whether the folder is this process's: someone else may be about to remove it.
    fn fill(&mut self) -> std::io::Result<bool> {
        create_file(&self.folder.join(LOCK))?;
        let Some(mut lock) = connect(&self.folder.join(LOCK)) else {
            return if self.folder.exists() { Err(IoError::other("the lock cannot be opened")) } else { Ok(false) };
        };
        // It fails for another reason where there are no locks; then nobody finds out that this is a leftover.
        if let Err(Error::Busy { .. }) = lock.batch_execute("BEGIN EXCLUSIVE").map_err(Error::from) {
            return Ok(false);
        }
        self.lock = Some(lock);
        create_file(Path::new(&self.copy))?;
        Ok(true)
    }

    /// The path of the copy: an empty file, which is its owner's alone.
    pub(super) fn copy(&self) -> &str {
        &self.copy
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not everywhere can a file that is open be removed.
        self.lock = None;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Whether a path is, or is in, the folder of a backup.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    path.ancestors().take(2).filter_map(Path::file_name).any(is_name)
}

fn is_name(name: &OsStr) -> bool {
    let numbers = name.to_str().and_then(|name| Some(name.strip_suffix(END)?.rsplit_once(MARK)?.1));
    numbers.and_then(|numbers| numbers.split_once('-')).is_some_and(|(process, number)| {
        [process, number].iter().all(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// Removes what backups into the same folder have left behind whose processes are gone, whatever file they were for.
pub(super) fn remove_leftovers(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if is_name(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_dead(&entry.path()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether nobody holds the lock. A folder without one is being made or removed: its owner takes another name then.
fn is_dead(folder: &Path) -> bool {
    let lock = folder.join(LOCK);
    match lock.symlink_metadata() {
        Ok(found) if found.is_file() && found.len() == 0 => {
            connect(&lock).is_some_and(|mut lock| lock.batch_execute("BEGIN EXCLUSIVE").is_ok())
        }
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// A connection for SQLite's locks, which work between processes and threads wherever its databases do.
fn connect(lock: &Path) -> Option<SqliteConnection> {
    SqliteConnection::establish(lock.to_str()?).ok()
}

/// A folder for its owner alone.
fn create_folder(path: &Path) -> std::io::Result<()> {
    #[allow(unused_mut, reason = "elsewhere a folder hands down who may see what is in it")]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// An empty file for its owner alone.
fn create_file(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path).map(drop)
}

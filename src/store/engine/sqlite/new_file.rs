//! A new file, which is its owner's alone from the first moment.

use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;

#[cfg(unix)]
use crate::disk;
use crate::error::Result;

/// Creates the file if it is not there, and says in which of SQLite's modes to open it.
///
/// SQLite would create it for everybody to read. It gives the files that it keeps beside it the same mode.
#[cfg(unix)]
pub(super) fn create(path: &Path, mode: u32) -> Result<&'static str> {
    use std::fs::{OpenOptions, Permissions};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    use std::sync::{Mutex, PoisonError};

    // Closing a file takes the locks of the whole process from it. Who comes second waits until the one who creates it
    // has closed it, and locks it after that.
    static CREATING: Mutex<()> = Mutex::new(());
    let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    match OpenOptions::new().write(true).create_new(true).mode(mode).open(end_of_links(path)) {
        Ok(file) => {
            // Also where the process's umask is narrower. Not every file system keeps modes.
            let _ = file.set_permissions(Permissions::from_mode(mode));
        }
        Err(error) if disk::is_full(&error) => return Err(disk::error(error)),
        // It is there, or SQLite finds out what is in the way.
        Err(_) => {}
    }
    Ok("rw")
}

/// Elsewhere a new file has the rights that its folder hands down.
#[cfg(not(unix))]
pub(super) fn create(_: &Path, _: u32) -> Result<&'static str> {
    Ok("rwc")
}

/// Where a link leads that may lead nowhere yet.
#[cfg(unix)]
fn end_of_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // More than the system itself follows.
    for _ in 0..64 {
        let Ok(next) = std::fs::read_link(&path) else { break };
        path.pop();
        path.push(next);
    }
    path
}

//! Creating a new file that is private to its owner from the start.

use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;

#[cfg(unix)]
use crate::database::sqlite::disk;
use crate::error::Result;

/// Creates the file if it does not exist, and returns SQLite's open mode for it.
///
/// SQLite would create it readable for everyone. SQLite gives the files next to it the same mode.
#[cfg(unix)]
pub(super) fn create(path: &Path, mode: u32) -> Result<&'static str> {
    use std::fs::{OpenOptions, Permissions};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    use std::sync::{Mutex, PoisonError};

    // Closing a file drops all of the process's locks on it. A second thread waits until the first has created and
    // closed the file, and locks it after that.
    static CREATING: Mutex<()> = Mutex::new(());
    let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    match OpenOptions::new().write(true).create_new(true).mode(mode).open(end_of_links(path)) {
        Ok(file) => {
            // Even if the process's umask is stricter. Not every file system has modes.
            let _ = file.set_permissions(Permissions::from_mode(mode));
        }
        Err(error) if disk::is_full(&error) => return Err(disk::error(error)),
        // It exists, or SQLite finds out what is wrong.
        Err(_) => {}
    }
    Ok("rw")
}

/// On other systems a new file inherits the permissions of its folder.
#[cfg(not(unix))]
pub(super) fn create(_: &Path, _: u32) -> Result<&'static str> {
    Ok("rwc")
}

/// The target of a link, which may not exist yet.
#[cfg(unix)]
fn end_of_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // More links than the system itself follows.
    for _ in 0..64 {
        let Ok(next) = std::fs::read_link(&path) else { break };
        path.pop();
        path.push(next);
    }
    path
}

//! What a path stands for, and a new file there that is its owner's alone.

use std::path::{Path, PathBuf};

use crate::backup;
use crate::error::Result;

/// Makes a path absolute, or says why there can be no database.
pub(super) fn find(path: &Path) -> Result<PathBuf, String> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.is_empty() {
        return Err("the path is empty; open_in_memory opens a database without a file".to_owned());
    }
    if bytes.starts_with(b"file:") {
        return Err(format!(
            "URIs are not taken: SessionStoreBuilder has read_only and create, and a file of that name is {:?}",
            Path::new(".").join(path)
        ));
    }
    let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
    let found = std::fs::canonicalize(&absolute);
    if backup::is_unfinished(found.as_deref().unwrap_or(&absolute)) {
        return Err("it is an unfinished backup".to_owned());
    }
    // Opening a pipe would wait for somebody at its other end.
    match std::fs::metadata(&absolute) {
        Ok(found) if !found.is_file() => Err(format!("it is a {}, not a database file", kind(found.file_type()))),
        _ => Ok(absolute),
    }
}

fn kind(found: std::fs::FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if found.is_fifo() {
            return "named pipe";
        }
        if found.is_socket() {
            return "socket";
        }
        if found.is_char_device() || found.is_block_device() {
            return "device";
        }
    }
    if found.is_dir() { "folder" } else { "special file" }
}

/// Creates the file if it is not there, and says in which of SQLite's modes to open it.
///
/// SQLite would create it for everybody to read. It gives the files that it keeps beside it the same mode.
#[cfg(unix)]
pub(super) fn create(path: &Path, mode: u32) -> Result<&'static str> {
    use std::fs::{OpenOptions, Permissions};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    use std::sync::{Mutex, PoisonError};

    use crate::disk;

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

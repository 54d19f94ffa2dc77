//! What a path stands for.

use std::path::{Path, PathBuf};

use crate::backup;

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

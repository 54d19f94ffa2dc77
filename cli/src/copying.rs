//! A copy of a database file of any format, which leaves the file as it is.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Error, FileMaintenance};

use crate::failure::{Exit, Failure, Result};

/// Copies a consistent snapshot to a file that must not exist.
pub fn copy(file: &Path, to: &Path) -> Result<()> {
    let log = beside(file, "-wal");
    let had_log = log.exists();
    let copied = connect(file, "ro").and_then(|mut conn| Ok(conn.backup_to(to)?));
    // Where there is a write-ahead log, but no file for it yet, a connection that reads makes an empty one, and one that
    // may write removes it, unless another program uses it by now.
    if !had_log && log.metadata().is_ok_and(|found| found.len() == 0) {
        let _ = connect(file, "rw")
            .and_then(|mut conn| Ok(conn.batch_execute("PRAGMA schema_version").map_err(Error::from)?));
    }
    copied
}

/// A Diesel connection to a file that exists.
pub fn connect(file: &Path, mode: &str) -> Result<SqliteConnection> {
    let cannot = |why: String| Failure::said(Exit::Failed, format!("cannot open {}: {why}", file.display()));
    let found = std::fs::canonicalize(file).map_err(|error| cannot(error.to_string()))?;
    let mut conn = SqliteConnection::establish(&format!("{}?mode={mode}", uri(&found)))
        .map_err(|error| cannot(error.to_string()))?;
    conn.batch_execute("PRAGMA busy_timeout = 5000").map_err(Error::from)?;
    Ok(conn)
}

/// The URI of an absolute path, in which every byte is taken literally.
fn uri(path: &Path) -> String {
    let mut uri = if cfg!(windows) { "file:///" } else { "file://" }.to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => _ = write!(uri, "%{byte:02X}"),
        }
    }
    uri
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()).into_os_string();
    name.push(suffix);
    name.into()
}

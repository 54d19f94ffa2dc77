//! File names for SQLite: the URI of a file, and the files next to it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The URI of an absolute path, ready for parameters. Every character is taken literally.
pub(crate) fn of_file(path: &Path) -> String {
    // A path that begins with two slashes would be a host name.
    let mut uri = if cfg!(windows) { "file:///" } else { "file://" }.to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' => uri.push(char::from(byte)),
            b'\\' if cfg!(windows) => uri.push('/'),
            b':' if cfg!(windows) => uri.push(':'),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => _ = write!(uri, "%{byte:02X}"),
        }
    }
    uri
}

/// The name of a file that SQLite keeps next to a database.
pub(crate) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

//! Copying a whole database into a new file.

use std::fs::File;
use std::path::Path;

use diesel::prelude::*;
use diesel::result::ConnectionError;
use diesel::sql_types::Text;

use super::atomic_file::AtomicFile;
use super::waiting::Preparation;
use super::{disk, pragma, uri};
use crate::error::{Error, Result};

/// Copies a consistent snapshot of the database to a file that must not exist. A copy of an encrypted database has its
/// key.
pub(crate) fn backup(conn: &mut SqliteConnection, path: &Path, prepare: Option<Preparation<'_>>) -> Result<()> {
    let file = AtomicFile::begin(path)?;
    // Without this, a connection that is read-only for its own database cannot write another one.
    let copied = pragma::with(conn, "query_only", 0, |conn| {
        diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(file.path()).execute(conn)
    });
    if let Err(error) = copied {
        return Err(disk::explain_beside(file.path().as_ref(), error.into()));
    }
    if let Some(prepare) = prepare {
        check_readable(file.path().as_ref(), file.target(), prepare)?;
    }
    let source = pragma::file(conn);
    file.finish(|copy| share_as(copy, source.as_deref())).map_err(disk::error)
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

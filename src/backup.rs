//! Copying a whole database into a new file.

use std::path::Path;

use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::error::{Error, Result};
use crate::pragma;

/// Copies the database as it is at one moment, into a file that must not exist.
pub(crate) fn backup(conn: &mut SqliteConnection, path: &Path) -> Result<()> {
    let Some(name) = path.to_str() else {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "SQLite needs a path that is UTF-8");
        return Err(Error::Io { source });
    };
    // The name is taken first, so that nothing is overwritten; SQLite accepts an empty file.
    std::fs::File::create_new(path)?;
    // A connection that may only read its own database may write another one only without this.
    let copied = pragma::with(conn, "query_only", 0, |conn| {
        diesel::sql_query("VACUUM INTO ?").bind::<Text, _>(plain_file(name)).execute(conn)
    });
    let result = match copied {
        Ok(_) => sync(path).map_err(Error::from),
        Err(error) => Err(error.into()),
    };
    if result.is_err() {
        // Nothing but what was begun here.
        let _ = std::fs::remove_file(path);
    }
    result
}

/// Puts a new file on the disk: what is in it and, where folders can be opened, its name.
fn sync(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// A path that SQLite does not take for a URI or for memory.
fn plain_file(name: &str) -> String {
    if name.starts_with("file:") || name.starts_with(':') { format!("./{name}") } else { name.to_owned() }
}

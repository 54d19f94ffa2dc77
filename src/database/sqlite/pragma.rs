//! Reading SQLite's settings, and changing one temporarily.

use std::path::PathBuf;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Text};

/// The value of `auto_vacuum` in a file whose unused pages can be returned one by one.
pub(crate) const INCREMENTAL: i64 = 2;

/// The value of a numeric pragma.
pub(crate) fn read(conn: &mut SqliteConnection, name: &str) -> QueryResult<i64> {
    diesel::dsl::sql::<BigInt>(&format!("PRAGMA {name}")).get_result(conn)
}

/// Reads the schema: the least that makes SQLite open a file and its log and see what others have changed.
pub(crate) fn read_schema(conn: &mut SqliteConnection) -> QueryResult<()> {
    conn.batch_execute("SELECT 1 FROM main.sqlite_master LIMIT 1")
}

/// `wal`, or the name of another journal mode.
pub(crate) fn journal_mode(conn: &mut SqliteConnection) -> QueryResult<String> {
    diesel::dsl::sql::<Text>("PRAGMA journal_mode").get_result(conn)
}

pub(crate) fn write(conn: &mut SqliteConnection, name: &str, value: i64) -> QueryResult<()> {
    conn.batch_execute(&format!("PRAGMA {name} = {value}"))
}

/// Runs some work under another value, and restores the old one whatever the outcome.
pub(crate) fn with<T, E>(
    conn: &mut SqliteConnection,
    name: &str,
    value: i64,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, E>,
) -> Result<T, E>
where
    E: From<diesel::result::Error>,
{
    let before = read(conn, name)?;
    if before == value {
        return work(conn);
    }
    let mut changed = Changed { conn, name, before, is_restored: false };
    write(changed.conn, name, value)?;
    let result = work(changed.conn);
    let restored = changed.restore();
    let value = result?;
    restored?;
    Ok(value)
}

/// The connection's file, or `None` in memory. Does not read the file.
pub(crate) fn file(conn: &mut SqliteConnection) -> Option<PathBuf> {
    let list = "PRAGMA database_list";
    let file = match diesel::dsl::sql::<(BigInt, Text, Text)>(list).get_result::<(i64, String, String)>(conn) {
        Ok((_, _, file)) => PathBuf::from(file),
        // A path need not be UTF-8.
        Err(_) => {
            let list = diesel::dsl::sql::<(BigInt, Text, Binary)>(list);
            of_bytes(list.get_result::<(i64, String, Vec<u8>)>(conn).ok()?.2)?
        }
    };
    (!file.as_os_str().is_empty()).then_some(file)
}

#[cfg(unix)]
fn of_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    let path: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(bytes);
    Some(path.into())
}

#[cfg(not(unix))]
fn of_bytes(_: Vec<u8>) -> Option<PathBuf> {
    None
}

/// A setting to be restored, even after a panic.
struct Changed<'a> {
    conn: &'a mut SqliteConnection,
    name: &'a str,
    before: i64,
    is_restored: bool,
}

impl Changed<'_> {
    fn restore(&mut self) -> QueryResult<()> {
        self.is_restored = true;
        write(self.conn, self.name, self.before)
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        if !self.is_restored {
            let _ = self.restore();
        }
    }
}

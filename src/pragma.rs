//! SQLite's settings: reading one, and changing one for a while.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

/// The value of a pragma that is a number.
pub(crate) fn read(conn: &mut SqliteConnection, name: &str) -> QueryResult<i64> {
    diesel::dsl::sql::<BigInt>(&format!("PRAGMA {name}")).get_result(conn)
}

pub(crate) fn write(conn: &mut SqliteConnection, name: &str, value: i64) -> QueryResult<()> {
    conn.batch_execute(&format!("PRAGMA {name} = {value}"))
}

/// Does some work under another value, and puts the old one back whatever comes of the work.
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
    write(conn, name, value)?;
    let result = work(conn);
    let restored = write(conn, name, before);
    let value = result?;
    restored?;
    Ok(value)
}

/// Moves what the write-ahead log holds into the file, as far as other connections let it.
pub(crate) fn checkpoint(conn: &mut SqliteConnection) -> QueryResult<()> {
    // Right after a migration SQLite has its view of the schema to renew. Where the checkpoint has to do it, it finds
    // itself in a read transaction of its own and gives up.
    conn.batch_execute("SELECT 1 FROM sqlite_master LIMIT 1")?;
    conn.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")
}

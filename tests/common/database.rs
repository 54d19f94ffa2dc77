//! Databases in temporary folders, and what is in them.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::migrate;
use tempfile::TempDir;

use super::{column, fixture_path, is_sound, rows, value};

/// A folder with the path of a database in it, which may not exist yet. No connection is held open.
pub struct TempDb {
    folder: TempDir,
}

impl TempDb {
    pub fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    /// A copy of a database from `tests/fixtures/`.
    pub fn fixture(name: &str) -> Self {
        Self::copy_of(&fixture_path(name))
    }

    pub fn copy_of(path: &Path) -> Self {
        let db = Self::new();
        std::fs::copy(path, db.path()).unwrap();
        db
    }

    /// A database that these statements have made.
    pub fn with(sql: &str) -> Self {
        let db = Self::new();
        db.plain().execute_batch(&format!("PRAGMA synchronous = OFF; {sql}")).unwrap();
        db
    }

    /// A migrated database that nobody has open.
    pub fn ours() -> Self {
        // Migrating takes longer than most tests do, so it is done once.
        static MIGRATED: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let db = TempDb::new();
            migrate(&mut db.connect()).unwrap();
            std::fs::read(db.path()).unwrap()
        });
        Self::of_bytes(&MIGRATED)
    }

    /// A file that holds this.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let db = Self::new();
        std::fs::write(db.path(), bytes).unwrap();
        db
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self) -> PathBuf {
        self.beside("")
    }

    /// The path of a file beside the database, such as its `-wal`.
    pub fn beside(&self, end: &str) -> PathBuf {
        self.folder().join(format!("sessions.db{end}"))
    }

    /// A Diesel connection, as it comes.
    pub fn connect(&self) -> SqliteConnection {
        SqliteConnection::establish(self.path().to_str().unwrap()).unwrap()
    }

    /// The same for a test that makes many of them: it does not wait for the disk.
    pub fn connect_fast(&self) -> SqliteConnection {
        let mut conn = self.connect();
        conn.batch_execute("PRAGMA synchronous = OFF").unwrap();
        conn
    }

    /// A Diesel connection that has migrated the database, whatever it was.
    pub fn migrated(&self) -> SqliteConnection {
        let mut conn = self.connect();
        migrate(&mut conn).unwrap();
        conn
    }

    /// A connection through another library, for what the reference driver would do and see.
    pub fn plain(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

impl TempDb {
    /// Everything in the folder, byte for byte: whether anything was written.
    pub fn bytes(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = std::fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let bytes = if path.is_dir() { Vec::new() } else { std::fs::read(&path).unwrap() };
                (name, bytes)
            })
            .collect();
        files.sort();
        files
    }

    /// The names in the folder, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The size of the write-ahead log.
    pub fn log_size(&self) -> u64 {
        std::fs::metadata(self.beside("-wal")).map_or(0, |found| found.len())
    }

    /// Every column of every session and of every event, as it is stored.
    pub fn tables(&self) -> [Vec<Vec<String>>; 2] {
        let plain = self.plain();
        ["sessions", "events"].map(|table| rows(&plain, &format!("SELECT * FROM {table} ORDER BY id")))
    }

    /// How many sessions and events there are.
    pub fn counts(&self) -> [u64; 2] {
        let plain = self.plain();
        ["sessions", "events"].map(|table| value::<i64>(&plain, &format!("SELECT count(*) FROM {table}")) as u64)
    }

    /// The ids of all events, sorted; the file must be sound.
    pub fn event_ids(&self) -> Vec<String> {
        event_ids(&self.path())
    }
}

/// The ids of all events in a file, sorted, as another library sees them; the file must be sound.
pub fn event_ids(path: &Path) -> Vec<String> {
    let conn = rusqlite::Connection::open(path).unwrap();
    is_sound(&conn);
    column(&conn, "SELECT id FROM events ORDER BY id")
}

/// A migrated database in memory.
pub fn in_memory() -> SqliteConnection {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    migrate(&mut conn).unwrap();
    conn
}

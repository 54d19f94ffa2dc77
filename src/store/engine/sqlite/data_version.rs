//! How commits by other connections to a file are found: SQLite counts them, for whoever asks.

use std::sync::Arc;
use std::time::Duration;

use diesel::SqliteConnection;

use super::sqlite_writer::SqliteWriter;
use crate::database::sqlite::awaited::have_more;
use crate::store::changes::{Changes, Watch};
use crate::store::reader_pool::ReaderPool;
use crate::store::writer::Writer;

/// Asks on the writing connection, for which the store's own commits do not count.
pub(super) struct DataVersion {
    pub(super) writer: Arc<Writer<SqliteWriter>>,
    pub(super) readers: Arc<ReaderPool<SqliteConnection>>,
    pub(super) changes: Arc<Changes>,
    pub(super) interval: Duration,
}

impl Watch for DataVersion {
    fn look(&mut self) -> Duration {
        self.writer.look();
        self.interval.max(self.examine())
    }

    fn examine(&mut self) -> Duration {
        self.changes.examine(|awaited| self.readers.aside(|conn| have_more(conn, awaited)))
    }
}

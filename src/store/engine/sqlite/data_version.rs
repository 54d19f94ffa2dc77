//! How commits by other connections to a file are found: SQLite counts them, for whoever asks.

use std::sync::Arc;
use std::time::Duration;

use super::sqlite_writer::SqliteWriter;
use crate::store::changes::Watch;
use crate::store::writer::Writer;

/// Asks on the writing connection, for which the store's own commits do not count.
pub(super) struct DataVersion {
    pub(super) writer: Arc<Writer<SqliteWriter>>,
    pub(super) interval: Duration,
}

impl Watch for DataVersion {
    fn look(&mut self) -> Duration {
        self.writer.look();
        self.interval
    }
}

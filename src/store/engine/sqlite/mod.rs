//! A store on SQLite: one writing connection and a pool of reading ones. In memory, one connection does both.

mod data_version;
mod deferred;
mod last_act;
mod location;
mod log_limit;
mod new_file;
mod opening;
mod read_only;
mod sqlite_writer;

#[cfg(test)]
mod commit_tests;

use std::fmt;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use diesel::SqliteConnection;
use diesel::connection::SimpleConnection;

use self::data_version::DataVersion;
use self::last_act::LastAct;
use self::location::Location;
use self::log_limit::LogLimit;
use self::sqlite_writer::SqliteWriter;
use super::store_engine::StoreEngine;
use crate::database::ready;
use crate::database::sqlite::{backup, checkpoint, commit_order, pragma, transaction};
use crate::driver::SessionPersistDriver;
use crate::error::Result;
use crate::model::commit_order::{CommitPage, CommitPosition};
use crate::model::report::{CheckpointReport, Progress, PruneReport};
use crate::model::retention::PruneRequest;
use crate::model::transfer::{Export, Import};
use crate::store::changes::Changes;
use crate::store::changes::change::Change;
use crate::store::options::Options;
use crate::store::reader_pool::{Lendable, ReaderPool};
use crate::store::reentrance::{Activity, StoreId, refuse};
use crate::store::writer::Writer;
use crate::store::writer::row_writes::Changing;
use crate::verb::{Access, Writing, import_in_steps, prune_in_steps, reclaim_in_steps};

/// How often a file is asked for commits by others, unless the builder says otherwise.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

pub(in crate::store) struct SqliteEngine {
    id: StoreId,
    location: Location,
    is_read_only: bool,
    changes: Arc<Changes>,
    watch_interval: Duration,
    writer: Arc<Writer<SqliteWriter>>,
    readers: Arc<ReaderPool<SqliteConnection>>,
    last_act: LastAct,
}

impl SqliteEngine {
    /// Opens a file, or a database in memory if the path is SQLite's name for one.
    pub(in crate::store) fn open(path: &Path, options: Options) -> Result<Self> {
        if path.as_os_str() == ":memory:" {
            return Self::open_in_memory(options);
        }
        let location = Location::file(path, &options)?;
        if options.read_only {
            let (conn, traces) = read_only::open(&location, &options)?;
            let last_act = traces.map_or(LastAct::Nothing, LastAct::Remove);
            return Self::of(location, options, conn, LogLimit::none(), last_act);
        }
        let conn = opening::writer(&location, &options).map_err(|error| location.explain(error))?;
        let (log, last_act) = if options.auto_checkpoint {
            (LogLimit::new(location.beside("-wal"), options.log_size_limit), LastAct::Checkpoint)
        } else {
            (LogLimit::none(), LastAct::KeepLog)
        };
        Self::of(location, options, conn, log, last_act)
    }

    pub(in crate::store) fn open_in_memory(options: Options) -> Result<Self> {
        let options = Options { read_only: false, ..options };
        let location = Location::Memory { on_open: options.on_open.clone() };
        let conn = opening::in_memory(&location, &options)?;
        Self::of(location, options, conn, LogLimit::none(), LastAct::Nothing)
    }

    fn of(
        location: Location,
        options: Options,
        mut conn: SqliteConnection,
        log: LogLimit,
        last_act: LastAct,
    ) -> Result<Self> {
        let id = StoreId::new();
        let waits_for_readers = pragma::journal_mode(&mut conn)? != "wal";
        let changes = Arc::<Changes>::default();
        let writer = SqliteWriter { conn, log, seen_version: None };
        let writer = Arc::new(Writer::new(id, waits_for_readers, writer, Arc::clone(&changes)));
        let is_read_only = options.read_only;
        let watch_interval = options.watch_interval.unwrap_or(WATCH_INTERVAL);
        let file = location.clone();
        let readers = Arc::new(ReaderPool::new(id, options.readers, move || opening::reader(&file, &options)));
        Ok(Self { id, location, is_read_only, changes, watch_interval, writer, readers, last_act })
    }
}

impl Lendable for SqliteConnection {}

/// File maintenance.
impl SqliteEngine {
    pub(in crate::store) fn reclaim_space(&self) -> Result<()> {
        // The log stays while this thread reads it.
        refuse(self.id, &[Activity::Reading])?;
        let is_done = ready(reclaim_in_steps(&mut Steps(self)))?;
        self.writer.write_alone(&Change::NoEvents, |conn| {
            if !is_done {
                transaction::checked(conn, |conn| Ok(conn.batch_execute("VACUUM")?))?;
            }
            // This is committed by now, whatever happens when moving the log.
            Ok(transaction::checked(conn, checkpoint::unasked))
        })?
    }

    pub(in crate::store) fn checkpoint(&self) -> Result<CheckpointReport> {
        if self.is_read_only {
            return Err(read_only::refusal());
        }
        self.writer.read(checkpoint::checkpoint)
    }

    pub(in crate::store) fn backup_to(&self, path: &Path) -> Result<()> {
        let backup =
            |conn: &mut SqliteConnection| self.location.with_preparation(|prepare| backup::backup(conn, path, prepare));
        match self.location {
            Location::File { .. } => self.readers.aside(backup),
            Location::Memory { .. } => self.writer.read(backup),
        }
    }
}

impl StoreEngine for SqliteEngine {
    type Connection = SqliteConnection;
    type WriteConnection = SqliteWriter;

    fn id(&self) -> StoreId {
        self.id
    }

    fn location(&self) -> &dyn fmt::Debug {
        &self.location
    }

    fn writer(&self) -> &Arc<Writer<SqliteWriter>> {
        &self.writer
    }

    #[cfg(feature = "async")]
    fn reading_connections(&self) -> usize {
        self.readers.limit()
    }

    fn read<T>(&self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        match self.location {
            Location::File { .. } if self.is_read_only => {
                self.readers.with(work).map_err(|error| self.location.explain_reading(error))
            }
            Location::File { .. } => self.readers.with(work),
            Location::Memory { .. } => self.writer.read(work),
        }
    }

    fn export(&self, writer: impl Write, export: Export<'_>) -> Result<Progress> {
        match self.location {
            Location::File { .. } => self.readers.aside(|conn| conn.export(writer, export)),
            Location::Memory { .. } => {
                deferred::export(writer, export, |calls, export| self.writer.read(|conn| conn.export(calls, export)))
            }
        }
    }

    fn transaction<T>(&self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        if self.is_read_only {
            return self.read(|conn| transaction::reading(conn, work));
        }
        self.writer.write_alone(&Change::Anything, |conn| transaction::atomically(conn, work))
    }

    fn prune(&self, request: &PruneRequest) -> Result<PruneReport> {
        if request.is_dry_run() {
            return self.read(|conn| conn.prune(request));
        }
        // Before an archive is written of what then stays.
        if self.is_read_only && request.archive.is_some() {
            return Err(read_only::refusal());
        }
        if request.reclaims_space() {
            refuse(self.id, &[Activity::Reading])?;
        }
        ready(prune_in_steps(&mut Steps(self), request, async |steps| steps.0.reclaim_space()))
    }

    fn import<R: BufRead>(&self, import: Import<'_, R>) -> Result<Progress> {
        ready(import_in_steps(&mut Steps(self), import))
    }

    fn committed_after(&self, position: &CommitPosition) -> Result<CommitPage> {
        self.read(|conn| commit_order::committed_after(conn, position))
    }

    fn end_of_commits(&self) -> Result<CommitPosition> {
        self.read(commit_order::end_of_commits)
    }

    fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    fn watch(&self) -> Result<()> {
        match self.location {
            Location::File { .. } => self.changes.watch(|| DataVersion {
                writer: Arc::clone(&self.writer),
                readers: Arc::clone(&self.readers),
                changes: Arc::clone(&self.changes),
                interval: self.watch_interval,
            }),
            // Nobody else has it.
            Location::Memory { .. } => Ok(()),
        }
    }

    fn close(&self) -> Result<()> {
        self.changes.close();
        let writer = self.writer.close();
        self.readers.close();
        match writer {
            Some(SqliteWriter { conn, .. }) => self.last_act.perform(&self.location, conn),
            None => Ok(()),
        }
    }
}

/// Each step is one of the store's writes.
struct Steps<'a>(&'a SqliteEngine);

impl Access for Steps<'_> {
    type Database = SqliteConnection;

    async fn read<T>(&mut self, work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        self.0.read(|conn| ready(work(conn)))
    }

    async fn read_aside<T>(&mut self, work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        match self.0.location {
            Location::File { .. } => self.0.readers.aside(|conn| ready(work(conn))),
            Location::Memory { .. } => self.read(work).await,
        }
    }

    async fn write<W: Writing<SqliteConnection>>(&mut self, mut work: W) -> Result<W::Answer> {
        let change = if W::ADDS_EVENTS { Change::Anything } else { Change::NoEvents };
        self.0.writer.write_owned(Changing { change, work: move |conn: &mut SqliteConnection| ready(work.run(conn)) })
    }

    async fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

//! A store on SQLite: one connection that writes, and a pool of those that read. In memory there is one for both.

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

use diesel::SqliteConnection;
use diesel::connection::SimpleConnection;

use self::deferred::Calls;
use self::last_act::LastAct;
use self::location::Location;
use self::log_limit::LogLimit;
use self::sqlite_writer::SqliteWriter;
use super::store_engine::StoreEngine;
use crate::checkpoint::{self, CheckpointReport};
use crate::error::Result;
use crate::prune::{self, PruneReport, PruneRequest};
use crate::steps::Access;
use crate::store::options::Options;
use crate::store::reader_pool::ReaderPool;
use crate::store::reentrance::{Activity, StoreId, refuse};
use crate::store::writer::Writer;
use crate::transfer::{self, Progress};
use crate::{backup, pragma, transaction};

pub(in crate::store) struct SqliteEngine {
    id: StoreId,
    location: Location,
    is_read_only: bool,
    writer: Arc<Writer<SqliteWriter>>,
    readers: ReaderPool<SqliteConnection>,
    last_act: LastAct,
}

impl SqliteEngine {
    /// Opens a file, or what is in memory if the path is SQLite's name for that.
    pub(in crate::store) fn open(path: &Path, options: Options) -> Result<Self> {
        if path.as_os_str() == ":memory:" {
            return Self::open_in_memory(options);
        }
        let location = Location::file(path, options.file_mode)?;
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
        let conn = opening::in_memory(&options)?;
        Self::of(Location::Memory, options, conn, LogLimit::none(), LastAct::Nothing)
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
        let writer = Arc::new(Writer::new(id, waits_for_readers, SqliteWriter { conn, log }));
        let is_read_only = options.read_only;
        let file = location.clone();
        let readers = ReaderPool::new(id, options.readers, move || opening::reader(&file, &options));
        Ok(Self { id, location, is_read_only, writer, readers, last_act })
    }
}

/// What only a file can do.
impl SqliteEngine {
    pub(in crate::store) fn reclaim_space(&self) -> Result<()> {
        // The log stays as long as this thread reads it.
        refuse(self.id, &[Activity::Reading])?;
        self.writer.write_alone(|conn| {
            transaction::checked(conn, |conn| Ok(conn.batch_execute("VACUUM")?))?;
            // That is committed by now, whatever comes of moving the log.
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
        let backup = |conn: &mut SqliteConnection| backup::backup(conn, path);
        match self.location {
            Location::File { .. } => self.readers.aside(backup),
            Location::Memory => self.writer.read(backup),
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
            Location::Memory => self.writer.read(work),
        }
    }

    fn read_aside<C, T>(
        &self,
        mut writer: impl Write,
        mut callback: impl FnMut(C),
        work: impl FnOnce(&mut SqliteConnection, &mut dyn Write, &mut dyn FnMut(C)) -> Result<T>,
    ) -> Result<T> {
        match self.location {
            Location::File { .. } => self.readers.aside(|conn| work(conn, &mut writer, &mut callback)),
            Location::Memory => {
                let calls = Calls::default();
                let done = self.writer.read(|conn| work(conn, &mut &calls, &mut |told| calls.tell(told)));
                calls.make(writer, callback)?;
                done
            }
        }
    }

    fn prune(&self, request: &PruneRequest) -> Result<PruneReport> {
        if request.is_dry_run() {
            return self.read(|conn| prune::dry_run(conn, request));
        }
        if request.reclaims_space() {
            refuse(self.id, &[Activity::Reading])?;
        }
        let mut engine = self;
        prune::in_steps(&mut engine, request, |engine| engine.reclaim_space())
    }

    fn import(&self, reader: impl BufRead, progress: &mut dyn FnMut(Progress)) -> Result<Progress> {
        let mut engine = self;
        transfer::in_steps(&mut engine, reader, progress)
    }

    fn close(&self) -> Result<()> {
        let writer = self.writer.close();
        self.readers.close();
        match writer {
            Some(SqliteWriter { conn, .. }) => self.last_act.perform(&self.location, conn),
            None => Ok(()),
        }
    }
}

impl Access for &SqliteEngine {
    fn read<T>(&mut self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        StoreEngine::read(*self, work)
    }

    fn write<T: Send + 'static>(
        &mut self,
        work: impl FnMut(&mut SqliteConnection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.write_owned(work)
    }
}

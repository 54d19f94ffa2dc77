//! A store on PostgreSQL: one writing connection and a pool of reading ones, each replaced when it is lost.

mod alive;
mod postgres_writer;
mod server;
mod server_url;

use std::fmt;
use std::io::{self, BufRead};
use std::sync::Arc;
use std::time::Duration;

use diesel::PgConnection;

use self::alive::Alive;
use self::postgres_writer::PostgresWriter;
use self::server::Server;
use super::store_engine::StoreEngine;
use crate::database::postgres::{checked, transaction};
use crate::database::{Lock, ready};
use crate::driver::SessionPersistDriver;
use crate::error::Result;
use crate::model::report::{Progress, PruneReport};
use crate::model::retention::PruneRequest;
use crate::model::transfer::{Export, Import};
use crate::store::options::Options;
use crate::store::reader_pool::ReaderPool;
use crate::store::reentrance::{Activity, StoreId, refuse};
use crate::store::writer::Writer;
use crate::verb::{Access, Writing, import_in_steps, prune_in_steps, reclaim_space};

pub(in crate::store) struct PostgresEngine {
    id: StoreId,
    server: Arc<Server>,
    writer: Arc<Writer<PostgresWriter>>,
    readers: ReaderPool<Alive>,
    /// Transactions have their own connections, so that nobody waits for one who writes to other sessions.
    transactions: ReaderPool<Alive>,
}

impl PostgresEngine {
    pub(in crate::store) fn connect(url: &str, options: Options) -> Result<Self> {
        let id = StoreId::new();
        let limit = options.readers;
        let server = Arc::new(Server::new(url, options)?);
        let conn = server.open()?;
        let writer = Arc::new(Writer::new(id, false, PostgresWriter::new(conn, Arc::clone(&server))));
        let pool = || {
            let server = Arc::clone(&server);
            ReaderPool::new(id, limit, move || server.connect().map(Alive::new))
        };
        let (readers, transactions) = (pool(), pool());
        Ok(Self { id, server, writer, readers, transactions })
    }
}

impl StoreEngine for PostgresEngine {
    type Connection = PgConnection;
    type WriteConnection = PostgresWriter;

    fn id(&self) -> StoreId {
        self.id
    }

    fn location(&self) -> &dyn fmt::Debug {
        &self.server
    }

    fn writer(&self) -> &Arc<Writer<PostgresWriter>> {
        &self.writer
    }

    #[cfg(feature = "async")]
    fn reading_connections(&self) -> usize {
        self.readers.limit()
    }

    fn read<T>(&self, work: impl FnOnce(&mut PgConnection) -> Result<T>) -> Result<T> {
        self.readers.with(|conn| work(conn.get()))
    }

    fn export(&self, writer: impl io::Write, export: Export<'_>) -> Result<Progress> {
        self.readers.aside(|conn| conn.get().export(writer, export))
    }

    fn transaction<T>(&self, work: impl FnOnce(&mut PgConnection) -> Result<T>) -> Result<T> {
        refuse(self.id, &[Activity::Writing])?;
        self.transactions.with(|conn| {
            checked(conn.get(), false, |conn| ready(transaction::run(conn, Lock::Write, async |conn| work(conn))))
        })
    }

    fn prune(&self, request: &PruneRequest) -> Result<PruneReport> {
        if request.is_dry_run() {
            return self.read(|conn| conn.prune(request));
        }
        let reclaim = async |steps: &mut Steps<'_>| steps.0.readers.aside(|conn| ready(reclaim_space(conn.get())));
        ready(prune_in_steps(&mut Steps(self), request, reclaim))
    }

    fn import<R: BufRead>(&self, import: Import<'_, R>) -> Result<Progress> {
        ready(import_in_steps(&mut Steps(self), import))
    }

    fn close(&self) -> Result<()> {
        drop(self.writer.close());
        self.transactions.close();
        self.readers.close();
        Ok(())
    }
}

/// Each step is one of the store's writes.
struct Steps<'a>(&'a PostgresEngine);

impl Access for Steps<'_> {
    type Database = PgConnection;

    async fn read<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T>) -> Result<T> {
        self.0.read(|conn| checked(conn, true, |conn| ready(work(conn))))
    }

    async fn read_aside<T>(&mut self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T>) -> Result<T> {
        self.0.readers.aside(|conn| checked(conn.get(), true, |conn| ready(work(conn))))
    }

    async fn write<W: Writing<PgConnection>>(&mut self, mut work: W) -> Result<W::Answer> {
        self.0.writer.write_owned(move |conn: &mut PgConnection| checked(conn, false, |conn| ready(work.run(conn))))
    }

    async fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

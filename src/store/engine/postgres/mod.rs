//! A store on PostgreSQL: one writing connection and a pool of reading ones, each replaced when it is lost.

mod alive;
mod listener;
mod notice;
mod notifier;
mod postgres_writer;
mod server;
mod server_url;

use std::fmt;
use std::io::{self, BufRead};
use std::sync::Arc;
use std::time::Duration;

use diesel::PgConnection;

use self::alive::Alive;
use self::listener::NoticeListener;
use self::notifier::Notifier;
use self::postgres_writer::PostgresWriter;
use self::server::Server;
use super::chance::by_chance;
use super::store_engine::StoreEngine;
use crate::database::postgres::{checked, transaction};
use crate::database::{Lock, ready};
use crate::driver::SessionPersistDriver;
use crate::error::{Error, Result};
use crate::model::commit_order::{CommitPage, CommitPosition};
use crate::model::report::{Progress, PruneReport};
use crate::model::retention::PruneRequest;
use crate::model::transfer::{Export, Import};
use crate::store::changes::Changes;
use crate::store::changes::change::Change;
use crate::store::options::Options;
use crate::store::reader_pool::ReaderPool;
use crate::store::reentrance::{Activity, StoreId, refuse};
use crate::store::writer::row_writes::Changing;
use crate::store::writer::{Writer, may_be_stored};
use crate::verb::{Access, Writing, import_in_steps, prune_in_steps, reclaim_space};

/// How often the server is asked for commits of which nobody tells, unless the builder says otherwise.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Transactions commit in another order than that in which they write.
const NO_ORDER: Error = Error::Unsupported {
    reason: "a PostgreSQL server keeps no order of commits: follow each session, or wait with changed_since",
};

pub(in crate::store) struct PostgresEngine {
    id: StoreId,
    server: Arc<Server>,
    changes: Arc<Changes>,
    notifier: Arc<Notifier>,
    /// Names the store in what it tells others.
    name: String,
    watch_interval: Duration,
    writer: Arc<Writer<PostgresWriter>>,
    readers: ReaderPool<Alive>,
    /// Transactions have their own connections, so that nobody waits for one who writes to other sessions.
    transactions: ReaderPool<Alive>,
}

impl PostgresEngine {
    pub(in crate::store) fn connect(url: &str, options: Options) -> Result<Self> {
        let id = StoreId::new();
        let limit = options.readers;
        let watch_interval = options.watch_interval.unwrap_or(WATCH_INTERVAL);
        let server = Arc::new(Server::new(url, options)?);
        let conn = server.open()?;
        let pool = || {
            let server = Arc::clone(&server);
            ReaderPool::new(id, limit, move || server.connect().map(Alive::new))
        };
        let (readers, transactions) = (pool(), pool());
        let changes = Arc::<Changes>::default();
        let name = format!("{:016x}{:016x}", by_chance(), by_chance());
        let notifier = Arc::new(Notifier::new(name.clone()));
        let writer = PostgresWriter::new(conn, Arc::clone(&server), Arc::clone(&notifier));
        let writer = Arc::new(Writer::new(id, false, writer, Arc::clone(&changes)));
        notifier.borrow_from(Arc::downgrade(&writer));
        Ok(Self { id, server, changes, notifier, name, watch_interval, writer, readers, transactions })
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
        let done = self.transactions.with(|conn| {
            checked(conn.get(), false, |conn| ready(transaction::run(conn, Lock::Write, async |conn| work(conn))))
        });
        if may_be_stored(done.as_ref().err()) {
            self.changes.announce(&Change::Anything);
            self.notifier.tell(&Change::Anything);
            self.changes.wake();
        }
        done
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

    fn committed_after(&self, _: &CommitPosition) -> Result<CommitPage> {
        Err(NO_ORDER)
    }

    fn end_of_commits(&self) -> Result<CommitPosition> {
        Err(NO_ORDER)
    }

    fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    fn watch(&self) -> Result<()> {
        let listener = || {
            let (server, changes) = (Arc::clone(&self.server), Arc::clone(&self.changes));
            NoticeListener::new(server, changes, self.name.clone(), self.watch_interval)
        };
        self.changes.watch(listener)
    }

    fn close(&self) -> Result<()> {
        self.changes.close();
        self.writer.finish();
        // Otherwise the server does not answer, and the connection is closed after the notice that is on its way.
        if self.notifier.close() {
            drop(self.writer.close());
        }
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
        let change = if W::ADDS_EVENTS { Change::Anything } else { Change::NoEvents };
        let work = move |conn: &mut PgConnection| checked(conn, false, |conn| ready(work.run(conn)));
        self.0.writer.write_owned(Changing { change, work })
    }

    async fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

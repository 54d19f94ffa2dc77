//! The async store.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::blocking::{OpenStore, SessionStore};
use super::engine::Engine;
use super::reentrance::{Activity, is_inside, refuse};
use super::workers::Workers;
use crate::error::Result;

/// [`SessionStore`] for async code: the same verbs as `async fn`, on any runtime and from any number of tasks.
///
/// It is cheap to clone. Clones, and the [`SessionStore`] it was made from, share everything. A waiting task blocks no
/// thread: its write waits in the store's queue to be committed with others, and its read runs on one of the store's
/// own threads (there are as many as reading connections).
///
/// **Long operations** have their own threads, started on demand: up to 16 exports, 16 imports, 4 backups and 4
/// maintenance calls (prune, reclaim, checkpoint) run at the same time. Further ones wait their turn, in the order in
/// which they were first polled. The kinds do not wait for each other, so an import may read what an export is still
/// writing. With more than 16 exports or imports, one whose reader or writer waits for a *later* one can wait forever;
/// start the ones that others depend on first.
///
/// **Dropping a future** does not undo what it has started. A write that was polled once may be in the queue and is
/// then carried out anyway; one that was never polled, or was still waiting for room in the queue, is not. A read or
/// long operation that is still waiting for a thread is cancelled; one that is running continues.
///
/// [Reentrant calls](SessionStore#reentrant-calls) get the same answers as on [`SessionStore`]. Reads and long
/// operations among them run at once, on the thread that polls them.
///
/// Dropping the last clone waits for the queued writes, on the thread that drops it.
/// [`close`](AsyncSessionStore::close) does so without blocking a thread of the runtime.
///
/// ```
/// # use agent_session_store::{Json, ListEventsRequest, Sender, SessionEvent};
/// use agent_session_store::AsyncSessionStore;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("sessions.db");
/// # let event = SessionEvent::new("e", 1, "session-1", Default::default(), "c", Sender::Agent, Json::parse("{}")?);
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
///
/// let store = AsyncSessionStore::open(path).await?;
/// store.insert_event(&event).await?;
/// let page = store.list_events(&ListEventsRequest::new("session-1")).await?;
/// assert_eq!(page.items, [event]);
/// store.close().await?;
/// # Ok::<(), agent_session_store::Error>(())
/// # })?;
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone)]
pub struct AsyncSessionStore {
    pub(super) store: SessionStore,
    pub(super) threads: Arc<Threads>,
}

/// Each kind of work has its own threads, because work of one kind may wait for work of another.
pub(super) struct Threads {
    reader: Arc<Reader>,
    pub(super) exporting: Workers,
    pub(super) importing: Workers,
    pub(super) copying: Workers,
    pub(super) tidying: Workers,
    pub(super) transacting: Workers,
    closing: Workers,
}

impl AsyncSessionStore {
    /// Opens a database file, creating it if it does not exist, and [migrates](crate::migrate) it if necessary, as
    /// [`SessionStore::open`] does, on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Open`](crate::Error::Open), [`Error::Busy`](crate::Error::Busy), and the errors of
    /// [`migrate`](crate::migrate).
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example() -> Result<(), agent_session_store::Error> {
    /// let store = AsyncSessionStore::open("sessions.db").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder().open(path).await
    }

    /// Opens what a URL names, on a thread of its own: `postgres://…` is a PostgreSQL database (feature `postgres`),
    /// `sqlite:…` or a path is a file.
    ///
    /// # Errors
    ///
    /// Those of [`SessionStoreBuilder::connect`](crate::SessionStoreBuilder::connect).
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example() -> Result<(), agent_session_store::Error> {
    /// let store = AsyncSessionStore::connect("postgres://localhost/app").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder().connect(url).await
    }

    /// Opens a database in memory that lives as long as the store, for tests. It does not wait for anything, so it is no
    /// `async fn`.
    ///
    /// # Errors
    ///
    /// Any error from the database.
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// let store = AsyncSessionStore::open_in_memory()?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn open_in_memory() -> Result<Self> {
        SessionStore::open_in_memory().map(Self::from)
    }

    /// Closes the store for all its clones, without blocking a thread of the runtime. It waits for calls in progress, moves
    /// the write-ahead log into the file, and closes the connections. Every later call fails with
    /// [`Error::Closed`](crate::Error::Closed); closing again does nothing. [`SessionStore::close`] says how long it waits
    /// for other processes.
    ///
    /// # Errors
    ///
    /// [`Error::Reentrant`](crate::Error::Reentrant) from inside another call that it would wait for; the store then stays
    /// open. Also any error from the database while moving the log. No acknowledged write is lost then.
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// store.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self) -> Result<()> {
        refuse(self.engine().id(), &[Activity::Reading, Activity::Writing, Activity::Closing])?;
        let store = self.store.clone();
        self.threads.closing.run(move || store.close()).await
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.store.0.engine
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.threads.reader.read(work).await
    }

    /// For what reads on behalf of this store without keeping it open.
    pub(super) fn reader(&self) -> Arc<Reader> {
        Arc::clone(&self.threads.reader)
    }

    /// Runs a long operation on one of these threads. Inside another call it runs right here, since the thread of that
    /// call may be the last one.
    pub(super) async fn on_a_thread<T: Send + 'static>(
        &self,
        threads: &Workers,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if is_inside(self.engine().id(), &[Activity::Reading, Activity::Writing, Activity::Working]) {
            return work();
        }
        threads.run(work).await
    }
}

/// The threads that read. They hold the connections but not the store, which closes when its last clone is dropped.
pub(super) struct Reader {
    store: Arc<OpenStore>,
    threads: Workers,
}

impl Reader {
    pub(super) fn engine(&self) -> &Engine {
        &self.store.engine
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if is_inside(self.engine().id(), &[Activity::Reading, Activity::Writing]) {
            return work(self.engine());
        }
        let open = Arc::clone(&self.store);
        self.threads.run(move || work(&open.engine)).await
    }
}

impl From<SessionStore> for AsyncSessionStore {
    /// Makes an async store over the same connections.
    fn from(store: SessionStore) -> Self {
        let engine = &store.0.engine;
        let long = |limit, name| Workers::new(limit, name, Some(engine.id()));
        let threads = Threads {
            reader: Arc::new(Reader {
                store: Arc::<OpenStore>::clone(&store.0),
                threads: Workers::new(engine.reading_connections(), "agent-session-store-reads", None),
            }),
            exporting: long(16, "agent-session-store-export"),
            importing: long(16, "agent-session-store-import"),
            copying: long(4, "agent-session-store-backup"),
            tidying: long(4, "agent-session-store-tidy"),
            transacting: long(engine.reading_connections(), "agent-session-store-transact"),
            closing: long(1, "agent-session-store-close"),
        };
        Self { store, threads: Arc::new(threads) }
    }
}

impl fmt::Debug for AsyncSessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AsyncSessionStore").field(&self.store).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc::channel;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;
    use crate::store::engine::{StoreEngine, on_engine};

    #[test]
    #[expect(clippy::unwrap_used, reason = "a test says what it expects")]
    fn the_last_clone_closes_the_store_where_it_is_dropped_also_during_a_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = AsyncSessionStore::from(SessionStore::open(folder.path().join("sessions.db")).unwrap());
        let (begin, begun) = channel();
        let (release, released) = channel();
        let read = {
            let store = store.clone();
            async move {
                let work = move |engine: &Engine| on_engine!(engine, engine => engine.read(|_| Ok((begin.send(()).unwrap(), released.recv().unwrap()))));
                store.read(work).await
            }
        };
        {
            let mut read = pin!(read);
            assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            begun.recv().unwrap();
        }
        let (closed, is_closed) = channel();
        let dropping = std::thread::spawn(move || {
            drop(store);
            closed.send(()).unwrap();
        });
        assert!(is_closed.recv_timeout(Duration::from_millis(50)).is_err(), "the read was not waited for");
        release.send(()).unwrap();
        is_closed.recv().unwrap();
        dropping.join().unwrap();
    }
}

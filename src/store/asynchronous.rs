//! The store's face for tasks.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use super::blocking::{OpenStore, SessionStore};
use super::builder::SessionStoreBuilder;
use super::engine::{Connection, Engine, StoreEngine};
use super::reentrance::{Activity, is_inside, refuse};
use super::workers::Workers;
use crate::error::Result;

/// [`SessionStore`] for async code: the same verbs as `async fn`, on any runtime and any number of tasks.
///
/// Cheap to clone; clones, and the [`SessionStore`] it was made from, share everything. A task that waits holds no
/// thread: its write waits in the store's queue to be committed with others, its read is done by one of the store's own
/// threads (as many as it has reading connections).
///
/// **What takes long** has threads of its own, started as they are needed: up to 16 exports run at the same time, 16
/// imports, 4 backups, and 4 of what tidies up; any more wait their turn, in the order in which they were first polled.
/// No kind waits for another, so that an import may read what an export is still writing. An export or import whose
/// reader or writer waits for one that comes *later* can wait for ever when there are more than 16; start the ones that
/// others wait for first.
///
/// **Dropping a future** takes nothing back that was begun. A write that was polled once may have been queued, and then
/// is carried out all the same; one that was never polled, or was still waiting for room in the queue, is not. What
/// waits for a thread is given up, a read or anything that takes long; what runs goes on.
///
/// [Calls from inside](SessionStore#calls-from-inside) a call are answered as there. Where they read or take long, they
/// are done at once, on the thread that polls them.
///
/// Dropping the last clone waits, on the thread that drops it, for the writes in the queue;
/// [`close`](AsyncSessionStore::close) does it without holding a thread of the runtime.
///
/// ```
/// # use agent_session_store::{Json, ListEventsRequest, Sender, SessionEvent};
/// use agent_session_store::AsyncSessionStore;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("sessions.db");
/// # let event = SessionEvent { id: "e".into(), event_index: 1, session_id: "session-1".into(),
/// #     created_at: Default::default(), connection_id: "c".into(), sender: Sender::Agent, payload: Json::parse("{}")? };
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

/// Each kind of work has its own, since work of one kind may wait for work of another.
pub(super) struct Threads {
    reading: Workers,
    pub(super) exporting: Workers,
    pub(super) importing: Workers,
    pub(super) copying: Workers,
    pub(super) tidying: Workers,
    closing: Workers,
}

/// Opening is for stores that are not there yet. The threads are for all of them.
static OPENING: LazyLock<Workers> = LazyLock::new(|| Workers::new(64, "agent-session-store-open", None));

impl AsyncSessionStore {
    /// As [`SessionStore::open`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::open`].
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example() -> Result<(), agent_session_store::Error> {
    /// let store = AsyncSessionStore::open("sessions.db").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        SessionStore::builder().open_async(path).await
    }

    /// As [`SessionStore::open_in_memory`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::open_in_memory`].
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// let store = AsyncSessionStore::open_in_memory()?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn open_in_memory() -> Result<Self> {
        SessionStore::open_in_memory().map(Self::from)
    }

    /// As [`SessionStore::close`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::close`].
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

    fn engine(&self) -> &Engine {
        &self.store.0.engine
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if is_inside(self.engine().id(), &[Activity::Reading, Activity::Writing]) {
            return self.engine().read(work);
        }
        // Not the store itself, which closes when the last clone is dropped.
        let open = Arc::<OpenStore>::clone(&self.store.0);
        self.threads.reading.run(move || open.engine.read(work)).await
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.engine().writer().write_queued(work).await
    }

    /// Does something that takes long: on one of these threads, or, in the middle of another call, here, since that may
    /// be the last of them.
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

impl From<SessionStore> for AsyncSessionStore {
    /// The same store, for tasks.
    fn from(store: SessionStore) -> Self {
        let engine = &store.0.engine;
        let long = |limit, name| Workers::new(limit, name, Some(engine.id()));
        let threads = Threads {
            reading: Workers::new(engine.reading_connections(), "agent-session-store-reads", None),
            exporting: long(16, "agent-session-store-export"),
            importing: long(16, "agent-session-store-import"),
            copying: long(4, "agent-session-store-backup"),
            tidying: long(4, "agent-session-store-tidy"),
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

impl SessionStoreBuilder {
    /// As [`open`](SessionStoreBuilder::open), without holding a thread of the runtime.
    ///
    /// # Errors
    ///
    /// As [`open`](SessionStoreBuilder::open).
    ///
    /// ```
    /// # use agent_session_store::SessionStore;
    /// # async fn example() -> Result<(), agent_session_store::Error> {
    /// let store = SessionStore::builder().readers(8).open_async("sessions.db").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open_async(self, path: impl Into<PathBuf>) -> Result<AsyncSessionStore> {
        let path = path.into();
        OPENING.run(move || self.open(path)).await.map(AsyncSessionStore::from)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc::channel;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;

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
                let work = move |_: &mut Connection| Ok((begin.send(()).unwrap(), released.recv().unwrap()));
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

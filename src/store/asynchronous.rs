//! The store's face for tasks.

use std::fmt;
use std::future::poll_fn;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};
use diesel::SqliteConnection;

use super::inside::{Use, is_inside, refuse};
use super::verbs::{argument_type, forwarded_verbs, from_owned};
use super::workers::Workers;
use super::{SessionStore, SessionStoreBuilder};
use crate::append::NewEvent;
use crate::checkpoint::CheckpointReport;
use crate::driver::SessionPersistDriver;
use crate::error::{Error, Result};
use crate::event::SessionEvent;
use crate::inspect::{CheckReport, SessionStats, Stats};
use crate::page::ListPage;
use crate::prune::{PruneReport, PruneRequest};
use crate::request::{ListEventsRequest, ListSessionsRequest};
use crate::session::SessionRecord;
use crate::transfer::{Progress, Selection};
use crate::walk::Walk;

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
    store: SessionStore,
    threads: Arc<Threads>,
}

/// Each kind of work has its own, since work of one kind may wait for work of another.
struct Threads {
    reading: Workers,
    exporting: Workers,
    importing: Workers,
    copying: Workers,
    tidying: Workers,
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

    /// As [`SessionStore::get_session`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::get_session`].
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let session = store.get_session("session-1").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_session(&self, id: &str) -> Result<Option<SessionRecord>> {
        let id = id.to_owned();
        self.read(move |conn| conn.get_session(&id)).await
    }

    /// As [`SessionStore::list_sessions`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::list_sessions`].
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, ListSessionsRequest};
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let page = store.list_sessions(&ListSessionsRequest::new()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_sessions(&self, request: &ListSessionsRequest) -> Result<ListPage<SessionRecord>> {
        let request = request.clone();
        self.read(move |conn| conn.list_sessions(&request)).await
    }

    /// As [`SessionStore::update_session`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::update_session`].
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, SessionRecord};
    /// # async fn example(store: AsyncSessionStore, session: SessionRecord) -> Result<(), agent_session_store::Error> {
    /// store.update_session(&session).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn update_session(&self, session: &SessionRecord) -> Result<()> {
        let session = session.clone();
        self.write(move |conn| conn.update_session(&session)).await
    }

    /// As [`SessionStore::list_events`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::list_events`].
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, ListEventsRequest};
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let page = store.list_events(&ListEventsRequest::new("session-1")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn list_events(&self, request: &ListEventsRequest) -> Result<ListPage<SessionEvent>> {
        let request = request.clone();
        self.read(move |conn| conn.list_events(&request)).await
    }

    /// As [`SessionStore::insert_event`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::insert_event`].
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, SessionEvent};
    /// # async fn example(store: AsyncSessionStore, event: SessionEvent) -> Result<(), agent_session_store::Error> {
    /// store.insert_event(&event).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn insert_event(&self, event: &SessionEvent) -> Result<()> {
        let event = event.clone();
        self.write(move |conn| conn.insert_event(&event)).await
    }

    /// As [`SessionStore::insert_events`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::insert_events`].
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, SessionEvent};
    /// # async fn example(store: AsyncSessionStore, events: Vec<SessionEvent>) -> Result<(), agent_session_store::Error> {
    /// store.insert_events(&events).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn insert_events(&self, events: &[SessionEvent]) -> Result<()> {
        let events = events.to_vec();
        self.write(move |conn| conn.insert_events(&events)).await
    }

    /// All events of a listing, read page by page as they are asked for; the limit of the request is the size of the
    /// pages, and one page is in memory. An event that cannot be decoded is an error in its place, and no end.
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, ListEventsRequest};
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let mut events = store.events(ListEventsRequest::new("session-1"));
    /// while let Some(event) = events.next().await? {
    ///     println!("{}", event.payload);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(&self, request: ListEventsRequest) -> AsyncEvents {
        AsyncEvents { store: self.clone(), walk: Walk::new(request) }
    }

    /// As [`SessionStore::prune`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::prune`].
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, PruneRequest};
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let report = store.prune(&PruneRequest::new().max_events_per_session(10_000)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn prune(&self, request: &PruneRequest) -> Result<PruneReport> {
        let (store, request) = (self.store.clone(), request.clone());
        self.on_a_thread(&self.threads.tidying, move || store.prune(&request)).await
    }

    /// As [`SessionStore::reclaim_space`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::reclaim_space`].
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// store.reclaim_space().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reclaim_space(&self) -> Result<()> {
        let store = self.store.clone();
        self.on_a_thread(&self.threads.tidying, move || store.reclaim_space()).await
    }

    /// As [`SessionStore::checkpoint`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::checkpoint`].
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let report = store.checkpoint().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn checkpoint(&self) -> Result<CheckpointReport> {
        let store = self.store.clone();
        self.on_a_thread(&self.threads.tidying, move || store.checkpoint()).await
    }

    /// As [`SessionStore::export_with_progress`], on a thread of its own, which the writer comes back from.
    ///
    /// # Errors
    ///
    /// As [`SessionStore::export`].
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, Selection};
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let (lines, done) = store.export(Vec::new(), Selection::all(), |_| {}).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn export<W: Write + Send + 'static>(
        &self,
        mut writer: W,
        selection: Selection,
        progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<(W, Progress)> {
        let store = self.store.clone();
        self.on_a_thread(&self.threads.exporting, move || {
            let done = store.export_with_progress(&mut writer, &selection, progress)?;
            Ok((writer, done))
        })
        .await
    }

    /// As [`SessionStore::export_readable`], on a thread of its own, which the writer comes back from.
    ///
    /// # Errors
    ///
    /// As [`SessionStore::export_readable`].
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, Selection};
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let (lines, done) = store.export_readable(Vec::new(), Selection::all(), |row| eprintln!("{row}")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn export_readable<W: Write + Send + 'static>(
        &self,
        mut writer: W,
        selection: Selection,
        left_out: impl FnMut(Error) + Send + 'static,
    ) -> Result<(W, Progress)> {
        let store = self.store.clone();
        self.on_a_thread(&self.threads.exporting, move || {
            let done = store.export_readable(&mut writer, &selection, left_out)?;
            Ok((writer, done))
        })
        .await
    }

    /// As [`SessionStore::import_with_progress`], on a thread of its own.
    ///
    /// # Errors
    ///
    /// As [`SessionStore::import`].
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example(store: AsyncSessionStore) -> Result<(), Box<dyn std::error::Error>> {
    /// let file = std::fs::File::open("sessions.jsonl")?;
    /// let done = store.import(std::io::BufReader::new(file), |_| {}).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn import<R: BufRead + Send + 'static>(
        &self,
        reader: R,
        progress: impl FnMut(Progress) + Send + 'static,
    ) -> Result<Progress> {
        let store = self.store.clone();
        self.on_a_thread(&self.threads.importing, move || store.import_with_progress(reader, progress)).await
    }

    /// As [`SessionStore::backup_to`].
    ///
    /// # Errors
    ///
    /// As [`SessionStore::backup_to`].
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// store.backup_to("copy.db").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn backup_to(&self, path: impl Into<PathBuf>) -> Result<()> {
        let (store, path) = (self.store.clone(), path.into());
        self.on_a_thread(&self.threads.copying, move || store.backup_to(path)).await
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
        refuse(self.store.0.id, &[Use::Reading, Use::Writing, Use::Closing])?;
        let store = self.store.clone();
        self.threads.closing.run(move || store.close()).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if is_inside(self.store.0.id, &[Use::Reading, Use::Writing]) {
            return self.store.0.read(work);
        }
        // Not the store itself, which closes when the last clone is dropped.
        let connections = Arc::clone(&self.store.0);
        self.threads.reading.run(move || connections.read(work)).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut SqliteConnection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut work = Some(work);
        let writer = &self.store.0.writer;
        let mut place = writer.place();
        let ticket = poll_fn(|context| writer.poll_submit(context, &mut place, &mut work)).await?;
        drop(place);
        ticket.await
    }

    /// Does something that takes long: on one of these threads, or, in the middle of another call, here, since that may
    /// be the last of them.
    async fn on_a_thread<T: Send + 'static>(
        &self,
        threads: &Workers,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if is_inside(self.store.0.id, &[Use::Reading, Use::Writing, Use::Working]) {
            return work();
        }
        threads.run(work).await
    }
}

macro_rules! forward {
    ($($kind:ident $verb:ident($($how:ident $argument:ident: $type:ty),*) -> $answer:ty, $example:literal;)*) => {
        impl AsyncSessionStore {
            $(
                #[doc = concat!("As [`SessionStore::", stringify!($verb), "`].")]
                ///
                /// # Errors
                ///
                #[doc = concat!("As [`SessionStore::", stringify!($verb), "`].")]
                ///
                /// ```
                /// # use agent_session_store::{AsyncSessionStore, Error, SessionRecord};
                /// # async fn example(store: AsyncSessionStore, new: SessionRecord) -> Result<(), Error> {
                #[doc = concat!("let answer = store.", stringify!($verb), "(", $example, ").await?;")]
                /// # Ok(())
                /// # }
                /// ```
                pub async fn $verb(&self, $($argument: argument_type!($how $type)),*) -> Result<$answer> {
                    $(let $argument = $argument.to_owned();)*
                    self.$kind(move |conn| conn.$verb($(from_owned!($how $argument)),*)).await
                }
            )*
        }
    };
}

forwarded_verbs!(forward);

/// The events of a listing, for a task; made by [`AsyncSessionStore::events`].
#[derive(Debug)]
pub struct AsyncEvents {
    store: AsyncSessionStore,
    walk: Walk<ListEventsRequest, SessionEvent>,
}

impl AsyncEvents {
    /// The next event; `None` after the last one. Dropping the future loses none.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] in the place of an event that cannot be decoded; asked again, it goes on with the one after it.
    /// Any other error of [`AsyncSessionStore::list_events`] ends the listing.
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, ListEventsRequest};
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let first = store.events(ListEventsRequest::new("session-1")).next().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Result<Option<SessionEvent>> {
        loop {
            if let Some(event) = self.walk.pop() {
                return event.map(Some);
            }
            let Some(request) = self.walk.request() else { return Ok(None) };
            // The request stays where it is until the page is there: the future may be dropped, and made again.
            let answer = self.store.list_events(request).await;
            self.walk.answer(answer);
        }
    }
}

impl From<SessionStore> for AsyncSessionStore {
    /// The same store, for tasks.
    fn from(store: SessionStore) -> Self {
        let long = |limit, name| Workers::new(limit, name, Some(store.0.id));
        let threads = Threads {
            reading: Workers::new(store.0.readers.limit(), "agent-session-store-reads", None),
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

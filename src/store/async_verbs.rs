//! The verbs of [`AsyncSessionStore`].

use std::io::{BufRead, Write};
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::async_events::AsyncEvents;
use super::asynchronous::AsyncSessionStore;
use super::forwarded_verbs::{argument_type, forwarded_verbs, from_owned};
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

impl AsyncSessionStore {
    /// As [`SessionStore::get_session`](crate::SessionStore::get_session).
    ///
    /// # Errors
    ///
    /// As [`SessionStore::get_session`](crate::SessionStore::get_session).
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

    /// As [`SessionStore::list_sessions`](crate::SessionStore::list_sessions).
    ///
    /// # Errors
    ///
    /// As [`SessionStore::list_sessions`](crate::SessionStore::list_sessions).
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

    /// As [`SessionStore::update_session`](crate::SessionStore::update_session).
    ///
    /// # Errors
    ///
    /// As [`SessionStore::update_session`](crate::SessionStore::update_session).
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

    /// As [`SessionStore::list_events`](crate::SessionStore::list_events).
    ///
    /// # Errors
    ///
    /// As [`SessionStore::list_events`](crate::SessionStore::list_events).
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

    /// As [`SessionStore::insert_event`](crate::SessionStore::insert_event).
    ///
    /// # Errors
    ///
    /// As [`SessionStore::insert_event`](crate::SessionStore::insert_event).
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

    /// As [`SessionStore::insert_events`](crate::SessionStore::insert_events).
    ///
    /// # Errors
    ///
    /// As [`SessionStore::insert_events`](crate::SessionStore::insert_events).
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
        AsyncEvents::new(self.clone(), request)
    }

    /// As [`SessionStore::prune`](crate::SessionStore::prune).
    ///
    /// # Errors
    ///
    /// As [`SessionStore::prune`](crate::SessionStore::prune).
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

    /// As [`SessionStore::reclaim_space`](crate::SessionStore::reclaim_space).
    ///
    /// # Errors
    ///
    /// As [`SessionStore::reclaim_space`](crate::SessionStore::reclaim_space).
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

    /// As [`SessionStore::checkpoint`](crate::SessionStore::checkpoint).
    ///
    /// # Errors
    ///
    /// As [`SessionStore::checkpoint`](crate::SessionStore::checkpoint).
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

    /// As [`SessionStore::export_with_progress`](crate::SessionStore::export_with_progress), on a thread of its own, which
    /// the writer comes back from.
    ///
    /// # Errors
    ///
    /// As [`SessionStore::export`](crate::SessionStore::export).
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

    /// As [`SessionStore::export_readable`](crate::SessionStore::export_readable), on a thread of its own, which the writer
    /// comes back from.
    ///
    /// # Errors
    ///
    /// As [`SessionStore::export_readable`](crate::SessionStore::export_readable).
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

    /// As [`SessionStore::import_with_progress`](crate::SessionStore::import_with_progress), on a thread of its own.
    ///
    /// # Errors
    ///
    /// As [`SessionStore::import`](crate::SessionStore::import).
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

    /// As [`SessionStore::backup_to`](crate::SessionStore::backup_to).
    ///
    /// # Errors
    ///
    /// As [`SessionStore::backup_to`](crate::SessionStore::backup_to).
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
}

macro_rules! forward {
    ($($kind:ident $verb:ident($($how:ident $argument:ident: $type:ty),*) -> $answer:ty, $example:literal;)*) => {
        impl AsyncSessionStore {
            $(
                #[doc = concat!("As [`SessionStore::", stringify!($verb), "`](crate::SessionStore::", stringify!($verb), ").")]
                ///
                /// # Errors
                ///
                #[doc = concat!("As [`SessionStore::", stringify!($verb), "`](crate::SessionStore::", stringify!($verb), ").")]
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

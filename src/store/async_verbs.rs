//! The verbs of [`AsyncSessionStore`].

use std::io::Write;
use std::path::PathBuf;

use super::async_rows::{AsyncEvents, AsyncSessions, AsyncSummaries};
use super::asynchronous::AsyncSessionStore;
use super::changes::change;
use super::engine::{StoreEngine, on_engine};
use super::writer::row_writes::{self, Changing};
use crate::driver::SessionPersistDriver;
use crate::error::Result;
use crate::verbs::*;

macro_rules! print {
    ($(
        $(#[$words:meta])*
        $kind:ident $verb:ident($($how:ident $argument:ident: $type:ty),*) -> $answer:ty:
            $let:literal, $arguments:literal, $then:literal;
    )*) => {
        /// The verbs. Each write is its own transaction.
        impl AsyncSessionStore {
            $(
                $(#[$words])*
                ///
                #[doc = example!(tasks, $let, stringify!($verb), $arguments, $then)]
                pub async fn $verb(&self, $($argument: argument_type!($how $type)),*) -> Result<$answer> {
                    $(let $argument = $argument.to_owned();)*
                    forward!($kind self, $verb($($how $argument),*))
                }
            )*

            documented! { events on tasks {
                pub fn events(&self, request: ListEventsRequest) -> AsyncEvents {
                    AsyncEvents::new(self.clone(), request)
                }
            } }

            documented! { sessions on tasks {
                pub fn sessions(&self, request: ListSessionsRequest) -> AsyncSessions {
                    AsyncSessions::new(self.clone(), request)
                }
            } }

            documented! { session_summaries on tasks {
                pub fn session_summaries(&self, request: ListSessionsRequest) -> AsyncSummaries {
                    AsyncSummaries::new(self.clone(), request)
                }
            } }

            documented! { export on tasks {
                /// Runs on its own thread, and returns the writer with the progress.
                pub async fn export<W: Write + Send + 'static>(
                    &self,
                    mut writer: W,
                    export: impl Into<Export<'static>>,
                ) -> Result<(W, Progress)> {
                    let (store, export) = (self.store.clone(), export.into());
                    let work = move || store.export(&mut writer, export).map(|done| (writer, done));
                    self.on_a_thread(&self.threads.exporting, work).await
                }
            } }

            documented! { import on tasks {
                /// Runs on its own thread.
                pub async fn import<S>(&self, lines: S) -> Result<Progress>
                where
                    S: ImportSource<'static, Reader: Send> + 'static,
                {
                    let (store, import) = (self.store.clone(), lines.into_import());
                    self.on_a_thread(&self.threads.importing, move || store.import(import)).await
                }
            } }

            documented! { reclaim_space on tasks {
                pub async fn reclaim_space(&self) -> Result<()> {
                    let store = self.store.clone();
                    self.on_a_thread(&self.threads.tidying, move || store.reclaim_space()).await
                }
            } }

            documented! { checkpoint on tasks {
                pub async fn checkpoint(&self) -> Result<CheckpointReport> {
                    let store = self.store.clone();
                    self.on_a_thread(&self.threads.tidying, move || store.checkpoint()).await
                }
            } }

            documented! { backup_to on tasks {
                pub async fn backup_to(&self, path: impl Into<PathBuf>) -> Result<()> {
                    let (store, path) = (self.store.clone(), path.into());
                    self.on_a_thread(&self.threads.copying, move || store.backup_to(path)).await
                }
            } }
        }
    };
}

/// One call of a verb, with copies of its arguments.
macro_rules! forward {
    (read $store:ident, $verb:ident($($how:ident $argument:ident),*)) => {
        $store
            .read(move |engine| on_engine!(engine, engine => engine.read(|conn| conn.$verb($(from_owned!($how $argument)),*))))
            .await
    };
    (write $store:ident, $verb:ident($($how:ident $argument:ident),*)) => {
        on_engine!($store.engine(), engine => {
            let change = change::$verb($(&$argument),*).into_owned();
            let work = move |conn: &mut _| SessionPersistDriver::$verb(conn, $(from_owned!($how $argument)),*);
            engine.writer().write_queued(Changing { change, work }).await
        })
    };
    (rows $store:ident, $verb:ident($($how:ident $argument:ident),*)) => {
        on_engine!($store.engine(), engine => engine.writer().write_queued(row_writes::$verb($($argument),*)).await)
    };
    (steps $store:ident, $verb:ident($($how:ident $argument:ident),*)) => {{
        let store = $store.store.clone();
        $store.on_a_thread(&$store.threads.tidying, move || store.$verb($(from_owned!($how $argument)),*)).await
    }};
}

verbs!(print!);

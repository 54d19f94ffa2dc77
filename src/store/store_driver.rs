//! The store as a driver, for code that takes any.

use std::io::{BufRead, Write};
use std::path::Path;

use chrono::{DateTime, Utc};

use super::blocking::SessionStore;
use super::forwarded_verbs::{argument_type, forwarded_verbs};
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

macro_rules! implement {
    ($($kind:ident $verb:ident($($how:ident $argument:ident: $type:ty),*) -> $answer:ty, $example:literal;)*) => {
        /// Each verb is the method of the same name: every write is a transaction of its own.
        impl SessionPersistDriver for SessionStore {
            $(
                fn $verb(&mut self, $($argument: argument_type!($how $type)),*) -> Result<$answer> {
                    SessionStore::$verb(self, $($argument),*)
                }
            )*

            fn get_session(&mut self, id: &str) -> Result<Option<SessionRecord>> {
                SessionStore::get_session(self, id)
            }

            fn list_sessions(&mut self, request: &ListSessionsRequest) -> Result<ListPage<SessionRecord>> {
                SessionStore::list_sessions(self, request)
            }

            fn update_session(&mut self, session: &SessionRecord) -> Result<()> {
                SessionStore::update_session(self, session)
            }

            fn list_events(&mut self, request: &ListEventsRequest) -> Result<ListPage<SessionEvent>> {
                SessionStore::list_events(self, request)
            }

            fn insert_event(&mut self, event: &SessionEvent) -> Result<()> {
                SessionStore::insert_event(self, event)
            }

            fn insert_events(&mut self, events: &[SessionEvent]) -> Result<()> {
                SessionStore::insert_events(self, events)
            }

            fn prune(&mut self, request: &PruneRequest) -> Result<PruneReport> {
                SessionStore::prune(self, request)
            }

            fn reclaim_space(&mut self) -> Result<()> {
                SessionStore::reclaim_space(self)
            }

            fn checkpoint(&mut self) -> Result<CheckpointReport> {
                SessionStore::checkpoint(self)
            }

            fn export_with_progress<W: Write>(
                &mut self,
                writer: W,
                selection: &Selection,
                progress: impl FnMut(Progress),
            ) -> Result<Progress> {
                SessionStore::export_with_progress(self, writer, selection, progress)
            }

            fn export_readable<W: Write>(
                &mut self,
                writer: W,
                selection: &Selection,
                left_out: impl FnMut(Error),
            ) -> Result<Progress> {
                SessionStore::export_readable(self, writer, selection, left_out)
            }

            fn import_with_progress<R: BufRead>(
                &mut self,
                reader: R,
                progress: impl FnMut(Progress),
            ) -> Result<Progress> {
                SessionStore::import_with_progress(self, reader, progress)
            }

            fn backup_to(&mut self, path: impl AsRef<Path>) -> Result<()> {
                SessionStore::backup_to(self, path)
            }
        }
    };
}

forwarded_verbs!(implement);

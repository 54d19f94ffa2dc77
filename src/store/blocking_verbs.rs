//! The verbs of [`SessionStore`].

use std::io::Write;
use std::path::Path;

use super::blocking::SessionStore;
use super::changes::change;
use super::engine::{Engine, StoreEngine, on_engine};
use super::writer::row_writes::{self, Changing};
use crate::driver::{FileMaintenance, SessionPersistDriver};
use crate::error::Result;
use crate::verb;
use crate::verbs::*;

macro_rules! print {
    ($(
        $(#[$words:meta])*
        $kind:ident $verb:ident($($how:ident $argument:ident: $type:ty),*) -> $answer:ty:
            $let:literal, $arguments:literal, $then:literal;
    )*) => {
        /// The verbs. Each write is its own transaction.
        impl SessionStore {
            fn engine(&self) -> &Engine {
                &self.0.engine
            }

            $(
                $(#[$words])*
                ///
                #[doc = example!(store, $let, stringify!($verb), $arguments, $then)]
                pub fn $verb(&self, $($argument: argument_type!($how $type)),*) -> Result<$answer> {
                    forward!($kind self, $verb($($how $argument),*))
                }
            )*

            documented! { events on store {
                pub fn events(&self, request: ListEventsRequest) -> impl Iterator<Item = Result<SessionEvent>> {
                    verb::walk(|request| self.list_events(request), request)
                }
            } }

            documented! { sessions on store {
                pub fn sessions(&self, request: ListSessionsRequest) -> impl Iterator<Item = Result<SessionRecord>> {
                    verb::walk(|request| self.list_sessions(request), request)
                }
            } }

            documented! { session_summaries on store {
                pub fn session_summaries(
                    &self,
                    request: ListSessionsRequest,
                ) -> impl Iterator<Item = Result<SessionSummary>> {
                    verb::walk(|request| self.list_session_summaries(request), request)
                }
            } }

            documented! { export on store {
                pub fn export<'a, W: Write>(&self, writer: W, export: impl Into<Export<'a>>) -> Result<Progress> {
                    on_engine!(self.engine(), engine => engine.export(writer, export.into()))
                }
            } }

            documented! { import on store {
                pub fn import<'a>(&self, lines: impl ImportSource<'a>) -> Result<Progress> {
                    on_engine!(self.engine(), engine => engine.import(lines.into_import()))
                }
            } }

            documented! { reclaim_space on store {
                pub fn reclaim_space(&self) -> Result<()> {
                    self.engine().reclaim_space()
                }
            } }

            documented! { checkpoint on store {
                pub fn checkpoint(&self) -> Result<CheckpointReport> {
                    self.engine().checkpoint()
                }
            } }

            documented! { backup_to on store {
                pub fn backup_to(&self, path: impl AsRef<Path>) -> Result<()> {
                    self.engine().backup_to(path.as_ref())
                }
            } }
        }

        /// For code that is generic over drivers. Each verb calls the method of the same name.
        impl SessionPersistDriver for SessionStore {
            $(
                fn $verb(&mut self, $($argument: argument_type!($how $type)),*) -> Result<$answer> {
                    Self::$verb(self, $($argument),*)
                }
            )*

            fn export<'a, W: Write>(&mut self, writer: W, export: impl Into<Export<'a>>) -> Result<Progress> {
                Self::export(self, writer, export)
            }

            fn import<'a>(&mut self, lines: impl ImportSource<'a>) -> Result<Progress> {
                Self::import(self, lines)
            }
        }

        impl FileMaintenance for SessionStore {
            fn reclaim_space(&mut self) -> Result<()> {
                Self::reclaim_space(self)
            }

            fn checkpoint(&mut self) -> Result<CheckpointReport> {
                Self::checkpoint(self)
            }

            fn backup_to(&mut self, path: impl AsRef<Path>) -> Result<()> {
                Self::backup_to(self, path)
            }
        }
    };
}

/// An argument, whichever way it is passed, by reference.
macro_rules! borrowed {
    (ref $argument:ident) => {
        $argument
    };
    (val $argument:ident) => {
        &$argument
    };
}

/// One call of a verb. A write borrows its arguments if the connection is free, and queues a copy of them if not.
macro_rules! forward {
    (read $store:ident, $verb:ident($($how:ident $argument:ident),*)) => {
        on_engine!($store.engine(), engine => engine.read(|conn| conn.$verb($($argument),*)))
    };
    (write $store:ident, $verb:ident($($how:ident $argument:ident),*)) => {
        on_engine!($store.engine(), engine => engine.write(
            &change::$verb($(borrowed!($how $argument)),*),
            |conn| conn.$verb($($argument),*),
            || {
                $(let $argument = $argument.to_owned();)*
                Changing {
                    change: change::$verb($(&$argument),*).into_owned(),
                    work: move |conn: &mut _| SessionPersistDriver::$verb(conn, $(from_owned!($how $argument)),*),
                }
            },
        ))
    };
    (rows $store:ident, $verb:ident($($how:ident $argument:ident),*)) => {
        on_engine!($store.engine(), engine => engine.write(
            &change::$verb($(borrowed!($how $argument)),*),
            |conn| conn.$verb($($argument),*),
            || row_writes::$verb($($argument.to_owned()),*),
        ))
    };
    (steps $store:ident, $verb:ident($($how:ident $argument:ident),*)) => {
        on_engine!($store.engine(), engine => engine.$verb($($argument),*))
    };
}

verbs!(print!);

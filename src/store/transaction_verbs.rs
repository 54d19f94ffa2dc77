//! The verbs of [`StoreTransaction`].

use std::io::Write;

use super::engine::{SessionUse, on_connection};
use super::store_transaction::StoreTransaction;
use crate::driver::SessionPersistDriver;
use crate::error::Result;
use crate::verb;
use crate::verbs::*;

macro_rules! print {
    ($(
        $(#[$words:meta])*
        $kind:ident $verb:ident($($how:ident $argument:ident: $type:ty),*) -> $answer:ty:
            $let:literal, $arguments:literal, $then:literal;
    )*) => {
        /// The verbs, as parts of the transaction. They see what those before them wrote.
        impl StoreTransaction<'_> {
            $(
                $(#[$words])*
                ///
                #[doc = example!(transaction, $let, stringify!($verb), $arguments, $then)]
                pub fn $verb(&mut self, $($argument: argument_type!($how $type)),*) -> Result<$answer> {
                    self.run(session_use!($verb($($argument),*)), |conn| on_connection!(conn, conn => conn.$verb($($argument),*)))
                }
            )*

            documented! { sessions on transaction {
                pub fn sessions(&mut self, request: ListSessionsRequest) -> impl Iterator<Item = Result<SessionRecord>> {
                    verb::walk(|request| self.list_sessions(request), request)
                }
            } }

            documented! { session_summaries on transaction {
                pub fn session_summaries(
                    &mut self,
                    request: ListSessionsRequest,
                ) -> impl Iterator<Item = Result<SessionSummary>> {
                    verb::walk(|request| self.list_session_summaries(request), request)
                }
            } }

            documented! { events on transaction {
                pub fn events(&mut self, request: ListEventsRequest) -> impl Iterator<Item = Result<SessionEvent>> {
                    verb::walk(|request| self.list_events(request), request)
                }
            } }

            documented! { export on transaction {
                pub fn export<'a, W: Write>(&mut self, writer: W, export: impl Into<Export<'a>>) -> Result<Progress> {
                    self.run(None, |conn| on_connection!(conn, conn => conn.export(writer, export)))
                }
            } }

            documented! { import on transaction {
                pub fn import<'a>(&mut self, lines: impl ImportSource<'a>) -> Result<Progress> {
                    self.run(None, |conn| on_connection!(conn, conn => conn.import(lines)))
                }
            } }
        }

        /// For code that is generic over drivers. Each verb calls the method of the same name.
        impl SessionPersistDriver for StoreTransaction<'_> {
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
    };
}

/// What a verb uses of one session and does not lock itself, if anything.
macro_rules! session_use {
    (get_session($id:ident)) => {
        Some(SessionUse::ReadRecord($id))
    };
    (list_events($request:ident)) => {
        Some(SessionUse::ReadEvents(&$request.filter.session_id))
    };
    (last_event_index($session_id:ident)) => {
        Some(SessionUse::ReadEvents($session_id))
    };
    (latest_events($session_id:ident, $($limit:ident),*)) => {
        Some(SessionUse::ReadEvents($session_id))
    };
    (update_session($session:ident)) => {
        Some(SessionUse::WriteRecord(&$session.id))
    };
    (destroy_session($id:ident, $at:ident)) => {
        Some(SessionUse::WriteRecord($id))
    };
    ($other:ident($($argument:ident),*)) => {
        None
    };
}

verbs!(print!);

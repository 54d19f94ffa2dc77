//! The verbs as traits, generated from the table.

use std::io::Write;
use std::path::Path;

use crate::error::Result;
use crate::verb;
use crate::verbs::*;

macro_rules! print {
    ($(
        $(#[$words:meta])*
        $kind:ident $verb:ident($($how:ident $argument:ident: $type:ty),*) -> $answer:ty:
            $let:literal, $arguments:literal, $then:literal;
    )*) => {
        /// The verbs of the reference driver and this crate's additions, as methods of a connection.
        ///
        /// The verbs run inside the connection's current transaction, if there is one, and leave the commit to you. The
        /// connection must belong to a [migrated](crate::migrate) database. A pooled connection works as it is: it
        /// dereferences to the connection that has these methods.
        ///
        /// **An error may end your transaction.** SQLite itself rolls back when the disk is full, for example, or when
        /// a trigger of yours raises `ROLLBACK`. Diesel then has no open transaction: your own commit or rollback fails
        /// with `NotInTransaction`, and whatever you write before that is committed on its own. So leave a transaction
        /// at the first error. (As everywhere in SQLite, a trigger's `FAIL` keeps what its statement did before, and its
        /// `IGNORE` is not an error.) PostgreSQL aborts a transaction at any error from the server; Diesel rolls it back
        /// when your closure returns the error.
        ///
        /// ```
        /// use agent_session_store::diesel::{Connection, SqliteConnection};
        /// use agent_session_store::{Error, SessionPersistDriver, migrate};
        /// # use agent_session_store::{Json, Sender, SessionEvent};
        /// # let event = SessionEvent::new("e", 1, "s", Default::default(), "c", Sender::Agent, Json::parse("{}")?);
        ///
        /// let mut conn = SqliteConnection::establish(":memory:").unwrap();
        /// migrate(&mut conn)?;
        /// conn.transaction(|conn| {
        ///     // … your own queries …
        ///     conn.insert_event(&event)
        /// })?;
        /// # Ok::<(), Error>(())
        /// ```
        pub trait SessionPersistDriver {
            $(
                $(#[$words])*
                ///
                #[doc = example!(connection, $let, stringify!($verb), $arguments, $then)]
                fn $verb(&mut self, $($argument: argument_type!($how $type)),*) -> Result<$answer>;
            )*

            documented! { events on connection {
                fn events(&mut self, request: ListEventsRequest) -> impl Iterator<Item = Result<SessionEvent>>
                where
                    Self: Sized,
                {
                    verb::walk(|request| self.list_events(request), request)
                }
            } }

            documented! { sessions on connection {
                fn sessions(&mut self, request: ListSessionsRequest) -> impl Iterator<Item = Result<SessionRecord>>
                where
                    Self: Sized,
                {
                    verb::walk(|request| self.list_sessions(request), request)
                }
            } }

            documented! { session_summaries on connection {
                fn session_summaries(
                    &mut self,
                    request: ListSessionsRequest,
                ) -> impl Iterator<Item = Result<SessionSummary>>
                where
                    Self: Sized,
                {
                    verb::walk(|request| self.list_session_summaries(request), request)
                }
            } }

            documented! { export on connection {
                fn export<'a, W: Write>(&mut self, writer: W, export: impl Into<Export<'a>>) -> Result<Progress>
                where
                    Self: Sized;
            } }

            documented! { import on connection {
                fn import<'a>(&mut self, lines: impl ImportSource<'a>) -> Result<Progress>
                where
                    Self: Sized;
            } }
        }
    };
}

verbs!(print!);

/// Maintenance of a database file. A store on an engine without files returns an error.
pub trait FileMaintenance {
    documented! { reclaim_space on connection {
        fn reclaim_space(&mut self) -> Result<()>;
    } }

    documented! { checkpoint on connection {
        fn checkpoint(&mut self) -> Result<CheckpointReport>;
    } }

    documented! { backup_to on connection {
        fn backup_to(&mut self, path: impl AsRef<Path>) -> Result<()>
        where
            Self: Sized;
    } }
}

/// Implements the verbs for a blocking connection, over its [`Database`](crate::database::Database). `$run` is the
/// function that every verb runs in; it is told whether the verb only reads.
macro_rules! blocking_driver {
    (
        $connection:ty, $run:path;
        $(
            $(#[$words:meta])*
            $kind:ident $verb:ident($($how:ident $argument:ident: $type:ty),*) -> $answer:ty:
                $let:literal, $arguments:literal, $then:literal;
        )*
    ) => {
        impl SessionPersistDriver for $connection {
            $(
                fn $verb(&mut self, $($argument: argument_type!($how $type)),*) -> Result<$answer> {
                    $run(self, is_read!($kind), |conn| ready(verb::$verb(conn, $($argument),*)))
                }
            )*

            fn export<'a, W: Write>(&mut self, writer: W, export: impl Into<Export<'a>>) -> Result<Progress> {
                $run(self, true, |conn| ready(verb::export(conn, writer, export.into())))
            }

            fn import<'a>(&mut self, lines: impl ImportSource<'a>) -> Result<Progress> {
                $run(self, false, |conn| ready(verb::import(conn, lines.into_import())))
            }
        }
    };
}

/// Whether a verb of this kind only reads.
macro_rules! is_read {
    (read) => {
        true
    };
    ($kind:ident) => {
        false
    };
}

pub(crate) use {blocking_driver, is_read};

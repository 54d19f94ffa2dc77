//! The verbs as a trait for connections that wait, generated from the table.

use std::io::Write;

use crate::error::Result;
use crate::verb::Walk;
use crate::verbs::*;

macro_rules! print {
    ($(
        $(#[$words:meta])*
        $kind:ident $verb:ident($($how:ident $argument:ident: $type:ty),*) -> $answer:ty:
            $let:literal, $arguments:literal, $then:literal;
    )*) => {
        /// The verbs of [`SessionPersistDriver`](crate::SessionPersistDriver) as methods of a connection of diesel-async.
        ///
        /// They run inside the connection's current transaction, if there is one, and leave the commit to you. The
        /// connection must belong to a [migrated](crate::migrate_async) database. A pooled connection works as it is: it
        /// dereferences to the connection that has these methods. The futures are `Send`.
        ///
        /// **A future that is dropped** before it is ready is as if it had failed, or as if nobody had waited for its
        /// answer: what it was doing is rolled back or stored, as a whole, and the connection goes on. Inside your own
        /// transaction, it makes that transaction fail: nothing of it is stored, and the connection refuses whatever
        /// comes after it, so replace it; a pool does. [The guide](crate::guide::diesel_async) has more about it.
        ///
        /// **An error may end your transaction**, as on a blocking connection, so leave it at the first error.
        ///
        /// ```
        /// use agent_session_store::diesel::SqliteConnection;
        /// use agent_session_store::diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
        /// use agent_session_store::diesel_async::AsyncConnection;
        /// use agent_session_store::{AsyncSessionPersistDriver, Error, migrate_async};
        /// # use agent_session_store::{Json, NewEvent, Sender};
        /// # let events = [NewEvent::new("e", Default::default(), "c", Sender::Agent, Json::parse("{}")?)];
        /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        ///
        /// let mut conn = SyncConnectionWrapper::<SqliteConnection>::establish(":memory:").await.unwrap();
        /// migrate_async(&mut conn).await?;
        /// let indexes = conn
        ///     .transaction(async |conn| {
        ///         // … your own queries …
        ///         conn.append_events("session-1", &events).await
        ///     })
        ///     .await?;
        /// assert_eq!(indexes, [1]);
        /// # Ok::<(), Error>(())
        /// # })?;
        /// # Ok::<(), Error>(())
        /// ```
        pub trait AsyncSessionPersistDriver: Send {
            $(
                $(#[$words])*
                ///
                #[doc = example!(async_connection, $let, stringify!($verb), $arguments, $then)]
                fn $verb(
                    &mut self,
                    $($argument: argument_type!($how $type)),*
                ) -> impl Future<Output = Result<$answer>> + Send;
            )*

            documented! { events on async_connection {
                fn events(&mut self, request: ListEventsRequest) -> ConnectionEvents<'_, Self>
                where
                    Self: Sized,
                {
                    ConnectionEvents { conn: self, walk: Walk::new(request) }
                }
            } }

            documented! { sessions on async_connection {
                fn sessions(&mut self, request: ListSessionsRequest) -> ConnectionSessions<'_, Self>
                where
                    Self: Sized,
                {
                    ConnectionSessions { conn: self, walk: Walk::new(request) }
                }
            } }

            documented! { session_summaries on async_connection {
                fn session_summaries(&mut self, request: ListSessionsRequest) -> ConnectionSummaries<'_, Self>
                where
                    Self: Sized,
                {
                    ConnectionSummaries { conn: self, walk: Walk::new(request) }
                }
            } }

            documented! { export on async_connection {
                /// Returns the writer with the progress. The writer is blocking: between two writes of it, the export
                /// waits for the database.
                fn export<W: Write + Send + 'static>(
                    &mut self,
                    writer: W,
                    export: impl Into<Export<'static>> + Send,
                ) -> impl Future<Output = Result<(W, Progress)>> + Send;
            } }

            documented! { import on async_connection {
                /// The reader is blocking: a slow one belongs on a thread of its own.
                fn import<S>(&mut self, lines: S) -> impl Future<Output = Result<Progress>> + Send
                where
                    S: ImportSource<'static, Reader: Send> + Send + 'static;
            } }
        }
    };
}

verbs!(print!);

macro_rules! connection_rows {
    ($rows:ident, $method:ident, $list:ident, $request:ident, $record:ident, $what:literal, $many:literal, $example:literal) => {
        #[doc = concat!("The ", $many, " of a listing, returned by [`AsyncSessionPersistDriver::", stringify!($method), "`]:")]
        /// an async iterator.
        #[derive(Debug)]
        pub struct $rows<'a, C> {
            conn: &'a mut C,
            walk: Walk<$request, $record>,
        }

        impl<C: AsyncSessionPersistDriver> $rows<'_, C> {
            #[doc = concat!("Returns the next ", $what, ", or `None` after the last one. Dropping the future loses none.")]
            ///
            /// # Errors
            ///
            /// [`Error::Decode`](crate::Error::Decode) in place of a row that cannot be decoded; the next call continues
            /// with the row after it. Any other error ends the iteration.
            ///
            /// ```
            /// # use agent_session_store::*;
            /// # async fn example(conn: &mut impl AsyncSessionPersistDriver) -> Result<(), Error> {
            #[doc = $example]
            /// # Ok(())
            /// # }
            /// ```
            pub async fn next(&mut self) -> Result<Option<$record>> {
                loop {
                    if let Some(row) = self.walk.pop() {
                        return row.map(Some);
                    }
                    let Some(request) = self.walk.request() else { return Ok(None) };
                    // The request is kept until its page has arrived, because the future may be dropped and made again.
                    let answer = self.conn.$list(request).await;
                    self.walk.answer(answer);
                }
            }
        }
    };
}

connection_rows!(
    ConnectionEvents,
    events,
    list_events,
    ListEventsRequest,
    SessionEvent,
    "event",
    "events",
    "let first = conn.events(ListEventsRequest::new(\"session-1\")).next().await?;"
);
connection_rows!(
    ConnectionSessions,
    sessions,
    list_sessions,
    ListSessionsRequest,
    SessionRecord,
    "session",
    "sessions",
    "let newest = conn.sessions(ListSessionsRequest::new().descending()).next().await?;"
);

connection_rows!(
    ConnectionSummaries,
    session_summaries,
    list_session_summaries,
    ListSessionsRequest,
    SessionSummary,
    "summary",
    "summaries",
    "let newest = conn.session_summaries(ListSessionsRequest::new().descending()).next().await?;"
);

/// Implements the verbs for a connection that waits, over its [`Database`](crate::database::Database). `$run` is the
/// function that every verb runs in; it is told whether the verb only reads.
macro_rules! async_driver {
    (
        $connection:ty, $run:path;
        $(
            $(#[$words:meta])*
            $kind:ident $verb:ident($($how:ident $argument:ident: $type:ty),*) -> $answer:ty:
                $let:literal, $arguments:literal, $then:literal;
        )*
    ) => {
        impl AsyncSessionPersistDriver for $connection {
            $(
                async fn $verb(&mut self, $($argument: argument_type!($how $type)),*) -> Result<$answer> {
                    $run(self, is_read!($kind), async |conn| verb::$verb(conn, $($argument),*).await).await
                }
            )*

            async fn export<W: Write + Send + 'static>(
                &mut self,
                mut writer: W,
                export: impl Into<Export<'static>> + Send,
            ) -> Result<(W, Progress)> {
                let export = export.into();
                let done = $run(self, true, async |conn| verb::export(conn, &mut writer, export).await).await?;
                Ok((writer, done))
            }

            fn import<S>(&mut self, lines: S) -> impl Future<Output = Result<Progress>> + Send
            where
                S: ImportSource<'static, Reader: Send> + Send + 'static,
            {
                import(self, lines.into_import())
            }
        }

        async fn import<R: BufRead + Send>(conn: &mut $connection, import: Import<'static, R>) -> Result<Progress> {
            $run(conn, false, async |conn: &mut $connection| verb::import(conn, import).await).await
        }
    };
}

pub(crate) use async_driver;

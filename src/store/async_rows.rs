//! Iterating over a whole listing in async code.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::asynchronous::AsyncSessionStore;
use crate::error::Result;
use crate::model::event::SessionEvent;
use crate::model::page::ListPage;
use crate::model::request::{ListEventsRequest, ListSessionsRequest, PageRequest};
use crate::model::session::SessionRecord;
use crate::transcript::summary::SessionSummary;
use crate::verb::Walk;

type Fetching<T> = Pin<Box<dyn Future<Output = Result<ListPage<T>>> + Send>>;

/// The walk, and the page that is on its way. The future of a single `next` may be dropped and made again.
struct AsyncWalk<Q, T> {
    store: AsyncSessionStore,
    walk: Walk<Q, T>,
    fetching: Option<Fetching<T>>,
}

impl<Q: PageRequest + Clone, T> AsyncWalk<Q, T> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        fetch: fn(AsyncSessionStore, Q) -> Fetching<T>,
    ) -> Poll<Option<Result<T>>> {
        loop {
            if let Some(row) = self.walk.pop() {
                return Poll::Ready(Some(row));
            }
            if self.fetching.is_none() {
                let Some(request) = self.walk.request() else { return Poll::Ready(None) };
                self.fetching = Some(fetch(self.store.clone(), request.clone()));
            }
            if let Some(fetching) = &mut self.fetching {
                let answer = ready!(fetching.as_mut().poll(cx));
                self.fetching = None;
                self.walk.answer(answer);
            }
        }
    }
}

macro_rules! async_rows {
    ($rows:ident, $method:ident, $list:ident, $request:ident, $record:ident, $what:literal, $many:literal, $example:literal) => {
        #[doc = concat!("The ", $many, " of a listing, returned by [`AsyncSessionStore::", stringify!($method), "`]: an async")]
        /// iterator, and a [`Stream`]. As a stream it yields an error in place of a row that cannot be decoded and then
        /// continues; after any other error it ends.
        pub struct $rows(AsyncWalk<$request, $record>);

        impl $rows {
            pub(super) fn new(store: AsyncSessionStore, request: $request) -> Self {
                Self(AsyncWalk { store, walk: Walk::new(request), fetching: None })
            }

            #[doc = concat!("Returns the next ", $what, ", or `None` after the last one. Dropping the future loses none.")]
            ///
            /// # Errors
            ///
            /// [`Error::Decode`](crate::Error::Decode) in place of a row that cannot be decoded; the next call continues
            /// with the row after it. Any other error ends the iteration.
            ///
            /// ```
            /// # use agent_session_store::*;
            /// # async fn example(store: AsyncSessionStore) -> Result<(), Error> {
            #[doc = $example]
            /// # Ok(())
            /// # }
            /// ```
            pub async fn next(&mut self) -> Result<Option<$record>> {
                std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await.transpose()
            }
        }

        impl Stream for $rows {
            type Item = Result<$record>;

            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                self.0.poll(cx, |store, request| Box::pin(async move { store.$list(&request).await }))
            }
        }

        impl fmt::Debug for $rows {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($rows)).field(&self.0.walk).finish()
            }
        }
    };
}

async_rows!(
    AsyncEvents,
    events,
    list_events,
    ListEventsRequest,
    SessionEvent,
    "event",
    "events",
    "let first = store.events(ListEventsRequest::new(\"session-1\")).next().await?;"
);
async_rows!(
    AsyncSessions,
    sessions,
    list_sessions,
    ListSessionsRequest,
    SessionRecord,
    "session",
    "sessions",
    "let newest = store.sessions(ListSessionsRequest::new().descending()).next().await?;"
);
async_rows!(
    AsyncSummaries,
    session_summaries,
    list_session_summaries,
    ListSessionsRequest,
    SessionSummary,
    "summary",
    "summaries",
    "let newest = store.session_summaries(ListSessionsRequest::new().descending()).next().await?;"
);

//! Following as an endless stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::async_follower::AsyncFollower;
use super::commit_trail::CommitTrail;
use super::session_trail::SessionTrail;
use super::trail::Trail;
use crate::error::Result;
use crate::model::commit_order::CommittedEvent;
use crate::model::cursor::Cursor;
use crate::model::event::SessionEvent;
use crate::model::request::ListEventsRequest;
use crate::store::asynchronous::AsyncSessionStore;

/// Following.
impl AsyncSessionStore {
    /// Follows a session, as [`SessionStore::follow`](crate::SessionStore::follow) does, which says what is delivered and
    /// what is not: an endless [`Stream`]. Pages are read on the store's reading threads. Waiting takes no thread.
    ///
    /// # Errors
    ///
    /// The items of the stream, as those of [`SessionStore::follow`](crate::SessionStore::follow).
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, ListEventsRequest};
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let request = ListEventsRequest::new("session-1");
    /// let mut follow = store.follow(request.clone());
    /// while let Some(event) = follow.next().await? {
    ///     println!("{}: {}, then {}", event.event_index, event.payload, request.cursor_after(&event));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn follow(&self, request: ListEventsRequest) -> AsyncFollow {
        AsyncFollow(AsyncFollower::new(self.reader(), SessionTrail::new(request)))
    }

    /// Follows all sessions in the order of commit, as [`SessionStore::follow_all`](crate::SessionStore::follow_all) does:
    /// an endless [`Stream`].
    ///
    /// # Errors
    ///
    /// The items of the stream, as those of [`SessionStore::follow_all`](crate::SessionStore::follow_all).
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let mut follow = store.follow_all(None).from_end().await?;
    /// while let Some(committed) = follow.next().await? {
    ///     println!("{} in {}", committed.event.id, committed.event.session_id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn follow_all(&self, after: impl Into<Option<Cursor>>) -> AsyncFollowAll {
        AsyncFollowAll(AsyncFollower::new(self.reader(), CommitTrail::new(after.into())))
    }
}

macro_rules! follows_in_tasks {
    ($follow:ident, $method:ident, $trail:ty, $item:ty, $what:literal, $begin:literal) => {
        #[doc = concat!($what, ", without end: a [`Stream`], returned by [`AsyncSessionStore::", stringify!($method), "`].")]
        ///
        /// The stream ends after an error that it cannot go on from, such as [`Error::Closed`](crate::Error::Closed) when
        /// the store closes. It does not keep the store open.
        #[must_use = "streams do nothing unless polled"]
        pub struct $follow(AsyncFollower<$trail>);

        impl $follow {
            /// Waits for the next event; `None` once the stream has ended. Dropping the future loses none, so you can put
            /// your runtime's timeout around it.
            ///
            /// # Errors
            ///
            #[doc = concat!("Those of [`AsyncSessionStore::", stringify!($method), "`].")]
            ///
            /// ```
            /// # use agent_session_store::{AsyncSessionStore, ListEventsRequest};
            /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
            #[doc = concat!("let mut follow = ", $begin, ";")]
            /// let first = follow.next().await?;
            /// # Ok(())
            /// # }
            /// ```
            pub async fn next(&mut self) -> Result<Option<$item>> {
                std::future::poll_fn(|cx| self.0.poll(cx)).await.transpose()
            }

            /// Skips what is stored now, so that only what is committed from here on is delivered.
            ///
            /// # Errors
            ///
            #[doc = concat!("Those of [`AsyncSessionStore::", stringify!($method), "`].")]
            ///
            /// ```
            /// # use agent_session_store::{AsyncSessionStore, ListEventsRequest};
            /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
            #[doc = concat!("let only_new_ones = ", $begin, ".from_end().await?;")]
            /// # Ok(())
            /// # }
            /// ```
            pub async fn from_end(self) -> Result<Self> {
                self.0.beginning_at_end().await.map(Self)
            }

            /// The cursor that continues after the last event that was delivered, or where this began; `None` for the
            /// beginning.
            ///
            /// ```
            /// # use agent_session_store::{AsyncSessionStore, ListEventsRequest};
            /// # let store = AsyncSessionStore::open_in_memory()?;
            #[doc = concat!("let follow = ", $begin, ";")]
            /// assert_eq!(follow.position(), None);
            /// # Ok::<(), agent_session_store::Error>(())
            /// ```
            pub fn position(&self) -> Option<Cursor> {
                self.0.state.trail.position()
            }
        }

        impl Stream for $follow {
            type Item = Result<$item>;

            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                self.0.poll(cx)
            }
        }

        impl fmt::Debug for $follow {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($follow)).field("position", &self.position()).finish_non_exhaustive()
            }
        }
    };
}

follows_in_tasks!(
    AsyncFollow,
    follow,
    SessionTrail,
    SessionEvent,
    "The events of a session",
    "store.follow(ListEventsRequest::new(\"session-1\"))"
);
follows_in_tasks!(
    AsyncFollowAll,
    follow_all,
    CommitTrail,
    CommittedEvent,
    "The events of all sessions",
    "store.follow_all(None)"
);

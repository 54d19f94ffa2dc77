//! Following as an endless iterator.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::commit_trail::CommitTrail;
use super::follower::Follower;
use super::session_trail::SessionTrail;
use super::trail::Trail;
use crate::error::Result;
use crate::model::commit_order::CommittedEvent;
use crate::model::cursor::Cursor;
use crate::model::event::SessionEvent;
use crate::model::request::ListEventsRequest;
use crate::store::blocking::SessionStore;

/// Following.
impl SessionStore {
    /// Follows a session: an endless iterator over the events that the request lists, first those that are stored, from
    /// the request's cursor if it has one, and then each one once it is committed, by this store or by anybody else. They
    /// come in order of `event_index`, then `id`, each once. To skip what is stored now, see [`Follow::from_end`].
    ///
    /// A commit of this store wakes its followers at once. Commits by other processes are noticed within
    /// [`watch_interval`](crate::SessionStoreBuilder::watch_interval). Nothing is kept for a follower that does not ask:
    /// each holds one page of events, of the request's size, and no lock or transaction. So you can have thousands.
    ///
    /// The position after each event is [`cursor_after`](ListEventsRequest::cursor_after) of the same request. It stays
    /// valid across processes, so a client that reconnects with it misses nothing and gets nothing twice.
    ///
    /// What it does not deliver:
    ///
    /// - An event that is stored later but comes before one that was delivered, as one inserted with a smaller index. The
    ///   verbs that append never do that. Where others do, list the session again, or use
    ///   [`follow_all`](Self::follow_all).
    /// - An event that was overwritten after it was delivered.
    /// - Events that are deleted before they are read. A follower of a deleted session waits on. If the session is created
    ///   again, its events up to the old position are not delivered: follow it anew.
    ///
    /// A session that does not exist yet is waited for. The iterator is lazy: nothing happens until you ask for an event.
    ///
    /// # Errors
    ///
    /// The items. After [`Error::Decode`](crate::Error::Decode) the next one is that after the broken row. After most other
    /// errors, such as a lost connection, the next call tries again, from where it was, so wait a moment before; also after
    /// [`Error::Reentrant`](crate::Error::Reentrant), which you get from a follower that would wait inside another call.
    ///
    /// Three errors end it: [`Error::Closed`](crate::Error::Closed) when the store closes,
    /// [`Error::InvalidCursor`](crate::Error::InvalidCursor) for a cursor of another listing, and
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a descending request.
    ///
    /// ```
    /// # use agent_session_store::{Json, ListEventsRequest, NewEvent, Sender, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// # let event = |id| NewEvent::new(id, Default::default(), "c", Sender::Agent, Json::parse("{}").unwrap());
    /// # store.append_events("session-1", &[event("one")])?;
    /// let request = ListEventsRequest::new("session-1");
    /// for event in store.follow(request.clone()) {
    ///     let event = event?;
    ///     println!("{}: {}, then {}", event.event_index, event.payload, request.cursor_after(&event));
    /// #   break;
    /// }
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn follow(&self, request: ListEventsRequest) -> Follow {
        Follow(Follower::new(Arc::clone(&self.0), SessionTrail::new(request)))
    }

    /// Follows all sessions: an endless iterator over their events in the order in which they were committed, from the
    /// beginning, or after a cursor that came with an event. So a search index, or a copy elsewhere, can be kept up to
    /// date. An event may have any index; one that is overwritten is not delivered again.
    ///
    /// SQLite has such an order; PostgreSQL has none.
    ///
    /// SQLite gives the places of deleted events at the very end of the order to new ones. A position therefore knows
    /// several of the events before it: if the last ones were deleted, the iterator continues after the last one that is
    /// still there. It delivers nothing twice then, unless it began at a cursor, which knows few of them. If none of them
    /// is left, you get [`Error::InvalidCursor`](crate::Error::InvalidCursor), and have to begin anew.
    ///
    /// # Errors
    ///
    /// As of [`follow`](Self::follow), and [`Error::Unsupported`](crate::Error::Unsupported) on PostgreSQL.
    ///
    /// ```
    /// # use agent_session_store::{Cursor, Json, NewEvent, Sender, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// # let event = |id| NewEvent::new(id, Default::default(), "c", Sender::Agent, Json::parse("{}").unwrap());
    /// # store.append_events("session-1", &[event("one")])?;
    /// # let mut saved: Option<Cursor> = None;
    /// for committed in store.follow_all(saved.clone()) {
    ///     let committed = committed?;
    ///     println!("{} in {}", committed.event.id, committed.event.session_id);
    ///     saved = Some(committed.cursor);
    /// #   break;
    /// }
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn follow_all(&self, after: impl Into<Option<Cursor>>) -> FollowAll {
        FollowAll(Follower::new(Arc::clone(&self.0), CommitTrail::new(after.into())))
    }
}

macro_rules! follows {
    ($follow:ident, $method:ident, $trail:ty, $item:ty, $what:literal, $begin:literal) => {
        #[doc = concat!($what, ", without end: an iterator, returned by [`SessionStore::", stringify!($method), "`].")]
        ///
        /// `next` waits until there is an event. The iterator ends after an error that it cannot go on from, such as
        /// [`Error::Closed`](crate::Error::Closed) when the store closes. It does not keep the store open.
        #[must_use]
        pub struct $follow(Follower<$trail>);

        impl $follow {
            /// The next event, or `None` if none has come for this long; with a timeout of zero, if none is there. After
            /// the iterator has ended it returns the error that ended it, or goes on if its cause is gone.
            ///
            /// # Errors
            ///
            #[doc = concat!("Those of [`SessionStore::", stringify!($method), "`].")]
            ///
            /// ```
            /// # use std::time::Duration;
            /// # use agent_session_store::{ListEventsRequest, SessionStore};
            /// # let store = SessionStore::open_in_memory()?;
            #[doc = concat!("let mut follow = ", $begin, ";")]
            /// if follow.next_timeout(Duration::from_millis(10))?.is_none() {
            ///     println!("nothing has happened");
            /// }
            /// # Ok::<(), agent_session_store::Error>(())
            /// ```
            pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<$item>> {
                self.0.state.revive();
                self.0.next(Some(Instant::now().checked_add(timeout).unwrap_or_else(far_away))).transpose()
            }

            /// Skips what is stored now, so that only what is committed from here on is delivered.
            ///
            /// # Errors
            ///
            #[doc = concat!("Those of [`SessionStore::", stringify!($method), "`].")]
            ///
            /// ```
            /// # use agent_session_store::{ListEventsRequest, SessionStore};
            /// # let store = SessionStore::open_in_memory()?;
            #[doc = concat!("let only_new_ones = ", $begin, ".from_end()?;")]
            /// # Ok::<(), agent_session_store::Error>(())
            /// ```
            pub fn from_end(self) -> Result<Self> {
                self.0.beginning_at_end().map(Self)
            }

            /// The cursor that continues after the last event that was delivered, or where this began; `None` for the
            /// beginning.
            ///
            /// ```
            /// # use agent_session_store::{ListEventsRequest, SessionStore};
            /// # let store = SessionStore::open_in_memory()?;
            #[doc = concat!("let follow = ", $begin, ";")]
            /// assert_eq!(follow.position(), None);
            /// # Ok::<(), agent_session_store::Error>(())
            /// ```
            pub fn position(&self) -> Option<Cursor> {
                self.0.state.trail.position()
            }
        }

        impl Iterator for $follow {
            type Item = Result<$item>;

            fn next(&mut self) -> Option<Self::Item> {
                self.0.next(None)
            }
        }

        impl fmt::Debug for $follow {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($follow)).field("position", &self.position()).finish_non_exhaustive()
            }
        }
    };
}

follows!(
    Follow,
    follow,
    SessionTrail,
    SessionEvent,
    "The events of a session",
    "store.follow(ListEventsRequest::new(\"session-1\"))"
);
follows!(FollowAll, follow_all, CommitTrail, CommittedEvent, "The events of all sessions", "store.follow_all(None)");

/// The longest that can be waited for.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(60 * 60 * 24 * 365)
}

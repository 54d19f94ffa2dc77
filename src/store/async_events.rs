//! Iterating over a session's events in async code.

use super::asynchronous::AsyncSessionStore;
use crate::error::Result;
use crate::model::event::SessionEvent;
use crate::model::request::ListEventsRequest;
use crate::verb::Walk;

/// An async iterator over the events of a listing, returned by [`AsyncSessionStore::events`].
#[derive(Debug)]
pub struct AsyncEvents {
    store: AsyncSessionStore,
    walk: Walk<ListEventsRequest, SessionEvent>,
}

impl AsyncEvents {
    pub(super) fn new(store: AsyncSessionStore, request: ListEventsRequest) -> Self {
        Self { store, walk: Walk::new(request) }
    }

    /// Returns the next event, or `None` after the last one. Dropping the future loses no event.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`](crate::Error::Decode) in place of an event that cannot be decoded; the next call continues
    /// with the event after it. Any other error of [`AsyncSessionStore::list_events`] ends the iteration.
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, ListEventsRequest};
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let first = store.events(ListEventsRequest::new("session-1")).next().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Result<Option<SessionEvent>> {
        loop {
            if let Some(event) = self.walk.pop() {
                return event.map(Some);
            }
            let Some(request) = self.walk.request() else { return Ok(None) };
            // The request is kept until its page has arrived, because the future may be dropped and made again.
            let answer = self.store.list_events(request).await;
            self.walk.answer(answer);
        }
    }
}

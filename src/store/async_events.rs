//! Walking through a session, for a task.

use super::asynchronous::AsyncSessionStore;
use crate::error::Result;
use crate::event::SessionEvent;
use crate::request::ListEventsRequest;
use crate::walk::Walk;

/// The events of a listing, for a task; made by [`AsyncSessionStore::events`].
#[derive(Debug)]
pub struct AsyncEvents {
    store: AsyncSessionStore,
    walk: Walk<ListEventsRequest, SessionEvent>,
}

impl AsyncEvents {
    pub(super) fn new(store: AsyncSessionStore, request: ListEventsRequest) -> Self {
        Self { store, walk: Walk::new(request) }
    }

    /// The next event; `None` after the last one. Dropping the future loses none.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`](crate::Error::Decode) in the place of an event that cannot be decoded; asked again, it goes on
    /// with the one after it. Any other error of [`AsyncSessionStore::list_events`] ends the listing.
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
            // The request stays where it is until the page is there: the future may be dropped, and made again.
            let answer = self.store.list_events(request).await;
            self.walk.answer(answer);
        }
    }
}

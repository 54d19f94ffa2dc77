//! Waiting until anything was committed, in a task.

use std::future::poll_fn;

use super::change_token::ChangeToken;
use crate::error::Result;
use crate::model::known::Known;
use crate::store::asynchronous::AsyncSessionStore;

/// Waiting for changes.
impl AsyncSessionStore {
    /// Waits until anything is committed after the first poll, by this store or by others, and returns a token from
    /// which to wait on. It does not say what: see [`changed_since`](Self::changed_since).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed) as soon as the store is closed, and
    /// [`Error::Thread`](crate::Error::Thread).
    ///
    /// ```
    /// # use agent_session_store::AsyncSessionStore;
    /// # async fn example(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    /// let token = store.changed().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn changed(&self) -> Result<ChangeToken> {
        self.wait_for_change(None).await
    }

    /// Waits until anything was committed since `token`, and returns the next token; see
    /// [`SessionStore::changed_since`](crate::SessionStore::changed_since). Put your runtime's timeout around it to wait
    /// for a limited time: dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed) as soon as the store is closed, and
    /// [`Error::Thread`](crate::Error::Thread).
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, ChangeToken, ListSessionsRequest};
    /// async fn keep_showing(store: AsyncSessionStore) -> Result<(), agent_session_store::Error> {
    ///     let mut token = ChangeToken::default();
    ///     loop {
    ///         token = store.changed_since(token).await?;
    ///         println!("{:?}", store.list_sessions(&ListSessionsRequest::new().descending()).await?.items);
    ///     }
    /// }
    /// ```
    pub async fn changed_since(&self, token: ChangeToken) -> Result<ChangeToken> {
        self.wait_for_change(Some(token)).await
    }

    async fn wait_for_change(&self, since: Option<ChangeToken>) -> Result<ChangeToken> {
        let id = self.engine().id();
        let listener = self.store.0.listen()?;
        let since = since.map_or_else(|| Some(listener.now()), |token| token.count_in(id));
        if let Some(count) = since {
            poll_fn(|context| listener.poll(count, || Known::Unsaid, context)).await?;
        }
        Ok(ChangeToken::now(id, &listener))
    }
}

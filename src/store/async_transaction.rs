//! Several verbs in one transaction, for async code.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::asynchronous::AsyncSessionStore;
use super::store_transaction::StoreTransaction;
use crate::error::{Error, Result};

impl AsyncSessionStore {
    /// See [`SessionStore::transaction`](crate::SessionStore::transaction), which says what must not be done inside.
    ///
    /// Your code is a blocking closure, which runs on a thread of the store, and has the verbs of
    /// [`StoreTransaction`] without `.await`: an async one could be suspended for any time, or dropped, in the middle of
    /// a transaction that others wait for. So do before it, or after it, whatever has to be awaited. A panic in it
    /// continues in the task that awaits the call.
    ///
    /// As many transactions as [`readers`](crate::SessionStoreBuilder::readers) have a thread at the same time; further
    /// ones wait their turn. If the future is dropped before that, the closure never runs; after that, it runs to its end
    /// and commits.
    ///
    /// # Errors
    ///
    /// Those of [`SessionStore::transaction`](crate::SessionStore::transaction), and [`Error::Thread`].
    ///
    /// ```
    /// # use agent_session_store::{AsyncSessionStore, NewEvent, SessionRecord};
    /// # async fn open_session(store: AsyncSessionStore, session: SessionRecord, greeting: Vec<NewEvent>) -> Result<(), agent_session_store::Error> {
    /// let indexes = store
    ///     .transaction(move |tx| {
    ///         tx.update_session(&session)?;
    ///         tx.append_events(&session.id, &greeting)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn transaction<T, E>(
        &self,
        work: impl FnOnce(&mut StoreTransaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let store = self.store.clone();
        let work = move || Ok(catch_unwind(AssertUnwindSafe(|| store.transaction(work))));
        match self.on_a_thread(&self.threads.transacting, work).await? {
            Ok(done) => done,
            Err(panic) => resume_unwind(panic),
        }
    }
}

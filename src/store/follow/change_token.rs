//! Waiting until anything was committed.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::model::known::Known;
use crate::store::blocking::{OpenStore, SessionStore};
use crate::store::changes::{Interest, Listener};
use crate::store::engine::{StoreEngine, on_engine};
use crate::store::reentrance::{ANYTHING, Activity, StoreId, refuse};

/// What a store knew to be committed at some moment; see [`SessionStore::changed_since`]. It is about one open store, in
/// this process: for a position that survives, use a [`Cursor`](crate::Cursor).
///
/// The default is before anything, so that whoever waits from it does not wait.
///
/// ```
/// # use agent_session_store::{ChangeToken, SessionStore};
/// let store = SessionStore::open_in_memory()?;
/// let token = store.changed_since(ChangeToken::default())?; // at once
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeToken {
    store: Option<StoreId>,
    count: u64,
}

impl OpenStore {
    pub(in crate::store) fn listen(&self) -> Result<Listener> {
        let changes = on_engine!(&self.engine, engine => engine.watch().map(|()| engine.changes()))?;
        Listener::new(changes, Interest::Anything)
    }
}

impl ChangeToken {
    pub(in crate::store) fn now(store: StoreId, listener: &Listener) -> Self {
        Self { store: Some(store), count: listener.now() }
    }

    /// What to wait from, or `None` if this is no moment of this store.
    pub(in crate::store) fn count_in(self, store: StoreId) -> Option<u64> {
        (self.store == Some(store)).then_some(self.count)
    }
}

/// Waiting for changes.
impl SessionStore {
    /// Waits until anything is committed after this call, by this store or by others, and returns a token from which to
    /// wait on. It does not say what: see [`changed_since`](Self::changed_since).
    ///
    /// # Errors
    ///
    /// Those of [`changed_since`](Self::changed_since).
    ///
    /// ```no_run
    /// # use agent_session_store::SessionStore;
    /// # let store = SessionStore::open_in_memory()?;
    /// let token = store.changed()?;
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn changed(&self) -> Result<ChangeToken> {
        self.wait_for_change(None, None).map(|(token, _)| token)
    }

    /// Waits until anything was committed since `token`, and returns the next token; at once if that has happened
    /// already, or if the token is the default or of another store. For caches and lists, which read again what they show.
    ///
    /// A token is made before what you then read, so nothing that is committed meanwhile is missed. A call may also
    /// return without a change, for example after a connection was lost. Changes are found as by [`follow`](Self::follow).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed) as soon as the store is closed; [`Error::Reentrant`](crate::Error::Reentrant)
    /// inside another call, which the change may have to wait for; [`Error::Thread`](crate::Error::Thread).
    ///
    /// ```
    /// # use agent_session_store::{ChangeToken, ListSessionsRequest, SessionStore};
    /// fn keep_showing(store: &SessionStore) -> Result<(), agent_session_store::Error> {
    ///     let mut token = ChangeToken::default();
    ///     loop {
    ///         token = store.changed_since(token)?;
    ///         println!("{:?}", store.list_sessions(&ListSessionsRequest::new().descending())?.items);
    ///     }
    /// }
    /// ```
    pub fn changed_since(&self, token: ChangeToken) -> Result<ChangeToken> {
        self.wait_for_change(Some(token), None).map(|(token, _)| token)
    }

    /// The same, for at most this long. `None` if nothing was committed; then wait on from the same token.
    ///
    /// # Errors
    ///
    /// Those of [`changed_since`](Self::changed_since).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use agent_session_store::{ChangeToken, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// let token = store.changed_since(ChangeToken::default())?;
    /// assert_eq!(store.changed_since_timeout(token, Duration::from_millis(1))?, None);
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn changed_since_timeout(&self, token: ChangeToken, timeout: Duration) -> Result<Option<ChangeToken>> {
        let deadline = Instant::now().checked_add(timeout);
        self.wait_for_change(Some(token), deadline).map(|(token, has_changed)| has_changed.then_some(token))
    }

    fn wait_for_change(&self, since: Option<ChangeToken>, deadline: Option<Instant>) -> Result<(ChangeToken, bool)> {
        let id = self.0.engine.id();
        refuse(id, ANYTHING)?;
        refuse(id, &[Activity::Transacting])?;
        let listener = self.0.listen()?;
        let has_changed = match since {
            None => listener.wait(listener.now(), || Known::Unsaid, deadline)?,
            Some(token) => match token.count_in(id) {
                Some(count) => listener.wait(count, || Known::Unsaid, deadline)?,
                None => true,
            },
        };
        Ok((ChangeToken::now(id, &listener), has_changed))
    }
}

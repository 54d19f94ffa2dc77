//! What an append requires of its session.

/// Where to append events, and what must be true of the session. By default nothing: a session need not exist before its
/// first event.
///
/// ```
/// use agent_session_store::AppendRequest;
///
/// let next_of_a_live_session = AppendRequest::new("session-1").must_be_live().ends_at(17);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRequest {
    pub(crate) session_id: String,
    pub(crate) ends_at: Option<i64>,
    pub(crate) requires: Requirement,
}

/// What is required of the session's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Requirement {
    #[default]
    Nothing,
    Record,
    Live,
}

impl AppendRequest {
    /// An append to this session.
    ///
    /// ```
    /// # use agent_session_store::AppendRequest;
    /// let request = AppendRequest::new("session-1");
    /// ```
    pub fn new(session_id: impl Into<String>) -> Self {
        Self { session_id: session_id.into(), ends_at: None, requires: Requirement::Nothing }
    }

    /// Appends only if the session ends at this index, 0 for a session without events; with `None`, wherever it ends.
    ///
    /// ```
    /// # use agent_session_store::AppendRequest;
    /// let request = AppendRequest::new("session-1").ends_at(17);
    /// ```
    #[must_use]
    pub fn ends_at(mut self, last_index: impl Into<Option<i64>>) -> Self {
        self.ends_at = last_index.into();
        self
    }

    /// Appends only if the session has a record. The record cannot be deleted meanwhile.
    ///
    /// ```
    /// # use agent_session_store::AppendRequest;
    /// let request = AppendRequest::new("session-1").must_exist();
    /// ```
    #[must_use]
    pub fn must_exist(mut self) -> Self {
        self.requires = Requirement::Record;
        self
    }

    /// Appends only if the session has a record without `destroyed_at`. The session cannot end meanwhile.
    ///
    /// ```
    /// # use agent_session_store::AppendRequest;
    /// let request = AppendRequest::new("session-1").must_be_live();
    /// ```
    #[must_use]
    pub fn must_be_live(mut self) -> Self {
        self.requires = Requirement::Live;
        self
    }
}

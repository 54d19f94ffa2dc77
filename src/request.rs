//! Asking for a page of a listing.

use chrono::{DateTime, Utc};

use crate::cursor::{Cursor, Scope};
use crate::error::Result;
use crate::page::{DEFAULT_LIMIT, PageRequest};
use crate::walk::Request;

/// Which sessions to list, in the order of `created_at`, then `id` (byte order).
///
/// Every filter narrows the listing further. A page costs what it holds where at most one of `agent`, `sandbox_id`,
/// `live` and `destroyed` is set, with or without a range of times; where several are, SQLite follows one of them and
/// looks at the others row by row.
///
/// ```
/// use agent_session_store::ListSessionsRequest;
///
/// let newest_ten_of_claude = ListSessionsRequest::new().agent("claude").live().descending().limit(10);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListSessionsRequest {
    limit: u32,
    cursor: Option<Cursor>,
    pub(crate) filter: SessionFilter,
}

/// What decides which sessions there are in a listing, and in which order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SessionFilter {
    pub(crate) agent: Option<String>,
    pub(crate) sandbox_id: Option<String>,
    pub(crate) is_live: Option<bool>,
    pub(crate) created_from: Option<i64>,
    pub(crate) created_before: Option<i64>,
    pub(crate) descending: bool,
}

impl ListSessionsRequest {
    /// The first page, of 100 rows.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// assert_eq!(ListSessionsRequest::new(), ListSessionsRequest::default());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// How many rows a page may hold; 0 means the default of 100.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().limit(10);
    /// ```
    #[must_use]
    pub fn limit(mut self, rows: u32) -> Self {
        self.limit = rows;
        self
    }

    /// Continues after the page that this cursor came with. The rest of the request, except for the limit, must be
    /// what it was.
    ///
    /// ```
    /// # use agent_session_store::{ListSessionsRequest, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// let mut request = ListSessionsRequest::new();
    /// loop {
    ///     let page = store.list_sessions(&request)?;
    ///     // … use page.items …
    ///     let Some(cursor) = page.next_cursor else { break };
    ///     request = request.cursor(cursor);
    /// }
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    #[must_use]
    pub fn cursor(mut self, cursor: Cursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// Only the sessions with this agent.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().agent("codex");
    /// ```
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.filter.agent = Some(agent.into());
        self
    }

    /// Only the sessions in this sandbox.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().sandbox_id("sandbox-1");
    /// ```
    #[must_use]
    pub fn sandbox_id(mut self, sandbox_id: impl Into<String>) -> Self {
        self.filter.sandbox_id = Some(sandbox_id.into());
        self
    }

    /// Only the sessions that have not ended: without `destroyed_at`. Takes back [`destroyed`](Self::destroyed).
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().live();
    /// ```
    #[must_use]
    pub fn live(mut self) -> Self {
        self.filter.is_live = Some(true);
        self
    }

    /// Only the sessions that have ended: with a `destroyed_at`. Takes back [`live`](Self::live).
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().destroyed();
    /// ```
    #[must_use]
    pub fn destroyed(mut self) -> Self {
        self.filter.is_live = Some(false);
        self
    }

    /// Only the sessions that began at this time, to the millisecond, or later.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().created_from(chrono::DateTime::UNIX_EPOCH);
    /// ```
    #[must_use]
    pub fn created_from(mut self, time: DateTime<Utc>) -> Self {
        self.filter.created_from = Some(time.timestamp_millis());
        self
    }

    /// Only the sessions that began before this time, to the millisecond.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().created_before(chrono::DateTime::UNIX_EPOCH);
    /// ```
    #[must_use]
    pub fn created_before(mut self, time: DateTime<Utc>) -> Self {
        self.filter.created_before = Some(time.timestamp_millis());
        self
    }

    /// Newest first: the reverse order, ids included.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().descending();
    /// ```
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.filter.descending = true;
        self
    }

    pub(crate) fn page(&self) -> Result<PageRequest<'_>> {
        let SessionFilter { agent, sandbox_id, is_live, created_from, created_before, descending } = &self.filter;
        let filter = (agent, sandbox_id, is_live, created_from, created_before, descending);
        let scope = Scope::new("sessions", spelled(&filter));
        PageRequest::new(scope, self.limit, None, *descending, self.cursor.as_ref())
    }
}

/// Which of a session's events to list, in the order of `event_index`, then `id` (byte order).
///
/// A page costs what it holds, whatever is set.
///
/// ```
/// use agent_session_store::ListEventsRequest;
///
/// let first_ten = ListEventsRequest::new("session-1").limit(10);
/// let last_ten = ListEventsRequest::new("session-1").descending().limit(10);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ListEventsRequest {
    limit: u32,
    max_bytes: Option<usize>,
    cursor: Option<Cursor>,
    pub(crate) filter: EventFilter,
}

/// What decides which events there are in a listing, and in which order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EventFilter {
    pub(crate) session_id: String,
    pub(crate) after: Option<i64>,
    pub(crate) before: Option<i64>,
    pub(crate) descending: bool,
}

impl ListEventsRequest {
    /// The first page of this session, of 100 rows.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let request = ListEventsRequest::new("session-1");
    /// ```
    pub fn new(session_id: impl Into<String>) -> Self {
        let filter = EventFilter { session_id: session_id.into(), after: None, before: None, descending: false };
        Self { limit: 0, max_bytes: None, cursor: None, filter }
    }

    /// How many rows a page may hold; 0 means the default of 100.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let request = ListEventsRequest::new("session-1").limit(1_000);
    /// ```
    #[must_use]
    pub fn limit(mut self, rows: u32) -> Self {
        self.limit = rows;
        self
    }

    /// How many bytes of payload a page may hold. It holds one event at least, however large.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let request = ListEventsRequest::new("session-1").max_bytes(1_000_000);
    /// ```
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Continues after the page that this cursor came with. The rest of the request, except for the limit and the
    /// bytes, must be what it was.
    ///
    /// ```
    /// # use agent_session_store::{ListEventsRequest, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// let mut request = ListEventsRequest::new("session-1");
    /// loop {
    ///     let page = store.list_events(&request)?;
    ///     // … use page.items …
    ///     let Some(cursor) = page.next_cursor else { break };
    ///     request = request.cursor(cursor);
    /// }
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    #[must_use]
    pub fn cursor(mut self, cursor: Cursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// Only the events whose index is greater.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let what_is_new = ListEventsRequest::new("session-1").after(17);
    /// ```
    #[must_use]
    pub fn after(mut self, index: i64) -> Self {
        self.filter.after = Some(index);
        self
    }

    /// Only the events whose index is smaller.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let the_ten_before = ListEventsRequest::new("session-1").before(17).descending().limit(10);
    /// ```
    #[must_use]
    pub fn before(mut self, index: i64) -> Self {
        self.filter.before = Some(index);
        self
    }

    /// Newest first: the reverse order, ids included.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let request = ListEventsRequest::new("session-1").descending();
    /// ```
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.filter.descending = true;
        self
    }

    pub(crate) fn page(&self) -> Result<PageRequest<'_>> {
        let EventFilter { session_id, after, before, descending } = &self.filter;
        let scope = Scope::new("events", spelled(&(session_id, after, before, descending)));
        PageRequest::new(scope, self.limit, self.max_bytes, *descending, self.cursor.as_ref())
    }
}

macro_rules! walked {
    ($($request:ty)*) => {$(
        impl Request for $request {
            fn rows(&self) -> u32 {
                if self.limit == 0 { DEFAULT_LIMIT } else { self.limit }
            }

            fn with_rows(self, rows: u32) -> Self {
                self.limit(rows)
            }

            fn start(&self) -> Option<&Cursor> {
                self.cursor.as_ref()
            }

            fn starting_after(self, cursor: Cursor) -> Self {
                self.cursor(cursor)
            }
        }
    )*};
}

walked!(ListSessionsRequest ListEventsRequest);

/// One text for one filter, the same in every release.
fn spelled<T: serde::Serialize>(filter: &T) -> String {
    // Strings, numbers and booleans can always be written.
    serde_json::to_string(filter).unwrap_or_default()
}

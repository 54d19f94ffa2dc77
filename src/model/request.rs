//! Requests for a page of a listing.

use std::ops::Bound;

use chrono::{DateTime, Utc};

use super::cursor::Cursor;
use super::listing::{DEFAULT_LIMIT, Filter, Listing, Range};
use crate::error::Result;

/// Which sessions to list. They are ordered by `created_at`, then by `id` (byte order).
///
/// Every filter narrows the listing further. If you set at most one of `agent`, `sandbox_id`, `live` and `destroyed`,
/// with or without a time range, the cost of a page depends only on its size. If you set several, SQLite uses the index
/// of one of them and checks the others row by row.
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

/// What determines the rows of a listing and their order.
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
    /// A request for the first page, of 100 rows.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// assert_eq!(ListSessionsRequest::new(), ListSessionsRequest::default());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The maximum number of rows on a page; 0 means the default of 100.
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

    /// Continues after the page that returned this cursor. Apart from the limit, the request must be the same as
    /// before.
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

    /// Lists only the sessions of this agent.
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

    /// Lists only the sessions in this sandbox.
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

    /// Lists only the sessions that have not ended (without `destroyed_at`). Replaces [`destroyed`](Self::destroyed).
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

    /// Lists only the sessions that have ended (with `destroyed_at`). Replaces [`live`](Self::live).
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

    /// Lists only the sessions that began at or after this time, with millisecond precision.
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

    /// Lists only the sessions that began before this time, with millisecond precision.
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

    /// Lists the newest first: reverses the order, including that of the ids.
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

    pub(crate) fn listing(&self) -> Result<Listing<'_, SessionFilter>> {
        Listing::new(&self.filter, self.limit, None, self.cursor.as_ref())
    }
}

impl Filter for SessionFilter {
    const TABLE: &'static str = "sessions";

    fn range(&self) -> Range {
        Range {
            low: self.created_from.map_or(Bound::Unbounded, Bound::Included),
            high: self.created_before.map_or(Bound::Unbounded, Bound::Excluded),
        }
    }

    fn is_descending(&self) -> bool {
        self.descending
    }

    fn spelled(&self) -> String {
        let Self { agent, sandbox_id, is_live, created_from, created_before, descending } = self;
        spelled(&(agent, sandbox_id, is_live, created_from, created_before, descending))
    }
}

/// Which of a session's events to list. They are ordered by `event_index`, then by `id` (byte order).
///
/// The cost of a page depends only on its size, whatever you set.
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

/// What determines the rows of a listing and their order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EventFilter {
    pub(crate) session_id: String,
    pub(crate) after: Option<i64>,
    pub(crate) before: Option<i64>,
    pub(crate) descending: bool,
}

impl ListEventsRequest {
    /// A request for the first page of this session, of 100 rows.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let request = ListEventsRequest::new("session-1");
    /// ```
    pub fn new(session_id: impl Into<String>) -> Self {
        let filter = EventFilter { session_id: session_id.into(), after: None, before: None, descending: false };
        Self { limit: 0, max_bytes: None, cursor: None, filter }
    }

    /// The maximum number of rows on a page; 0 means the default of 100.
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

    /// The maximum size of the payloads on a page, in bytes. A page holds at least one event, however large.
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

    /// Continues after the page that returned this cursor. Apart from the limits on rows and bytes, the request must be
    /// the same as before.
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

    /// Lists only the events with a greater index.
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

    /// Lists only the events with a smaller index.
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

    /// Lists the newest first: reverses the order, including that of the ids.
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

    pub(crate) fn listing(&self) -> Result<Listing<'_, EventFilter>> {
        Listing::new(&self.filter, self.limit, self.max_bytes, self.cursor.as_ref())
    }
}

impl Filter for EventFilter {
    const TABLE: &'static str = "events";

    fn range(&self) -> Range {
        Range {
            low: self.after.map_or(Bound::Unbounded, Bound::Excluded),
            high: self.before.map_or(Bound::Unbounded, Bound::Excluded),
        }
    }

    fn is_descending(&self) -> bool {
        self.descending
    }

    fn spelled(&self) -> String {
        let Self { session_id, after, before, descending } = self;
        spelled(&(session_id, after, before, descending))
    }
}

/// A request for a page, for code that goes from page to page.
pub(crate) trait PageRequest: Sized {
    /// The maximum number of rows on the page.
    fn rows(&self) -> u32;
    fn with_rows(self, rows: u32) -> Self;
    fn start(&self) -> Option<&Cursor>;
    fn starting_after(self, cursor: Cursor) -> Self;
}

macro_rules! asks_for_a_page {
    ($($request:ty)*) => {$(
        impl PageRequest for $request {
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

asks_for_a_page!(ListSessionsRequest ListEventsRequest);

/// The filter as text, the same in every release.
fn spelled<T: serde::Serialize>(filter: &T) -> String {
    // Serializing strings, numbers and booleans cannot fail.
    serde_json::to_string(filter).unwrap_or_default()
}

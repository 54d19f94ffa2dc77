//! Requests for a page of a listing.

use std::ops::Bound;

use chrono::{DateTime, Utc};

use super::cursor::{Cursor, Position};
use super::event::SessionEvent;
use super::known::Known;
use super::listing::{DEFAULT_LIMIT, Filter, Listing, Range};
use super::optional_text::OptionalText;
use super::session::SessionRecord;
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
///
/// With serde, a request is an object with the fields `agent`, `sandboxId`, `live` (true or false), `createdFrom`,
/// `createdBefore` (Unix milliseconds), `descending`, `limit` and `cursor`, all of them optional; another field is an
/// error. Numbers and truth values may be text, so a web handler can take one as its query string.
///
/// ```
/// # use agent_session_store::ListSessionsRequest;
/// let query = "agent=claude&live=true&descending=true&limit=10";
/// let request: ListSessionsRequest = serde_urlencoded::from_str(query).unwrap();
/// assert_eq!(request, ListSessionsRequest::new().agent("claude").live().descending().limit(10));
/// assert!(serde_urlencoded::from_str::<ListSessionsRequest>("limit=ten").is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListSessionsRequest {
    pub(super) limit: u32,
    pub(super) cursor: Option<Cursor>,
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

    /// The maximum number of rows on a page; 0 and `None` mean the default of 100, as does a negative number in a query string.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().limit(10);
    /// ```
    #[must_use]
    pub fn limit(mut self, rows: impl Into<Option<u32>>) -> Self {
        self.limit = rows.into().unwrap_or(0);
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
    pub fn cursor(mut self, cursor: impl Into<Option<Cursor>>) -> Self {
        self.cursor = cursor.into();
        self
    }

    /// Lists only the sessions of this agent.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().agent("codex");
    /// ```
    #[must_use]
    pub fn agent(mut self, agent: impl OptionalText) -> Self {
        self.filter.agent = agent.into_text();
        self
    }

    /// Lists only the sessions in this sandbox.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().sandbox_id("sandbox-1");
    /// ```
    #[must_use]
    pub fn sandbox_id(mut self, sandbox_id: impl OptionalText) -> Self {
        self.filter.sandbox_id = sandbox_id.into_text();
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
    pub fn created_from(mut self, time: impl Into<Option<DateTime<Utc>>>) -> Self {
        self.filter.created_from = time.into().map(|time| time.timestamp_millis());
        self
    }

    /// Lists only the sessions that began before this time, with millisecond precision.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// let request = ListSessionsRequest::new().created_before(chrono::DateTime::UNIX_EPOCH);
    /// ```
    #[must_use]
    pub fn created_before(mut self, time: impl Into<Option<DateTime<Utc>>>) -> Self {
        self.filter.created_before = time.into().map(|time| time.timestamp_millis());
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

    /// The cursor that continues after this session, wherever you have it from: also after the last session of a listing,
    /// so that a reader can look later for what has been added since.
    ///
    /// It belongs to this listing, whatever page the request is for. It is a position in the order, so the session itself
    /// need not be part of the listing, and need not exist any more.
    ///
    /// ```
    /// # use agent_session_store::{ListSessionsRequest, SessionRecord, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// # let session = |id, millis| SessionRecord::new(id, "claude", "a", "c", chrono::DateTime::from_timestamp_millis(millis).unwrap());
    /// # store.update_session(&session("one", 1))?;
    /// let request = ListSessionsRequest::new();
    /// let page = store.list_sessions(&request)?;
    /// let end = page.items.last().map(|session| request.cursor_after(session));
    /// # store.update_session(&session("two", 2))?;
    /// // … later …
    /// let new = store.list_sessions(&request.cursor(end))?;
    /// # assert_eq!(new.items, [session("two", 2)]);
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn cursor_after(&self, session: &SessionRecord) -> Cursor {
        Listing::cursor_of(&self.filter, session.created_at.timestamp_millis(), &session.id)
    }

    /// The maximum number of rows on a page, 100 unless [`limit`](Self::limit) says otherwise; for the limit of a query of
    /// your own.
    ///
    /// ```
    /// # use agent_session_store::ListSessionsRequest;
    /// assert_eq!(ListSessionsRequest::new().page_size(), 100);
    /// ```
    pub fn page_size(&self) -> u32 {
        if self.limit == 0 { DEFAULT_LIMIT } else { self.limit }
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
///
/// With serde, a request is an object with the fields `sessionId`, and optionally `after`, `before`, `descending`, `limit`,
/// `maxBytes` and `cursor`; another field is an error. Numbers and truth values may be text, so a web handler can take one
/// as its query string.
///
/// ```
/// # use agent_session_store::ListEventsRequest;
/// let request: ListEventsRequest = serde_urlencoded::from_str("sessionId=session-1&after=17&limit=10").unwrap();
/// assert_eq!(request, ListEventsRequest::new("session-1").after(17).limit(10));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ListEventsRequest {
    pub(super) limit: u32,
    pub(super) max_bytes: Option<usize>,
    pub(super) cursor: Option<Cursor>,
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

    /// The maximum number of rows on a page; 0 and `None` mean the default of 100, as does a negative number in a query string.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let request = ListEventsRequest::new("session-1").limit(1_000);
    /// ```
    #[must_use]
    pub fn limit(mut self, rows: impl Into<Option<u32>>) -> Self {
        self.limit = rows.into().unwrap_or(0);
        self
    }

    /// The maximum size of the payloads on a page, in bytes. A page holds at least one event, however large.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let request = ListEventsRequest::new("session-1").max_bytes(1_000_000);
    /// ```
    #[must_use]
    pub fn max_bytes(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.max_bytes = bytes.into();
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
    pub fn cursor(mut self, cursor: impl Into<Option<Cursor>>) -> Self {
        self.cursor = cursor.into();
        self
    }

    /// Lists only the events with a greater index.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let what_is_new = ListEventsRequest::new("session-1").after(17);
    /// ```
    #[must_use]
    pub fn after(mut self, index: impl Into<Option<i64>>) -> Self {
        self.filter.after = index.into();
        self
    }

    /// Lists only the events with a smaller index.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// let the_ten_before = ListEventsRequest::new("session-1").before(17).descending().limit(10);
    /// ```
    #[must_use]
    pub fn before(mut self, index: impl Into<Option<i64>>) -> Self {
        self.filter.before = index.into();
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

    /// The cursor that continues after this event, wherever you have it from: also after the last event of a session, so
    /// that a reader can look later for what has been appended since.
    ///
    /// It belongs to this listing, whatever page the request is for. It is a position in the order, so the event need not
    /// exist any more.
    ///
    /// ```
    /// # use agent_session_store::{Json, ListEventsRequest, NewEvent, Sender, SessionStore};
    /// # let store = SessionStore::open_in_memory()?;
    /// # let event = |id| NewEvent::new(id, chrono::DateTime::UNIX_EPOCH, "c", Sender::Agent, Json::parse("{}").unwrap());
    /// # store.append_events("session-1", &[event("one")])?;
    /// let request = ListEventsRequest::new("session-1");
    /// let page = store.list_events(&request)?;
    /// let end = page.items.last().map(|event| request.cursor_after(event));
    /// # store.append_events("session-1", &[event("two")])?;
    /// // … later …
    /// let new = store.list_events(&request.cursor(end))?;
    /// # assert_eq!(new.items[0].id, "two");
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn cursor_after(&self, event: &SessionEvent) -> Cursor {
        self.cursor_at(event.event_index, &event.id)
    }

    pub(crate) fn cursor_at(&self, event_index: i64, id: &str) -> Cursor {
        Listing::cursor_of(&self.filter, event_index, id)
    }

    /// What whoever has read up to this cursor knows.
    pub(crate) fn known_at(&self, cursor: Option<&Cursor>) -> Known {
        match (cursor, self.filter.after) {
            (None, None) => Known::Nothing,
            (None, Some(index)) => Known::UpTo(index, None),
            (Some(cursor), _) => match Listing::position_of(&self.filter, cursor) {
                Some(Position::Row { key, id }) => Known::UpTo(*key, Some(id.clone())),
                Some(Position::Odd(_)) | None => Known::Unsaid,
            },
        }
    }

    pub(crate) fn take_cursor(&mut self) -> Option<Cursor> {
        self.cursor.take()
    }

    /// The maximum number of rows on a page, 100 unless [`limit`](Self::limit) says otherwise; for the limit of a query of
    /// your own.
    ///
    /// ```
    /// # use agent_session_store::ListEventsRequest;
    /// assert_eq!(ListEventsRequest::new("session-1").page_size(), 100);
    /// ```
    pub fn page_size(&self) -> u32 {
        if self.limit == 0 { DEFAULT_LIMIT } else { self.limit }
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
                self.page_size()
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

//! A page of a listing.

use serde::{Deserialize, Serialize};

use super::cursor::Cursor;

/// One page of a listing.
///
/// As JSON it has the form of the reference driver's page: `items`, and `nextCursor` if more rows follow.
///
/// ```
/// use agent_session_store::{ListSessionsRequest, SessionStore};
///
/// let page = SessionStore::open_in_memory()?.list_sessions(&ListSessionsRequest::new())?;
/// assert!(page.items.is_empty() && page.next_cursor.is_none());
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListPage<T> {
    /// The rows, in order.
    pub items: Vec<T>,
    /// Where the next page starts; present exactly when at least one row follows this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<Cursor>,
}

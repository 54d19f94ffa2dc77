//! A page of a listing.

use serde::{Deserialize, Serialize};

use crate::column::Number;
use crate::cursor::{Cursor, Scope};
use crate::error::{Error, Result};
use crate::exact::Found;
use crate::keyset;
use crate::place::Place;

/// The rows on a page when no limit is given.
pub(crate) const DEFAULT_LIMIT: u32 = 100;

/// What a query needs to know: where to start and when to stop.
pub(crate) struct PageRequest<'a> {
    scope: Scope,
    rows: u32,
    bytes: Option<usize>,
    pub(crate) is_descending: bool,
    /// The place of the last row before the page, if it is not the first.
    pub(crate) after: Option<&'a Place>,
}

/// A row of a listing.
pub(crate) trait Listed {
    /// Its place in the order.
    fn position(&self) -> (Number, &str);
    /// What it counts for where bytes are limited.
    fn bytes(&self) -> usize;
}

impl<'a> PageRequest<'a> {
    pub(crate) fn new(
        scope: Scope,
        limit: u32,
        bytes: Option<usize>,
        is_descending: bool,
        cursor: Option<&'a Cursor>,
    ) -> Result<Self> {
        let rows = if limit == 0 { DEFAULT_LIMIT } else { limit };
        let after = cursor.map(|cursor| cursor.place(&scope)).transpose()?;
        Ok(Self { scope, rows, bytes, is_descending, after })
    }

    /// Takes a page off the rows, and looks whether one more follows. That row is only known to exist; what it holds
    /// is no error of this page. `None` where the rows have to be read [exactly](crate::exact).
    pub(crate) fn collect<T: Listed>(
        &self,
        rows: impl Iterator<Item = diesel::QueryResult<T>>,
    ) -> Result<Option<ListPage<T>>> {
        let mut items: Vec<T> = Vec::new();
        let mut bytes = 0_usize;
        for row in rows {
            let is_full = items.len() as u64 == u64::from(self.rows);
            let row = match row {
                Err(diesel::result::Error::DeserializationError(_)) if is_full => {
                    return Ok(Some(self.ended_by_more(items, None)));
                }
                Err(diesel::result::Error::DeserializationError(_)) => return Ok(None),
                Err(error) if keyset::is_of_other_order(&error) => return Ok(None),
                row => row?,
            };
            bytes = bytes.saturating_add(row.bytes());
            let is_too_much = !items.is_empty() && self.bytes.is_some_and(|limit| bytes > limit);
            if is_full || is_too_much {
                return Ok(Some(self.ended_by_more(items, Some(row.position().0))));
            }
            items.push(row);
        }
        Ok(Some(ListPage { items, next_cursor: None }))
    }

    /// The same with rows of which the exact places are known. The first that is no record is an error, which says
    /// where the listing goes on.
    pub(crate) fn collect_exactly<T: Listed>(
        &self,
        rows: impl Iterator<Item = diesel::QueryResult<Found<T>>>,
    ) -> Result<ListPage<T>> {
        let mut items: Vec<T> = Vec::new();
        let mut bytes = 0_usize;
        for row in rows {
            let Found { record, place } = row?;
            let next_key = match &place {
                Place::Plain { key, .. } => Some(*key),
                Place::Odd(_) => None,
            };
            if items.len() as u64 == u64::from(self.rows) {
                return Ok(self.ended_by_more(items, next_key));
            }
            let row = match record {
                Ok(row) => row,
                Err(cause) => {
                    let place = if self.is_descending { place.tied() } else { place };
                    return Err(Error::from(cause).with_after(Cursor::after(&self.scope, place)));
                }
            };
            bytes = bytes.saturating_add(row.bytes());
            if !items.is_empty() && self.bytes.is_some_and(|limit| bytes > limit) {
                return Ok(self.ended_by_more(items, next_key));
            }
            items.push(row);
        }
        Ok(ListPage { items, next_cursor: None })
    }

    /// A page that another row follows, whose key is given if it is a number.
    fn ended_by_more<T: Listed>(&self, items: Vec<T>, next_key: Option<Number>) -> ListPage<T> {
        let next_cursor = items.last().map(|item| {
            let (key, id) = item.position();
            // Downward, rows without an id come last among those of a key.
            let is_tied = self.is_descending && next_key.is_none_or(|next| next == key);
            Cursor::after(&self.scope, Place::Plain { key, id: id.to_owned(), is_tied })
        });
        ListPage { items, next_cursor }
    }
}

/// One page of a listing.
///
/// As JSON it is the reference driver's page: `items`, and `nextCursor` where a row follows.
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
    /// Where the next page starts: there exactly when a row followed this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<Cursor>,
}

impl<T> ListPage<T> {
    pub(crate) fn map<U>(self, convert: impl FnMut(T) -> U) -> ListPage<U> {
        ListPage { items: self.items.into_iter().map(convert).collect(), next_cursor: self.next_cursor }
    }
}

//! One page of a listing, as a query sees it: which rows, where to start, and when to stop.

use std::ops::Bound;

use super::cursor::{Cursor, Position, Scope};
use crate::error::{Error, Result};

/// The number of rows on a page unless a limit is set.
pub(crate) const DEFAULT_LIMIT: u32 = 100;

/// What determines the rows of a listing and their order.
pub(crate) trait Filter {
    /// The table that the rows are in.
    const TABLE: &'static str;

    /// The range of the column that orders the rows.
    fn range(&self) -> Range;
    fn is_descending(&self) -> bool;
    /// The filter as text, the same in every release.
    fn spelled(&self) -> String;
}

/// The two bounds of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) low: Bound<i64>,
    pub(crate) high: Bound<i64>,
}

pub(crate) struct Listing<'a, F> {
    pub(crate) filter: &'a F,
    scope: Scope,
    rows: u32,
    bytes: Option<usize>,
    /// The position of the last row before the page, if it is not the first page.
    pub(crate) after: Option<&'a Position>,
}

impl<'a, F: Filter> Listing<'a, F> {
    /// A page of at most `limit` rows (0 means the default) and `bytes` bytes.
    pub(crate) fn new(filter: &'a F, limit: u32, bytes: Option<usize>, cursor: Option<&'a Cursor>) -> Result<Self> {
        const FOREIGN: Error = Error::InvalidCursor { reason: "it belongs to another listing, or was changed" };
        let scope = Scope::new(F::TABLE, filter.spelled());
        let after = cursor.map(|cursor| cursor.position(&scope).ok_or(FOREIGN)).transpose()?;
        Ok(Self { filter, scope, rows: if limit == 0 { DEFAULT_LIMIT } else { limit }, bytes, after })
    }

    /// The bounds that a query has to check. The cursor lies inside the range, so it replaces the bound that the
    /// listing starts from.
    pub(crate) fn range(&self) -> Range {
        let whole = self.filter.range();
        match (self.after, self.filter.is_descending()) {
            (None, _) => whole,
            (Some(_), false) => Range { low: Bound::Unbounded, ..whole },
            (Some(_), true) => Range { high: Bound::Unbounded, ..whole },
        }
    }

    /// The most rows on the page.
    #[cfg(feature = "postgres-backend")]
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// The most bytes on it.
    #[cfg(feature = "postgres-backend")]
    pub(crate) fn bytes(&self) -> Option<usize> {
        self.bytes
    }

    /// Whether a page with this many rows is complete.
    pub(crate) fn is_full(&self, rows: usize) -> bool {
        rows as u64 >= u64::from(self.rows)
    }

    /// Whether this many rows and bytes are too much for a page. A page has at least one row.
    pub(crate) fn is_too_much(&self, rows: usize, bytes: usize) -> bool {
        rows > 1 && self.bytes.is_some_and(|limit| bytes > limit)
    }

    /// How many rows to reserve room for.
    pub(crate) fn room(&self) -> usize {
        self.rows.min(DEFAULT_LIMIT) as usize
    }

    /// The cursor that continues after the row with this key and id, in the listing of this filter.
    pub(crate) fn cursor_of(filter: &F, key: i64, id: &str) -> Cursor {
        Cursor::after(&Scope::new(F::TABLE, filter.spelled()), Position::Row { key, id: id.to_owned() })
    }

    /// The position of a cursor, if it belongs to the listing of this filter.
    pub(crate) fn position_of<'c>(filter: &F, cursor: &'c Cursor) -> Option<&'c Position> {
        cursor.position(&Scope::new(F::TABLE, filter.spelled()))
    }

    /// The cursor that continues after the row at this position.
    pub(crate) fn cursor_after(&self, position: Position) -> Cursor {
        Cursor::after(&self.scope, position)
    }
}

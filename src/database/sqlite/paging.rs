//! Pages of a listing: tries the fast path, and falls back to the exact one.

use diesel::SqliteConnection;

use super::exact::{self, LoadExactly};
use super::place::Place;
use super::plain::plain;
use crate::error::{Error, Result};
use crate::model::listing::Listing;
use crate::model::page::ListPage;

/// Reads a page.
pub(super) fn list<F: LoadExactly>(
    conn: &mut SqliteConnection,
    listing: &Listing<'_, F>,
) -> Result<ListPage<F::Record>> {
    let after = match listing.after {
        None => None,
        Some(position) => {
            const FOREIGN: Error = Error::InvalidCursor { reason: "it was not made by this database" };
            Some(Place::of(position).ok_or(FOREIGN)?)
        }
    };
    let found = match &after {
        None => plain(conn, listing, None)?,
        Some(Place::Plain { key, is_tied: true, .. }) if exact::lack_an_id(conn, listing.filter, *key)? => None,
        Some(Place::Plain { key, id, .. }) => plain(conn, listing, Some((*key, id)))?,
        Some(Place::Odd(_)) => None,
    };
    match found {
        // In descending order NULL comes last, and no comparison with a position finds it.
        Some(found)
            if listing.filter.is_descending()
                && after.is_some()
                && found.next_cursor.is_none()
                && exact::lack_a_key(conn, listing.filter)? => {}
        Some(found) => return Ok(found),
        None => {}
    }
    exact::list(conn, listing, after)
}

//! A whole session, one page at a time.

use crate::error::Result;
use crate::event::SessionEvent;
use crate::page::ListPage;
use crate::request::ListEventsRequest;

/// The events on all pages of a listing, with one page of them in memory. The first error is the last item.
pub(crate) fn walk(
    mut list: impl FnMut(&ListEventsRequest) -> Result<ListPage<SessionEvent>>,
    request: ListEventsRequest,
) -> impl Iterator<Item = Result<SessionEvent>> {
    let mut next = Some(request);
    let mut page = Vec::new().into_iter();
    std::iter::from_fn(move || {
        loop {
            if let Some(event) = page.next() {
                return Some(Ok(event));
            }
            let request = next.take()?;
            match list(&request) {
                Ok(ListPage { items, next_cursor }) => {
                    next = next_cursor.map(|cursor| request.cursor(cursor));
                    page = items.into_iter();
                }
                Err(error) => return Some(Err(error)),
            }
        }
    })
}

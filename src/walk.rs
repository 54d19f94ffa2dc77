//! A whole listing, one page at a time, past the rows that cannot be decoded.

use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::event::SessionEvent;
use crate::page::ListPage;
use crate::request::ListEventsRequest;

/// What asks for a page of a listing.
pub(crate) trait Request: Sized {
    /// How many rows the page may hold.
    fn rows(&self) -> u32;
    fn with_rows(self, rows: u32) -> Self;
    fn start(&self) -> Option<&Cursor>;
    fn starting_after(self, cursor: Cursor) -> Self;
}

/// The rows on all pages of a listing, with one page of them in memory. A row that cannot be decoded is an error in its
/// place, which the walk goes past; any other error is the last item.
///
/// It asks for nothing itself: whoever walks takes what there is, then sees to the next request and gives it the
/// answer. A request that is given up can be made again.
#[derive(Debug)]
pub(crate) struct Walk<Q, T> {
    next: Option<Q>,
    /// The size of the pages.
    rows: u32,
    /// The next so many rows are known to hold one that cannot be decoded. Those before it are read on ever smaller
    /// pages, since the page that it is on fails as a whole.
    searched: u32,
    page: std::vec::IntoIter<T>,
    error: Option<Error>,
}

impl<Q: Request, T> Walk<Q, T> {
    pub(crate) fn new(request: Q) -> Self {
        Self { rows: request.rows(), next: Some(request), searched: 0, page: Vec::new().into_iter(), error: None }
    }

    /// The next of the rows that were read.
    pub(crate) fn pop(&mut self) -> Option<Result<T>> {
        self.page.next().map(Ok).or_else(|| self.error.take().map(Err))
    }

    /// What is to be asked next, if the listing goes on.
    pub(crate) fn request(&self) -> Option<&Q> {
        self.next.as_ref()
    }

    pub(crate) fn answer(&mut self, answer: Result<ListPage<T>>) {
        let Some(request) = self.next.take() else { return };
        match answer {
            Ok(ListPage { items, next_cursor }) => {
                self.searched = self.searched.saturating_sub(items.len() as u32);
                self.page = items.into_iter();
                self.next = next_cursor.map(|cursor| self.sized(request.starting_after(cursor)));
            }
            Err(Error::Decode { after: Some(_), .. }) if request.rows() > 1 => {
                self.searched = request.rows();
                self.next = Some(self.sized(request));
            }
            Err(error) => {
                // No listing that makes no progress is asked for ever.
                if let Error::Decode { after: Some(after), .. } = &error
                    && request.start() != Some(after)
                {
                    self.searched = 0;
                    self.next = Some(self.sized(request.starting_after(after.clone())));
                }
                self.error = Some(error);
            }
        }
    }

    fn sized(&self, request: Q) -> Q {
        request.with_rows(match self.searched {
            0 => self.rows,
            rows => rows.div_ceil(2).min(rows - 1).max(1),
        })
    }
}

/// The events of a listing, asked for page by page.
pub(crate) fn walk(
    mut list: impl FnMut(&ListEventsRequest) -> Result<ListPage<SessionEvent>>,
    request: ListEventsRequest,
) -> impl Iterator<Item = Result<SessionEvent>> {
    let mut walk = Walk::new(request);
    std::iter::from_fn(move || {
        loop {
            if let Some(item) = walk.pop() {
                return Some(item);
            }
            let answer = list(walk.request()?);
            walk.answer(answer);
        }
    })
}

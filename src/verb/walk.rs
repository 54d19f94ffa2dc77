//! Iterating over a whole listing, one page at a time, past rows that cannot be decoded.

use crate::error::{Error, Result};
use crate::model::page::ListPage;
use crate::model::request::PageRequest;

/// The rows on all pages of a listing, with one page in memory. A row that cannot be decoded is an error in its place,
/// and the walk continues after it; any other error is the last item.
///
/// It fetches nothing itself: the caller takes the available rows, then performs the next request and passes in the
/// answer. An abandoned request can be made again.
#[derive(Debug)]
pub(crate) struct Walk<Q, T> {
    next: Option<Q>,
    /// The size of the pages.
    rows: u32,
    /// One of this many next rows is known to be undecodable. The rows before it are read on ever smaller pages, since
    /// its own page fails as a whole.
    searched: u32,
    page: std::vec::IntoIter<T>,
    error: Option<Error>,
}

impl<Q: PageRequest, T> Walk<Q, T> {
    pub(crate) fn new(request: Q) -> Self {
        Self { rows: request.rows(), next: Some(request), searched: 0, page: Vec::new().into_iter(), error: None }
    }

    /// The next row that was read.
    pub(crate) fn pop(&mut self) -> Option<Result<T>> {
        self.page.next().map(Ok).or_else(|| self.error.take().map(Err))
    }

    /// The next request, if the listing continues.
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
                // Guards against a listing that makes no progress.
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

/// The rows of a listing, fetched page by page.
pub(crate) fn walk<Q: PageRequest, T>(
    mut list: impl FnMut(&Q) -> Result<ListPage<T>>,
    request: Q,
) -> impl Iterator<Item = Result<T>> {
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

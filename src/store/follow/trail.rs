//! What a follower goes along: rows that are read in pages, with more to come at the end.

use crate::error::Result;
use crate::model::cursor::Cursor;
use crate::model::known::Known;
use crate::store::changes::Interest;
use crate::store::engine::Engine;

/// Reads nothing by itself: whoever has it asks the store, on this thread or another, and passes in the answer.
pub(in crate::store) trait Trail: Send + 'static {
    type Item: Send + 'static;
    /// What can be asked of the store.
    type Question: Send + 'static;
    type Page: Send + 'static;
    /// What determines the end of the trail, and what that is.
    type Selection: Send + 'static;
    type End: Send + 'static;

    /// What to wait for at the end.
    fn interest(&self) -> Interest;

    /// What it has read of that by now.
    fn known(&self) -> Known;

    /// The next item that was read.
    fn pop(&mut self) -> Option<Result<Self::Item>>;

    /// Begins to read what comes after the last item.
    fn resume(&mut self);

    /// What to ask next, or `None` if the last page reached the end.
    fn question(&self) -> Option<Self::Question>;

    fn read(engine: &Engine, question: Self::Question) -> Result<Self::Page>;

    fn answer(&mut self, page: Result<Self::Page>);

    fn selection(&self) -> Self::Selection;

    /// Finds the present end.
    fn find_end(engine: &Engine, selection: Self::Selection) -> Result<Self::End>;

    /// Goes on from an end.
    fn skip_to(&mut self, end: Self::End);

    /// The cursor that continues after the last item, or where this began; `None` for the beginning.
    fn position(&self) -> Option<Cursor>;
}

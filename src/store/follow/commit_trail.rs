//! The events of all sessions in the order of commit, as a follower reads them.

use super::trail::Trail;
use crate::error::{Error, Result};
use crate::model::commit_order::{CommitPage, CommitPosition, CommittedEvent, Mark};
use crate::model::cursor::Cursor;
use crate::model::event::SessionEvent;
use crate::model::known::Known;
use crate::store::changes::Interest;
use crate::store::engine::{Engine, StoreEngine, on_engine};

pub(in crate::store) struct CommitTrail {
    /// The cursor to begin with, until it was used.
    begin: Option<Cursor>,
    position: CommitPosition,
    rows: std::vec::IntoIter<(Mark, Result<SessionEvent>)>,
    error: Option<Error>,
    is_at_end: bool,
}

/// Where to read.
pub(in crate::store) enum CommitQuestion {
    AtCursor(Cursor),
    After(CommitPosition),
}

impl CommitTrail {
    pub(in crate::store) fn new(begin: Option<Cursor>) -> Self {
        let (position, rows) = (CommitPosition::default(), Vec::new().into_iter());
        Self { begin, position, rows, error: None, is_at_end: false }
    }
}

impl Trail for CommitTrail {
    type Item = CommittedEvent;
    type Question = CommitQuestion;
    type Page = (CommitPosition, CommitPage);
    type Selection = ();
    type End = CommitPosition;

    fn interest(&self) -> Interest {
        Interest::Anything
    }

    fn known(&self) -> Known {
        Known::Unsaid
    }

    fn pop(&mut self) -> Option<Result<CommittedEvent>> {
        let Some((mark, row)) = self.rows.next() else { return self.error.take().map(Err) };
        self.position.push(mark);
        // There is one: a row was delivered.
        let cursor = self.position.cursor()?;
        Some(match row {
            Ok(event) => Ok(CommittedEvent::new(event, cursor)),
            Err(error) => Err(error.with_after(cursor)),
        })
    }

    fn resume(&mut self) {
        self.is_at_end = false;
    }

    fn question(&self) -> Option<CommitQuestion> {
        let question = || match &self.begin {
            Some(cursor) => CommitQuestion::AtCursor(cursor.clone()),
            None => CommitQuestion::After(self.position.clone()),
        };
        (!self.is_at_end).then(question)
    }

    fn read(engine: &Engine, question: CommitQuestion) -> Result<(CommitPosition, CommitPage)> {
        let position = match question {
            CommitQuestion::AtCursor(cursor) => CommitPosition::of(&cursor)?,
            CommitQuestion::After(position) => position,
        };
        let page = on_engine!(engine, engine => engine.committed_after(&position))?;
        Ok((position, page))
    }

    fn answer(&mut self, page: Result<(CommitPosition, CommitPage)>) {
        match page {
            Ok((position, CommitPage { after, rows })) => {
                self.begin = None;
                self.position = position;
                self.position.return_to(after);
                self.is_at_end = rows.is_empty();
                self.rows = rows.into_iter();
            }
            Err(error) => {
                self.is_at_end = true;
                self.error = Some(error);
            }
        }
    }

    fn selection(&self) {}

    fn find_end(engine: &Engine, (): ()) -> Result<CommitPosition> {
        on_engine!(engine, engine => engine.end_of_commits())
    }

    fn skip_to(&mut self, end: CommitPosition) {
        *self = Self { position: end, ..Self::new(None) };
    }

    fn position(&self) -> Option<Cursor> {
        self.begin.clone().or_else(|| self.position.cursor())
    }
}

//! Positions in the order in which the events of all sessions were committed.

use std::collections::VecDeque;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::cursor::{Cursor, Position, Scope, parse_integer};
use super::event::SessionEvent;
use crate::error::{Error, Result};

/// An event, with the cursor that continues after it in the order of commit; from
/// [`follow_all`](crate::SessionStore::follow_all).
///
/// ```
/// use agent_session_store::{CommittedEvent, SessionStore};
/// # use agent_session_store::{Json, NewEvent, Sender};
/// # let store = SessionStore::open_in_memory()?;
/// # store.append_events("session-1", &[NewEvent::new("a", Default::default(), "c", Sender::Agent, Json::parse("{}")?)])?;
///
/// if let Some(CommittedEvent { event, cursor, .. }) = store.follow_all(None).next().transpose()? {
///     println!("{} in {}; continue after {cursor}", event.id, event.session_id);
/// }
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CommittedEvent {
    /// The event.
    pub event: SessionEvent,
    /// The position after it.
    pub cursor: Cursor,
}

impl CommittedEvent {
    pub(crate) fn new(event: SessionEvent, cursor: Cursor) -> Self {
        Self { event, cursor }
    }
}

/// A row that was delivered: its number in the order, and which row it was. A database gives the numbers of rows at the
/// end of the order, once they are deleted, to new rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) number: i64,
    pub(crate) id: u32,
    pub(crate) session: u32,
}

/// The position after the last row that was delivered. If that row is deleted, so that its number may be given to
/// another, what was delivered before it tells where the order still is as it was. Sessions are deleted as a whole, so
/// the last rows of several are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommitPosition {
    /// The rows delivered last, in order.
    latest: VecDeque<Mark>,
    /// The last row of each of the sessions seen last; the most recent session comes last.
    sessions: VecDeque<Mark>,
}

/// Some events in the order of commit.
#[derive(Debug)]
pub(crate) struct CommitPage {
    /// The known row after which this continues: the last one, unless it was deleted.
    pub(crate) after: Option<i64>,
    pub(crate) rows: Vec<(Mark, Result<SessionEvent>)>,
}

/// How many rows a position in memory knows.
const LATEST: usize = 1_024;
const SESSIONS: usize = 64;

/// How many sessions' last rows are in a cursor.
const SESSIONS_IN_CURSOR: usize = 3;

/// How far back the further rows in a cursor are.
const FURTHER_IN_CURSOR: [usize; 3] = [1, 32, 512];

/// The beginning of its text.
const KIND: &str = "m";

impl CommitPosition {
    pub(crate) fn push(&mut self, mark: Mark) {
        if self.latest.len() == LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(mark);
        if self.sessions.back().is_some_and(|last| last.session == mark.session) {
            self.sessions.pop_back();
        } else {
            self.sessions.retain(|known| known.session != mark.session);
        }
        if self.sessions.len() == SESSIONS {
            self.sessions.pop_front();
        }
        self.sessions.push_back(mark);
    }

    /// The row delivered last.
    pub(crate) fn last(&self) -> Option<Mark> {
        self.latest.back().or(self.sessions.back()).copied()
    }

    /// All known rows, the last ones first.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        sorted(self.latest.iter().chain(&self.sessions))
    }

    /// Forgets the rows after this one, or all.
    pub(crate) fn return_to(&mut self, number: Option<i64>) {
        for marks in [&mut self.latest, &mut self.sessions] {
            marks.retain(|mark| number.is_some_and(|number| mark.number <= number));
        }
    }

    /// The position as a cursor, unless it is the beginning.
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        self.last()?;
        let sessions = self.sessions.iter().rev().take(SESSIONS_IN_CURSOR);
        let further =
            FURTHER_IN_CURSOR.iter().filter_map(|back| self.latest.get(self.latest.len().checked_sub(1 + back)?));
        let marks = sorted(self.latest.back().into_iter().chain(sessions).chain(further));
        Some(Cursor::after(&scope(), Position::Odd(text_of(&marks))))
    }

    pub(crate) fn of(cursor: &Cursor) -> Result<Self> {
        const FOREIGN: Error = Error::InvalidCursor { reason: "it belongs to another listing, or was changed" };
        match cursor.position(&scope()) {
            Some(Position::Odd(text)) => Self::parse(text).ok_or(FOREIGN),
            _ => Err(FOREIGN),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let words = text.strip_prefix(KIND)?.strip_prefix('.')?.split('.');
        let marks: Option<Vec<Mark>> = words
            .map(|word| {
                let (number, id) = word.split_once('x')?;
                let id = Some(id).filter(|id| id.len() == 8)?;
                Some(Mark { number: parse_integer(number)?, id: u32::from_str_radix(id, 16).ok()?, session: 0 })
            })
            .collect();
        let mut marks = marks?;
        marks.reverse();
        let position = Self { latest: marks.into(), sessions: VecDeque::new() };
        (text_of(&position.marks()) == text).then_some(position)
    }
}

/// Whether a cursor's text is such a position.
pub(crate) fn is_commit_position(text: &str) -> bool {
    CommitPosition::parse(text).is_some()
}

fn scope() -> Scope {
    Scope::new("commits", String::new())
}

/// The last ones first, each once.
fn sorted<'a>(marks: impl Iterator<Item = &'a Mark>) -> Vec<Mark> {
    let mut marks: Vec<Mark> = marks.copied().collect();
    marks.sort_unstable_by_key(|mark| std::cmp::Reverse(mark.number));
    marks.dedup_by_key(|mark| mark.number);
    marks
}

fn text_of(marks: &[Mark]) -> String {
    let mut text = String::with_capacity(KIND.len() + 20 * marks.len());
    text.push_str(KIND);
    for mark in marks {
        // Writing to a string cannot fail.
        let sign = if mark.number < 0 { 'n' } else { 'i' };
        let _ = write!(text, ".{sign}{}x{:08x}", mark.number.unsigned_abs(), mark.id);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: i64, session: u32) -> Mark {
        Mark { number, id: 7 * number as u32, session }
    }

    fn numbers(marks: &[Mark]) -> Vec<i64> {
        marks.iter().map(|mark| mark.number).collect()
    }

    #[test]
    fn a_position_knows_the_last_rows_of_several_sessions() {
        let mut position = CommitPosition::default();
        assert_eq!(position.cursor(), None);
        for number in 1..=10 {
            position.push(mark(number, 1));
        }
        for number in 11..=5_000 {
            position.push(mark(number, 2 + number as u32 % 2));
        }
        assert_eq!(position.marks().len(), LATEST + 1);
        let cursor = position.cursor().expect("not the beginning");
        let again = CommitPosition::of(&cursor).expect("its own cursor");
        assert_eq!(numbers(&again.marks()), [5_000, 4_999, 4_968, 4_488, 10]);
        assert!(cursor.to_string().len() < 250, "{cursor}");
        let mut shorter = position.clone();
        shorter.return_to(Some(10));
        assert_eq!(numbers(&shorter.marks()), [10]);
        shorter.return_to(None);
        assert_eq!(shorter, CommitPosition::default());
        for number in 5_001..6_000 {
            position.push(mark(number, number as u32));
        }
        assert_eq!(position.sessions.len(), SESSIONS);
    }

    #[test]
    fn a_text_of_another_kind_is_no_position() {
        assert!(is_commit_position("m.i7x0000000a"));
        assert!(is_commit_position("m.i7x0000000a.n3xffffffff"));
        for text in [
            "",
            "m",
            "m.",
            "m.i7",
            "m.i7x",
            "m.i7x0",
            "m.i7x0000000A",
            "m.i7x+000000a",
            "m.i3x00000000.i7x00000000",
            "i7.61",
        ] {
            assert!(!is_commit_position(text), "{text:?}");
        }
    }
}

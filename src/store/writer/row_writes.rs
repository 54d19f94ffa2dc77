//! Writes that are only rows: an engine may write those of several calls at once.

use crate::driver::SessionPersistDriver;
use crate::error::Result;
use crate::model::event::{NewEvent, SessionEvent};
use crate::store::changes::change::{self, Change};

/// What a write consists of.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "no engine here writes rows of several calls at once")
)]
pub(in crate::store) enum Rows<'a> {
    /// Events to be appended to a session, if it ends at the expected index.
    Append { session_id: &'a str, expected: Option<i64>, events: &'a [NewEvent] },
    /// Events to be inserted, or to overwrite those with their ids.
    Put(&'a [SessionEvent]),
}

impl Rows<'_> {
    /// Whether both are of one kind.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// A write that owns its data, so that it can wait, and can run again.
pub(in crate::store) trait Write<C> {
    type Answer;

    fn run(&mut self, connection: &mut C) -> Result<Self::Answer>;

    /// What it writes, if it is only rows.
    fn rows(&self) -> Option<Rows<'_>> {
        None
    }

    /// Its answer, from the indexes of its rows.
    fn answer(&self, _: Vec<i64>) -> Option<Self::Answer> {
        None
    }

    /// What it may change.
    fn change(&self) -> Change<'_> {
        Change::Anything
    }
}

/// Any work.
impl<C, T, F: FnMut(&mut C) -> Result<T>> Write<C> for F {
    type Answer = T;

    fn run(&mut self, connection: &mut C) -> Result<T> {
        self(connection)
    }
}

/// Work of which it is known what it may change.
pub(in crate::store) struct Changing<F> {
    pub(in crate::store) change: Change<'static>,
    pub(in crate::store) work: F,
}

impl<C, T, F: FnMut(&mut C) -> Result<T>> Write<C> for Changing<F> {
    type Answer = T;

    fn run(&mut self, connection: &mut C) -> Result<T> {
        (self.work)(connection)
    }

    fn change(&self) -> Change<'_> {
        self.change.clone()
    }
}

pub(in crate::store) struct Append {
    session_id: String,
    expected: Option<i64>,
    events: Vec<NewEvent>,
}

impl<C: SessionPersistDriver> Write<C> for Append {
    type Answer = Vec<i64>;

    fn run(&mut self, connection: &mut C) -> Result<Vec<i64>> {
        match self.expected {
            None => connection.append_events(&self.session_id, &self.events),
            Some(last_index) => connection.append_events_after(&self.session_id, last_index, &self.events),
        }
    }

    fn rows(&self) -> Option<Rows<'_>> {
        let Self { session_id, expected, events } = self;
        Some(Rows::Append { session_id, expected: *expected, events })
    }

    fn answer(&self, indexes: Vec<i64>) -> Option<Vec<i64>> {
        Some(indexes)
    }

    fn change(&self) -> Change<'_> {
        change::append_events(&self.session_id, &self.events)
    }
}

pub(in crate::store) enum Put {
    One(SessionEvent),
    Many(Vec<SessionEvent>),
}

impl<C: SessionPersistDriver> Write<C> for Put {
    type Answer = ();

    fn run(&mut self, connection: &mut C) -> Result<()> {
        match self {
            Self::One(event) => connection.insert_event(event),
            Self::Many(events) => connection.insert_events(events),
        }
    }

    fn rows(&self) -> Option<Rows<'_>> {
        Some(Rows::Put(match self {
            Self::One(event) => std::slice::from_ref(event),
            Self::Many(events) => events,
        }))
    }

    fn answer(&self, _: Vec<i64>) -> Option<()> {
        Some(())
    }

    fn change(&self) -> Change<'_> {
        match self {
            Self::One(event) => change::insert_event(event),
            Self::Many(events) => change::insert_events(events),
        }
    }
}

// By the names of their verbs.

pub(in crate::store) fn append_events(session_id: String, events: Vec<NewEvent>) -> Append {
    Append { session_id, expected: None, events }
}

pub(in crate::store) fn append_events_after(session_id: String, last_index: i64, events: Vec<NewEvent>) -> Append {
    Append { session_id, expected: Some(last_index), events }
}

pub(in crate::store) fn insert_event(event: SessionEvent) -> Put {
    Put::One(event)
}

pub(in crate::store) fn insert_events(events: Vec<SessionEvent>) -> Put {
    Put::Many(events)
}

//! What a commit may have changed, so that only those wake up who may find something new.

use std::borrow::Cow;

use crate::model::append_request::AppendRequest;
use crate::model::event::{NewEvent, SessionEvent};
use crate::model::session::SessionRecord;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Change<'a> {
    /// No session has more events than before.
    NoEvents,
    /// Events of this session were written.
    Events(Cow<'a, str>),
    /// Events of these sessions were written.
    EventsOfMany(Vec<Cow<'a, str>>),
    /// It is not known what was written.
    Anything,
}

impl<'a> Change<'a> {
    pub(in crate::store) fn into_owned(self) -> Change<'static> {
        let owned = |id: Cow<'_, str>| Cow::Owned(id.into_owned());
        match self {
            Self::NoEvents => Change::NoEvents,
            Self::Events(id) => Change::Events(owned(id)),
            Self::EventsOfMany(ids) => Change::EventsOfMany(ids.into_iter().map(owned).collect()),
            Self::Anything => Change::Anything,
        }
    }

    /// All of these changes.
    pub(in crate::store) fn of_all(changes: impl IntoIterator<Item = Self>) -> Self {
        let mut ids = Vec::new();
        for change in changes {
            match change {
                Self::NoEvents => {}
                Self::Events(id) => push(&mut ids, id),
                Self::EventsOfMany(others) => others.into_iter().for_each(|id| push(&mut ids, id)),
                Self::Anything => return Self::Anything,
            }
        }
        if ids.is_empty() { Self::NoEvents } else { Self::EventsOfMany(ids) }
    }

    /// The sessions whose events were written, or `None` if they are not known.
    pub(in crate::store) fn sessions(&self) -> Option<&[Cow<'a, str>]> {
        match self {
            Self::NoEvents => Some(&[]),
            Self::Events(id) => Some(std::slice::from_ref(id)),
            Self::EventsOfMany(ids) => Some(ids),
            Self::Anything => None,
        }
    }
}

/// Events usually come session by session.
fn push<'a>(ids: &mut Vec<Cow<'a, str>>, id: Cow<'a, str>) {
    if ids.last() != Some(&id) {
        ids.push(id);
    }
}

// By the names of the verbs that are one write.

pub(in crate::store) fn update_session(_: &SessionRecord) -> Change<'_> {
    Change::NoEvents
}

pub(in crate::store) fn insert_event(event: &SessionEvent) -> Change<'_> {
    Change::Events(Cow::Borrowed(&event.session_id))
}

pub(in crate::store) fn insert_events(events: &[SessionEvent]) -> Change<'_> {
    Change::of_all(events.iter().map(insert_event))
}

pub(in crate::store) fn append_events<'a>(session_id: &'a str, _: &[NewEvent]) -> Change<'a> {
    Change::Events(Cow::Borrowed(session_id))
}

pub(in crate::store) fn append_events_after<'a>(session_id: &'a str, _: &i64, _: &[NewEvent]) -> Change<'a> {
    Change::Events(Cow::Borrowed(session_id))
}

pub(in crate::store) fn append<'a>(request: &'a AppendRequest, _: &[NewEvent]) -> Change<'a> {
    Change::Events(Cow::Borrowed(&request.session_id))
}

pub(in crate::store) fn delete_session(_: &str) -> Change<'_> {
    Change::NoEvents
}

pub(in crate::store) fn destroy_session<T>(_: &str, _: &T) -> Change<'static> {
    Change::NoEvents
}

pub(in crate::store) fn fork_session<'a>(_: &str, _: &Option<i64>, new: &'a SessionRecord) -> Change<'a> {
    Change::Events(Cow::Borrowed(&new.id))
}

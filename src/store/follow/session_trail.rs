//! The events of one session, as a follower reads them.

use super::trail::Trail;
use crate::driver::SessionPersistDriver;
use crate::error::{Error, Result};
use crate::model::cursor::Cursor;
use crate::model::event::SessionEvent;
use crate::model::known::Known;
use crate::model::page::ListPage;
use crate::model::request::ListEventsRequest;
use crate::store::changes::Interest;
use crate::store::engine::{Engine, StoreEngine, on_engine};
use crate::verb::{Walk, walk};

pub(in crate::store) struct SessionTrail {
    /// What is followed, without a cursor.
    request: ListEventsRequest,
    position: SessionPosition,
    walk: Option<Walk<ListEventsRequest, SessionEvent>>,
}

/// A cursor takes time to make, and is needed once a page.
enum SessionPosition {
    At(Option<Cursor>),
    /// After the event with this index and id.
    After(i64, String),
}

impl SessionTrail {
    pub(in crate::store) fn new(mut request: ListEventsRequest) -> Self {
        let position = SessionPosition::At(request.take_cursor());
        Self { request, position, walk: None }
    }
}

impl Trail for SessionTrail {
    type Item = SessionEvent;
    type Question = ListEventsRequest;
    type Page = ListPage<SessionEvent>;
    type Selection = ListEventsRequest;
    type End = Option<Cursor>;

    fn interest(&self) -> Interest {
        Interest::Session(self.request.filter.session_id.clone())
    }

    fn known(&self) -> Known {
        match &self.position {
            SessionPosition::After(index, id) => Known::UpTo(*index, Some(id.clone())),
            SessionPosition::At(cursor) => self.request.known_at(cursor.as_ref()),
        }
    }

    fn pop(&mut self) -> Option<Result<SessionEvent>> {
        let item = self.walk.as_mut()?.pop()?;
        match (&item, &mut self.position) {
            (Ok(event), SessionPosition::After(index, id)) => {
                *index = event.event_index;
                id.clone_from(&event.id);
            }
            (Ok(event), position) => *position = SessionPosition::After(event.event_index, event.id.clone()),
            (Err(Error::Decode { after: Some(after), .. }), position) => {
                *position = SessionPosition::At(Some(after.clone()));
            }
            (Err(_), _) => {}
        }
        Some(item)
    }

    fn resume(&mut self) {
        self.walk = Some(Walk::new(self.request.clone().cursor(self.position())));
    }

    fn question(&self) -> Option<ListEventsRequest> {
        self.walk.as_ref()?.request().cloned()
    }

    fn read(engine: &Engine, question: ListEventsRequest) -> Result<ListPage<SessionEvent>> {
        if question.filter.descending {
            return Err(Error::Unsupported { reason: "a session is followed in the order of its events" });
        }
        list(engine, &question)
    }

    fn answer(&mut self, page: Result<ListPage<SessionEvent>>) {
        if let Some(walk) = &mut self.walk {
            walk.answer(page);
        }
    }

    fn selection(&self) -> ListEventsRequest {
        self.request.clone().cursor(self.position())
    }

    /// After the last event. Rows that cannot be decoded may follow it.
    fn find_end(engine: &Engine, selection: ListEventsRequest) -> Result<Option<Cursor>> {
        match Self::read(engine, selection.clone().limit(1)) {
            // It is there already, and perhaps beyond the last event.
            Ok(page) if page.items.is_empty() => return Ok(selection.clone().take_cursor()),
            Ok(_) | Err(Error::Decode { .. }) => {}
            Err(error) => return Err(error),
        }
        let backward = selection.clone().cursor(None).descending().limit(1);
        let last = walk(|request| list(engine, request), backward).find(|row| !is_undecodable(row)).transpose()?;
        let mut end = last.map(|event| selection.cursor_after(&event)).or_else(|| selection.clone().take_cursor());
        let forward = selection.cursor(end.clone());
        for row in walk(|request| list(engine, request), forward.clone()) {
            match row {
                Ok(event) => end = Some(forward.cursor_after(&event)),
                Err(Error::Decode { after: Some(after), .. }) => end = Some(after),
                Err(error) => return Err(error),
            }
        }
        Ok(end)
    }

    fn skip_to(&mut self, end: Option<Cursor>) {
        self.position = SessionPosition::At(end);
        self.walk = None;
    }

    fn position(&self) -> Option<Cursor> {
        match &self.position {
            SessionPosition::At(cursor) => cursor.clone(),
            SessionPosition::After(index, id) => Some(self.request.cursor_at(*index, id)),
        }
    }
}

fn list(engine: &Engine, request: &ListEventsRequest) -> Result<ListPage<SessionEvent>> {
    on_engine!(engine, engine => engine.read(|conn| conn.list_events(request)))
}

fn is_undecodable(row: &Result<SessionEvent>) -> bool {
    matches!(row, Err(Error::Decode { after: Some(_), .. }))
}

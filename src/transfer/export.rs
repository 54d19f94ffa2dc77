//! Writing sessions as JSON Lines.

use std::io::Write;

use diesel::SqliteConnection;
use serde::Serialize;

use super::{EVENTS_PER_CALL, FORMAT, Header, Line, Progress, Selected, Selection, SessionLine, VERSION};
use crate::error::{Error, Result};
use crate::event::{self, SessionEvent, SessionIds};
use crate::request::{ListEventsRequest, ListSessionsRequest};
use crate::session::{self, SessionRecord};
use crate::transaction;
use crate::walk::{Walk, walk};

/// What an export reads at a time, so that large payloads do not make it large.
const PAGE_EVENTS: u32 = 1_000;
const PAGE_BYTES: usize = 1_000_000;
/// What its writer gets at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// What is done with a row that cannot be decoded.
pub(crate) enum Undecodable<'a> {
    /// It ends the export.
    Refused,
    /// It is told, and left out.
    LeftOut(&'a mut dyn FnMut(Error)),
}

struct Export<'a, W> {
    writer: W,
    /// Lines that the writer does not have yet.
    text: Vec<u8>,
    progress: Progress,
    report: &'a mut dyn FnMut(Progress),
    undecodable: Undecodable<'a>,
}

/// Writes the selection, as it is at one moment, page by page.
pub(crate) fn export<'a, W: Write>(
    conn: &mut SqliteConnection,
    writer: W,
    selection: &Selection,
    report: &'a mut dyn FnMut(Progress),
    undecodable: Undecodable<'a>,
) -> Result<Progress> {
    transaction::reading(conn, |conn| {
        let mut export = Export { writer, text: Vec::new(), progress: Progress::default(), report, undecodable };
        export.line(&Header { format: FORMAT.to_owned(), version: VERSION })?;
        match &selection.0 {
            Selected::All => {
                export.sessions(conn, ListSessionsRequest::new())?;
                export.without_record(conn)?;
            }
            Selected::One(id) => {
                let record = session::get(conn, id);
                let record = export.readable(record)?.flatten();
                export.session(conn, id, record)?;
            }
            Selected::Matching(request) => {
                for id in export.sessions(conn, request.clone())? {
                    export.session(conn, &id, None)?;
                }
            }
        }
        export.hand_over()?;
        export.writer.flush()?;
        Ok(export.progress)
    })
}

impl<W: Write> Export<'_, W> {
    fn line<T: Serialize>(&mut self, line: &T) -> Result<()> {
        serde_json::to_writer(&mut self.text, line).map_err(std::io::Error::from)?;
        self.text.push(b'\n');
        if self.text.len() < CHUNK_BYTES { Ok(()) } else { self.hand_over() }
    }

    fn hand_over(&mut self) -> Result<()> {
        self.writer.write_all(&self.text)?;
        self.text.clear();
        Ok(())
    }

    /// What was read, unless it is a row that is to be left out.
    fn readable<T>(&mut self, found: Result<T>) -> Result<Option<T>> {
        match (found, &mut self.undecodable) {
            (Err(error @ Error::Decode { .. }), Undecodable::LeftOut(tell)) => {
                tell(error);
                Ok(None)
            }
            (found, _) => found.map(Some),
        }
    }

    /// Returns the ids of those whose records were left out, as far as they have one.
    fn sessions(&mut self, conn: &mut SqliteConnection, request: ListSessionsRequest) -> Result<Vec<String>> {
        let mut walk: Walk<_, SessionRecord> = Walk::new(request);
        let mut without_record = Vec::new();
        loop {
            while let Some(session) = walk.pop() {
                if let Err(Error::Decode { id, column, .. }) = &session
                    && *column != "id"
                {
                    without_record.push(id.clone());
                }
                if let Some(session) = self.readable(session)? {
                    let id = session.id.clone();
                    self.session(conn, &id, Some(session))?;
                }
            }
            let Some(request) = walk.request() else { return Ok(without_record) };
            let answer = session::list(conn, request);
            walk.answer(answer);
        }
    }

    /// One id at a time, each a seek, so that their number does not matter.
    fn without_record(&mut self, conn: &mut SqliteConnection) -> Result<()> {
        let mut ids = SessionIds::new();
        loop {
            let id = match ids.next(conn).transpose() {
                None => return Ok(()),
                Some(id) => self.readable(id)?,
            };
            let Some(id) = id else {
                if let Undecodable::LeftOut(tell) = &mut self.undecodable {
                    ids.tell_others(conn, tell)?;
                }
                continue;
            };
            let is_on_record = match (session::get(conn, &id), &self.undecodable) {
                // It has been told already.
                (Err(Error::Decode { .. }), Undecodable::LeftOut(_)) => false,
                (record, _) => record?.is_some(),
            };
            if !is_on_record {
                self.session(conn, &id, None)?;
            }
        }
    }

    fn session(&mut self, conn: &mut SqliteConnection, id: &str, record: Option<SessionRecord>) -> Result<()> {
        let is_known = record.is_some();
        if let Some(record) = record {
            let events = match self.undecodable {
                Undecodable::Refused => event::count(conn, id)?,
                Undecodable::LeftOut(_) => count_readable(conn, id)?,
            };
            self.line(&Line::Session(SessionLine { events: Some(events), ..record.into() }))?;
        }
        let before = self.progress.events;
        let mut walk: Walk<_, SessionEvent> = Walk::new(events_of(id));
        loop {
            while let Some(event) = walk.pop() {
                let Some(event) = self.readable(event)? else { continue };
                self.line(&Line::Event(event.into()))?;
                self.progress.events += 1;
                if self.progress.events.is_multiple_of(EVENTS_PER_CALL) {
                    (self.report)(self.progress);
                }
            }
            let Some(request) = walk.request() else { break };
            let answer = event::list(conn, request);
            walk.answer(answer);
        }
        if is_known || self.progress.events > before {
            self.progress.sessions += 1;
            (self.report)(self.progress);
        }
        Ok(())
    }
}

fn events_of(id: &str) -> ListEventsRequest {
    ListEventsRequest::new(id).limit(PAGE_EVENTS).max_bytes(PAGE_BYTES)
}

fn count_readable(conn: &mut SqliteConnection, id: &str) -> Result<u64> {
    let mut events = 0;
    for event in walk(|request| event::list(conn, request), events_of(id)) {
        match event {
            Ok(_) => events += 1,
            Err(Error::Decode { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(events)
}

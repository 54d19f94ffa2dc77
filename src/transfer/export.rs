//! Writing sessions as JSON Lines.

use std::io::Write;

use diesel::SqliteConnection;
use serde::Serialize;

use super::{EVENTS_PER_CALL, FORMAT, Header, Line, Progress, Selected, Selection, SessionLine, VERSION};
use crate::error::Result;
use crate::event;
use crate::page::ListPage;
use crate::request::{ListEventsRequest, ListSessionsRequest};
use crate::session::{self, SessionRecord};
use crate::transaction;

/// What an export reads at a time, so that large payloads do not make it large.
const PAGE_EVENTS: u32 = 1_000;
const PAGE_BYTES: usize = 1_000_000;
/// What its writer gets at a time.
const CHUNK_BYTES: usize = 64 * 1024;

struct Export<'a, W> {
    writer: W,
    /// Lines that the writer does not have yet.
    text: Vec<u8>,
    progress: Progress,
    report: &'a mut dyn FnMut(Progress),
}

/// Writes the selection, as it is at one moment, page by page.
pub(crate) fn export<W: Write>(
    conn: &mut SqliteConnection,
    writer: W,
    selection: &Selection,
    report: &mut dyn FnMut(Progress),
) -> Result<Progress> {
    transaction::reading(conn, |conn| {
        let mut export = Export { writer, text: Vec::new(), progress: Progress::default(), report };
        export.line(&Header { format: FORMAT.to_owned(), version: VERSION })?;
        match &selection.0 {
            Selected::All => {
                export.sessions(conn, ListSessionsRequest::new())?;
                export.without_record(conn)?;
            }
            Selected::One(id) => {
                let record = session::get(conn, id)?;
                export.session(conn, id, record)?;
            }
            Selected::Matching(request) => export.sessions(conn, request.clone())?,
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

    fn sessions(&mut self, conn: &mut SqliteConnection, mut request: ListSessionsRequest) -> Result<()> {
        loop {
            let page = session::list(conn, &request)?;
            for session in page.items {
                let id = session.id.clone();
                self.session(conn, &id, Some(session))?;
            }
            let Some(cursor) = page.next_cursor else { return Ok(()) };
            request = request.cursor(cursor);
        }
    }

    /// One id at a time, each a seek, so that their number does not matter.
    fn without_record(&mut self, conn: &mut SqliteConnection) -> Result<()> {
        let mut next = event::first_session_after(conn, None)?;
        while let Some(id) = next {
            if session::get(conn, &id)?.is_none() {
                self.session(conn, &id, None)?;
            }
            next = event::first_session_after(conn, Some(&id))?;
        }
        Ok(())
    }

    fn session(&mut self, conn: &mut SqliteConnection, id: &str, record: Option<SessionRecord>) -> Result<()> {
        let is_known = record.is_some();
        if let Some(record) = record {
            let events = Some(event::count(conn, id)?);
            self.line(&Line::Session(SessionLine { events, ..record.into() }))?;
        }
        let mut request = ListEventsRequest::new(id).limit(PAGE_EVENTS).max_bytes(PAGE_BYTES);
        let before = self.progress.events;
        loop {
            let ListPage { items, next_cursor } = event::list(conn, &request)?;
            for event in items {
                self.line(&Line::Event(event.into()))?;
                self.progress.events += 1;
                if self.progress.events.is_multiple_of(EVENTS_PER_CALL) {
                    (self.report)(self.progress);
                }
            }
            let Some(cursor) = next_cursor else { break };
            request = request.cursor(cursor);
        }
        if is_known || self.progress.events > before {
            self.progress.sessions += 1;
            (self.report)(self.progress);
        }
        Ok(())
    }
}

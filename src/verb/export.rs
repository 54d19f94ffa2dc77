//! Writing sessions as JSON Lines.

use std::io::Write;

use serde::Serialize;

use super::events::list_events;
use super::lines::{EVENTS_PER_CALL, Header, Line};
use super::sessions::{get_session, list_sessions};
use super::walk::Walk;
use crate::database::pruning::Rule;
use crate::database::rows::{EventRow, SessionRow};
use crate::database::survey::PrunedSession;
use crate::database::{Database, Lock};
use crate::error::{Error, Result};
use crate::model::event::SessionEvent;
use crate::model::report::Progress;
use crate::model::request::{ListEventsRequest, ListSessionsRequest};
use crate::model::retention::PruneRequest;
use crate::model::session::SessionRecord;
use crate::model::transfer::{Export, Selected, Selection};

/// How much an export reads at a time, so that large payloads do not blow up its memory.
const PAGE_EVENTS: u32 = 1_000;
const PAGE_BYTES: usize = 1_000_000;
/// How much its writer gets at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Writes the selection page by page, from a consistent snapshot.
pub(crate) async fn export<D: Database, W: Write>(db: &mut D, writer: W, export: Export<'_>) -> Result<Progress> {
    db.atomically(Lock::Snapshot, async |db| {
        let mut exporter = Exporter { writer, text: Vec::new(), done: Progress::default(), export };
        exporter.line(&Header::new())?;
        match exporter.export.selection().0.clone() {
            Selected::All => {
                exporter.sessions(db, ListSessionsRequest::new()).await?;
                exporter.without_record(db).await?;
            }
            Selected::One(id) => {
                let record = get_session(db, &id).await;
                let record = exporter.readable(record)?.flatten();
                exporter.session(db, &id, record, |_| true).await?;
            }
            Selected::Matching(request) => exporter.sessions(db, request).await?,
        }
        exporter.hand_over()?;
        exporter.writer.flush()?;
        Ok(exporter.done)
    })
    .await
}

/// Writes what a prune deletes. Of a session that stays, only the events that go, without its record.
pub(super) async fn export_pruned<D: Database, W: Write>(
    db: &mut D,
    writer: W,
    request: &PruneRequest,
    sessions: &[PrunedSession],
) -> Result<Progress> {
    let export = Export::of(Selection::all());
    let mut exporter = Exporter { writer, text: Vec::new(), done: Progress::default(), export };
    exporter.line(&Header::new())?;
    for session in sessions {
        let id = &*session.session_id;
        let record = if session.loses_record() { db.session(id).await? } else { None };
        let mut excess = session.excess;
        let goes = |event: &SessionEvent| {
            if session.rule.is_whole() {
                return true;
            }
            let is_old = |before| event.created_at.timestamp_millis() < before;
            if session.rule == Rule::Orphans && request.orphans_before.is_some_and(is_old) {
                return true;
            }
            excess = match excess.checked_sub(1) {
                Some(rest) => rest,
                None => return false,
            };
            true
        };
        exporter.session(db, id, record, goes).await?;
    }
    exporter.hand_over()?;
    Ok(exporter.done)
}

struct Exporter<'a, W> {
    writer: W,
    /// Lines not yet passed to the writer.
    text: Vec<u8>,
    done: Progress,
    export: Export<'a>,
}

impl<W: Write> Exporter<'_, W> {
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

    /// What was read, unless it is a row to be skipped.
    fn readable<T>(&mut self, found: Result<T>) -> Result<Option<T>> {
        match found {
            Err(error @ Error::Decode { .. }) if self.export.skips_undecodable() => {
                self.export.report_undecodable(error);
                Ok(None)
            }
            found => found.map(Some),
        }
    }

    /// The sessions whose records were skipped come last, as far as they have an id.
    async fn sessions<D: Database>(&mut self, db: &mut D, request: ListSessionsRequest) -> Result<()> {
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
                    self.session(db, &id, Some(session), |_| true).await?;
                }
            }
            let Some(request) = walk.request() else { break };
            let answer = list_sessions(db, request).await;
            walk.answer(answer);
        }
        for id in without_record {
            self.session(db, &id, None, |_| true).await?;
        }
        Ok(())
    }

    /// One id at a time, each with a seek, so that their number does not matter.
    async fn without_record<D: Database>(&mut self, db: &mut D) -> Result<()> {
        let mut ids = D::SessionIds::default();
        loop {
            let id = match db.next_session_id(&mut ids).await.transpose() {
                None => return Ok(()),
                Some(id) => self.readable(id)?,
            };
            let Some(id) = id else {
                db.tell_others(&ids, &mut |error| self.export.report_undecodable(error)).await?;
                continue;
            };
            let is_on_record = match db.session(&id).await {
                // Already reported, and its events exported.
                Err(Error::Decode { .. }) if self.export.skips_undecodable() => true,
                record => record?.is_some(),
            };
            if !is_on_record {
                self.session(db, &id, None, |_| true).await?;
            }
        }
    }

    /// With its record, all of its events must go.
    async fn session<D: Database>(
        &mut self,
        db: &mut D,
        id: &str,
        record: Option<SessionRecord>,
        mut goes: impl FnMut(&SessionEvent) -> bool,
    ) -> Result<()> {
        let is_known = record.is_some();
        if let Some(record) = record {
            let events = if self.export.skips_undecodable() {
                count_readable(db, id).await?
            } else {
                db.count_events(id).await?
            };
            self.line(&Line::Session(SessionRow { events: Some(events), ..SessionRow::from(&record) }))?;
        }
        let before = self.done.events;
        let mut walk: Walk<_, SessionEvent> = Walk::new(events_of(id));
        loop {
            while let Some(event) = walk.pop() {
                let Some(event) = self.readable(event)?.filter(&mut goes) else { continue };
                self.line(&Line::Event(EventRow::from(&event)))?;
                self.done.events += 1;
                if self.done.events.is_multiple_of(EVENTS_PER_CALL) {
                    self.export.report_progress(self.done);
                }
            }
            let Some(request) = walk.request() else { break };
            let answer = list_events(db, request).await;
            walk.answer(answer);
        }
        if is_known || self.done.events > before {
            self.done.sessions += 1;
            self.export.report_progress(self.done);
        }
        Ok(())
    }
}

fn events_of(id: &str) -> ListEventsRequest {
    ListEventsRequest::new(id).limit(PAGE_EVENTS).max_bytes(PAGE_BYTES)
}

async fn count_readable<D: Database>(db: &mut D, id: &str) -> Result<u64> {
    let mut walk: Walk<_, SessionEvent> = Walk::new(events_of(id));
    let mut events = 0;
    loop {
        while let Some(event) = walk.pop() {
            match event {
                Ok(_) => events += 1,
                Err(Error::Decode { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let Some(request) = walk.request() else { return Ok(events) };
        let answer = list_events(db, request).await;
        walk.answer(answer);
    }
}

//! Pruning with an archive: what goes is exported first, and then exactly what is in the file is deleted.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::access::{Access, Writing};
use super::export::export_pruned;
use super::lines::{Header, LONGEST_LINE, Line, Lines};
use super::pace::Pace;
use super::step::{Next, Parts, Step, step};
use crate::database::survey::PrunedSession;
use crate::database::{AtomicFile, Database, Lock, disk_error};
use crate::error::{Error, Result};
use crate::model::event::SessionEvent;
use crate::model::lines_file::LinesFormat;
use crate::model::report::{Progress, PruneReport};
use crate::model::retention::{PruneRequest, STEP_TIME};
use crate::model::session::SessionRecord;

/// The most events, and the most of their payloads, that are deleted before it looks at the time: an event takes two
/// statements where writers wait, and few round trips are made where they do not.
const PART_EVENTS: usize = 100;
const LARGE_PART_EVENTS: usize = 500;
const PART_BYTES: usize = 1 << 20;

/// How many parts are read ahead.
const PARTS: usize = 5;

/// Some of what the archive has of a session.
#[derive(Debug)]
struct ArchivedPart {
    session: Arc<PrunedSession>,
    /// Known from the first line of the session, and to be deleted last.
    record: Option<SessionRecord>,
    events: Vec<SessionEvent>,
    is_last: bool,
}

/// Exports what the rules select to a new file, and deletes what is in it. The report counts what was committed, even
/// if it then failed.
pub(super) async fn archive_and_prune<A: Access>(
    access: &mut A,
    request: &PruneRequest,
    path: &Path,
    mut pace: Pace,
    report: &mut PruneReport,
) -> Result<()> {
    let format = LinesFormat::of(path)?;
    // The working directory may change meanwhile.
    let path = &*std::path::absolute(path)?;
    let file = AtomicFile::begin(path)?;
    // Not a reference to the file, whose lock may not be shared between threads.
    let unfinished = PathBuf::from(file.path());
    let archived = access.read_aside(async |db| archive(db, request, format, &unfinished).await).await;
    let sessions = archived.map_err(on_disk)?;
    if sessions.is_empty() {
        return Ok(());
    }
    file.finish(|_| {}).map_err(disk_error)?;

    let request = Arc::new(request.clone());
    let mut archive = Archive::open(format, path, sessions)?;
    loop {
        let most = if A::Database::WRITERS_WAIT { PART_EVENTS } else { LARGE_PART_EVENTS };
        let parts = Arc::new(archive.parts(most)?);
        if parts.is_empty() {
            return Ok(());
        }
        let mut next = 0;
        while next < parts.len() {
            access.wait(&mut pace).await;
            let (request, parts) = (Arc::clone(&request), Arc::clone(&parts));
            let deleted = access.write(DeleteArchived { request, parts, next }).await?;
            pace.took(deleted.began);
            *report += deleted.state;
            if let Some(failure) = deleted.failure {
                return Err(failure);
            }
            next = deleted.next;
        }
    }
}

/// Writes what the rules select, from a consistent snapshot, and reads it back. Returns what was selected.
async fn archive<D: Database>(
    db: &mut D,
    request: &PruneRequest,
    format: LinesFormat,
    path: &Path,
) -> Result<Vec<PrunedSession>> {
    let written = db
        .atomically(Lock::Snapshot, async |db| {
            let sessions = db.survey(request).await?;
            let mut writer = format.write(OpenOptions::new().write(true).open(path)?)?;
            let done = export_pruned(db, &mut writer, request, &sessions).await?;
            writer.finish()?;
            Ok((sessions, done))
        })
        .await;
    let (sessions, done) = written?;
    if read_back(format, path).ok() != Some(done) {
        let source = io::Error::new(io::ErrorKind::InvalidData, "the archive cannot be read back as it was written");
        return Err(Error::Io { source });
    }
    Ok(sessions)
}

/// Counts what is in an archive.
fn read_back(format: LinesFormat, path: &Path) -> Result<Progress> {
    let mut lines = Lines::new(format.read(path)?, LONGEST_LINE);
    let (mut done, mut last) = (Progress::default(), None);
    lines.read::<Header>()?;
    while let Some(line) = lines.read::<Line<String>>()? {
        let session_id = match line {
            Line::Session(row) => SessionRecord::try_from(row)?.id,
            Line::Event(row) => {
                done.events += 1;
                SessionEvent::try_from(row)?.session_id
            }
        };
        if last.as_ref() != Some(&session_id) {
            done.sessions += 1;
            last = Some(session_id);
        }
    }
    Ok(done)
}

/// A full disk is one, whatever was being written.
fn on_disk(error: Error) -> Error {
    if let Error::Io { source } = error { disk_error(source) } else { error }
}

/// What is still to be deleted.
struct Archive {
    lines: Lines<Box<dyn BufRead + Send>>,
    sessions: HashMap<String, Arc<PrunedSession>>,
    next: Option<Line<String>>,
    /// The record of the session being read.
    record: Option<SessionRecord>,
}

impl Archive {
    fn open(format: LinesFormat, path: &Path, sessions: Vec<PrunedSession>) -> Result<Self> {
        let mut lines = Lines::new(format.read(path)?, LONGEST_LINE);
        lines.read::<Header>()?;
        let next = lines.read()?;
        let sessions = sessions.into_iter().map(|session| (session.session_id.clone(), Arc::new(session)));
        Ok(Self { lines, sessions: sessions.collect(), next, record: None })
    }

    /// Reads a few parts, in the order of the archive; none at its end.
    fn parts(&mut self, most_events: usize) -> Result<Vec<ArchivedPart>> {
        let mut parts = Vec::new();
        while parts.len() < PARTS
            && let Some(part) = self.part(most_events)?
        {
            parts.push(part);
        }
        Ok(parts)
    }

    fn part(&mut self, most_events: usize) -> Result<Option<ArchivedPart>> {
        let id = match &self.next {
            None => return Ok(None),
            Some(Line::Session(row)) => row.id.clone(),
            Some(Line::Event(row)) => row.session_id.clone(),
        };
        let Some(session) = self.sessions.get(&id).cloned() else {
            return Err(self.lines.error(format!("session {id:?} was not written to this archive")));
        };
        let (mut events, mut bytes) = (Vec::new(), 0);
        loop {
            match self.next.take() {
                Some(Line::Session(row)) if row.id == id => self.record = Some(SessionRecord::try_from(row)?),
                Some(Line::Event(row)) if row.session_id == id && events.len() < most_events && bytes < PART_BYTES => {
                    let event = SessionEvent::try_from(row)?;
                    bytes += event.payload.get().len();
                    events.push(event);
                }
                next => {
                    self.next = next;
                    break;
                }
            }
            self.next = self.lines.read()?;
        }
        let is_last = !matches!(&self.next, Some(Line::Event(row)) if row.session_id == id);
        let record = self.record.take_if(|_| is_last);
        Ok(Some(ArchivedPart { session, record, events, is_last }))
    }
}

/// A step: it deletes some of the parts.
struct DeleteArchived {
    request: Arc<PruneRequest>,
    parts: Arc<Vec<ArchivedPart>>,
    next: usize,
}

impl<D: Database> Writing<D> for DeleteArchived {
    type Answer = Step<PruneReport>;

    const ADDS_EVENTS: bool = false;

    async fn run(&mut self, db: &mut D) -> Result<Step<PruneReport>> {
        step(db, self.next..self.parts.len(), PruneReport::default(), self).await
    }
}

impl<D: Database> Parts<D> for DeleteArchived {
    type State = PruneReport;

    async fn work(&self, db: &mut D, part: usize, began: Instant, before: &PruneReport) -> Result<(PruneReport, Next)> {
        let mut report = *before;
        report += delete_part(db, &self.request, &self.parts[part]).await?;
        let has_time = began.elapsed() < STEP_TIME;
        Ok((report, if has_time { Next::Part } else { Next::Step { is_done: true } }))
    }
}

/// A session that no rule selects any more keeps what it still has, and what is not as it was archived stays.
async fn delete_part<D: Database>(db: &mut D, request: &PruneRequest, part: &ArchivedPart) -> Result<PruneReport> {
    if !db.is_selected(request, &part.session).await? {
        return Ok(PruneReport::default());
    }
    let id = &*part.session.session_id;
    let events = db.delete_unchanged(id, &part.events).await?;
    let is_gone = part.is_last && db.delete_emptied(id, part.record.as_ref()).await?;
    Ok(PruneReport { sessions: u64::from(is_gone), events })
}

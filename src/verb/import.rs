//! Reading sessions from JSON Lines.
//!
//! A session is read to its end before any of it is written, so neither a slow reader nor a bad line is handled while
//! holding the lock.

use std::io::BufRead;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::access::{Access, Direct};
use super::lines::{EVENTS_PER_CALL, Header, LONGEST_LINE, Line, Lines};
use super::pace::Pace;
use super::restore::{Part, RestoreStep, check_ids};
use super::spool::{IdsFrom, Spool};
use crate::database::{Database, Lock};
use crate::error::{Done, Error, Result};
use crate::model::event::SessionEvent;
use crate::model::report::Progress;
use crate::model::retention::STEP_ROWS;
use crate::model::session::SessionRecord;
use crate::model::transfer::{Import, ProgressCallback};

/// A session of at most one step of rows and this many bytes is written atomically.
const WHOLE_BYTES: usize = 1 << 20;

/// The most rows in a step on a fast disk: an insert is a third of the work, so small steps would cost more here than
/// elsewhere.
const MOST_ROWS: usize = 5_000;
/// And the most bytes, unless it is a single event: this many per row, up to a maximum.
const ROW_BYTES: usize = 1 << 10;
const MOST_BYTES: usize = 2 << 20;

/// How much is buffered to be written together, and for how long.
const GATHER_BYTES: usize = 4 << 20;
const GATHER_TIME: Duration = Duration::from_millis(50);

/// How many ids are looked up at a time.
const IDS: usize = 500;

/// A session that has been read.
struct Session {
    record: Option<(u64, SessionRecord)>,
    events: Spool,
}

struct Importer<'a, A, R> {
    access: &'a mut A,
    lines: Lines<R>,
    /// A line that was read but not used yet, or why it could not be read.
    next: Option<Result<Line<String>>>,
    /// Sessions that were read and will be written together.
    group: Vec<Part>,
    group_rows: usize,
    group_bytes: usize,
    group_began: Instant,
    /// How many rows make a group. It starts small, so that progress after a slow reader shows each session at once.
    group_size: usize,
    pace: Pace,
    keeps_existing: bool,
    told: Told<'a>,
}

/// What has been committed, and the callback for it.
struct Told<'a> {
    done: Progress,
    callback: Option<ProgressCallback<'a>>,
}

/// Imports on a connection; inside the caller's transaction everything is part of that.
pub(crate) async fn import<D: Database, R: BufRead>(db: &mut D, import: Import<'_, R>) -> Result<Progress> {
    if !db.is_in_transaction()? {
        return import_in_steps(&mut Direct::new(db)?, import).await;
    }
    let (done, result) = Importer::new(&mut Direct::new(db)?, import, Pace::new(false, MOST_ROWS)).run().await;
    // Whatever ended the transaction rolled back all of it.
    let done = if db.is_in_transaction()? { done } else { Progress::default() };
    finish(done, result)
}

/// Imports in its own transactions.
pub(crate) async fn import_in_steps<A: Access, R: BufRead>(access: &mut A, import: Import<'_, R>) -> Result<Progress> {
    let (done, result) = Importer::new(access, import, Pace::new(A::Database::WRITERS_WAIT, MOST_ROWS)).run().await;
    finish(done, result)
}

fn finish(done: Progress, result: Result<()>) -> Result<Progress> {
    match result {
        Ok(()) => Ok(done),
        Err(Error::Import { line, source, .. }) => Err(Error::Import { line, done, source }),
        Err(source) if done == Progress::default() => Err(source),
        Err(source) => Err(Error::Unfinished { done: Done::Imported(done), source: Box::new(source) }),
    }
}

impl<'a, A: Access, R: BufRead> Importer<'a, A, R> {
    fn new(access: &'a mut A, import: Import<'a, R>, pace: Pace) -> Self {
        Self {
            access,
            lines: Lines::new(import.reader, LONGEST_LINE),
            next: None,
            group: Vec::new(),
            group_rows: 0,
            group_bytes: 0,
            group_began: Instant::now(),
            group_size: 1,
            pace,
            keeps_existing: import.keep_existing,
            told: Told { done: Progress::default(), callback: import.progress },
        }
    }

    /// Returns what was committed, whether or not it failed afterwards.
    async fn run(mut self) -> (Progress, Result<()>) {
        // Sessions that were read completely are written, whatever is wrong with what follows them.
        let read = self.sessions().await;
        let result = self.write_group().await.and(read);
        (self.told.done, result)
    }

    async fn sessions(&mut self) -> Result<()> {
        // A closed store reports that before anything is read.
        self.access.read(async |_: &mut A::Database| Ok(())).await?;
        let header: Option<Header> = self.lines.read()?;
        if let Some(problem) = header.map_or(Some("there is no header".to_owned()), |header| header.problem()) {
            return Err(self.lines.error(problem));
        }
        self.next = self.lines.read().transpose();
        while let Some(session) = self.session().await? {
            self.write(session).await?;
        }
        Ok(())
    }

    /// Reads one session, if there is one.
    async fn session(&mut self) -> Result<Option<Session>> {
        let (record, id, announced) = match self.next.take().transpose()? {
            None => return Ok(None),
            Some(Line::Session(row)) => {
                let (id, events) = (row.id.clone(), row.events);
                let record = SessionRecord::try_from(row).map_err(|error| self.lines.error(error))?;
                let record = (self.lines.number(), record);
                self.next = self.lines.read().transpose();
                (Some(record), id, events)
            }
            Some(Line::Event(row)) => {
                let id = row.session_id.clone();
                self.next = Some(Ok(Line::Event(row)));
                (None, id, None)
            }
        };
        let mut events = Spool::new(id);
        loop {
            let found = events.events() as u64;
            match self.next.take() {
                Some(Ok(Line::Event(row))) if row.session_id == events.session_id() => {
                    let event = SessionEvent::try_from(row).map_err(|error| self.lines.error(error))?;
                    events.push(self.lines.number(), event)?;
                }
                // The line may belong to this session, unless all its events are here.
                Some(Err(error)) if announced != Some(found) => return Err(error),
                next => {
                    self.next = next;
                    return match announced {
                        Some(announced) if announced != found => Err(self
                            .lines
                            .error(format!("session {:?} has {found} of its {announced} events", events.session_id()))),
                        _ => Ok(Some(Session { record, events })),
                    };
                }
            }
            if !self.group.is_empty() && self.group_began.elapsed() >= GATHER_TIME {
                self.write_group().await?;
            }
            self.next = self.lines.read().transpose();
        }
    }

    /// Writes a session, or buffers it to be written with others.
    async fn write(&mut self, mut session: Session) -> Result<()> {
        let (events, bytes) = (session.events.events(), session.events.bytes());
        let fits = |most_events, most_bytes| events <= most_events && bytes <= most_bytes;
        if !fits(STEP_ROWS, WHOLE_BYTES) && !fits(self.pace.rows(), step_bytes(&self.pace)) {
            self.write_group().await?;
            return self.write_long(session).await;
        }
        if self.group_bytes + bytes > GATHER_BYTES {
            self.write_group().await?;
        }
        if self.group.is_empty() {
            self.group_began = Instant::now();
        }
        let all = session.events.take(usize::MAX, usize::MAX)?;
        let keeps_existing = self.keeps_existing;
        self.group.push(Part { record: session.record, events: all, is_last: true, keeps_existing });
        self.group_rows += events + 1;
        self.group_bytes += bytes;
        // A pause that is due anyway leaves time to read more.
        let is_enough = self.group_rows >= self.group_size.min(self.pace.rows()) && self.pace.owes().is_zero();
        if is_enough || self.group_began.elapsed() >= GATHER_TIME {
            self.group_size = (self.group_size * 2).min(MOST_ROWS);
            self.write_group().await?;
        }
        Ok(())
    }

    async fn write_group(&mut self) -> Result<()> {
        (self.group_rows, self.group_bytes) = (0, 0);
        let parts = std::mem::take(&mut self.group);
        write_parts(self.access, parts, &mut self.pace, &mut self.told).await
    }

    /// Writes a session that is too large for one step, piece by piece.
    async fn write_long(&mut self, session: Session) -> Result<()> {
        let Self { access, pace, told, keeps_existing, .. } = self;
        let Session { record, mut events } = session;
        let keeps_existing = *keeps_existing;
        // Foreseeable errors are found before anything of the session is written.
        let session_id = events.session_id().to_owned();
        let mut from = IdsFrom::default();
        loop {
            let ids = events.ids(&mut from, IDS)?;
            if ids.is_empty() {
                break;
            }
            access.read(async |db| check_ids(db, &session_id, &ids).await).await?;
        }
        let Some(db) = access.in_transaction() else {
            return write_pieces(*access, record, events, keeps_existing, pace, told).await;
        };
        let before = told.done;
        let written = db.atomically(Lock::Write, async |db| {
            write_pieces(&mut Direct::new(db)?, record, events, keeps_existing, pace, told).await
        });
        let written = written.await;
        if written.is_err() {
            told.done = before;
        }
        written
    }
}

async fn write_pieces<A: Access>(
    access: &mut A,
    mut record: Option<(u64, SessionRecord)>,
    mut events: Spool,
    keeps_existing: bool,
    pace: &mut Pace,
    told: &mut Told<'_>,
) -> Result<()> {
    loop {
        let piece = events.take(pace.rows(), step_bytes(pace))?;
        let is_last = events.is_empty();
        // The record comes last, so that the session is listed only once it is complete.
        let record = if is_last { record.take() } else { None };
        write_parts(access, vec![Part { record, events: piece, is_last, keeps_existing }], pace, told).await?;
        if is_last {
            return Ok(());
        }
    }
}

fn step_bytes(pace: &Pace) -> usize {
    (pace.rows() * ROW_BYTES).min(MOST_BYTES)
}

/// Writes parts in as many steps as they need. Reports what is committed after each step, when no lock is held.
async fn write_parts<A: Access>(access: &mut A, parts: Vec<Part>, pace: &mut Pace, told: &mut Told<'_>) -> Result<()> {
    let parts = Arc::new(parts);
    let mut from = 0;
    while from < parts.len() {
        access.wait(pace).await;
        let written = access.write(RestoreStep { parts: Arc::clone(&parts), from, rows: pace.rows() }).await?;
        pace.took(written.began);
        parts[from..written.next].iter().for_each(|part| told.tell(part));
        from = written.next;
        if let Some(failure) = written.failure {
            return Err(failure);
        }
    }
    Ok(())
}

impl Told<'_> {
    fn tell(&mut self, part: &Part) {
        let Self { done, callback } = self;
        let mut tell = |done| callback.iter_mut().for_each(|callback| callback(done));
        for _ in &part.events {
            done.events += 1;
            if done.events.is_multiple_of(EVENTS_PER_CALL) {
                // A session counts as imported while its import is running.
                tell(Progress { sessions: done.sessions + 1, ..*done });
            }
        }
        if part.is_last {
            done.sessions += 1;
            tell(*done);
        }
    }
}

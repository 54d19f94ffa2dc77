//! Reading sessions from JSON Lines.
//!
//! A session is read to its end before any of it is written, so that neither a slow reader nor a bad line is met with
//! the lock in hand.

use std::io::BufRead;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::SqliteConnection;

use super::lines::{LONGEST_LINE, Lines};
use super::spool::Spool;
use super::write::{Part, Written, check_ids, step};
use super::{EVENTS_PER_CALL, FORMAT, Header, Line, Progress, VERSION};
use crate::error::{Done, Error, Result};
use crate::event::SessionEvent;
use crate::session::SessionRecord;
use crate::steps::{Access, Pace, STEP_ROWS};
use crate::transaction;

/// A session that takes no more than a step of rows, and these bytes, is written all or nothing.
const WHOLE_BYTES: usize = 1 << 20;

/// What a step writes at most where the disk is fast: an insert is a third of the work, so small steps would cost more
/// here than elsewhere.
const MOST_ROWS: usize = 5_000;
/// And the bytes, unless that is one event: so many for each of its rows, but not more than these.
const ROW_BYTES: usize = 1 << 10;
const MOST_BYTES: usize = 2 << 20;

/// What is put by to be written together, and for how long.
const GATHER_BYTES: usize = 4 << 20;
const GATHER_TIME: Duration = Duration::from_millis(50);

/// Ids that are looked up at a time.
const IDS: usize = 500;

/// A session that has been read.
struct Session {
    record: Option<(u64, SessionRecord)>,
    events: Spool,
}

struct Import<'a, A, R> {
    access: &'a mut A,
    lines: Lines<R>,
    /// A line that was read and not used yet, or why it could not be.
    next: Option<Result<Line>>,
    /// Sessions that were read and are written together.
    group: Vec<Part>,
    group_rows: usize,
    group_bytes: usize,
    group_began: Instant,
    /// How many rows make a group. It begins with few: who follows a slow reader sees each session at once.
    group_size: usize,
    pace: Pace,
    /// What has been committed.
    done: Progress,
    report: &'a mut dyn FnMut(Progress),
}

/// Imports on a connection; in a transaction of the caller's everything is part of that.
pub(crate) fn import<R: BufRead>(
    conn: &mut SqliteConnection,
    reader: R,
    report: &mut dyn FnMut(Progress),
) -> Result<Progress> {
    if !transaction::is_open(conn)? {
        return in_steps(conn, reader, report);
    }
    let (done, result) = Import::new(&mut Inside(conn), reader, Pace::new(false, MOST_ROWS), report).run();
    // What ended the transaction has undone all of it.
    let done = if transaction::is_open(conn)? { done } else { Progress::default() };
    finish(done, result)
}

/// Imports in transactions of its own.
pub(crate) fn in_steps<A: Access, R: BufRead>(
    access: &mut A,
    reader: R,
    report: &mut dyn FnMut(Progress),
) -> Result<Progress> {
    let (done, result) = Import::new(access, reader, Pace::new(true, MOST_ROWS), report).run();
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

/// A connection in a transaction of the caller's.
struct Inside<'a>(&'a mut SqliteConnection);

impl Access for Inside<'_> {
    const COMMITS: bool = false;

    fn read<T>(&mut self, work: impl FnOnce(&mut SqliteConnection) -> Result<T>) -> Result<T> {
        work(self.0)
    }

    fn write<T: Send + 'static>(
        &mut self,
        mut work: impl FnMut(&mut SqliteConnection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        work(self.0)
    }

    fn together<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        transaction::begin(self.0)?;
        // A callback of the host's may panic in there, and this savepoint has to end all the same.
        match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(result) => transaction::end(self.0, |_| result),
            Err(panic) => transaction::end(self.0, |_| resume_unwind(panic)),
        }
    }
}

impl<'a, A: Access, R: BufRead> Import<'a, A, R> {
    fn new(access: &'a mut A, reader: R, pace: Pace, report: &'a mut dyn FnMut(Progress)) -> Self {
        Self {
            access,
            lines: Lines::new(reader, LONGEST_LINE),
            next: None,
            group: Vec::new(),
            group_rows: 0,
            group_bytes: 0,
            group_began: Instant::now(),
            group_size: 1,
            pace,
            done: Progress::default(),
            report,
        }
    }

    /// Says what was committed, whether it then failed or not.
    fn run(mut self) -> (Progress, Result<()>) {
        // Sessions that were read are written, whatever is wrong with what follows them.
        let read = self.sessions();
        let result = self.write_group().and(read);
        (self.done, result)
    }

    fn sessions(&mut self) -> Result<()> {
        // A closed store says so before it reads anything.
        self.access.read(|_| Ok(()))?;
        let header: Option<Header> = self.lines.read()?;
        match header {
            Some(header) if header.format == FORMAT && header.version == VERSION => {}
            Some(Header { format, version }) if format == FORMAT => {
                let other = format!("it says {FORMAT:?} version {version}, not version {VERSION}");
                return Err(self.lines.error(other));
            }
            Some(_) => return Err(self.lines.error(format!("it does not say that it is {FORMAT:?}"))),
            None => return Err(self.lines.error("there is no header")),
        }
        self.next = self.lines.read().transpose();
        while let Some(session) = self.session()? {
            self.write(session)?;
        }
        Ok(())
    }

    /// Reads one session, if there is one.
    fn session(&mut self) -> Result<Option<Session>> {
        let (record, id, announced) = match self.next.take().transpose()? {
            None => return Ok(None),
            Some(Line::Session(line)) => {
                let (id, announced) = (line.id.clone(), line.events);
                let record = SessionRecord::try_from(line).map_err(|error| self.lines.error(error))?;
                let record = (self.lines.number(), record);
                self.next = self.lines.read().transpose();
                (Some(record), id, announced)
            }
            Some(Line::Event(line)) => {
                let id = line.session_id.clone();
                self.next = Some(Ok(Line::Event(line)));
                (None, id, None)
            }
        };
        let mut events = Spool::new(id);
        loop {
            let found = events.events() as u64;
            match self.next.take() {
                Some(Ok(Line::Event(line))) if line.session_id == events.session_id() => {
                    let event = SessionEvent::try_from(line).map_err(|error| self.lines.error(error))?;
                    events.push(self.lines.number(), event)?;
                }
                // It may be one of this session's, unless those are all there.
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
                self.write_group()?;
            }
            self.next = self.lines.read().transpose();
        }
    }

    /// Writes a session, or puts it by to be written with others.
    fn write(&mut self, mut session: Session) -> Result<()> {
        let (events, bytes) = (session.events.events(), session.events.bytes());
        let fits = |most_events, most_bytes| events <= most_events && bytes <= most_bytes;
        if !fits(STEP_ROWS, WHOLE_BYTES) && !fits(self.pace.rows(), step_bytes(&self.pace)) {
            self.write_group()?;
            return self.write_long(session);
        }
        if self.group_bytes + bytes > GATHER_BYTES {
            self.write_group()?;
        }
        if self.group.is_empty() {
            self.group_began = Instant::now();
        }
        let all = session.events.take(usize::MAX, usize::MAX)?;
        self.group.push(Part { record: session.record, events: all, is_last: true });
        self.group_rows += events + 1;
        self.group_bytes += bytes;
        // Where there has to be a pause, there is time to read more.
        let is_enough = self.group_rows >= self.group_size.min(self.pace.rows()) && self.pace.owes().is_zero();
        if is_enough || self.group_began.elapsed() >= GATHER_TIME {
            self.group_size = (self.group_size * 2).min(MOST_ROWS);
            self.write_group()?;
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<()> {
        (self.group_rows, self.group_bytes) = (0, 0);
        let parts = std::mem::take(&mut self.group);
        write_parts(self.access, parts, &mut self.pace, &mut self.done, self.report)
    }

    /// Writes a session that does not fit a step, piece by piece.
    fn write_long(&mut self, session: Session) -> Result<()> {
        let Session { mut record, mut events } = session;
        let Self { access, pace, done, report, .. } = self;
        let before = *done;
        // What can be known to fail fails before anything of it is written.
        let session_id = events.session_id().to_owned();
        events.ids(IDS, |ids| access.read(|conn| check_ids(conn, &session_id, ids)))?;
        let result = access.together(|access| {
            loop {
                let piece = events.take(pace.rows(), step_bytes(pace))?;
                let is_last = events.is_empty();
                // The session is listed when it is whole.
                let record = if is_last { record.take() } else { None };
                write_parts(access, vec![Part { record, events: piece, is_last }], pace, done, *report)?;
                if is_last {
                    return Ok(());
                }
            }
        });
        if result.is_err() && !A::COMMITS {
            *done = before;
        }
        result
    }
}

fn step_bytes(pace: &Pace) -> usize {
    (pace.rows() * ROW_BYTES).min(MOST_BYTES)
}

/// Writes parts in as many steps as they take, and tells of each what is committed then, when no lock is held.
fn write_parts<A: Access>(
    access: &mut A,
    parts: Vec<Part>,
    pace: &mut Pace,
    done: &mut Progress,
    report: &mut dyn FnMut(Progress),
) -> Result<()> {
    let parts = Arc::new(parts);
    let mut from = 0;
    while from < parts.len() {
        pace.wait();
        let (copy, rows) = (Arc::clone(&parts), pace.rows());
        let Written { parts: upto, failure, began } = access.write(move |conn| step(conn, &copy, from, rows))?;
        pace.took(began);
        for part in &parts[from..upto] {
            for _ in &part.events {
                done.events += 1;
                if done.events.is_multiple_of(EVENTS_PER_CALL) {
                    // While a session is being imported it counts as one of them.
                    report(Progress { sessions: done.sessions + 1, ..*done });
                }
            }
            if part.is_last {
                done.sessions += 1;
                report(*done);
            }
        }
        from = upto;
        if let Some(failure) = failure {
            return Err(failure);
        }
    }
    Ok(())
}

//! Reading sessions from JSON Lines.

use std::io::BufRead;

use diesel::SqliteConnection;

use super::{EVENTS_PER_CALL, FORMAT, Header, Line, Progress, VERSION};
use crate::error::{Error, Result};
use crate::event::{self, SessionEvent};
use crate::json::without_content;
use crate::session::{self, SessionRecord};
use crate::transaction;

/// An import, session by session.
pub(crate) struct Import<R> {
    reader: R,
    /// The number of the line that was read last.
    line: u64,
    /// A line that was read and not used yet, or why it could not be.
    next: Option<Result<Line>>,
    pub(crate) progress: Progress,
}

impl<R: BufRead> Import<R> {
    pub(crate) fn new(reader: R) -> Result<Self> {
        let mut import = Self { reader, line: 0, next: None, progress: Progress::default() };
        let header: Option<Header> = import.read()?;
        match header {
            Some(header) if header.format == FORMAT && header.version == VERSION => {}
            Some(Header { format, version }) if format == FORMAT => {
                return Err(import.error(format!("it says {FORMAT:?} version {version}, not version {VERSION}")));
            }
            Some(_) => return Err(import.error(format!("it does not say that it is {FORMAT:?}"))),
            None => return Err(import.error("there is no header")),
        }
        import.next = import.read().transpose();
        Ok(import)
    }

    /// The next line that is not blank.
    fn read<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let mut text = Vec::new();
        loop {
            text.clear();
            if self.reader.read_until(b'\n', &mut text)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            if !text.trim_ascii().is_empty() {
                return serde_json::from_slice(&text).map(Some).map_err(|error| self.error(without_content(error)));
            }
        }
    }

    fn error(&self, source: impl Into<crate::error::Cause>) -> Error {
        // An empty file lacks its first line.
        Error::Import { line: self.line.max(1), done: self.progress, source: source.into() }
    }

    /// Brings in one session, all or nothing. Says whether there was one.
    pub(crate) fn session(&mut self, conn: &mut SqliteConnection, report: &mut dyn FnMut(Progress)) -> Result<bool> {
        let before = self.progress;
        let result = transaction::atomically(conn, |conn| self.session_lines(conn, report));
        match result {
            Ok(true) => report(self.progress),
            Ok(false) => {}
            Err(_) => self.progress = before,
        }
        result
    }

    fn session_lines(&mut self, conn: &mut SqliteConnection, report: &mut dyn FnMut(Progress)) -> Result<bool> {
        let (id, announced) = match self.next.take().transpose()? {
            None => return Ok(false),
            Some(Line::Session(line)) => {
                let of_session = (line.id.clone(), line.events);
                SessionRecord::try_from(line)
                    .and_then(|record| session::restore(conn, &record))
                    .map_err(|error| self.about_line(error))?;
                self.next = self.read().transpose();
                of_session
            }
            Some(Line::Event(line)) => {
                let of_session = (line.session_id.clone(), None);
                self.next = Some(Ok(Line::Event(line)));
                of_session
            }
        };
        self.progress.sessions += 1;
        let before = self.progress.events;
        loop {
            let found = self.progress.events - before;
            match self.next.take() {
                Some(Ok(Line::Event(line))) if line.session_id == id => {
                    SessionEvent::try_from(line)
                        .and_then(|event| event::restore(conn, &event))
                        .map_err(|error| self.about_line(error))?;
                }
                // It may be one of this session's, unless those are all there.
                Some(Err(error)) if announced != Some(found) => return Err(error),
                next => {
                    self.next = next;
                    return match announced {
                        Some(events) if events != found => {
                            Err(self.error(format!("session {id:?} has {found} of its {events} events")))
                        }
                        _ => Ok(true),
                    };
                }
            }
            self.progress.events += 1;
            if self.progress.events.is_multiple_of(EVENTS_PER_CALL) {
                report(self.progress);
            }
            self.next = self.read().transpose();
        }
    }

    /// What a line holds is that line's error; the state of the database is not.
    fn about_line(&self, error: Error) -> Error {
        match error {
            Error::Busy { .. } | Error::DiskFull { .. } | Error::ReadOnly { .. } | Error::NotMigrated { .. } => error,
            error => self.error(error),
        }
    }
}

pub(crate) fn import<R: BufRead>(
    conn: &mut SqliteConnection,
    reader: R,
    report: &mut dyn FnMut(Progress),
) -> Result<Progress> {
    let mut import = Import::new(reader)?;
    while import.session(conn, report)? {}
    Ok(import.progress)
}

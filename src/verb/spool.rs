//! The events of one session between reading and writing: in memory, or in a file if there are many.

use std::collections::VecDeque;
use std::io;

use super::lines::wrong_line;
use crate::database::{NumberedEvent, Overflow, is_too_big};
use crate::error::{Error, Result};
use crate::model::event::SessionEvent;

/// The most that is kept in memory of a session, unless it is a single event.
const MEMORY_BYTES: usize = 2 << 20;
/// The overhead of an event besides its text, in memory as in the database.
const EVENT_BYTES: usize = 64;

/// The approximate size of an event.
fn bytes(event: &SessionEvent) -> usize {
    EVENT_BYTES + event.id.len() + event.connection_id.len() + event.payload.get().len()
}

/// A queue: first in, first out, each event with its line number.
pub(super) struct Spool {
    session_id: String,
    memory: VecDeque<NumberedEvent>,
    memory_bytes: usize,
    overflow: Option<Overflow>,
    events: usize,
    bytes: usize,
    taken: usize,
}

impl Spool {
    pub(super) fn new(session_id: String) -> Self {
        Self { session_id, memory: VecDeque::new(), memory_bytes: 0, overflow: None, events: 0, bytes: 0, taken: 0 }
    }

    pub(super) fn session_id(&self) -> &str {
        &self.session_id
    }

    /// How many events there are, including those taken out.
    pub(super) fn events(&self) -> usize {
        self.events
    }

    /// Whether all events were taken out.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.events
    }

    /// Their approximate size, including those taken out.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, line: u64, event: SessionEvent) -> Result<()> {
        self.events += 1;
        self.bytes += bytes(&event);
        self.memory_bytes += bytes(&event);
        self.memory.push_back((line, event));
        if self.memory_bytes <= MEMORY_BYTES {
            return Ok(());
        }
        if self.overflow.is_none() {
            self.overflow = Some(Overflow::new().map_err(out_of_place)?);
        }
        let Some(overflow) = &mut self.overflow else { return Ok(()) };
        self.memory_bytes = 0;
        self.memory.drain(..).try_for_each(|(line, event)| {
            overflow.push(line, &event).map_err(|error| match error {
                Error::Database { source } if is_too_big(&source) => wrong_line(line, source),
                error => out_of_place(error),
            })
        })
    }

    /// Takes some events out, up to this many and this much, but at least one; none once all are out.
    pub(super) fn take(&mut self, events: usize, most_bytes: usize) -> Result<Vec<NumberedEvent>> {
        let (mut count, mut size) = (0, 0);
        let mut has_room = |event: &SessionEvent| {
            size += bytes(event);
            let has_room = count == 0 || (count < events && size <= most_bytes);
            count += usize::from(has_room);
            has_room
        };
        let mut taken = Vec::new();
        if let Some(overflow) = &mut self.overflow {
            taken = overflow.take(&mut has_room).map_err(out_of_place)?;
        }
        // What did not fit comes next, before what is in memory.
        if self.overflow_is_empty(taken.len()) {
            while self.memory.front().is_some_and(|(_, event)| has_room(event)) {
                taken.extend(self.memory.pop_front());
            }
        }
        self.taken += taken.len();
        Ok(taken)
    }

    /// Whether everything left is in memory once this many more have been taken out.
    fn overflow_is_empty(&self, taken: usize) -> bool {
        self.taken + taken + self.memory.len() == self.events
    }

    /// The line numbers and ids of up to this many events still in the queue, starting where the last call ended; none
    /// at the end.
    pub(super) fn ids(&mut self, from: &mut IdsFrom, most: usize) -> Result<Vec<(u64, String)>> {
        if let Some(overflow) = &mut self.overflow
            && from.memory == 0
        {
            let ids = overflow.ids(&mut from.overflow, most).map_err(out_of_place)?;
            if !ids.is_empty() {
                return Ok(ids);
            }
        }
        let ids: Vec<_> = self.memory.iter().skip(from.memory).take(most).collect();
        from.memory += ids.len();
        Ok(ids.into_iter().map(|(line, event)| (*line, event.id.clone())).collect())
    }
}

/// How many ids have been read so far.
#[derive(Default)]
pub(super) struct IdsFrom {
    overflow: Option<i64>,
    memory: usize,
}

/// A problem with the temporary file is not a problem with the database.
fn out_of_place(error: Error) -> Error {
    let kind = match &error {
        Error::DiskFull { .. } => io::ErrorKind::StorageFull,
        _ => io::ErrorKind::Other,
    };
    Error::Io { source: io::Error::new(kind, format!("the temporary file of an import: {error}")) }
}

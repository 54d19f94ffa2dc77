//! What sessions weigh, measured a bounded number of events at a time, so that no writer waits for it.

use std::collections::VecDeque;

use diesel::prelude::*;

use super::activity::last_activity;
use super::distinct_ids::distinct_ids;
use super::places::{EventPlace, weighed_places};
use crate::database::survey::Weight;
use crate::error::Result;

/// How many events, and how much of them, it reads at a time.
const CHUNK_EVENTS: usize = 1_000;
const CHUNK_BYTES: u64 = 4 << 20;

/// The sessions measured so far.
#[derive(Default)]
pub(super) struct Measuring {
    /// The last session id found, in the database's encoding.
    after: Option<Vec<u8>>,
    /// Sessions that were found but not measured yet.
    sessions: VecDeque<String>,
    session: Option<Measured>,
    weights: Vec<Weight>,
}

/// The session being measured, as far as that was done.
struct Measured {
    id: String,
    after: Option<EventPlace>,
    bytes: u64,
}

impl Measuring {
    /// Measures a little more, and returns what all sessions weigh once that is known.
    pub(super) fn advance(&mut self, conn: &mut SqliteConnection) -> Result<Option<Vec<Weight>>> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => match self.sessions.pop_front() {
                Some(id) => Measured { id, after: None, bytes: 0 },
                None => {
                    let ids = distinct_ids(conn, self.after.as_deref())?;
                    let Some(last) = ids.last() else { return Ok(Some(std::mem::take(&mut self.weights))) };
                    self.after = Some(last.bytes.clone());
                    self.sessions.extend(ids.into_iter().filter_map(|id| id.id.ok()).map(|text| text.0));
                    return Ok(None);
                }
            },
        };
        if session.advance(conn)? {
            // None if its events were deleted meanwhile.
            if let Some(activity) = last_activity(conn, &session.id)? {
                self.weights.push(Weight { session_id: session.id, activity, bytes: session.bytes });
            }
        } else {
            self.session = Some(session);
        }
        Ok(None)
    }
}

impl Measured {
    /// Returns whether this was the rest of it.
    fn advance(&mut self, conn: &mut SqliteConnection) -> QueryResult<bool> {
        let (from, mut read) = (self.after.clone(), (0, 0));
        weighed_places(conn, &self.id, from.as_ref(), |events| {
            for event in events {
                let (place, bytes) = event?;
                if from.as_ref().is_some_and(|from| place <= *from) {
                    continue;
                }
                if read.0 >= CHUNK_EVENTS || read.1 >= CHUNK_BYTES {
                    return Ok(false);
                }
                read = (read.0 + 1, read.1 + bytes);
                self.bytes += bytes;
                self.after = Some(place);
            }
            Ok(true)
        })?
    }
}

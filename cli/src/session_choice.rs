//! Which session is meant: by id, by the beginning of one, or by `@1` for the latest.

use agent_session_store::{Error, ListSessionsRequest, SessionRecord, SessionStore};

use crate::failure::{Exit, Failure, Result};
use crate::interrupt;

/// How many of several are named.
const NAMED: usize = 3;
const PAGE: u32 = 1000;

#[derive(Clone, Debug)]
pub struct Choice {
    pub id: String,
    /// Events may have been stored without one.
    pub record: Option<SessionRecord>,
}

impl From<SessionRecord> for Choice {
    fn from(record: SessionRecord) -> Self {
        Self { id: record.id.clone(), record: Some(record) }
    }
}

/// Finds the session. An id that is there is that session, whatever it looks like.
pub fn choose(store: &SessionStore, named: &str) -> Result<Choice> {
    if let Some(record) = store.get_session(named)? {
        return Ok(record.into());
    }
    if store.last_event_index(named)?.is_some() {
        return Ok(Choice { id: named.to_owned(), record: None });
    }
    if let Some(place) =
        named.strip_prefix('@').filter(|place| !place.starts_with('+')).and_then(|place| place.parse::<usize>().ok())
    {
        return latest(store, place);
    }
    beginning_with(store, named)
}

fn latest(store: &SessionStore, place: usize) -> Result<Choice> {
    let Some(skipped) = place.checked_sub(1) else {
        return Err(Failure::usage("sessions are counted from @1, the latest"));
    };
    let page = u32::try_from(place).unwrap_or(PAGE).min(PAGE);
    // As a list counts them.
    let is_listed = |record: &Result<_, Error>| !matches!(record, Err(Error::Decode { .. }));
    match store.sessions(ListSessionsRequest::new().descending().limit(page)).filter(is_listed).nth(skipped) {
        Some(record) => Ok(record?.into()),
        None => Err(Failure::said(
            Exit::NotFound,
            format!("there are fewer sessions than {place}: `agent-sessions list` shows them"),
        )),
    }
}

fn beginning_with(store: &SessionStore, beginning: &str) -> Result<Choice> {
    let mut found: Vec<SessionRecord> = Vec::new();
    let mut more = 0_usize;
    if !beginning.is_empty() {
        for record in store.sessions(ListSessionsRequest::new().descending().limit(PAGE)) {
            interrupt::check()?;
            // What cannot be decoded cannot be shown either.
            let Ok(record) = record else { continue };
            if record.id.starts_with(beginning) {
                if found.len() < NAMED { found.push(record) } else { more += 1 }
            }
        }
    }
    if found.len() > 1 {
        let ids: Vec<_> = found.iter().map(|record| record.id.as_str()).collect();
        let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Err(Failure::said(
            Exit::NotFound,
            format!("several sessions begin with {beginning:?}: {}{and_more}; write more of the id", ids.join(", ")),
        ));
    }
    found.pop().map(Choice::from).ok_or_else(|| {
        Failure::said(
            Exit::NotFound,
            format!("there is no session {beginning:?}: `agent-sessions list` shows those that are there"),
        )
    })
}

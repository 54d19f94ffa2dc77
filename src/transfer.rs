//! Getting data out and in as JSON Lines.
//!
//! The format, one JSON object a line:
//!
//! ```text
//! {"format":"agent-session-store","version":1}
//! {"session":{"id":"s","agent":"claude",…,"createdAt":1700000000000,"modesJson":"null","events":1}}
//! {"event":{"id":"e","eventIndex":1,"sessionId":"s",…,"payloadJson":"{\"jsonrpc\":\"2.0\"}"}}
//! ```
//!
//! A session's record comes before its events, these in order, and says how many there are, so that a file which was cut
//! short is noticed; a session without a record has events only. The JSON
//! columns are strings here: so they come back byte for byte, white space and line breaks included, whatever reads
//! and writes the lines in between.

mod export;
mod import;
mod lines;
mod spool;
mod write;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub(crate) use self::export::{Undecodable, export};
pub(crate) use self::import::{import, in_steps};
use crate::error::{Error, Result};
use crate::event::{Sender, SessionEvent};
use crate::json::Json;
use crate::request::ListSessionsRequest;
use crate::session::SessionRecord;

const FORMAT: &str = "agent-session-store";
const VERSION: u32 = 1;

/// Which sessions to export.
///
/// ```
/// use agent_session_store::{ListSessionsRequest, Selection};
///
/// let everything = Selection::all();
/// let one = Selection::session("session-1");
/// let some = Selection::matching(ListSessionsRequest::new().agent("claude").destroyed());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Selection(Selected);

#[derive(Clone, Debug, PartialEq)]
enum Selected {
    All,
    One(String),
    Matching(ListSessionsRequest),
}

impl Selection {
    /// Every session, those that have events and no record included.
    ///
    /// ```
    /// # use agent_session_store::Selection;
    /// let selection = Selection::all();
    /// ```
    pub fn all() -> Self {
        Self(Selected::All)
    }

    /// The session with this id.
    ///
    /// ```
    /// # use agent_session_store::Selection;
    /// let selection = Selection::session("session-1");
    /// ```
    pub fn session(id: impl Into<String>) -> Self {
        Self(Selected::One(id.into()))
    }

    /// The sessions on all pages of a listing. Its limit is the size of the pages that are read.
    ///
    /// ```
    /// # use agent_session_store::{ListSessionsRequest, Selection};
    /// let selection = Selection::matching(ListSessionsRequest::new().live());
    /// ```
    pub fn matching(request: ListSessionsRequest) -> Self {
        Self(Selected::Matching(request))
    }
}

/// How much has been exported or imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Sessions: records, and those that have events only.
    pub sessions: u64,
    /// Events.
    pub events: u64,
}

/// What a progress callback is called after: this many events, and every session.
const EVENTS_PER_CALL: u64 = 1_000;

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Session(SessionLine),
    Event(EventLine),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionLine {
    id: String,
    agent: String,
    agent_session_id: String,
    last_connection_id: String,
    #[serde(with = "crate::time::millis")]
    created_at: DateTime<Utc>,
    #[serde(default, with = "crate::time::optional_millis", skip_serializing_if = "Option::is_none")]
    destroyed_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sandbox_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_init_json: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config_options_json: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modes_json: Option<String>,
    /// How many of its events follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventLine {
    id: String,
    event_index: i64,
    session_id: String,
    #[serde(with = "crate::time::millis")]
    created_at: DateTime<Utc>,
    connection_id: String,
    sender: Sender,
    payload_json: String,
}

impl From<SessionRecord> for SessionLine {
    fn from(session: SessionRecord) -> Self {
        let text = |json: Option<Json>| json.map(Json::into_text);
        Self {
            id: session.id,
            agent: session.agent,
            agent_session_id: session.agent_session_id,
            last_connection_id: session.last_connection_id,
            created_at: session.created_at,
            destroyed_at: session.destroyed_at,
            sandbox_id: session.sandbox_id,
            session_init_json: text(session.session_init),
            config_options_json: text(session.config_options),
            modes_json: text(session.modes),
            events: None,
        }
    }
}

impl TryFrom<SessionLine> for SessionRecord {
    type Error = Error;

    fn try_from(line: SessionLine) -> Result<Self> {
        let json = |text: Option<String>| text.map(Json::parse).transpose();
        Ok(Self {
            id: line.id,
            agent: line.agent,
            agent_session_id: line.agent_session_id,
            last_connection_id: line.last_connection_id,
            created_at: line.created_at,
            destroyed_at: line.destroyed_at,
            sandbox_id: line.sandbox_id,
            session_init: json(line.session_init_json)?,
            config_options: json(line.config_options_json)?,
            modes: json(line.modes_json)?,
        })
    }
}

impl From<SessionEvent> for EventLine {
    fn from(event: SessionEvent) -> Self {
        Self {
            id: event.id,
            event_index: event.event_index,
            session_id: event.session_id,
            created_at: event.created_at,
            connection_id: event.connection_id,
            sender: event.sender,
            payload_json: event.payload.into_text(),
        }
    }
}

impl TryFrom<EventLine> for SessionEvent {
    type Error = Error;

    fn try_from(line: EventLine) -> Result<Self> {
        Ok(Self {
            id: line.id,
            event_index: line.event_index,
            session_id: line.session_id,
            created_at: line.created_at,
            connection_id: line.connection_id,
            sender: line.sender,
            payload: Json::parse(line.payload_json)?,
        })
    }
}

//! An event: one envelope exchanged between client and agent.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use diesel::Selectable;
use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
use diesel::sql_types::Text;
use serde::{Deserialize, Serialize};

use super::json::Json;
use crate::schema::events;

/// Who sent an event.
///
/// ```
/// use agent_session_store::Sender;
///
/// assert_eq!(Sender::Agent.as_str(), "agent");
/// assert_eq!("client".parse(), Ok(Sender::Client));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, AsExpression, FromSqlRow)]
#[serde(rename_all = "lowercase")]
#[diesel(sql_type = Text)]
pub enum Sender {
    /// The application that talks to the agent.
    Client,
    /// The coding agent.
    Agent,
}

impl Sender {
    /// The value in the database and in JSON: `client` or `agent`.
    ///
    /// ```
    /// # use agent_session_store::Sender;
    /// assert_eq!(Sender::Client.as_str(), "client");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSender(String);

impl fmt::Display for UnknownSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is neither \"client\" nor \"agent\"", self.0)
    }
}

impl std::error::Error for UnknownSender {}

impl FromStr for Sender {
    type Err = UnknownSender;

    fn from_str(word: &str) -> Result<Self, UnknownSender> {
        match word {
            "client" => Ok(Self::Client),
            "agent" => Ok(Self::Agent),
            _ => Err(UnknownSender(word.to_owned())),
        }
    }
}

/// One envelope (JSON-RPC, Agent Client Protocol) exchanged between client and agent.
///
/// Times are stored with millisecond precision; anything finer is dropped. As JSON (serde) an event has the reference
/// driver's field names (`eventIndex`, `createdAt` as a number of Unix milliseconds, …).
///
/// `Debug` prints everything, including the payload: keep it out of logs.
///
/// You can also use it in your own Diesel queries: `SessionEvent::as_select()` reads it, alone or next to columns of
/// your own tables, and `insert_into(events::table).values(&event)` writes it.
///
/// ```
/// use agent_session_store::{Json, Sender, SessionEvent};
/// use chrono::DateTime;
///
/// let event = SessionEvent {
///     id: "event-1".to_owned(),
///     event_index: 1,
///     session_id: "session-1".to_owned(),
///     created_at: DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
///     connection_id: "connection-1".to_owned(),
///     sender: Sender::Client,
///     payload: Json::parse(r#"{"jsonrpc":"2.0","id":1,"method":"session/new"}"#)?,
/// };
/// assert!(serde_json::to_string(&event).unwrap().starts_with(r#"{"id":"event-1","eventIndex":1,"#));
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Selectable)]
#[serde(rename_all = "camelCase")]
#[diesel(table_name = events)]
pub struct SessionEvent {
    /// The primary key, unique across all sessions.
    pub id: String,
    /// The position in the session. If several events share an index, they are ordered by id.
    pub event_index: i64,
    /// The session the event belongs to. Its record may be stored later, or never.
    pub session_id: String,
    /// When the event was sent.
    #[serde(with = "super::time::millis")]
    pub created_at: DateTime<Utc>,
    /// The connection the event was sent over.
    pub connection_id: String,
    /// Who sent the event.
    pub sender: Sender,
    /// The envelope, byte for byte.
    #[diesel(column_name = payload_json)]
    pub payload: Json,
}

/// An event that has no index in a session yet. `Debug` prints everything, including the payload.
///
/// ```
/// use agent_session_store::{Json, NewEvent, Sender, SessionStore};
/// use chrono::DateTime;
///
/// let event = NewEvent {
///     id: "event-1".to_owned(),
///     created_at: DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
///     connection_id: "connection-1".to_owned(),
///     sender: Sender::Agent,
///     payload: Json::parse(r#"{"jsonrpc":"2.0","method":"session/update"}"#)?,
/// };
/// let store = SessionStore::open_in_memory()?;
/// assert_eq!(store.append_events("session-1", &[event])?, [1]);
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewEvent {
    /// The primary key, unique across all sessions; appending the same event again changes nothing.
    pub id: String,
    /// When the event was sent.
    #[serde(with = "super::time::millis")]
    pub created_at: DateTime<Utc>,
    /// The connection the event was sent over.
    pub connection_id: String,
    /// Who sent the event.
    pub sender: Sender,
    /// The envelope, byte for byte.
    pub payload: Json,
}

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
/// let event = SessionEvent::new(
///     "event-1",
///     1,
///     "session-1",
///     DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
///     "connection-1",
///     Sender::Client,
///     Json::parse(r#"{"jsonrpc":"2.0","id":1,"method":"session/new"}"#)?,
/// );
/// assert!(serde_json::to_string(&event).unwrap().starts_with(r#"{"id":"event-1","eventIndex":1,"#));
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Selectable)]
#[serde(rename_all = "camelCase")]
#[diesel(table_name = events)]
#[non_exhaustive]
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
/// let event = NewEvent::new(
///     "event-1",
///     DateTime::from_timestamp_millis(1_700_000_000_000).unwrap(),
///     "connection-1",
///     Sender::Agent,
///     Json::parse(r#"{"jsonrpc":"2.0","method":"session/update"}"#)?,
/// );
/// let store = SessionStore::open_in_memory()?;
/// assert_eq!(store.append_events("session-1", &[event])?, [1]);
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
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

impl SessionEvent {
    /// An event with an index of your own; [`NewEvent`] gets one from the database.
    ///
    /// ```
    /// use agent_session_store::{Json, Sender, SessionEvent};
    ///
    /// let (at, payload) = (chrono::DateTime::UNIX_EPOCH, Json::parse(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)?);
    /// let event = SessionEvent::new("event-2", 2, "session-1", at, "connection-1", Sender::Agent, payload);
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn new(
        id: impl Into<String>,
        event_index: i64,
        session_id: impl Into<String>,
        created_at: DateTime<Utc>,
        connection_id: impl Into<String>,
        sender: Sender,
        payload: Json,
    ) -> Self {
        let (id, session_id, connection_id) = (id.into(), session_id.into(), connection_id.into());
        Self { id, event_index, session_id, created_at, connection_id, sender, payload }
    }
}

impl NewEvent {
    /// An event for any session.
    ///
    /// ```
    /// use agent_session_store::{Json, NewEvent, Sender};
    ///
    /// let payload = Json::parse(r#"{"jsonrpc":"2.0","method":"session/cancel"}"#)?;
    /// let event = NewEvent::new("event-3", chrono::DateTime::UNIX_EPOCH, "connection-1", Sender::Client, payload);
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn new(
        id: impl Into<String>,
        created_at: DateTime<Utc>,
        connection_id: impl Into<String>,
        sender: Sender,
        payload: Json,
    ) -> Self {
        Self { id: id.into(), created_at, connection_id: connection_id.into(), sender, payload }
    }
}

//! A session: one conversation with a coding agent.

use chrono::{DateTime, Utc};
use diesel::Selectable;
use serde::{Deserialize, Deserializer, Serialize};

use super::json::Json;
use crate::schema::sessions;

/// One conversation with a coding agent.
///
/// Times are stored with millisecond precision; anything finer is dropped. As JSON (serde) a record has the reference
/// driver's field names (`agentSessionId`, `createdAt` as a number of Unix milliseconds, …), and absent fields are left
/// out. `Debug` prints everything: keep it out of logs.
///
/// You can also use it in your own Diesel queries: `SessionRecord::as_select()` reads it, alone or next to columns of
/// your own tables, and `insert_into(sessions::table).values(&record)` writes it.
///
/// ```
/// use agent_session_store::{Json, SessionRecord};
/// use chrono::DateTime;
///
/// let created_at = DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
/// let mut session = SessionRecord::new("session-1", "claude", "3f0c", "connection-1", created_at);
/// session.session_init = Some(Json::parse(r#"{"cwd":"/srv/app"}"#)?);
/// let json = serde_json::to_string(&session).unwrap();
/// assert!(json.ends_with(r#""createdAt":1700000000000,"sessionInit":{"cwd":"/srv/app"}}"#));
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Selectable)]
#[serde(rename_all = "camelCase")]
#[diesel(table_name = sessions)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The primary key, chosen by your application.
    pub id: String,
    /// The agent, such as `claude` or `codex`.
    pub agent: String,
    /// The agent's own id for the session.
    pub agent_session_id: String,
    /// The connection that last used the session.
    pub last_connection_id: String,
    /// When the session began.
    #[serde(with = "super::time::millis")]
    pub created_at: DateTime<Utc>,
    /// When the session ended, if it has.
    #[serde(default, with = "super::time::optional_millis", skip_serializing_if = "Option::is_none")]
    pub destroyed_at: Option<DateTime<Utc>>,
    /// The sandbox the agent ran in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox_id: Option<String>,
    /// The parameters the session was started with. JSON `null` is stored as absent.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[diesel(column_name = session_init_json)]
    pub session_init: Option<Json>,
    /// The options the agent offers. JSON `null` is stored as absent; an empty list is kept.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[diesel(column_name = config_options_json)]
    pub config_options: Option<Json>,
    /// The modes the agent offers. `None` means unknown, JSON `null` means that it has none; both are preserved.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[diesel(column_name = modes_json)]
    pub modes: Option<Json>,
}

impl SessionRecord {
    /// A record of a session that has not ended. What is not given here is absent; set the fields that you have.
    ///
    /// ```
    /// use agent_session_store::SessionRecord;
    ///
    /// let mut session = SessionRecord::new("session-1", "claude", "3f0c", "connection-1", chrono::DateTime::UNIX_EPOCH);
    /// session.sandbox_id = Some("sandbox-1".to_owned());
    /// assert_eq!(session.destroyed_at, None);
    /// ```
    pub fn new(
        id: impl Into<String>,
        agent: impl Into<String>,
        agent_session_id: impl Into<String>,
        last_connection_id: impl Into<String>,
        created_at: DateTime<Utc>,
    ) -> Self {
        Self {
            id: id.into(),
            agent: agent.into(),
            agent_session_id: agent_session_id.into(),
            last_connection_id: last_connection_id.into(),
            created_at,
            destroyed_at: None,
            sandbox_id: None,
            session_init: None,
            config_options: None,
            modes: None,
        }
    }
}

/// A field that is present is `Some`, even if it is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

//! What a list shows of a session.

use agent_session_store::transcript::{TokenUsage, UsageReport};
use agent_session_store::{SessionRecord, SessionSummary};
use chrono::{DateTime, Utc};
use serde::Serialize;

/// A summary, with the record's own columns at the top.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedSession {
    #[serde(flatten)]
    pub record: SessionRecord,
    /// What the agent called it, else how the first prompt begins.
    pub title: Option<String>,
    /// Where the agent works.
    pub cwd: Option<String>,
    /// The greatest index of its events.
    pub last_index: Option<i64>,
    /// When the last event was sent, in Unix milliseconds.
    #[serde(serialize_with = "millis")]
    pub last_activity: Option<DateTime<Utc>>,
    /// Whether the agent is at work, if that can be told.
    pub is_running: Option<bool>,
    /// What the agent reported of the context and the cost, if it did of late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageReport>,
    /// The tokens of the last turn, if they were reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenUsage>,
    /// How many events it has, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<i64>,
    /// The size of their payloads, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_bytes: Option<i64>,
    pub state: &'static str,
}

fn millis<S: serde::Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.timestamp_millis()).serialize(serializer)
}

impl From<SessionSummary> for ListedSession {
    fn from(summary: SessionSummary) -> Self {
        let state = match (summary.session.destroyed_at, summary.is_running) {
            (Some(_), _) => "ended",
            (None, Some(true)) => "running",
            (None, _) => "live",
        };
        Self {
            title: summary.title,
            cwd: summary.cwd,
            last_index: summary.last_index,
            last_activity: summary.last_activity,
            is_running: summary.is_running,
            usage: summary.usage,
            tokens: summary.tokens,
            events: None,
            payload_bytes: None,
            state,
            record: summary.session,
        }
    }
}

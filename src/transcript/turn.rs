//! Turns: a prompt, what the agent did, and how it ended.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::entry::Entry;
use super::json_node::JsonNode;
use super::peer_request::Answer;
use super::reported::TokenUsage;
use crate::model::event::SessionEvent;
use crate::model::json::Json;

/// A prompt and what followed it up to the next one, or what happened outside of any: before the first prompt, and between
/// the response to one and the next.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Turn {
    /// Which of the session's prompts it is, from 1. `None` without a prompt, and if the first event pushed was not the
    /// session's first, by its index: 1, or less.
    pub number: Option<u64>,
    /// The index of the first event.
    pub first_index: i64,
    /// The index of the last event. It may be greater than the first of the next turn, if something came late.
    pub last_index: i64,
    /// When the first event was sent.
    #[serde(with = "crate::model::time::millis")]
    pub first_time: DateTime<Utc>,
    /// When the last event was sent.
    #[serde(with = "crate::model::time::millis")]
    pub last_time: DateTime<Utc>,
    /// The prompt, a [`UserMessage`](super::EntryKind::UserMessage).
    pub prompt: Option<Entry>,
    /// What happened, in the order in which it began.
    pub entries: Vec<Entry>,
    /// How it ended, or that it has not. `None` without a prompt.
    pub outcome: Option<TurnOutcome>,
    /// The index of the response to the prompt.
    pub answer_index: Option<i64>,
    /// Whether the client cancelled it. The agent may have ended it for another reason nevertheless.
    pub cancelled: bool,
    /// The tokens that the response to the prompt reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<TokenUsage>,
}

/// How a turn ended. In JSON, `state` says which: `running`, `unanswered`, `idle`, `stopped`, `failed` or `answered`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum TurnOutcome {
    /// It has not, as far as is known.
    Running,
    /// Another prompt followed before there was a response. There may still be one.
    Unanswered,
    /// The agent said that it has nothing to do any more, and did not answer: so the messages of OpenCode end
    /// (`_sandboxagent/opencode/status`). If there is a response after all, it says how the turn ended.
    Idle,
    /// The agent stopped.
    Stopped {
        /// `end_turn`, `max_tokens`, `max_turn_requests`, `refusal`, `cancelled`, or another word.
        reason: String,
    },
    /// The prompt was answered with an error.
    Failed {
        /// The code, if there is one.
        code: Option<i64>,
        /// The message, if there is one.
        message: Option<String>,
        /// The whole error as it was sent.
        error: Json,
    },
    /// The prompt was answered with a result that has no stop reason.
    Answered {
        /// The result as it was sent.
        result: Json,
    },
}

impl Turn {
    pub(super) fn new(event: &SessionEvent) -> Self {
        let (index, time) = (event.event_index, event.created_at);
        Self {
            number: None,
            first_index: index,
            last_index: index,
            first_time: time,
            last_time: time,
            prompt: None,
            entries: Vec::new(),
            outcome: None,
            answer_index: None,
            cancelled: false,
            usage: None,
        }
    }

    /// Whether there is a prompt and the agent may still be at work on it: nothing answered it, and no other followed.
    ///
    /// ```
    /// use agent_session_store::transcript::Transcript;
    /// use agent_session_store::{Json, Sender, SessionEvent};
    /// # use chrono::DateTime;
    ///
    /// let event = |index, sender, payload: &str| -> Result<SessionEvent, agent_session_store::Error> {
    ///     let (id, payload) = (format!("event-{index}"), Json::parse(payload)?);
    ///     Ok(SessionEvent::new(id, index, "session-1", DateTime::UNIX_EPOCH, "connection-1", sender, payload))
    /// };
    /// let mut transcript = Transcript::new();
    /// transcript.push(&event(1, Sender::Client, r#"{"id": 1, "method": "session/prompt", "params": {"prompt": []}}"#)?);
    /// assert!(transcript.turns()[0].is_running());
    /// transcript.push(&event(2, Sender::Agent, r#"{"id": 1, "result": {"stopReason": "end_turn"}}"#)?);
    /// assert!(!transcript.turns()[0].is_running());
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn is_running(&self) -> bool {
        self.outcome == Some(TurnOutcome::Running)
    }

    /// Whether what follows belongs to another turn.
    pub(super) fn is_over(&self) -> bool {
        self.answer_index.is_some() || self.outcome == Some(TurnOutcome::Idle)
    }

    pub(super) fn reach(&mut self, event: &SessionEvent) {
        self.last_index = event.event_index;
        self.last_time = event.created_at;
    }

    /// Ends the turn with the response to its prompt.
    pub(super) fn answer(&mut self, event: &SessionEvent, result: Result<JsonNode<'_>, JsonNode<'_>>) {
        self.reach(event);
        self.answer_index = Some(event.event_index);
        self.usage = result.ok().and_then(TokenUsage::read);
        let reason = result.ok().and_then(|result| result.member("stopReason")?.string());
        self.outcome = Some(match (reason, Answer::read(result)) {
            (Some(reason), _) => TurnOutcome::Stopped { reason },
            (None, Answer::Error { code, message, error }) => TurnOutcome::Failed { code, message, error },
            (None, Answer::Result { result }) => TurnOutcome::Answered { result },
            (None, Answer::Pending) => TurnOutcome::Running,
        });
    }
}

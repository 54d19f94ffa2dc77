//! Entries: what happened in a turn, each thing once.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::content_block::ContentBlock;
use super::peer_request::{PeerRequest, PeerResponse, Permission};
use super::reported::{AvailableCommand, PlanEntry, UsageReport};
use super::tool_call::ToolCall;
use crate::model::event::{Sender, SessionEvent};
use crate::model::json::Json;

/// One thing that happened in a turn, put together from one event or many.
///
/// In JSON the fields of [`kind`](Self::kind) stand beside the others, and `type` names it. Times are numbers of Unix
/// milliseconds, as in a [`SessionEvent`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Entry {
    /// The index of the first event that it was put together from.
    pub first_index: i64,
    /// The index of the last one.
    pub last_index: i64,
    /// When the first of the events was sent.
    #[serde(with = "crate::model::time::millis")]
    pub first_time: DateTime<Utc>,
    /// When the last of them was sent.
    #[serde(with = "crate::model::time::millis")]
    pub last_time: DateTime<Utc>,
    /// The number of events. Those of other entries may lie between them.
    pub events: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EntryKind,
}

/// What happened. In JSON, `type` is the name of the variant in camel case: `agentMessage`, `toolCall`, …
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum EntryKind {
    /// A prompt, or what a person said as the agent tells it, as when it loads a session.
    UserMessage(ChatMessage),
    /// What the agent said.
    AgentMessage(ChatMessage),
    /// What the agent said to itself.
    AgentThought(ChatMessage),
    /// A tool call and all its updates.
    ToolCall(ToolCall),
    /// A plan of the turn, as it was last.
    Plan {
        /// The plan's id, where a turn may have several.
        #[serde(skip_serializing_if = "Option::is_none")]
        plan_id: Option<String>,
        /// The steps.
        entries: Vec<PlanEntry>,
        /// The plan as Markdown, where it is no list of steps.
        #[serde(skip_serializing_if = "Option::is_none")]
        markdown: Option<String>,
    },
    /// The mode is another one. A client's request for that is a `Request`.
    ModeChange {
        /// The mode's id.
        mode_id: String,
    },
    /// The settings are others. A client's request for that is a `Request`.
    ConfigChange {
        /// All of the settings, as they were sent.
        options: Json,
    },
    /// The commands that the agent offers from now on.
    AvailableCommands {
        /// All of them.
        commands: Vec<AvailableCommand>,
    },
    /// The agent asked whether it may do something.
    Permission(Permission),
    /// The agent asked for a file or to write one (`fs/…`).
    File(PeerRequest),
    /// The agent used a terminal of the client (`terminal/…`).
    Terminal(PeerRequest),
    /// Any other request.
    Request(PeerRequest),
    /// A response to a request that is in no turn at hand.
    Response(PeerResponse),
    /// Tokens and cost, as the turn's last report says.
    Usage(UsageReport),
    /// The agent named or dated the session.
    SessionInfo {
        /// The title, if it is given.
        title: Option<String>,
        /// All that was sent.
        update: Json,
    },
    /// The client cancelled the turn.
    Cancel,
    /// Any other kind of session update, or one that is not of its kind's form.
    Update {
        /// The kind, if it is named.
        name: Option<String>,
        /// The update as it was sent.
        update: Json,
    },
    /// Any other notification.
    Notification {
        /// Who sent it.
        sender: Sender,
        /// The method.
        method: String,
        /// The parameters as they were sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        params: Option<Json>,
    },
    /// What is no message of JSON-RPC, and batches.
    Other {
        /// Who sent it.
        sender: Sender,
        /// All of it.
        payload: Json,
    },
}

/// A message: text, and what stands between.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ChatMessage {
    /// The message's id, where the sender gives it one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The content. Chunks of text that follow each other are one block.
    pub content: Vec<ContentBlock>,
}

impl ChatMessage {
    /// The blocks of text as one text, a line break between them.
    ///
    /// ```
    /// use agent_session_store::transcript::{ChatMessage, ContentBlock};
    ///
    /// let mut message = ChatMessage::default();
    /// message.content = vec![
    ///     ContentBlock::Text { text: "Look at this:".to_owned() },
    ///     ContentBlock::Text { text: "And now?".to_owned() },
    /// ];
    /// assert_eq!(message.text(), "Look at this:\nAnd now?");
    /// ```
    pub fn text(&self) -> String {
        let texts = self.content.iter().filter_map(|block| match block {
            ContentBlock::Text { text } => Some(text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}

impl Entry {
    pub(super) fn new(event: &SessionEvent, kind: EntryKind) -> Self {
        let (index, time) = (event.event_index, event.created_at);
        Self { first_index: index, last_index: index, first_time: time, last_time: time, events: 1, kind }
    }

    pub(super) fn reach(&mut self, event: &SessionEvent) {
        self.last_index = event.event_index;
        self.last_time = event.created_at;
        self.events += 1;
    }
}

//! What a renderer is given: the parts of a turn in words, already redacted and without characters that act.

use chrono::{DateTime, Utc};

use super::diff_lines::FileDiff;

/// What stands before the turns.
pub(super) struct Opening {
    pub(super) title: String,
    /// What is known of the session: a name, and the text.
    pub(super) facts: Vec<(&'static str, Fact)>,
}

pub(super) enum Fact {
    Text(String),
    Time(DateTime<Utc>),
}

/// A turn but for its parts.
pub(super) struct TurnFrame {
    pub(super) title: String,
    /// Whether it has a prompt.
    #[cfg_attr(not(feature = "html"), expect(dead_code, reason = "only a page shows it"))]
    pub(super) is_prompted: bool,
    pub(super) begin: DateTime<Utc>,
    pub(super) end: Option<TurnEnd>,
}

/// How a turn ended.
pub(super) struct TurnEnd {
    pub(super) mark: PartMark,
    /// A few words.
    pub(super) text: String,
    pub(super) blocks: Vec<PartBlock>,
}

/// An entry.
pub(super) struct TurnPart {
    pub(super) role: Role,
    /// One line.
    pub(super) title: Option<String>,
    pub(super) state: Option<(PartMark, String)>,
    #[cfg_attr(not(feature = "html"), expect(dead_code, reason = "only a page shows it"))]
    pub(super) time: DateTime<Utc>,
    pub(super) blocks: Vec<PartBlock>,
}

/// Whose part it is, or what it is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    User,
    Agent,
    Thought,
    Tool,
    Plan,
    Permission,
    File,
    Terminal,
    /// A short note about the session.
    Note(&'static str),
    /// A message of the protocol.
    Message(&'static str),
}

impl Role {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Agent => "Agent",
            Self::Thought => "Thought",
            Self::Tool => "Tool call",
            Self::Plan => "Plan",
            Self::Permission => "Permission",
            Self::File => "File",
            Self::Terminal => "Terminal",
            Self::Note(label) | Self::Message(label) => label,
        }
    }
}

/// How far something is. The words for it are the agent's; the sign is ours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum PartMark {
    Waiting,
    Running,
    Done,
    Failed,
    Unknown,
}

impl PartMark {
    /// For a state of the protocol.
    pub(super) fn of(state: &str) -> Self {
        match state {
            "pending" => Self::Waiting,
            "in_progress" => Self::Running,
            "completed" => Self::Done,
            "failed" => Self::Failed,
            _ => Self::Unknown,
        }
    }

    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Waiting => "○",
            Self::Running => "◐",
            Self::Done => "✓",
            Self::Failed => "✗",
            Self::Unknown => "•",
        }
    }
}

pub(super) enum PartBlock {
    /// As agents and people write it.
    Markdown(String),
    /// One line under a name.
    Field(&'static str, String),
    Code {
        name: &'static str,
        /// Of letters, digits and a few signs.
        language: Option<String>,
        text: String,
    },
    Diff {
        path: String,
        diff: FileDiff,
    },
    Steps(Vec<PartStep>),
}

/// One thing of a list.
pub(super) struct PartStep {
    pub(super) mark: PartMark,
    pub(super) text: String,
    /// A few words about it.
    pub(super) notes: Option<String>,
}

impl PartStep {
    /// The step in a line.
    pub(super) fn line(&self) -> String {
        let notes = self.notes.as_ref().map(|notes| format!(" ({notes})")).unwrap_or_default();
        format!("{}{notes}", self.text)
    }
}

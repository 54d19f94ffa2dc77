//! Tool calls: everything that is said about one, merged.

use serde::Serialize;

use super::content_block::ContentBlock;
use super::json_node::{JsonNode, optional};
use crate::model::json::Json;

/// A tool call with all its updates: each field has the value that was sent last.
///
/// `kind` and `status` are the protocol's words as they were sent, known or not: `read`, `edit`, `delete`, `move`,
/// `search`, `execute`, `think`, `fetch`, `switch_mode`, `other`; `pending`, `in_progress`, `completed`, `failed`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ToolCall {
    /// The agent's name for the call. It may be used again in another turn.
    pub tool_call_id: String,
    /// Whether the call itself was seen; otherwise only updates were, and what came before is unknown.
    pub begun: bool,
    /// What the tool does, for people.
    pub title: Option<String>,
    /// The tool's name, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The kind of tool.
    pub kind: Option<String>,
    /// How far it is.
    pub status: Option<String>,
    /// The files it works on.
    pub locations: Vec<ToolLocation>,
    /// What it produced.
    pub content: Vec<ToolContent>,
    /// The parameters that the tool was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_input: Option<Json>,
    /// What the tool returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_output: Option<Json>,
}

/// A file that a tool works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ToolLocation {
    /// The file's path.
    pub path: String,
    /// A line in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// Something that a tool call produced. In JSON, `type` says what: `content`, `diff`, `terminal` or `unknown`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum ToolContent {
    /// Text, a picture, …
    Content {
        /// The block.
        content: ContentBlock,
    },
    /// A change of a file.
    Diff {
        /// The file's path.
        path: String,
        /// What the file had; `None` if it is new.
        old_text: Option<String>,
        /// What the file has.
        new_text: String,
    },
    /// The output of a command, which the client keeps under this id.
    Terminal {
        /// The terminal's id.
        terminal_id: String,
    },
    /// Anything else.
    Unknown {
        /// What was sent.
        content: Json,
    },
}

impl ToolCall {
    /// What a `tool_call`, a `tool_call_update` or a permission request says. `None` if it has no id, or if a field is not
    /// of its type.
    pub(super) fn read(node: JsonNode<'_>) -> Option<Self> {
        let [id, title, name, kind, status, locations, content, raw_input, raw_output] = node.members([
            "toolCallId",
            "title",
            "name",
            "kind",
            "status",
            "locations",
            "content",
            "rawInput",
            "rawOutput",
        ]);
        let given = |member: Option<JsonNode<'_>>| member.filter(|node| !node.is_null()).map(JsonNode::json);
        let locations = optional(locations, |node| node.elements()?.map(ToolLocation::read).collect())?;
        let content = optional(content, |node| Some(node.elements()?.map(ToolContent::read).collect()))?;
        Some(Self {
            tool_call_id: id?.string()?,
            begun: false,
            title: optional(title, JsonNode::string)?,
            name: optional(name, JsonNode::string)?,
            kind: optional(kind, JsonNode::string)?,
            status: optional(status, JsonNode::string)?,
            locations: locations.unwrap_or_default(),
            content: content.unwrap_or_default(),
            raw_input: given(raw_input),
            raw_output: given(raw_output),
        })
    }

    /// Says what the protocol says of a call that does not mention its kind or status.
    pub(super) fn begin(&mut self) {
        self.begun = true;
        self.kind.get_or_insert_with(|| "other".to_owned());
        self.status.get_or_insert_with(|| "pending".to_owned());
    }

    /// Takes over what `node`, from which `update` was read, mentions. Lists are replaced as a whole, also by empty ones.
    pub(super) fn merge(&mut self, update: Self, node: JsonNode<'_>) {
        let [locations, content] = node.members(["locations", "content"]);
        let is_given = |member: Option<JsonNode<'_>>| member.is_some_and(|node| !node.is_null());
        if is_given(locations) {
            self.locations = update.locations;
        }
        if is_given(content) {
            self.content = update.content;
        }
        let replace = |field: &mut Option<String>, new: Option<String>| *field = new.or_else(|| field.take());
        replace(&mut self.title, update.title);
        replace(&mut self.name, update.name);
        replace(&mut self.kind, update.kind);
        replace(&mut self.status, update.status);
        self.raw_input = update.raw_input.or_else(|| self.raw_input.take());
        self.raw_output = update.raw_output.or_else(|| self.raw_output.take());
    }
}

impl ToolLocation {
    fn read(node: JsonNode<'_>) -> Option<Self> {
        let [path, line] = node.members(["path", "line"]);
        Some(Self { path: path?.string()?, line: optional(line, JsonNode::unsigned)? })
    }
}

impl ToolContent {
    fn read(node: JsonNode<'_>) -> Self {
        Self::known(node).unwrap_or_else(|| Self::Unknown { content: node.json() })
    }

    fn known(node: JsonNode<'_>) -> Option<Self> {
        match node.member("type")?.string()?.as_str() {
            "content" => Some(Self::Content { content: ContentBlock::read(node.member("content")?) }),
            "diff" => {
                let [path, old_text, new_text] = node.members(["path", "oldText", "newText"]);
                Some(Self::Diff {
                    path: path?.string()?,
                    old_text: optional(old_text, JsonNode::string)?,
                    new_text: new_text?.string()?,
                })
            }
            "terminal" => Some(Self::Terminal { terminal_id: node.member("terminalId")?.string()? }),
            _ => None,
        }
    }
}

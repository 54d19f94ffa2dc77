//! Requests of either side with their responses, and the permissions that agents ask for.

use serde::Serialize;

use super::json_node::{JsonNode, optional};
use super::tool_call::ToolCall;
use crate::model::event::Sender;
use crate::model::json::Json;

/// A request and its response.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PeerRequest {
    /// Who asked.
    pub sender: Sender,
    /// The JSON-RPC id.
    pub id: Json,
    /// Such as `fs/read_text_file`.
    pub method: String,
    /// The parameters as they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Json>,
    /// What the other side answered.
    pub answer: Answer,
}

/// A response whose request is in no turn at hand: it was not seen, or its turn was taken.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PeerResponse {
    /// Who answered.
    pub sender: Sender,
    /// The JSON-RPC id.
    pub id: Json,
    /// The method of the request, if that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// What was answered.
    pub answer: Answer,
}

/// What a request was answered. In JSON, `state` says which: `pending`, `result` or `error`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum Answer {
    /// Nothing yet.
    Pending,
    /// A result.
    Result {
        /// The result as it was sent.
        result: Json,
    },
    /// An error.
    Error {
        /// The code, if there is one.
        code: Option<i64>,
        /// The message, if there is one.
        message: Option<String>,
        /// The whole error as it was sent.
        error: Json,
    },
}

/// A question of the agent whether it may do something, and the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Permission {
    /// The JSON-RPC id.
    pub id: Json,
    /// What the request says about the tool call it is for. The call itself is usually an entry before this one.
    pub tool_call: ToolCall,
    /// What can be answered.
    pub options: Vec<PermissionOption>,
    /// What was answered.
    pub outcome: PermissionOutcome,
}

/// An answer that a person can choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PermissionOption {
    /// The option's id.
    pub option_id: String,
    /// What it says.
    pub name: Option<String>,
    /// `allow_once`, `allow_always`, `reject_once`, `reject_always`, or another word.
    pub kind: Option<String>,
}

/// How a person decided. In JSON, `state` says which: `pending`, `selected`, `cancelled` or `other`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum PermissionOutcome {
    /// Not yet.
    Pending,
    /// By one of the options.
    Selected {
        /// The id of the option.
        option_id: String,
    },
    /// Not at all: the turn was cancelled.
    Cancelled,
    /// An error, or a result of another form.
    Other {
        /// What was answered.
        answer: Answer,
    },
}

impl Answer {
    pub(super) fn read(result: Result<JsonNode<'_>, JsonNode<'_>>) -> Self {
        match result {
            Ok(result) => Self::Result { result: result.json() },
            Err(error) => {
                let [code, message] = error.members(["code", "message"]);
                let code = code.and_then(|code| code.raw().parse().ok());
                Self::Error { code, message: message.and_then(JsonNode::string), error: error.json() }
            }
        }
    }
}

impl Permission {
    /// `None` if the parameters are not those of a permission request.
    pub(super) fn read(id: JsonNode<'_>, params: JsonNode<'_>) -> Option<Self> {
        let [tool_call, options] = params.members(["toolCall", "options"]);
        let options: Option<Vec<_>> = options?.elements()?.map(PermissionOption::read).collect();
        let tool_call = ToolCall::read(tool_call?)?;
        Some(Self { id: id.json(), tool_call, options: options?, outcome: PermissionOutcome::Pending })
    }
}

impl PermissionOption {
    fn read(node: JsonNode<'_>) -> Option<Self> {
        let [id, name, kind] = node.members(["optionId", "name", "kind"]);
        let (name, kind) = (optional(name, JsonNode::string)?, optional(kind, JsonNode::string)?);
        Some(Self { option_id: id?.string()?, name, kind })
    }
}

impl PermissionOutcome {
    pub(super) fn read(result: Result<JsonNode<'_>, JsonNode<'_>>) -> Self {
        let known = result.ok().and_then(|result| {
            let [outcome, option_id] = result.member("outcome")?.members(["outcome", "optionId"]);
            match outcome?.string()?.as_str() {
                "cancelled" => Some(Self::Cancelled),
                "selected" => Some(Self::Selected { option_id: option_id?.string()? }),
                _ => None,
            }
        });
        known.unwrap_or_else(|| Self::Other { answer: Answer::read(result) })
    }
}

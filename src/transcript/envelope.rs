//! What a payload is to JSON-RPC, as far as it can be told.

use super::json_node::JsonNode;
use crate::model::event::Sender;

/// A message, by what it has rather than by what it says that it is: `jsonrpc` is not looked at.
pub(super) enum Envelope<'a> {
    Request {
        id: JsonNode<'a>,
        method: String,
        params: Option<JsonNode<'a>>,
    },
    Notification {
        method: String,
        params: Option<JsonNode<'a>>,
    },
    Response {
        id: JsonNode<'a>,
        result: Result<JsonNode<'a>, JsonNode<'a>>,
    },
    /// A batch, or anything else.
    Unknown,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(payload: JsonNode<'a>) -> Self {
        let [id, method, params, result, error] = payload.members(["id", "method", "params", "result", "error"]);
        if let Some(method) = method {
            return match (method.string(), id) {
                (None, _) => Self::Unknown,
                (Some(method), Some(id)) => Self::Request { id, method, params },
                (Some(method), None) => Self::Notification { method, params },
            };
        }
        // Some peers send both, with null in one of them.
        let error = error.filter(|error| !error.is_null() || result.is_none());
        match (id, error, result) {
            (Some(id), Some(error), _) => Self::Response { id, result: Err(error) },
            (Some(id), None, Some(result)) => Self::Response { id, result: Ok(result) },
            _ => Self::Unknown,
        }
    }
}

/// What pairs a response with its request: who asked, and the id. `1` and `"1"` are two ids; `1` and `1.0` are one, since
/// many parsers cannot tell them apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RequestKey(Sender, String);

impl RequestKey {
    pub(super) fn new(asked_by: Sender, id: JsonNode<'_>) -> Self {
        let spelled = match (id.string(), id.float()) {
            // Two ids that differ in halves of surrogate pairs alone must not become one.
            (Some(text), _) if !text.contains('\u{fffd}') => format!("\"{text}"),
            (None, Some(number)) if number.fract() == 0.0 && number.abs() < 9e15 => format!("{}", number as i64),
            _ => id.raw().to_owned(),
        };
        Self(asked_by, spelled)
    }

    /// The id's length in bytes.
    pub(super) fn len(&self) -> usize {
        self.1.len()
    }
}

pub(super) fn other_side(sender: Sender) -> Sender {
    match sender {
        Sender::Client => Sender::Agent,
        Sender::Agent => Sender::Client,
    }
}

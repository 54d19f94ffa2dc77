//! Content: what prompts, messages and tool calls consist of.

use serde::Serialize;

use super::json_node::{JsonNode, optional};
use crate::model::json::Json;

/// A part of a prompt or a message. In JSON, `type` says which: `text`, `image`, `audio`, `resourceLink`, `resource` or
/// `unknown`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum ContentBlock {
    /// Text; usually Markdown, where an agent wrote it.
    Text {
        /// All of it, joined from the chunks it came in. Half a surrogate pair is U+FFFD.
        text: String,
    },
    /// A picture.
    Image {
        /// The picture in Base64.
        data: String,
        /// Such as `image/png`.
        mime_type: String,
        /// Where it is from.
        #[serde(skip_serializing_if = "Option::is_none")]
        uri: Option<String>,
    },
    /// Sound.
    Audio {
        /// The sound in Base64.
        data: String,
        /// Such as `audio/wav`.
        mime_type: String,
    },
    /// A file or another resource that is named but not included.
    ResourceLink {
        /// Where it is.
        uri: String,
        /// What it is called.
        name: String,
        /// What it is called where people read it.
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// What it is.
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// Such as `text/x-rust`.
        #[serde(skip_serializing_if = "Option::is_none")]
        mime_type: Option<String>,
        /// Its size in bytes.
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
    },
    /// A resource that is included, as text or in Base64.
    Resource {
        /// Where it is from.
        uri: String,
        /// Such as `text/x-rust`.
        #[serde(skip_serializing_if = "Option::is_none")]
        mime_type: Option<String>,
        /// Its text.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// Its bytes in Base64.
        #[serde(skip_serializing_if = "Option::is_none")]
        blob: Option<String>,
    },
    /// Any other block, or one that lacks what its kind has.
    Unknown {
        /// The block as it was sent.
        block: Json,
    },
}

impl ContentBlock {
    pub(super) fn read(node: JsonNode<'_>) -> Self {
        Self::known(node).unwrap_or_else(|| Self::Unknown { block: node.json() })
    }

    /// The blocks of an array. Anything else is one block.
    pub(super) fn read_all(node: JsonNode<'_>) -> Vec<Self> {
        match node.elements() {
            Some(blocks) => blocks.map(Self::read).collect(),
            None => vec![Self::read(node)],
        }
    }

    fn known(node: JsonNode<'_>) -> Option<Self> {
        let text = JsonNode::string;
        match node.member("type")?.string()?.as_str() {
            "text" => Some(Self::Text { text: node.member("text")?.string()? }),
            "image" => {
                let [data, mime_type, uri] = node.members(["data", "mimeType", "uri"]);
                Some(Self::Image { data: text(data?)?, mime_type: text(mime_type?)?, uri: optional(uri, text)? })
            }
            "audio" => {
                let [data, mime_type] = node.members(["data", "mimeType"]);
                Some(Self::Audio { data: text(data?)?, mime_type: text(mime_type?)? })
            }
            "resource_link" => {
                let [uri, name, title, description, mime_type, size] =
                    node.members(["uri", "name", "title", "description", "mimeType", "size"]);
                Some(Self::ResourceLink {
                    uri: text(uri?)?,
                    name: text(name?)?,
                    title: optional(title, text)?,
                    description: optional(description, text)?,
                    mime_type: optional(mime_type, text)?,
                    size: optional(size, JsonNode::unsigned)?,
                })
            }
            "resource" => {
                let [uri, mime_type, inner, blob] =
                    node.member("resource")?.members(["uri", "mimeType", "text", "blob"]);
                let (inner, blob) = (optional(inner, text)?, optional(blob, text)?);
                let known =
                    Self::Resource { uri: text(uri?)?, mime_type: optional(mime_type, text)?, text: inner, blob };
                matches!(&known, Self::Resource { text, blob, .. } if text.is_some() || blob.is_some()).then_some(known)
            }
            _ => None,
        }
    }
}

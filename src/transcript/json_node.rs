//! Reads JSON where it stands: no tree is built, depth costs nothing, and half a surrogate pair is no error.

use std::borrow::Cow;

use super::lossy_text::LossyText;
use crate::model::json::Json;

/// A value inside JSON text, without the white space around it. Text that is no JSON yields fewer parts, never a panic.
#[derive(Clone, Copy)]
pub(super) struct JsonNode<'a>(&'a str);

impl<'a> JsonNode<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text.trim_matches(JSON_SPACE))
    }

    pub(super) fn raw(self) -> &'a str {
        self.0
    }

    pub(super) fn json(self) -> Json {
        // A part of valid JSON is valid JSON; if the whole was none, its text is kept.
        Json::parse(self.0).unwrap_or_else(|_| serde_json::Value::from(self.0).into())
    }

    pub(super) fn is_null(self) -> bool {
        self.0 == "null"
    }

    pub(super) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub(super) fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    pub(super) fn lossy_text(self) -> Option<LossyText> {
        Some(LossyText::decode(self.0.strip_prefix('"')?.strip_suffix('"')?))
    }

    pub(super) fn string(self) -> Option<String> {
        self.lossy_text().map(|found| found.text)
    }

    /// A whole number, also if it is spelled as a fraction (`1.0`, `1e3`).
    pub(super) fn unsigned(self) -> Option<u64> {
        let exact = self.0.parse().ok();
        exact.or_else(|| {
            let number = self.float()?;
            // 2^64 is the first float that does not fit.
            (number.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(&number)).then_some(number as u64)
        })
    }

    pub(super) fn float(self) -> Option<f64> {
        let is_number = self.0.starts_with(|sign: char| sign == '-' || sign.is_ascii_digit());
        self.0.parse().ok().filter(|number: &f64| is_number && number.is_finite())
    }

    /// The elements, if this is an array.
    pub(super) fn elements(self) -> Option<NodeParts<'a>> {
        self.0.strip_prefix('[').map(NodeParts)
    }

    /// The members of these names, each looked for once. Of several with one name the last counts, as in most parsers.
    pub(super) fn members<const N: usize>(self, names: [&str; N]) -> [Option<JsonNode<'a>>; N] {
        let mut found = [None; N];
        let Some(rest) = self.0.strip_prefix('{') else { return found };
        let mut parts = NodeParts(rest);
        while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
            if let Some(place) = names.iter().position(|name| key.is_key(name)) {
                found[place] = Some(value);
            }
        }
        found
    }

    pub(super) fn member(self, name: &str) -> Option<JsonNode<'a>> {
        self.members([name])[0]
    }

    fn is_key(self, name: &str) -> bool {
        let spelled = self.0.trim_matches('"');
        let key =
            if self.0.contains('\\') { Cow::Owned(self.string().unwrap_or_default()) } else { Cow::Borrowed(spelled) };
        key == name
    }
}

/// The values of an array, or keys and values of an object in turn: what follows the opening bracket.
#[derive(Clone)]
pub(super) struct NodeParts<'a>(&'a str);

impl<'a> Iterator for NodeParts<'a> {
    type Item = JsonNode<'a>;

    fn next(&mut self) -> Option<JsonNode<'a>> {
        let rest = self.0.trim_start_matches(|sign: char| JSON_SPACE.contains(&sign) || sign == ',' || sign == ':');
        let (value, rest) = rest.split_at(end_of_value(rest.as_bytes()));
        self.0 = rest;
        (!value.is_empty()).then_some(JsonNode(value))
    }
}

const JSON_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// Where the value ends that stands at the beginning.
fn end_of_value(bytes: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'{' | b'[' => (depth, at) = (depth + 1, at + 1),
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => (depth, at) = (depth - 1, at + 1),
            _ if depth > 0 => {
                at += 1;
                continue;
            }
            _ => {
                let is_end = |byte: &u8| b",:]} \t\n\r\"[{".contains(byte);
                return at + bytes[at..].iter().position(is_end).unwrap_or(bytes.len() - at);
            }
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

pub(super) fn end_of_string(bytes: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A member that may be absent or null. It is `None` if there is something else than what is wanted.
pub(super) fn optional<'a, T>(
    member: Option<JsonNode<'a>>,
    read: impl FnOnce(JsonNode<'a>) -> Option<T>,
) -> Option<Option<T>> {
    match member.filter(|node| !node.is_null()) {
        None => Some(None),
        Some(node) => read(node).map(Some),
    }
}

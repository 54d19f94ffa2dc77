//! A serde_json error without the text that it quotes.

use serde_json::error::Category;

use super::time::OUT_OF_RANGE;

/// Why a value cannot be read, where serde has made a tree of its text.
pub(super) const TEXT_LOST: &str = "serde has lost the text here (#[serde(flatten)], an untagged or an internally tagged \
    enum): use #[serde(deserialize_with = \"Json::deserialize_value\")], which writes a new text";

/// The same error without the quoted JSON, which may be a secret and errors end up in logs. Syntax errors quote
/// nothing, so their message and position stay.
pub(crate) fn without_content(error: serde_json::Error) -> serde_json::Error {
    if error.classify() != Category::Data {
        return error;
    }
    let place = if error.line() == 0 { String::new() } else { place(error.line(), error.column()) };
    let message = error.to_string();
    // serde_json recovers the position from the text.
    serde::de::Error::custom(told(message.strip_suffix(&*place).unwrap_or(&message)) + &place)
}

pub(super) fn place(line: usize, column: usize) -> String {
    format!(" at line {line} column {column}")
}

/// How serde names an unexpected value before it quotes it.
const KINDS: [&str; 17] = [
    "boolean",
    "integer",
    "floating point",
    "character",
    "string",
    "byte array",
    "unit value",
    "null",
    "Option value",
    "newtype struct",
    "sequence",
    "map",
    "enum",
    "unit variant",
    "newtype variant",
    "tuple variant",
    "struct variant",
];

/// The part of a message that cannot be content: serde's own words, and the names in the type.
fn told(message: &str) -> String {
    let expected = message.rsplit_once(", expected ").map_or(String::new(), |(_, what)| format!(", expected {what}"));
    let is_of_the_type = ["missing field `", "duplicate field `", "data did not match any variant of untagged enum "];
    if [OUT_OF_RANGE, TEXT_LOST].contains(&message)
        || is_of_the_type.iter().any(|beginning| message.starts_with(beginning))
    {
        return message.to_owned();
    }
    for problem in ["invalid type", "invalid value"] {
        if let Some(found) = message.strip_prefix(problem).and_then(|rest| rest.strip_prefix(": ")) {
            let kind = KINDS.iter().find(|kind| found.starts_with(*kind));
            return format!("{problem}: {}{expected}", kind.unwrap_or(&"another value"));
        }
    }
    let told = ["unknown variant", "unknown field", "invalid length"];
    match told.iter().find(|beginning| message.starts_with(*beginning)) {
        Some(problem) => format!("{problem}{expected}"),
        None => "a value that the type does not accept".to_owned(),
    }
}

//! JSON as people read it: a member a line, and what is short in one line.

use std::borrow::Cow;

use crate::transcript::json_node::{JsonNode, end_of_string};

/// How many bytes of an object or an array stand in one line.
const SHORT: usize = 72;

/// How far lines are indented at most, however deep a value is.
const DEEPEST: usize = 24;

/// Lays out JSON, with what `redacted` makes of each string, key and number.
pub(super) fn laid_out(json: &str, redacted: &dyn Fn(&str) -> String) -> String {
    JsonLayout { redacted, is_line: false, depth: 0, out: String::with_capacity(json.len() * 2) }.all(json)
}

struct JsonLayout<'r> {
    redacted: &'r dyn Fn(&str) -> String,
    is_line: bool,
    depth: usize,
    out: String,
}

impl JsonLayout<'_> {
    /// One pass without recursion, since JSON may be nested to any depth.
    fn all(mut self, json: &str) -> String {
        let bytes = json.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let begin = at;
            at += 1;
            match byte {
                b'"' => {
                    at = end_of_string(bytes, begin).min(bytes.len());
                    self.string(json.get(begin..at).unwrap_or_default());
                }
                b'{' | b'[' if !self.is_line && short_end(&bytes[begin..]).is_some() => {
                    at = begin + short_end(&bytes[begin..]).unwrap_or(1);
                    let part = json.get(begin..at).unwrap_or_default();
                    let line = JsonLayout { redacted: self.redacted, is_line: true, depth: 0, out: String::new() };
                    self.out.push_str(&line.all(part));
                }
                b'{' | b'[' => {
                    self.out.push(char::from(*byte));
                    let next =
                        bytes[at..].iter().position(|byte| !byte.is_ascii_whitespace()).map(|offset| at + offset);
                    match next.filter(|next| matches!(bytes[*next], b'}' | b']')) {
                        Some(end) => {
                            self.out.push(char::from(bytes[end]));
                            at = end + 1;
                        }
                        None => {
                            self.depth += 1;
                            self.end_line("");
                        }
                    }
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.end_line("");
                    self.out.push(char::from(*byte));
                }
                b',' => {
                    self.out.push(',');
                    self.end_line(" ");
                }
                b':' => self.out.push_str(": "),
                byte if byte.is_ascii_whitespace() => {}
                _ => {
                    let is_end = |byte: &u8| b",:]} \t\n\r\"[{".contains(byte);
                    at = begin + bytes[begin..].iter().position(is_end).unwrap_or(bytes.len() - begin).max(1);
                    self.scalar(json.get(begin..at).unwrap_or_default());
                }
            }
        }
        self.out
    }

    fn end_line(&mut self, in_line: &str) {
        if self.is_line {
            self.out.push_str(in_line);
        } else {
            self.out.push('\n');
            (0..self.depth.min(DEEPEST)).for_each(|_| self.out.push_str("  "));
        }
    }

    fn string(&mut self, spelled: &str) {
        let text = JsonNode::new(spelled).string().unwrap_or_default();
        self.out.push_str(&quoted((self.redacted)(&text)));
    }

    fn scalar(&mut self, spelled: &str) {
        let shown = match spelled {
            "true" | "false" | "null" => Cow::Borrowed(spelled),
            _ => {
                let shown = (self.redacted)(spelled);
                Cow::Owned(if shown == spelled { shown } else { quoted(shown) })
            }
        };
        self.out.push_str(&shown);
    }
}

/// Where the object or array ends that begins here, if it fits in a line.
fn short_end(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len().min(SHORT) {
        match bytes[at] {
            b'"' => at = end_of_string(&bytes[..bytes.len().min(SHORT)], at) - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => return Some(at + 1),
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

fn quoted(text: String) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(json: &str) -> String {
        laid_out(json, &str::to_owned)
    }

    #[test]
    fn short_json_is_a_line() {
        assert_eq!(
            plain(" { \"a\" :1.0 ,\n\"b\":[ ],\"c\":{} , \"d\":[true,null]} "),
            r#"{"a": 1.0, "b": [], "c": {}, "d": [true, null]}"#
        );
        assert_eq!(plain(r#""\u0041\u000a\ud83d""#), "\"A\\n\u{fffd}\"");
    }

    #[test]
    fn long_json_has_a_line_for_each_member() {
        let long = format!(r#"{{"a":"{}","b":[1,{{"c":"{}"}}],"d":[[],{{}}]}}"#, "x".repeat(80), "y".repeat(80));
        let expected = format!(
            "{{\n  \"a\": \"{}\",\n  \"b\": [\n    1,\n    {{\n      \"c\": \"{}\"\n    }}\n  ],\n  \"d\": [[], {{}}]\n}}",
            "x".repeat(80),
            "y".repeat(80)
        );
        assert_eq!(plain(&long), expected);
    }

    #[test]
    fn depth_costs_little() {
        let deep = "[".repeat(100_000) + "1" + &"]".repeat(100_000);
        assert!(plain(&deep).len() < 20_000_000);
    }

    #[test]
    fn strings_keys_and_numbers_are_redacted() {
        assert_eq!(laid_out(r#"{"a":["b",1.5,true]}"#, &|_| "x\"".to_owned()), r#"{"x\"": ["x\"", "x\"", true]}"#);
    }

    #[test]
    fn what_is_no_json_does_not_panic() {
        for text in ["", "\"", "{", "]]", "\"\\", "é", "{\"a\"", ",,::"] {
            plain(text);
        }
    }
}

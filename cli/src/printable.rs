//! Text for a terminal: what others have said must not steer it, nor turn the order of what is read.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Control characters, and those that change the direction or the lines of text.
fn is_harmful(sign: char) -> bool {
    sign.is_control()
        || matches!(sign, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(sign: char, into: &mut String) {
    match sign {
        '\n' => into.push_str("\\n"),
        '\r' => into.push_str("\\r"),
        '\t' => into.push_str("\\t"),
        // Writing to a string cannot fail.
        _ => _ = write!(into, "\\u{{{:x}}}", u32::from(sign)),
    }
}

/// A text in one line: all that is harmful is escaped, line breaks too.
pub fn line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for sign in text.chars() {
        if is_harmful(sign) { escape(sign, &mut shown) } else { shown.push(sign) }
    }
    Cow::Owned(shown)
}

/// JSON in one line, the same value: what is harmful stands in its strings alone, and is escaped as JSON does it.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for sign in text.chars() {
        match sign {
            // Between values.
            '\n' | '\r' | '\t' => shown.push(' '),
            _ if is_harmful(sign) => _ = write!(shown, "\\u{:04x}", u32::from(sign)),
            _ => shown.push(sign),
        }
    }
    Cow::Owned(shown)
}

/// JSON in one line, and otherwise as it stands: line breaks can only be between its values.
pub fn one_line_json(text: &str) -> Cow<'_, str> {
    if text.contains(['\n', '\r']) { Cow::Owned(text.replace(['\n', '\r'], " ")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is harmful, and a few signs that are not.
    fn hostile() -> String {
        let signs = (0..0x3000).filter_map(char::from_u32).filter(|sign| is_harmful(*sign));
        signs.chain("a\u{e4}\u{4e2d}\u{1f600}".chars()).collect()
    }

    #[test]
    fn nothing_harmful_is_left() {
        let hostile = hostile();
        assert_eq!(hostile.chars().filter(|sign| is_harmful(*sign)).count(), 65 + 3 + 7 + 4, "C0, DEL, C1, and others");
        assert!(!line(&hostile).contains(is_harmful));
        assert!(line(&hostile).ends_with("a\u{e4}\u{4e2d}\u{1f600}"));
        assert_eq!(line("\u{1b}[31m\u{202e}\n"), r"\u{1b}[31m\u{202e}\n");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({ hostile(): [hostile()] });
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap_or_default()] {
            let shown = json(&text);
            assert!(!shown.contains(is_harmful));
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).ok(), Some(value.clone()));
            let one_line = one_line_json(&text);
            assert_eq!(one_line.lines().count(), 1);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&one_line).ok(), Some(value.clone()));
        }
    }
}

//! Text that a terminal or a browser shows as it is, and does nothing else with.

use std::borrow::Cow;

/// Control characters but line breaks and tabs, and what changes the direction or the lines of text, as escapes such as
/// `\u{202e}`. A line break is `\n`.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '\r' if signs.peek() == Some(&'\n') => {}
            _ if is_hidden(sign) => shown.extend(sign.escape_unicode()),
            _ => shown.push(sign),
        }
    }
    Cow::Owned(shown)
}

/// The same in one line.
pub(super) fn visible_line(text: &str) -> String {
    visible(text.trim()).replace(['\n', '\t'], " ")
}

/// Whether a character acts on what is around it instead of being shown.
pub(super) fn is_hidden(sign: char) -> bool {
    match sign {
        '\n' | '\t' => false,
        '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => sign.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_shown() {
        assert_eq!(visible("a\u{1b}[31m\u{7f}\u{9b}\u{0}"), r"a\u{1b}[31m\u{7f}\u{9b}\u{0}");
        assert_eq!(visible("\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}"), r"\u{202a}\u{202e}\u{2066}\u{2069}\u{2028}");
        assert_eq!(visible("a\r\nb\rc\td"), "a\nb\\u{d}c\td");
        assert_eq!(visible_line(" a\r\nb\tc\n"), "a b c");
    }

    #[test]
    fn what_is_shown_stays_as_it_is() {
        for text in ["é😀\n\t", "👩\u{200d}💻", "\u{5e9}\u{200f}"] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
    }
}

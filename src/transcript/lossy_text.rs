//! A JSON string as text, also where UTF-16 was cut in the middle of a character.

/// Text in which half a surrogate pair is U+FFFD. Halves at its ends are remembered, so that text which was cut there can
/// be joined again.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LossyText {
    pub(super) text: String,
    /// The low half that the text begins with.
    begins_with: Option<u16>,
    /// The high half that the text ends with.
    pub(super) ends_with: Option<u16>,
}

impl LossyText {
    /// Decodes what stands between the quotes of a JSON string.
    pub(super) fn decode(spelled: &str) -> Self {
        let mut decoded = Self { text: String::with_capacity(spelled.len()), ..Self::default() };
        let mut rest = spelled;
        while let Some((plain, escaped)) = rest.split_once('\\') {
            decoded.push_plain(plain);
            rest = decoded.push_escape(escaped);
        }
        decoded.push_plain(rest);
        decoded
    }

    fn push_plain(&mut self, plain: &str) {
        if !plain.is_empty() {
            self.ends_with = None;
            self.text.push_str(plain);
        }
    }

    /// Pushes what the escape after a backslash stands for, and returns what follows it.
    fn push_escape<'a>(&mut self, escaped: &'a str) -> &'a str {
        let mut signs = escaped.chars();
        let plain = match signs.next() {
            None => return escaped,
            Some('u') => {
                let Some(unit) = escaped.get(1..5).and_then(|digits| u16::from_str_radix(digits, 16).ok()) else {
                    self.push_plain("\u{fffd}");
                    return signs.as_str();
                };
                self.push_unit(unit);
                return &escaped[5..];
            }
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(other) => other,
        };
        self.ends_with = None;
        self.text.push(plain);
        signs.as_str()
    }

    fn push_unit(&mut self, unit: u16) {
        if let Some(whole) = self.ends_with.and_then(|high| joined(high, unit)) {
            self.text.pop();
            self.text.push(whole);
            self.ends_with = None;
            return;
        }
        if self.text.is_empty() && (0xdc00..0xe000).contains(&unit) {
            self.begins_with = Some(unit);
        }
        self.ends_with = (0xd800..0xdc00).contains(&unit).then_some(unit);
        self.text.push(char::from_u32(u32::from(unit)).unwrap_or('\u{fffd}'));
    }
}

/// Appends text to what went before. `half` is the high half that ended that, and becomes the one that ends the new whole.
pub(super) fn append(text: &mut String, half: &mut Option<u16>, next: &LossyText) {
    if next.text.is_empty() {
        return;
    }
    let whole = half.zip(next.begins_with).and_then(|(high, low)| joined(high, low));
    match whole {
        Some(whole) => {
            text.pop();
            text.push(whole);
            text.push_str(next.text.strip_prefix('\u{fffd}').unwrap_or(&next.text));
        }
        None => text.push_str(&next.text),
    }
    *half = next.ends_with;
}

fn joined(high: u16, low: u16) -> Option<char> {
    char::decode_utf16([high, low]).next()?.ok().filter(|whole| whole.len_utf16() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(LossyText::decode(r#"a\"\\\/\b\f\n\r\t\u00e9é\ud83d\ude00"#).text, "a\"\\/\u{8}\u{c}\n\r\téé😀");
    }

    #[test]
    fn a_lone_half_is_a_replacement_character() {
        for lone in [r"\ud83d", r"\ude00", r"\ud83dx", r"\ude00\ud83d", r"\ud83d\u0041", r"\ud83d\ud83d"] {
            assert!(LossyText::decode(lone).text.contains('\u{fffd}'), "{lone}");
        }
        assert_eq!(LossyText::decode(r"\ud83d\ud83d\ude00").text, "\u{fffd}😀");
    }

    #[test]
    fn what_is_no_json_does_not_panic() {
        for spelled in ["\\", "\\u", "\\ud8", "\\u+123", "\\ué123", "\\x"] {
            LossyText::decode(spelled);
        }
    }

    #[test]
    fn halves_of_a_pair_are_joined_across_texts() {
        let (mut text, mut half) = (String::new(), None);
        for part in [r"a\ud83d", "", r"\ude00b\ud83d", r"\ude00", r"\ude00"] {
            append(&mut text, &mut half, &LossyText::decode(part));
        }
        assert_eq!(text, "a😀b😀\u{fffd}");
    }
}

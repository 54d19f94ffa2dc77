//! Cursors: where a page of a listing ends.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

/// A position in a listing: after the last row of a page, or after a row that cannot be decoded.
///
/// It identifies that row by its position in the order, not by a row count, so rows that others add or delete meanwhile
/// cause no duplicates or gaps. Its text form ([`Display`](fmt::Display), [`FromStr`](std::str::FromStr), serde)
/// consists of `[0-9a-z.]`. You can hand it to clients, and it stays valid across processes and releases of this crate;
/// treat it as opaque. It is only valid for the listing it came from (of the sessions, or of one session's events); you
/// may change the page size between pages.
///
/// ```
/// use agent_session_store::Cursor;
///
/// assert!("100".parse::<Cursor>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Covers the position and the listing.
    checksum: u64,
    /// Boxed because every error has room for a cursor.
    position: Box<Position>,
}

/// The position of a row in its listing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Position {
    /// A well-formed row, in any database: its key and its id.
    Row { key: i64, id: String },
    /// Any other row, in a form that only its database understands: words of `[0-9a-z]` separated by dots.
    Odd(String),
}

/// The listing that a cursor belongs to: everything that determines its rows and their order.
#[derive(Debug)]
pub(crate) struct Scope {
    table: &'static str,
    filter: String,
}

impl Scope {
    pub(crate) fn new(table: &'static str, filter: String) -> Self {
        Self { table, filter }
    }
}

/// The version of the text form, and its first part.
const VERSION: &str = "c1";

impl Cursor {
    /// The cursor after the row at this position.
    pub(crate) fn after(scope: &Scope, position: Position) -> Self {
        Self { checksum: checksum(scope, &position), position: Box::new(position) }
    }

    /// The position, if the cursor belongs to this listing.
    pub(crate) fn position(&self, scope: &Scope) -> Option<&Position> {
        (self.checksum == checksum(scope, &self.position)).then_some(&*self.position)
    }

    /// Parses a cursor; the caller knows which odd positions exist.
    pub(crate) fn parse(text: &str, is_odd_position: impl FnOnce(&str) -> bool) -> Option<Self> {
        let (version, rest) = text.split_once('.')?;
        let (checksum, position) = rest.split_once('.')?;
        if version != VERSION || checksum.len() != 16 {
            return None;
        }
        let position = match parse_row(position) {
            Some(row) => row,
            None if is_odd_position(position) => Position::Odd(position.to_owned()),
            None => return None,
        };
        let cursor = Self { checksum: u64::from_str_radix(checksum, 16).ok()?, position: Box::new(position) };
        // The parsers are lenient (`+1`, upper case); a cursor has one spelling.
        (cursor.to_string() == text).then_some(cursor)
    }
}

impl Position {
    /// What the checksum is made over.
    fn parts(&self) -> Vec<Cow<'_, str>> {
        match self {
            Self::Row { key, id } => vec![integer(*key).into(), id.into()],
            // Where the second word is an id that is text, the checksum is over that text, as it is for a row.
            Self::Odd(text) => match *text.split('.').collect::<Vec<_>>() {
                [key, id] => vec![key.into(), spelled_out(id)],
                [key, id, "t"] => vec![key.into(), spelled_out(id), "t".into()],
                ref words => words.iter().map(|&word| word.into()).collect(),
            },
        }
    }
}

/// The text that a word stands for in hexadecimal digits.
fn spelled_out(word: &str) -> Cow<'_, str> {
    let text = unhex(word).and_then(|bytes| String::from_utf8(bytes).ok());
    text.map_or(Cow::Borrowed(word), Cow::Owned)
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row { key, id } => write!(f, "{}.{}", integer(*key), hex(id.as_bytes())),
            Self::Odd(text) => f.write_str(text),
        }
    }
}

fn parse_row(text: &str) -> Option<Position> {
    let (key, id) = text.split_once('.')?;
    Some(Position::Row { key: parse_integer(key)?, id: String::from_utf8(unhex(id)?).ok()? })
}

/// A number in letters and digits, without a sign.
pub(crate) fn integer(value: i64) -> String {
    let sign = if value < 0 { 'n' } else { 'i' };
    format!("{sign}{}", value.unsigned_abs())
}

pub(crate) fn parse_integer(word: &str) -> Option<i64> {
    match (word.get(..1)?, word.get(1..)?) {
        ("i", digits) => digits.parse().ok(),
        ("n", digits) => 0_i64.checked_sub_unsigned(digits.parse().ok()?),
        _ => None,
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    // Writing to a string cannot fail.
    bytes.iter().for_each(|byte| _ = write!(text, "{byte:02x}"));
    text
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// FNV-1a, 64 bits: tells listings apart and detects corruption. It is not a security measure.
fn checksum(scope: &Scope, position: &Position) -> u64 {
    let scope = [Cow::Borrowed(scope.table), Cow::Borrowed(&*scope.filter)];
    scope.into_iter().chain(position.parts()).fold(0xcbf2_9ce4_8422_2325, |hash, part| {
        let bytes = part.bytes().chain([0xff]);
        bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    })
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}.{:016x}.{}", self.checksum, self.position)
    }
}

/// Errors carry cursors and are logged, so this identifies the cursor without revealing the row.
impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({:016x})", self.checksum)
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(table: &'static str, session: &str) -> Scope {
        Scope::new(table, session.to_owned())
    }

    fn row(key: i64, id: &str) -> Position {
        Position::Row { key, id: id.to_owned() }
    }

    fn parse(text: &str) -> Option<Cursor> {
        Cursor::parse(text, |position| position.starts_with("odd."))
    }

    #[test]
    fn a_cursor_survives_its_text_form() {
        for position in [
            row(0, ""),
            row(i64::MIN, "a.b"),
            row(i64::MAX, "😀\0"),
            Position::Odd("odd.z.0".to_owned()),
            Position::Odd("odd.".to_owned()),
        ] {
            let cursor = Cursor::after(&scope("events", "s"), position);
            let text = cursor.to_string();
            assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'.'));
            let parsed = parse(&text).expect("its own text");
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed, cursor);
            assert!(parsed.position(&scope("events", "s")).is_some(), "its own listing");
            assert_eq!(serde_json::to_string(&cursor).expect("serializes"), format!("{text:?}"));
        }
    }

    /// Texts that earlier releases handed out.
    #[test]
    fn the_text_form_stays_what_it_is() {
        for (position, text) in
            [(row(7, "id"), "c1.fd2977ea9de14cb2.i7.6964"), (row(-7, "é"), "c1.25b45b12dc5be0da.n7.c3a9")]
        {
            assert_eq!(Cursor::after(&scope("events", "s"), position).to_string(), text);
        }
    }

    #[test]
    fn a_text_of_another_kind_is_no_cursor() {
        let ours = Cursor::after(&scope("events", "s"), row(1, "id")).to_string();
        let upper = ours.to_uppercase();
        let [longer, tied, unknown] = [".", ".t.", ".x"].map(|end| format!("{ours}{end}"));
        let odd = &ours[..ours.len() - 1];
        for text in [
            "",
            "0",
            "100",
            "-1",
            "c1",
            "c1...",
            "c2.0.i1.61",
            &upper,
            &longer,
            &tied,
            &unknown,
            odd,
            " ",
            "c1.é.i1.61",
            "c1.0000000000000000.z.61",
            "c1.0000000000000000.+1.61",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_changed_cursor_fits_no_listing() {
        let cursor = Cursor::after(&scope("events", "s"), row(1, "id"));
        for (part, other) in [(".i1.", ".i2."), (".6964", ".6965"), (".i1.6964", ".odd.1")] {
            let changed = parse(&cursor.to_string().replace(part, other)).expect("still well formed");
            assert!(changed.position(&scope("events", "s")).is_none(), "{other}");
        }
        assert!(cursor.position(&scope("events", "t")).is_none());
        assert!(cursor.position(&scope("sessions", "s")).is_none());
    }

    /// A value that should not be there may be anything, and the cursor past it is part of an error.
    #[test]
    fn its_debug_form_shows_no_value() {
        let cursor = Cursor::after(&scope("events", "s"), row(1, "secret"));
        assert_eq!(format!("{cursor:?}"), format!("Cursor({:016x})", cursor.checksum));
    }
}

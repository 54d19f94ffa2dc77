//! Where a page of a listing ends.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::column::Number;
use crate::error::{Error, Result};

/// A place in a listing: after the last row of a page.
///
/// It names that row's position, not a count of rows, so rows that others add or remove meanwhile neither repeat
/// nor hide any. Its text form ([`Display`](fmt::Display), [`FromStr`], serde) is made of `[0-9a-z.]`, may be
/// handed to clients, and stays valid across processes and releases of this crate; what is in it does not matter to
/// you. It belongs to the listing (of the sessions, or of one session's events) that it came from; the page size
/// may change on the way.
///
/// ```
/// use agent_session_store::Cursor;
///
/// assert!("100".parse::<Cursor>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// Over everything below and the listing it belongs to.
    checksum: u64,
    key: Number,
    id: String,
}

/// The listing that a cursor belongs to: everything that decides which rows there are, and in which order.
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
const CURSOR_VERSION: &str = "c1";

const NOT_OURS: Error = Error::InvalidCursor { reason: "it was not made by this crate" };

impl Cursor {
    /// The place after the row with this key and id.
    pub(crate) fn after(scope: &Scope, key: Number, id: &str) -> Self {
        Self { checksum: checksum(scope, key, id), key, id: id.to_owned() }
    }

    pub(crate) fn position(&self, scope: &Scope) -> Result<(Number, &str)> {
        if self.checksum != checksum(scope, self.key, &self.id) {
            return Err(Error::InvalidCursor { reason: "it belongs to another listing, or was changed" });
        }
        Ok((self.key, &self.id))
    }
}

/// FNV-1a, 64 bits: tells listings apart and notices damage; it is not meant to keep anybody out.
fn checksum(scope: &Scope, key: Number, id: &str) -> u64 {
    let key = key_text(key);
    let parts = [scope.table, &scope.filter, &key, id];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `i` and the number, or `r` and the bits of the float, which no formatting could round.
fn key_text(key: Number) -> String {
    match key {
        Number::Integer(value) if value < 0 => format!("n{}", value.unsigned_abs()),
        Number::Integer(value) => format!("i{value}"),
        Number::Real(value) => format!("r{:x}", value.to_bits()),
    }
}

fn parse_key(text: &str) -> Option<Number> {
    let (kind, digits) = (text.get(..1)?, text.get(1..)?);
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let key = match kind {
        "i" => Number::Integer(digits.parse().ok()?),
        "n" => Number::Integer(0_i64.checked_sub_unsigned(digits.parse().ok()?)?),
        "r" => Number::Real(f64::from_bits(u64::from_str_radix(digits, 16).ok()?)),
        _ => return None,
    };
    (key_text(key) == text).then_some(key)
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CURSOR_VERSION}.{:016x}.{}.", self.checksum, key_text(self.key))?;
        self.id.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::InvalidCursor`] if the text is not a cursor's.
    fn from_str(text: &str) -> Result<Self> {
        parse_cursor(text).ok_or(NOT_OURS)
    }
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let mut parts = text.split('.');
    let (version, checksum, key, id) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != CURSOR_VERSION || parts.next().is_some() || checksum.len() != 16 || !id.is_ascii() {
        return None;
    }
    let id = id.as_bytes().chunks(2).map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
    let cursor = Cursor {
        checksum: u64::from_str_radix(checksum, 16).ok()?,
        key: parse_key(key)?,
        id: String::from_utf8(id.collect::<Option<_>>()?).ok()?,
    };
    // The parsers above are lenient (`+1`, upper case); a cursor has one spelling.
    let mut spelled = String::with_capacity(text.len());
    write!(spelled, "{cursor}").ok()?;
    (spelled == text).then_some(cursor)
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(table: &'static str, session: &str) -> Scope {
        Scope::new(table, session.to_owned())
    }

    #[test]
    fn a_cursor_survives_its_text_form() {
        for (key, id) in [
            (Number::Integer(0), ""),
            (Number::Integer(i64::MIN), "a.b"),
            (Number::Integer(i64::MAX), "😀\0"),
            (Number::Real(1_700_000_000_000.5), "x"),
            (Number::Real(-0.0), "x"),
        ] {
            let cursor = Cursor::after(&scope("events", "s"), key, id);
            let text = cursor.to_string();
            assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'.'));
            let parsed: Cursor = text.parse().expect("its own text");
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed.position(&scope("events", "s")).expect("its own listing"), (key, id));
            let json = serde_json::to_string(&cursor).expect("serializes");
            assert_eq!(serde_json::from_str::<Cursor>(&json).expect("deserializes"), cursor);
        }
    }

    #[test]
    fn a_text_of_another_kind_is_no_cursor() {
        let ours = Cursor::after(&scope("events", "s"), Number::Integer(1), "id").to_string();
        let upper = ours.to_uppercase();
        let longer = format!("{ours}.");
        let odd = &ours[..ours.len() - 1];
        for text in ["", "0", "100", "-1", "c1", "c1...", "c2.0.i1.61", &upper, &longer, odd, " ", "c1.é.i1.61"] {
            assert!(matches!(text.parse::<Cursor>(), Err(Error::InvalidCursor { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_changed_cursor_fits_no_listing() {
        let cursor = Cursor::after(&scope("events", "s"), Number::Integer(1), "id");
        let changed: Cursor = cursor.to_string().replace(".i1.", ".i2.").parse().expect("still well formed");
        assert!(changed.position(&scope("events", "s")).is_err());
        assert!(cursor.position(&scope("events", "t")).is_err());
        assert!(cursor.position(&scope("sessions", "s")).is_err());
    }
}

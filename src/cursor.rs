//! Where a page of a listing ends.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};
use crate::place::{Place, hex};

/// A place in a listing: after the last row of a page, or after a row that cannot be decoded.
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
#[derive(Clone, PartialEq)]
pub struct Cursor {
    /// Over everything below and the listing it belongs to.
    checksum: u64,
    /// Boxed, since every error has room for a cursor.
    place: Box<Place>,
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
    /// The place after the row that is here.
    pub(crate) fn after(scope: &Scope, place: Place) -> Self {
        Self { checksum: checksum(scope, &place), place: Box::new(place) }
    }

    pub(crate) fn place(&self, scope: &Scope) -> Result<&Place> {
        if self.checksum != checksum(scope, &self.place) {
            return Err(Error::InvalidCursor { reason: "it belongs to another listing, or was changed" });
        }
        Ok(&self.place)
    }
}

/// FNV-1a, 64 bits: tells listings apart and notices damage; it is not meant to keep anybody out.
fn checksum(scope: &Scope, place: &Place) -> u64 {
    let (key, id, third) = place.parts();
    let parts = [scope.table, &scope.filter, &key, &id].into_iter().chain(third.as_deref());
    let bytes = parts.flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, id, third) = self.place.parts();
        write!(f, "{CURSOR_VERSION}.{:016x}.{key}.", self.checksum)?;
        match *self.place {
            Place::Plain { .. } => f.write_str(&hex(id.as_bytes()))?,
            Place::Odd(_) => f.write_str(&id)?,
        }
        third.map_or(Ok(()), |third| write!(f, ".{third}"))
    }
}

/// Errors carry cursors, and are logged: it shows which one it is, and nothing of the row.
impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({:016x})", self.checksum)
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
    let third = parts.next();
    if version != CURSOR_VERSION || parts.next().is_some() || checksum.len() != 16 {
        return None;
    }
    let cursor =
        Cursor { checksum: u64::from_str_radix(checksum, 16).ok()?, place: Box::new(Place::parse(key, id, third)?) };
    // The parsers are lenient (`+1`, upper case); a cursor has one spelling.
    (cursor.to_string() == text).then_some(cursor)
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
    use crate::column::Number;
    use crate::place::{OddPlace, Stored};

    fn scope(table: &'static str, session: &str) -> Scope {
        Scope::new(table, session.to_owned())
    }

    fn plain(key: Number, id: &str, is_tied: bool) -> Place {
        Place::Plain { key, id: id.to_owned(), is_tied }
    }

    fn odd(key: Stored, id: Stored, rowid: i64) -> Place {
        Place::Odd(Box::new(OddPlace { key, id, rowid }))
    }

    #[test]
    fn a_cursor_survives_its_text_form() {
        for place in [
            plain(Number::Integer(0), "", false),
            plain(Number::Integer(i64::MIN), "a.b", true),
            plain(Number::Integer(i64::MAX), "😀\0", false),
            plain(Number::Real(1_700_000_000_000.5), "x", false),
            plain(Number::Real(-0.0), "x", false),
            odd(Stored::Null, Stored::Null, i64::MIN),
            odd(Stored::Text(b"\xff.".to_vec()), Stored::Blob(vec![]), 7),
            odd(Stored::Blob(vec![0]), Stored::Text(vec![]), i64::MAX),
            odd(Stored::Integer(5), Stored::Integer(-5), 0),
            odd(Stored::Real(0.5), Stored::Real(-0.0), -1),
        ] {
            let cursor = Cursor::after(&scope("events", "s"), place);
            let text = cursor.to_string();
            assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'.'));
            let parsed: Cursor = text.parse().expect("its own text");
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed, cursor);
            assert!(parsed.place(&scope("events", "s")).is_ok(), "its own listing");
            let json = serde_json::to_string(&cursor).expect("serializes");
            assert_eq!(serde_json::from_str::<Cursor>(&json).expect("deserializes"), cursor);
        }
    }

    /// Texts that earlier releases handed out.
    #[test]
    fn the_text_form_stays_what_it_is() {
        for (key, id, text) in [
            (Number::Integer(7), "id", "c1.fd2977ea9de14cb2.i7.6964"),
            (Number::Integer(-7), "é", "c1.25b45b12dc5be0da.n7.c3a9"),
            (Number::Real(0.5), "", "c1.71947141703fd945.r3fe0000000000000."),
        ] {
            assert_eq!(Cursor::after(&scope("events", "s"), plain(key, id, false)).to_string(), text);
        }
    }

    #[test]
    fn a_text_of_another_kind_is_no_cursor() {
        let ours = Cursor::after(&scope("events", "s"), plain(Number::Integer(1), "id", false)).to_string();
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
            "c1.0000000000000000.i1.61.i1",
            "c1.0000000000000000.i1.z.z",
            "c1.0000000000000000.i1.z1.i1",
            "c1.0000000000000000.+1.61",
            "c1.0000000000000000.i1.z.n0",
        ] {
            assert!(matches!(text.parse::<Cursor>(), Err(Error::InvalidCursor { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_changed_cursor_fits_no_listing() {
        let cursor = Cursor::after(&scope("events", "s"), plain(Number::Integer(1), "id", false));
        for (part, other) in [(".i1.", ".i2."), (".6964", ".6965"), (".6964", ".6964.t"), (".6964", ".t6964.i1")] {
            let changed: Cursor = cursor.to_string().replace(part, other).parse().expect("still well formed");
            assert!(changed.place(&scope("events", "s")).is_err(), "{other}");
        }
        assert!(cursor.place(&scope("events", "t")).is_err());
        assert!(cursor.place(&scope("sessions", "s")).is_err());
    }

    /// A value that should not be there may be anything, and the cursor past it is part of an error.
    #[test]
    fn its_debug_form_shows_no_value() {
        let cursor = Cursor::after(&scope("events", "s"), odd(Stored::Text(b"secret".to_vec()), Stored::Null, 1));
        assert_eq!(format!("{cursor:?}"), format!("Cursor({:016x})", cursor.checksum));
    }
}

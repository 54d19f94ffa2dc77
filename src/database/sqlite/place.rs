//! A row's position in a listing, whatever the row contains.

use std::borrow::Cow;

use super::stored::Stored;
use super::values::Number;
use crate::model::cursor::{Position, hex, integer, parse_integer, unhex};

/// A position in the order.
#[derive(Clone)]
pub(super) enum Place<'a> {
    /// The position of a row with a number and text, as the columns' types suggest.
    Plain {
        key: Number,
        id: Cow<'a, str>,
        /// Whether a row without an id may follow with the same key, which a comparison with this id would miss.
        is_tied: bool,
    },
    Odd(Box<OddPlace>),
}

/// The position of any other row.
#[derive(Clone)]
pub(super) struct OddPlace {
    pub(super) key: Stored,
    pub(super) id: Stored,
    /// Distinguishes rows without an id.
    pub(super) rowid: i64,
}

const TIED: &str = "t";

impl<'a> Place<'a> {
    /// The position in a cursor, or `None` if this database could not have written it.
    pub(super) fn of(position: &'a Position) -> Option<Self> {
        match position {
            Position::Row { key, id } => {
                Some(Self::Plain { key: Number::Integer(*key), id: Cow::Borrowed(id), is_tied: false })
            }
            Position::Odd(text) => Self::parse(text),
        }
    }

    pub(super) fn into_position(self) -> Position {
        match self {
            Self::Plain { key: Number::Integer(key), id, is_tied: false } => Position::Row { key, id: id.into_owned() },
            Self::Plain { key, id, is_tied } => {
                let tied = if is_tied { ".t" } else { "" };
                Position::Odd(format!("{}.{}{tied}", Stored::from(key).spelled(), hex(id.as_bytes())))
            }
            Self::Odd(odd) => {
                Position::Odd(format!("{}.{}.{}", odd.key.spelled(), odd.id.spelled(), integer(odd.rowid)))
            }
        }
    }

    /// The same position, with the mark that a row without an id may follow.
    pub(super) fn tied(self) -> Self {
        match self {
            Self::Plain { key, id, .. } => Self::Plain { key, id, is_tied: true },
            Self::Odd(odd) => Self::Odd(odd),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split('.');
        let (key, id, third) = (Stored::parse(words.next()?)?, words.next()?, words.next());
        if words.next().is_some() {
            return None;
        }
        match third {
            None | Some(TIED) => {
                let id = String::from_utf8(unhex(id)?).ok()?.into();
                Some(Self::Plain { key: key.number()?, id, is_tied: third.is_some() })
            }
            Some(rowid) => {
                Some(Self::Odd(Box::new(OddPlace { key, id: Stored::parse(id)?, rowid: parse_integer(rowid)? })))
            }
        }
    }
}

/// Whether a cursor's text is an odd position of this database, in its canonical form.
pub(crate) fn is_odd_position(text: &str) -> bool {
    let position = Place::parse(text).map(Place::into_position);
    position == Some(Position::Odd(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(key: Number, id: &str, is_tied: bool) -> Place<'_> {
        Place::Plain { key, id: id.into(), is_tied }
    }

    fn odd(key: Stored, id: Stored, rowid: i64) -> Place<'static> {
        Place::Odd(Box::new(OddPlace { key, id, rowid }))
    }

    #[test]
    fn a_place_survives_its_text() {
        for (place, text) in [
            (plain(Number::Integer(i64::MIN), "a.b", true), "n9223372036854775808.612e62.t"),
            (plain(Number::Real(0.5), "", false), "r3fe0000000000000."),
            (plain(Number::Real(1_700_000_000_000.5), "x", false), "r4278bcfe56800800.78"),
            (plain(Number::Real(-0.0), "x", false), "r8000000000000000.78"),
            (odd(Stored::Null, Stored::Null, i64::MIN), "z.z.n9223372036854775808"),
            (odd(Stored::Text(b"\xff.".to_vec()), Stored::Blob(vec![]), 7), "tff2e.b.i7"),
            (odd(Stored::Blob(vec![0]), Stored::Text(vec![]), i64::MAX), "b00.t.i9223372036854775807"),
            (odd(Stored::Integer(5), Stored::Integer(-5), 0), "i5.n5.i0"),
            (odd(Stored::Real(0.5), Stored::Real(-0.0), -1), "r3fe0000000000000.r8000000000000000.n1"),
        ] {
            assert!(place.into_position() == Position::Odd(text.to_owned()), "{text}");
            assert!(is_odd_position(text), "{text}");
            let again = Place::parse(text).map(Place::into_position);
            assert!(again == Some(Position::Odd(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_text_of_another_kind_is_no_place() {
        for text in [
            "",
            "z.61",
            "i1.61",
            "i1.61.i1",
            "i1.z.z",
            "i1.z1.i1",
            "+1.61",
            "i1.z.n0",
            "i1.61.x",
            "i1.61.t.t",
            "I1.61.t",
        ] {
            assert!(!is_odd_position(text), "{text:?}");
        }
    }
}

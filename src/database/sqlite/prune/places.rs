//! The positions of a session's events, whatever they contain, and how to iterate over them.

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use crate::database::sqlite::stored::Stored;
use crate::database::sqlite::utf8_bytes::Utf8Bytes;
use crate::database::sqlite::values::Number;
use crate::database::statement::sqlite_statement;

/// The position of an event in its session: its sort key, and its rowid in case of ties.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EventPlace {
    pub(super) event_index: Stored,
    pub(super) id: Stored,
    pub(super) rowid: i64,
}

impl From<FoundPlace> for EventPlace {
    fn from((rowid, event_index, id): FoundPlace) -> Self {
        Self { event_index, id, rowid }
    }
}

impl EventPlace {
    /// The index to start from, so that earlier rows are not read again. Only numbers can be sought in the index.
    fn number(&self) -> Option<Number> {
        self.event_index.number()
    }
}

type FoundPlace = (i64, Stored, Stored);
type WeighedPlace = (i64, Stored, Stored, Option<Utf8Bytes>);
type AgedPlace = (i64, Stored, Stored, Option<bool>);

sqlite_statement! {
    /// The event that is followed by this many newer ones.
    Boundary { session_id: &'a str, most: i64 } -> (BigInt, BigInt, BigInt),
    "SELECT rowid, event_index, id FROM " events " WHERE session_id = " { session_id as Text }
    " ORDER BY event_index DESC, id DESC, rowid DESC LIMIT 1 OFFSET " { most as BigInt }
}

sqlite_statement! {
    Places { session_id: &'a str } -> (BigInt, BigInt, BigInt),
    "SELECT rowid, event_index, id FROM " events " WHERE session_id = " { session_id as Text }
    " ORDER BY event_index, id, rowid"
}

sqlite_statement! {
    PlacesFrom { session_id: &'a str, index: Number } -> (BigInt, BigInt, BigInt),
    "SELECT rowid, event_index, id FROM " events " WHERE session_id = " { session_id as Text }
    " AND event_index >= " { index } " ORDER BY event_index, id, rowid"
}

sqlite_statement! {
    AgedPlaces { session_id: &'a str, before: i64 } -> (BigInt, BigInt, BigInt, Nullable<Bool>),
    "SELECT rowid, event_index, id, created_at < " { before as BigInt } " FROM " events
    " WHERE session_id = " { session_id as Text } " ORDER BY event_index, id, rowid"
}

sqlite_statement! {
    AgedPlacesFrom { session_id: &'a str, before: i64, index: Number } -> (BigInt, BigInt, BigInt, Nullable<Bool>),
    "SELECT rowid, event_index, id, created_at < " { before as BigInt } " FROM " events
    " WHERE session_id = " { session_id as Text } " AND event_index >= " { index } " ORDER BY event_index, id, rowid"
}

sqlite_statement! {
    WeighedPlaces { session_id: &'a str } -> (BigInt, BigInt, BigInt, Nullable<Text>),
    "SELECT rowid, event_index, id, payload_json FROM " events
    " WHERE session_id = " { session_id as Text } " ORDER BY event_index, id, rowid"
}

sqlite_statement! {
    WeighedPlacesFrom { session_id: &'a str, index: Number } -> (BigInt, BigInt, BigInt, Nullable<Text>),
    "SELECT rowid, event_index, id, payload_json FROM " events
    " WHERE session_id = " { session_id as Text } " AND event_index >= " { index } " ORDER BY event_index, id, rowid"
}

/// The newest event to delete to bring a session down to this many, if it has more.
pub(super) fn boundary(conn: &mut SqliteConnection, session_id: &str, most: u32) -> QueryResult<Option<EventPlace>> {
    let found = Boundary { session_id, most: i64::from(most) }.get_result::<FoundPlace>(conn).optional()?;
    Ok(found.map(EventPlace::from))
}

/// Iterates over a session's events in order, starting no later than this position. If its index is not a number it
/// starts from the beginning; few rows are like that.
pub(super) fn places<T>(
    conn: &mut SqliteConnection,
    session_id: &str,
    from: Option<&EventPlace>,
    work: impl FnOnce(&mut dyn Iterator<Item = QueryResult<EventPlace>>) -> T,
) -> QueryResult<T> {
    let place = |row: QueryResult<FoundPlace>| row.map(EventPlace::from);
    Ok(match from.and_then(EventPlace::number) {
        None => work(&mut Places { session_id }.load_iter::<FoundPlace, DefaultLoadingMode>(conn)?.map(place)),
        Some(index) => {
            let places = PlacesFrom { session_id, index };
            work(&mut places.load_iter::<FoundPlace, DefaultLoadingMode>(conn)?.map(place))
        }
    })
}

/// The same, and says for each whether it is older than a given time.
pub(super) fn aged_places<T>(
    conn: &mut SqliteConnection,
    session_id: &str,
    from: Option<&EventPlace>,
    before: i64,
    work: impl FnOnce(&mut dyn Iterator<Item = QueryResult<(EventPlace, bool)>>) -> T,
) -> QueryResult<T> {
    let place = |row: QueryResult<AgedPlace>| {
        row.map(|(rowid, event_index, id, is_old)| (EventPlace { event_index, id, rowid }, is_old == Some(true)))
    };
    Ok(match from.and_then(EventPlace::number) {
        None => {
            let places = AgedPlaces { session_id, before };
            work(&mut places.load_iter::<AgedPlace, DefaultLoadingMode>(conn)?.map(place))
        }
        Some(index) => {
            let places = AgedPlacesFrom { session_id, before, index };
            work(&mut places.load_iter::<AgedPlace, DefaultLoadingMode>(conn)?.map(place))
        }
    })
}

/// The same, and says for each how many bytes its payload has.
pub(super) fn weighed_places<T>(
    conn: &mut SqliteConnection,
    session_id: &str,
    from: Option<&EventPlace>,
    work: impl FnOnce(&mut dyn Iterator<Item = QueryResult<(EventPlace, u64)>>) -> T,
) -> QueryResult<T> {
    let place = |row: QueryResult<WeighedPlace>| {
        row.map(|(rowid, event_index, id, bytes)| {
            (EventPlace { event_index, id, rowid }, bytes.map_or(0, |bytes| bytes.0 as u64))
        })
    };
    Ok(match from.and_then(EventPlace::number) {
        None => {
            let places = WeighedPlaces { session_id };
            work(&mut places.load_iter::<WeighedPlace, DefaultLoadingMode>(conn)?.map(place))
        }
        Some(index) => {
            let places = WeighedPlacesFrom { session_id, index };
            work(&mut places.load_iter::<WeighedPlace, DefaultLoadingMode>(conn)?.map(place))
        }
    })
}

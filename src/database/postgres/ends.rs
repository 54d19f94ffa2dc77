//! The first and the last events of sessions.

use diesel::sql_types::{Array, BigInt, Bool, Text};

use super::pg_link::PgLink;
use crate::database::columns::{Column, StoredText, Whole};
use crate::database::session_ends::{EndEvent, EndPayload, SessionEnds, sender_of};
use crate::database::statement::postgres_statement;
use crate::error::Result;
use crate::transcript::summary::SessionSummary;

postgres_statement! {
    /// A long payload stays on the server, and is NULL here.
    ///
    /// Where sessions are short by the server's statistics, it would read all of one and sort, the long ones too. A limit
    /// that it does not know while it plans it takes for a tenth of the rows, and follows the index.
    EndsOfSessions { ids: &'a [&'a str] } -> (BigInt, Bool, (Text, BigInt, BigInt, Text, Text)),
    "SELECT s.place, e.is_last, e.id, e.event_index, e.created_at, e.sender, \
     CASE WHEN octet_length(e.payload_json::text) <= " [&SessionSummary::MAX_PAYLOAD_BYTES.to_string()]
    " THEN e.payload_json END FROM unnest(" { ids as Array<Text> } "::text[]) WITH ORDINALITY AS s (id, place) CROSS JOIN LATERAL (\
     (SELECT false AS is_last, id, event_index, created_at, sender, payload_json FROM events \
     WHERE session_id = s.id ORDER BY event_index, id COLLATE \"C\" LIMIT (SELECT " [&SessionSummary::FIRST_EVENTS.to_string()]
    ")) UNION ALL (SELECT true, id, event_index, created_at, sender, payload_json FROM events \
     WHERE session_id = s.id ORDER BY event_index DESC, id COLLATE \"C\" DESC LIMIT (SELECT "
    [&SessionSummary::LAST_EVENTS.to_string()] "))) AS e"
}

type Columns = (Column<StoredText>, Column<Whole>, Column<Whole>, Column<StoredText>, Column<StoredText>);
/// What identifies an event among those of its session, and orders it.
type Key = (Option<i64>, Option<String>);

pub(super) async fn session_ends<C: PgLink>(conn: &mut C, ids: &[&str]) -> Result<Vec<SessionEnds>> {
    let mut found: Vec<[Vec<(Key, EndEvent)>; 2]> = Vec::new();
    found.resize_with(ids.len(), Default::default);
    let rows: Vec<(i64, bool, Columns)> = conn.rows(EndsOfSessions { ids }).await?;
    for (place, is_last, columns) in rows {
        let event = event(columns);
        if let Some(ends) = usize::try_from(place - 1).ok().and_then(|place| found.get_mut(place)) {
            ends[usize::from(is_last)].push(((event.index, event.id.clone()), event));
        }
    }
    let ends = |mut ends: [Vec<(Key, EndEvent)>; 2]| {
        // No order is promised of what a join finds.
        ends.iter_mut().for_each(|events| events.sort_by(|(one, _), (other, _)| one.cmp(other)));
        let [first, last] = ends;
        SessionEnds::joined(first, last)
    };
    Ok(found.into_iter().map(ends).collect())
}

fn event((id, index, time, sender, payload): Columns) -> EndEvent {
    EndEvent {
        id: id.ok().map(|id| id.0),
        index: index.ok().map(|index| index.0),
        time: time.ok().and_then(|time| chrono::DateTime::from_timestamp_millis(time.0)),
        sender: sender_of(sender),
        payload: if payload.is_null() { EndPayload::TooLong } else { EndPayload::of(payload) },
    }
}

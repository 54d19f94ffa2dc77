//! Appending: any number of events, of one session or many, in one statement.
//!
//! The statement finds each session's last event and takes the locks of the heads, in an order that all have in common.
//! If a head has not changed since the statement began, nobody has appended since, so the last event that the statement
//! sees is the last one. If it has, its number is, since the one who changed it held the lock.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel::sql_types::{Array, BigInt, Nullable, Text};

use super::pg_link::PgLink;
use super::storing::MOST_BYTES;
use super::{heads, transaction};
use crate::database::Lock;
use crate::database::fields::Record;
use crate::database::rows::{EventArrays, EventRow};
use crate::database::statement::postgres_statement;
use crate::error::{Error, Result};
use crate::model::event::{NewEvent, SessionEvent};

/// Events to be appended to a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appending<'a> {
    pub(crate) session_id: &'a str,
    /// The index that the session must end at.
    pub(crate) expected: Option<i64>,
    pub(crate) events: &'a [NewEvent],
}

postgres_statement! {
    /// Appends one event to a session, and returns its index; no row if the session has no head or ends elsewhere.
    ///
    /// An UPDATE that has waited for a row looks at its new version, and once more at the conditions; what it joins, here
    /// `seen`, stays as it was.
    AppendOne { new: EventRow<&'a str>, session_id: &'a str, expected: Option<i64> } -> BigInt,
    "WITH seen AS MATERIALIZED (" [SEEN] { session_id as Text } "), \
     head AS (UPDATE event_heads AS h SET last_index = " [END] " + 1 FROM seen \
         WHERE h.session_id = " { session_id as Text } " AND " [END] " < 9223372036854775807 \
         AND coalesce(" { expected as Nullable<BigInt> } " = " [END] ", true) RETURNING h.last_index) \
     INSERT INTO events (" [SessionEvent::COLUMNS] ") SELECT new.id, head.last_index, new.session_id, new.created_at, \
     new.connection_id, new.sender, new.payload_json FROM head, (SELECT " { new } ") \
     AS new (" [SessionEvent::COLUMNS] ") RETURNING event_index"
}

postgres_statement! {
    /// The same with any number of events, whose indexes count from 1; returns the last one's index.
    AppendHere { new: &'a EventArrays<'a>, session_id: &'a str, count: i64, expected: Option<i64> } -> BigInt,
    "WITH seen AS MATERIALIZED (" [SEEN] { session_id as Text } "), \
     head AS (UPDATE event_heads AS h SET last_index = " [END] " + " { count as BigInt } " FROM seen \
         WHERE h.session_id = " { session_id as Text } " AND " [END] " <= 9223372036854775807 - " { count as BigInt }
    " AND coalesce(" { expected as Nullable<BigInt> } " = " [END] ", true) RETURNING h.last_index), \
     added AS (INSERT INTO events (" [SessionEvent::COLUMNS] ") SELECT new.id, head.last_index - " { count as BigInt }
    " + new.event_index, new.session_id, new.created_at, new.connection_id, new.sender, new.payload_json \
         FROM head, unnest(" { new } ") AS new (" [SessionEvent::COLUMNS] ")) \
     SELECT last_index FROM head"
}

/// A session's head and its last event, as a statement that appends to this session sees them at first.
const SEEN: &str = "SELECT h.ctid AS version, \
    coalesce((SELECT max(e.event_index) FROM events AS e WHERE e.session_id = h.session_id), 0) AS last_index \
    FROM event_heads AS h WHERE h.session_id = ";

/// Where the session ends, as the statement knows it once it has the lock.
const END: &str = "CASE WHEN h.ctid = seen.version THEN seen.last_index \
    ELSE greatest(h.last_index, seen.last_index) END";

postgres_statement! {
    /// Appends to all of the sessions or to none, and returns their last indexes. The arrays' indexes count from 1 in
    /// each session.
    Append {
        new: &'a EventArrays<'a>,
        sessions: &'a [&'a str],
        counts: &'a [i64],
        expected: &'a [Option<i64>],
    } -> (Text, BigInt),
    "WITH new AS MATERIALIZED (SELECT * FROM unnest(" { new } ") AS u (" [SessionEvent::COLUMNS] ")), \
     wanted AS MATERIALIZED (SELECT * FROM unnest(" { sessions as Array<Text> } ", " { counts as Array<BigInt> } ", "
    { expected as Array<Nullable<BigInt>> } ") AS u (session_id, count, expected)), \
     seen AS MATERIALIZED (SELECT w.session_id, w.count, w.expected, h.ctid AS version, \
         coalesce((SELECT max(e.event_index) FROM events AS e WHERE e.session_id = w.session_id), 0) AS last_index \
         FROM wanted AS w JOIN event_heads AS h ON h.session_id = w.session_id), \
     locked AS MATERIALIZED (SELECT h.session_id, h.last_index, h.ctid AS version FROM event_heads AS h \
         WHERE h.session_id = ANY (" { sessions as Array<Text> } ") ORDER BY h.session_id FOR UPDATE), \
     ends AS MATERIALIZED (SELECT s.session_id, s.count, s.expected, CASE WHEN l.version = s.version \
         THEN s.last_index ELSE greatest(l.last_index, s.last_index) END AS last_index \
         FROM seen AS s JOIN locked AS l ON l.session_id = s.session_id), \
     all_fit AS MATERIALIZED (SELECT count(*) = (SELECT count(*) FROM wanted) \
         AND bool_and(expected IS NULL OR expected = last_index) \
         AND bool_and(last_index <= 9223372036854775807 - count) AS fit FROM ends), \
     heads AS (UPDATE event_heads AS h SET last_index = ends.last_index + ends.count FROM ends \
         WHERE h.session_id = ends.session_id AND (SELECT fit FROM all_fit) \
         RETURNING h.session_id, h.last_index, ends.count), \
     added AS (INSERT INTO events (" [SessionEvent::COLUMNS] ") SELECT " [NUMBERED]
    " FROM new JOIN heads ON heads.session_id = new.session_id) \
     SELECT session_id, last_index FROM heads"
}

/// The columns of a new event, with its index.
const NUMBERED: &str = "new.id, heads.last_index - heads.count + new.event_index, new.session_id, new.created_at, \
    new.connection_id, new.sender, new.payload_json";

/// Appends to one session.
pub(super) async fn append<C: PgLink>(conn: &mut C, appending: Appending<'_>) -> Result<Option<Vec<i64>>> {
    let Appending { session_id, expected, events } = appending;
    match events {
        [] => Ok(Some(Vec::new())),
        [event] => {
            let append = AppendOne { new: EventRow::appended(event, session_id, 0), session_id, expected };
            let index = unless_refused(safely(conn, async |conn| conn.row::<i64, _>(append).await).await)?;
            Ok(index.flatten().map(|index| vec![index]))
        }
        _ => Ok(append_all(conn, &[appending]).await?.and_then(|mut indexes| indexes.pop())),
    }
}

/// Runs a statement whose error must not abort the caller's transaction.
async fn safely<C: PgLink, T>(conn: &mut C, run: impl AsyncFnOnce(&mut C) -> QueryResult<T>) -> Result<T> {
    if transaction::is_open(conn)? {
        transaction::run(conn, Lock::Write, async |conn| Ok(run(conn).await?)).await
    } else {
        Ok(run(conn).await?)
    }
}

/// `None` if the server refuses the events or the statement: an id is taken, a value cannot be stored, or a sharded server
/// does not know how to run it. Whatever it is, simple statements find out.
fn unless_refused<T>(appended: Result<T>) -> Result<Option<T>> {
    match appended {
        Err(Error::Database { .. } | Error::NotStorable { .. }) => Ok(None),
        appended => appended.map(Some),
    }
}

/// Appends to several sessions, and returns the indexes of each one's events. `None` if that is not possible in one
/// statement, and nothing has been done: a session has no head yet or does not end where it should, or an id is taken.
pub(crate) async fn append_all<C: PgLink>(conn: &mut C, all: &[Appending<'_>]) -> Result<Option<Vec<Vec<i64>>>> {
    let payloads = all.iter().flat_map(|appending| appending.events).map(|event| event.payload.get().len());
    if payloads.sum::<usize>() > MOST_BYTES {
        return Ok(None);
    }
    // A session's appends are one append to the database.
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(all.len());
    let (mut sessions, mut counts, mut expected) = (Vec::new(), Vec::<i64>::new(), Vec::new());
    let mut new = EventArrays::default();
    let mut firsts = Vec::with_capacity(all.len());
    for appending in all {
        let place = *places.entry(appending.session_id).or_insert_with(|| {
            sessions.push(appending.session_id);
            counts.push(0);
            expected.push(None);
            sessions.len() - 1
        });
        match (appending.expected, counts[place]) {
            (None, _) => {}
            (Some(last), 0) => expected[place] = Some(last),
            // Whether it fits is known only when the one before it is written.
            (Some(_), _) => return Ok(None),
        }
        firsts.push((place, counts[place]));
        new.extend(
            appending
                .events
                .iter()
                .zip(counts[place] + 1..)
                .map(|(event, index)| EventRow::appended(event, appending.session_id, index)),
        );
        counts[place] += appending.events.len() as i64;
    }
    let wanted = Wanted { new: &new, sessions: &sessions, counts: &counts, expected: &expected };
    let mut ends = unless_refused(safely(conn, async |conn| append_wanted(conn, wanted).await).await)?;
    if ends.is_none() && all.len() > 1 {
        // Perhaps only a head was missing.
        let with_heads = safely(conn, async |conn| {
            heads::lock_all(conn, wanted.sessions).await?;
            append_wanted(conn, wanted).await
        });
        ends = unless_refused(with_heads.await)?;
    }
    let Some(ends) = ends else { return Ok(None) };
    let mut bases = vec![0; sessions.len()];
    for (session_id, last_index) in &ends {
        if let Some(&place) = places.get(&**session_id) {
            bases[place] = last_index - counts[place];
        }
    }
    let indexes = all.iter().zip(firsts).map(|(appending, (place, first))| {
        let first = bases[place] + first;
        (1..=appending.events.len() as i64).map(|place| first + place).collect()
    });
    Ok(Some(indexes.collect()))
}

/// What the sessions are to get.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    new: &'a EventArrays<'a>,
    sessions: &'a [&'a str],
    counts: &'a [i64],
    expected: &'a [Option<i64>],
}

/// Each session's last index. What appends nothing is an error, so that it is rolled back and holds no locks, which others
/// may take in another order.
async fn append_wanted<C: PgLink>(conn: &mut C, wanted: Wanted<'_>) -> QueryResult<Vec<(String, i64)>> {
    let Wanted { new, sessions, counts, expected } = wanted;
    let ends = match (sessions, counts, expected) {
        (&[session_id], &[count], &[expected]) => {
            let end: Option<i64> = conn.row(AppendHere { new, session_id, count, expected }).await?;
            end.into_iter().map(|end| (session_id.to_owned(), end)).collect()
        }
        _ => conn.rows(Append { new, sessions, counts, expected }).await?,
    };
    if ends.is_empty() { Err(DieselError::RollbackTransaction) } else { Ok(ends) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_are_those_of_the_table() {
        let columns: Vec<String> = SessionEvent::NAMES
            .iter()
            .map(|name| match *name {
                "event_index" => "heads.last_index - heads.count + new.event_index".to_owned(),
                name => format!("new.{name}"),
            })
            .collect();
        assert_eq!(columns.join(", "), NUMBERED);
    }
}

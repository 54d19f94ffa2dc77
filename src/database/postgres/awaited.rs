//! Which of the sessions that are followed have events that the followers do not know.

use diesel::PgConnection;
use diesel::sql_types::{Array, BigInt, Nullable, Text};

use crate::database::link::Link;
use crate::database::ready;
use crate::database::statement::postgres_statement;
use crate::error::Result;
use crate::model::known::Awaited;

postgres_statement! {
    /// One seek for each session.
    HaveMore { sessions: &'a [&'a str], indexes: &'a [Option<i64>], ids: &'a [Option<&'a str>] } -> BigInt,
    "SELECT w.place FROM unnest(" { sessions as Array<Text> } ", " { indexes as Array<Nullable<BigInt>> } ", "
    { ids as Array<Nullable<Text>> } ") WITH ORDINALITY AS w (session_id, event_index, id, place) WHERE CASE \
     WHEN w.event_index IS NULL THEN EXISTS (SELECT 1 FROM events AS e WHERE e.session_id = w.session_id) \
     WHEN w.id IS NULL THEN EXISTS (SELECT 1 FROM events AS e WHERE e.session_id = w.session_id \
         AND e.event_index > w.event_index) \
     ELSE EXISTS (SELECT 1 FROM events AS e WHERE e.session_id = w.session_id \
         AND (e.event_index, e.id COLLATE \"C\") > (w.event_index, w.id)) END"
}

/// The places in the list of those that have more.
pub(crate) fn have_more(conn: &mut PgConnection, awaited: &[Awaited]) -> Result<Vec<usize>> {
    let sessions: Vec<&str> = awaited.iter().map(|awaited| &*awaited.session_id).collect();
    let indexes: Vec<Option<i64>> = awaited.iter().map(|awaited| awaited.known.index()).collect();
    let ids: Vec<Option<&str>> = awaited.iter().map(|awaited| awaited.known.id()).collect();
    let found: Vec<i64> = ready(conn.rows(HaveMore { sessions: &sessions, indexes: &indexes, ids: &ids }))?;
    // They are counted from 1.
    Ok(found.into_iter().filter_map(|place| usize::try_from(place - 1).ok()).collect())
}

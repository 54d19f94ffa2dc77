//! Which of the sessions that are followed have events that the followers do not know.

use diesel::SqliteConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::exact::is_utf8;
use crate::database::statement::sqlite_statement;
use crate::error::Result;
use crate::model::known::Awaited;

sqlite_statement! {
    /// One seek for each session: its id, the index, and the id, as an array of arrays in JSON.
    HaveMore { awaited: &'a str } -> BigInt,
    "WITH w AS MATERIALIZED (SELECT key, value ->> 0 AS session_id, value ->> 1 AS event_index, value ->> 2 AS id \
     FROM json_each(" { awaited as Text } ")) SELECT w.key FROM w WHERE CASE \
     WHEN w.event_index IS NULL THEN EXISTS (SELECT 1 FROM " events " AS e WHERE e.session_id = w.session_id) \
     WHEN w.id IS NULL THEN EXISTS (SELECT 1 FROM " events " AS e WHERE e.session_id = w.session_id \
         AND e.event_index > w.event_index) \
     ELSE EXISTS (SELECT 1 FROM " events " AS e WHERE e.session_id = w.session_id \
         AND (e.event_index, e.id) > (w.event_index, w.id)) END"
}

/// The places in the list of those that have more, or may have.
pub(crate) fn have_more(conn: &mut SqliteConnection, awaited: &[Awaited]) -> Result<Vec<usize>> {
    // The order of what is stored is not that of the ids.
    if !is_utf8(conn)? {
        return Ok((0..awaited.len()).collect());
    }
    let places: Vec<_> =
        awaited.iter().map(|awaited| (&awaited.session_id, awaited.known.index(), awaited.known.id())).collect();
    // Text and numbers can always be written.
    let places = serde_json::to_string(&places).unwrap_or_default();
    let found: Vec<i64> = HaveMore { awaited: &places }.load(conn)?;
    Ok(found.into_iter().filter_map(|place| usize::try_from(place).ok()).collect())
}

//! The session ids that occur in events.

use diesel::prelude::*;
use diesel::sql_types::{Binary, Bool, Text};

use crate::database::columns::{Column, StoredText};

/// How many it finds with one query.
const CHUNK: usize = 1_000;

#[derive(QueryableByName)]
pub(super) struct FoundSessionId {
    #[diesel(sql_type = Text)]
    pub(super) id: Column<StoredText>,
    #[diesel(sql_type = Binary)]
    pub(super) bytes: Vec<u8>,
    #[diesel(sql_type = Bool)]
    pub(super) has_record: bool,
}

/// The next session ids that occur in events, each found with one seek.
pub(super) fn distinct_ids(conn: &mut SqliteConnection, after: Option<&[u8]>) -> QueryResult<Vec<FoundSessionId>> {
    // A BLOB is greater than any text.
    let next = |after: &str| {
        format!(
            "SELECT (SELECT session_id FROM main.events WHERE session_id {after} AND session_id < x'' \
             ORDER BY session_id LIMIT 1)"
        )
    };
    let first = next(if after.is_some() { "> CAST(? AS TEXT)" } else { ">= ''" });
    let query = diesel::sql_query(format!(
        "WITH RECURSIVE walk (id) AS ({first} UNION ALL {} FROM walk WHERE id IS NOT NULL LIMIT {CHUNK}) \
         SELECT id, CAST(id AS BLOB) AS bytes, EXISTS (SELECT 1 FROM main.sessions WHERE sessions.id = walk.id) AS has_record \
         FROM walk WHERE id IS NOT NULL",
        next("> walk.id")
    ));
    match after {
        None => query.load(conn),
        Some(after) => query.bind::<Binary, _>(after).load(conn),
    }
}

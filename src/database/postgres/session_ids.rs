//! The session ids that occur in events.

use std::vec::IntoIter;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};

use crate::database::statement::postgres_statement;
use crate::error::Result;

/// How many ids are read at a time.
const CHUNK: i64 = 1_000;

postgres_statement! {
    SessionIdsAfter { after: &'a str, most: i64 } -> (Text, Bool),
    "SELECT ids.session_id, EXISTS (SELECT 1 FROM sessions AS s WHERE s.id = ids.session_id) FROM \
     (SELECT DISTINCT session_id FROM events WHERE session_id > " { after as Text }
    " ORDER BY session_id LIMIT " { most as BigInt } ") AS ids ORDER BY ids.session_id"
}

postgres_statement! {
    /// A statement of its own: one condition for both would be no range of the index.
    SessionIdsFrom { first: &'a str, most: i64 } -> (Text, Bool),
    "SELECT ids.session_id, EXISTS (SELECT 1 FROM sessions AS s WHERE s.id = ids.session_id) FROM \
     (SELECT DISTINCT session_id FROM events WHERE session_id >= " { first as Text }
    " ORDER BY session_id LIMIT " { most as BigInt } ") AS ids ORDER BY ids.session_id"
}

/// Some session ids after this one, in the database's own order, and whether each has a record. None at the end.
pub(super) fn after(conn: &mut PgConnection, id: Option<&str>) -> Result<Vec<(String, bool)>> {
    Ok(match id {
        None => SessionIdsFrom { first: "", most: CHUNK }.load(conn)?,
        Some(after) => SessionIdsAfter { after, most: CHUNK }.load(conn)?,
    })
}

/// The ids of sessions without a record, in byte order.
#[derive(Debug, Default)]
pub(crate) struct SessionIds(Option<IntoIter<String>>);

impl SessionIds {
    pub(super) fn next(&mut self, conn: &mut PgConnection) -> Result<Option<String>> {
        let ids = match &mut self.0 {
            Some(ids) => ids,
            // The index has the database's order, so all are read before the first is known.
            unread => unread.insert(without_record(conn)?.into_iter()),
        };
        Ok(ids.next())
    }
}

fn without_record(conn: &mut PgConnection) -> Result<Vec<String>> {
    let (mut found, mut last) = (Vec::new(), None);
    loop {
        let ids = after(conn, last.as_deref())?;
        let Some((id, _)) = ids.last() else { break };
        last = Some(id.clone());
        found.extend(ids.into_iter().filter(|(_, has_record)| !has_record).map(|(id, _)| id));
    }
    found.sort_unstable();
    Ok(found)
}

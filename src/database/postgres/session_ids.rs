//! The session ids that occur in events.

use std::vec::IntoIter;

use diesel::sql_types::{BigInt, Bool, Text};

use super::pg_link::PgLink;
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
pub(super) async fn after<C: PgLink>(conn: &mut C, id: Option<&str>) -> Result<Vec<(String, bool)>> {
    Ok(match id {
        None => conn.rows(SessionIdsFrom { first: "", most: CHUNK }).await?,
        Some(after) => conn.rows(SessionIdsAfter { after, most: CHUNK }).await?,
    })
}

/// The ids of sessions without a record, in byte order.
#[derive(Debug, Default)]
pub(crate) struct SessionIds(Option<IntoIter<String>>);

impl SessionIds {
    pub(super) async fn next<C: PgLink>(&mut self, conn: &mut C) -> Result<Option<String>> {
        let ids = match &mut self.0 {
            Some(ids) => ids,
            // The index has the database's order, so all are read before the first is known.
            unread => unread.insert(without_record(conn).await?.into_iter()),
        };
        Ok(ids.next())
    }
}

async fn without_record<C: PgLink>(conn: &mut C) -> Result<Vec<String>> {
    let (mut found, mut last) = (Vec::new(), None);
    loop {
        let ids = after(conn, last.as_deref()).await?;
        let Some((id, _)) = ids.last() else { break };
        last = Some(id.clone());
        found.extend(ids.into_iter().filter(|(_, has_record)| !has_record).map(|(id, _)| id));
    }
    found.sort_unstable();
    Ok(found)
}

//! Deletes what is in an archive, in the current transaction.

use diesel::sql_types::{Array, BigInt, Text};

use super::activity::{hold_record, is_doomed, last_activity};
use super::{DeleteEmptySession, EventPlace, delete_places};
use crate::database::fields::Record;
use crate::database::postgres::heads;
use crate::database::postgres::pg_link::PgLink;
use crate::database::pruning::Rule;
use crate::database::queries::{HasRecord, SessionById};
use crate::database::statement::postgres_statement;
use crate::database::survey::PrunedSession;
use crate::error::Result;
use crate::model::event::SessionEvent;
use crate::model::retention::PruneRequest;
use crate::model::session::SessionRecord;
use crate::schema::events;

postgres_statement! {
    HoldEvents {
        session_id: &'a str, ids: &'a [&'a str], first: i64, first_id: &'a str, last: i64, last_id: &'a str,
    } -> events::SqlType,
    "SELECT " [SessionEvent::COLUMNS] " FROM events WHERE session_id = " { session_id as Text }
    " AND id = ANY (" { ids as Array<Text> } ") \
     AND (event_index, id COLLATE \"C\") >= (" { first as BigInt } ", " { first_id as Text } ") \
     AND (event_index, id COLLATE \"C\") <= (" { last as BigInt } ", " { last_id as Text } ") \
     ORDER BY event_index, id COLLATE \"C\" FOR UPDATE"
}

/// Whether the session is still selected. Nobody appends to it or changes its record until the transaction ends.
pub(in crate::database::postgres) async fn is_selected<C: PgLink>(
    conn: &mut C,
    request: &PruneRequest,
    session: &PrunedSession,
) -> Result<bool> {
    let session_id = &*session.session_id;
    // In the order in which a deletion of the whole session takes its locks.
    heads::lock(conn, session_id).await?;
    hold_record(conn, session_id).await?;
    let is_selected = match session.rule {
        Rule::Named | Rule::Excess => true,
        Rule::Doomed => is_doomed(conn, request, session_id).await?,
        Rule::Orphans => !conn.one::<bool, _>(HasRecord { session_id }).await?,
        Rule::Size => last_activity(conn, session_id).await? == session.activity,
    };
    if !is_selected {
        heads::drop_if_empty(conn, session_id).await?;
    }
    Ok(is_selected)
}

pub(in crate::database::postgres) async fn delete_unchanged<C: PgLink>(
    conn: &mut C,
    session_id: &str,
    events: &[SessionEvent],
) -> Result<u64> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(0) };
    let ids: Vec<&str> = events.iter().map(|event| &*event.id).collect();
    let held = HoldEvents {
        session_id,
        ids: &ids,
        first: first.event_index,
        first_id: &first.id,
        last: last.event_index,
        last_id: &last.id,
    };
    let found: Vec<SessionEvent> = conn.rows(held).await?;
    let mut archived = events.iter();
    let is_unchanged = |event: &SessionEvent| {
        archived.by_ref().find(|archived| archived.id == event.id).is_some_and(|archived| archived == event)
    };
    let unchanged: Vec<SessionEvent> = found.into_iter().filter(is_unchanged).collect();
    let places: Vec<EventPlace> = unchanged.into_iter().map(|event| (event.event_index, event.id)).collect();
    Ok(delete_places(conn, session_id, &places, None).await?)
}

pub(in crate::database::postgres) async fn delete_emptied<C: PgLink>(
    conn: &mut C,
    session_id: &str,
    record: Option<&SessionRecord>,
) -> Result<bool> {
    let mut is_deleted = false;
    if let Some(record) = record {
        let found: Option<SessionRecord> = conn.row(SessionById { id: session_id }).await?;
        is_deleted = found.as_ref() == Some(record) && conn.run(DeleteEmptySession { id: session_id }).await? > 0;
    }
    heads::drop_if_empty(conn, session_id).await?;
    Ok(is_deleted)
}

//! What a prune would delete, computed in one go.

use std::collections::HashMap;

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::activity::{ACTIVITY, last_activity};
use crate::database::columns::{Column, StoredText};
use crate::database::doomed::Doomed;
use crate::database::pruning::Rule;
use crate::database::sqlite::transaction;
use crate::database::sqlite::utf8_bytes::Utf8Bytes;
use crate::database::statement::{Dialect, sqlite_statement};
use crate::database::survey::{LastActivity, PrunedSession, Survey, SurveyedSession, Weight};
use crate::error::Result;
use crate::model::retention::PruneRequest;

sqlite_statement! {
    /// Every session that has a record or events.
    FoundSessions { doomed: Doomed<'a>, inactive_before: Option<i64>, orphans_before: Option<i64> }
        -> (Text, Bool, Nullable<Bool>, BigInt, BigInt),
    "SELECT id, 1, " { doomed } ", 0, 0 FROM main.sessions \
     WHERE NOT EXISTS (SELECT 1 FROM main.events WHERE session_id = sessions.id) \
     UNION ALL SELECT session_id, has_record, CASE WHEN has_record \
         THEN EXISTS (SELECT 1 FROM main.sessions WHERE id = held.session_id AND " { doomed } ") \
         ELSE (SELECT e.created_at < " { inactive_before as Nullable<BigInt> }
    " FROM main.events AS e WHERE e.session_id = held.session_id " [Sqlite::LAST] ") END, \
         events, CASE WHEN has_record THEN 0 ELSE old END FROM ( \
             SELECT session_id, count(*) AS events, count(CASE WHEN created_at < "
    { orphans_before as Nullable<BigInt> } " THEN 1 END) AS old, \
                 EXISTS (SELECT 1 FROM main.sessions WHERE id = events.session_id) AS has_record \
             FROM main.events GROUP BY session_id) AS held"
}

#[derive(Queryable)]
struct FoundSession {
    id: Column<StoredText>,
    has_record: bool,
    is_doomed: Option<bool>,
    events: i64,
    /// How many of them are old, if the session has no record.
    orphans: i64,
}

/// An event that is left by the rules before the last; only the last one of its session says when that was active.
type WeighedEvent = (Column<StoredText>, Option<i64>, Option<String>, Option<Utf8Bytes>);

/// Ids that no session can have are excluded, as they are by the rules.
pub(in crate::database::sqlite) fn survey(
    conn: &mut SqliteConnection,
    request: &PruneRequest,
) -> Result<Vec<PrunedSession>> {
    transaction::reading(conn, |conn| {
        let mut survey = Survey::new(request);
        let &PruneRequest { inactive_before, orphans_before, .. } = request;
        let found = FoundSessions { doomed: Doomed { by: request }, inactive_before, orphans_before };
        for session in found.load_iter::<FoundSession, DefaultLoadingMode>(conn)? {
            let FoundSession { id, has_record, is_doomed, events, orphans } = session?;
            let Some(StoredText(session_id)) = id.ok() else { continue };
            let (events, orphans, is_doomed) = (events as u64, orphans as u64, is_doomed == Some(true));
            survey.add(SurveyedSession { session_id, has_record, is_doomed, events, orphans });
        }
        let weights = if request.max_total_bytes.is_some() { weights(conn, request)? } else { Vec::new() };
        let mut found = survey.finish(weights);
        // By the last event that an archive has, which an earlier rule may select.
        for session in found.iter_mut().filter(|session| session.rule == Rule::Size) {
            session.activity = last_activity(conn, &session.session_id)?;
        }
        Ok(found)
    })
}

/// What sessions weigh once the rules before the last have been applied. Only Rust can tell the size of a text in any
/// encoding. A payload is looked up last, so that none is sorted.
fn weights(conn: &mut SqliteConnection, request: &PruneRequest) -> Result<Vec<Weight>> {
    let found = diesel::dsl::sql::<(Text, Nullable<BigInt>, Nullable<Text>, Nullable<Text>)>(&format!(
        "SELECT session_id, CASE WHEN n = 1 THEN {ACTIVITY} END, CASE WHEN n = 1 THEN hex(CAST(id AS BLOB)) END, \
             (SELECT payload_json FROM main.events WHERE rowid = e.place) FROM ( \
                 SELECT rowid AS place, session_id, id, created_at, \
                     row_number() OVER (PARTITION BY session_id ORDER BY event_index DESC, id DESC, rowid DESC) AS n \
                 FROM main.events WHERE (created_at < {}) IS NOT 1 \
                     OR EXISTS (SELECT 1 FROM main.sessions WHERE id = events.session_id)) AS e \
         WHERE n <= {}",
        request.orphans_before.map_or("NULL".to_owned(), |before| before.to_string()),
        request.max_events_per_session.map_or(i64::MAX, i64::from),
    ));
    let mut weights: HashMap<String, Weight> = HashMap::new();
    for event in found.load_iter::<WeighedEvent, DefaultLoadingMode>(conn)? {
        let (id, at, last_event, payload) = event?;
        let Some(StoredText(session_id)) = id.ok() else { continue };
        let weight = match weights.get_mut(&session_id) {
            Some(weight) => weight,
            None => {
                let activity = LastActivity { at: 0, last_event: String::new() };
                let weight = Weight { session_id: session_id.clone(), activity, bytes: 0 };
                weights.entry(session_id).or_insert(weight)
            }
        };
        weight.bytes += payload.map_or(0, |bytes| bytes.0 as u64);
        if let Some((at, last_event)) = at.zip(last_event) {
            weight.activity = LastActivity { at, last_event };
        }
    }
    Ok(weights.into_values().collect())
}

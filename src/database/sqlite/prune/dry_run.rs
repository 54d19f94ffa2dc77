//! What a prune would delete, computed in one go.

use std::collections::HashSet;

use diesel::connection::DefaultLoadingMode;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::DOOMED;
use crate::database::columns::{Column, StoredText};
use crate::database::sqlite::transaction;
use crate::error::Result;
use crate::model::report::PruneReport;
use crate::model::retention::PruneRequest;

#[derive(QueryableByName)]
struct SessionAge {
    #[diesel(sql_type = Text)]
    id: Column<StoredText>,
    #[diesel(sql_type = Nullable<Bool>)]
    is_doomed: Option<bool>,
}

#[derive(QueryableByName)]
struct EventAges {
    #[diesel(sql_type = Text)]
    id: Column<StoredText>,
    #[diesel(sql_type = BigInt)]
    events: i64,
    #[diesel(sql_type = Bool)]
    is_doomed: bool,
    /// How many of them are old events of sessions without a record.
    #[diesel(sql_type = BigInt)]
    orphans: i64,
}

/// A row taken by one rule is not counted for the next, so each row counts once. Ids that no session can have are
/// excluded, as they are by the rules.
pub(in crate::database::sqlite) fn dry_run(conn: &mut SqliteConnection, request: &PruneRequest) -> Result<PruneReport> {
    let named: HashSet<&str> = request.sessions.iter().map(String::as_str).collect();
    transaction::reading(conn, |conn| {
        let mut report = PruneReport::default();
        let records = diesel::sql_query(format!("SELECT id, {DOOMED} AS is_doomed FROM main.sessions"))
            .bind::<Nullable<BigInt>, _>(request.destroyed_before)
            .bind::<Nullable<BigInt>, _>(request.created_before);
        for record in records.load_iter::<SessionAge, DefaultLoadingMode>(conn)? {
            let SessionAge { id, is_doomed } = record?;
            let goes = |id: StoredText| is_doomed == Some(true) || named.contains(&*id.0);
            report.sessions += u64::from(id.ok().is_some_and(goes));
        }
        let sessions = diesel::sql_query(format!(
            "SELECT session_id AS id, count(*) AS events, \
                 EXISTS (SELECT 1 FROM main.sessions WHERE id = events.session_id AND {DOOMED}) AS is_doomed, \
                 count(CASE WHEN created_at < ?3 \
                     AND NOT EXISTS (SELECT 1 FROM main.sessions WHERE id = events.session_id) THEN 1 END) AS orphans \
             FROM main.events GROUP BY session_id"
        ))
        .bind::<Nullable<BigInt>, _>(request.destroyed_before)
        .bind::<Nullable<BigInt>, _>(request.created_before)
        .bind::<Nullable<BigInt>, _>(request.orphans_before);
        for session in sessions.load_iter::<EventAges, DefaultLoadingMode>(conn)? {
            let EventAges { id, events, is_doomed, orphans } = session?;
            let Some(StoredText(id)) = id.ok() else { continue };
            let excess = request.max_events_per_session.map_or(0, |most| (events - orphans - i64::from(most)).max(0));
            let gone = if is_doomed || named.contains(&*id) { events } else { orphans + excess };
            report.events += gone as u64;
        }
        Ok(report)
    })
}

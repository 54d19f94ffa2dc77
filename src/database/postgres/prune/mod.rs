//! What a prune deletes: it finds rows without a lock, a bounded number at a time, and then deletes them by session and
//! id.

mod activity;
mod archived;
mod search;
mod survey;

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text};

use self::activity::{hold_record, is_doomed, last_activity};
pub(super) use self::archived::{delete_emptied, delete_unchanged, is_selected};
pub(super) use self::survey::survey;
use super::heads;
use super::pg_link::PgLink;
use crate::database::Deleted;
use crate::database::pruning::{self, Rule};
use crate::database::queries::HasRecord;
use crate::database::statement::postgres_statement;
use crate::database::survey::LastActivity;
use crate::error::Result;
use crate::model::report::PruneReport;
use crate::model::retention::{PruneRequest, STEP_ROWS};

/// A place among a session's events: index and id.
type EventPlace = (i64, String);

pub(super) type Search = pruning::Search<search::RuleStage>;

/// Some events of one session.
#[derive(Debug)]
pub(crate) struct Finding {
    session_id: String,
    rule: Rule,
    /// In order.
    places: Vec<EventPlace>,
    /// Whether nothing to delete followed.
    is_last: bool,
    /// The session's last activity, if that is why it goes.
    activity: Option<LastActivity>,
}

postgres_statement! {
    /// The range is what keeps it cheap: without it, a server that has not yet analyzed the table reads the whole session.
    DeleteFound {
        session_id: &'a str, ids: &'a [&'a str], first: i64, first_id: &'a str, last: i64, last_id: &'a str, before: Option<i64>,
    },
    "DELETE FROM events WHERE session_id = " { session_id as Text } " AND id = ANY (" { ids as Array<Text> } ") \
     AND (event_index, id COLLATE \"C\") >= (" { first as BigInt } ", " { first_id as Text } ") \
     AND (event_index, id COLLATE \"C\") <= (" { last as BigInt } ", " { last_id as Text } ") \
     AND (" { before as Nullable<BigInt> } " IS NULL OR created_at < " { before as Nullable<BigInt> } ")"
}

postgres_statement! {
    /// Not while it has events: a trigger may keep them, or others may keep writing.
    DeleteEmptySession { id: &'a str },
    "DELETE FROM sessions WHERE id = " { id as Text }
    " AND NOT EXISTS (SELECT 1 FROM events WHERE session_id = " { id as Text } ")"
}

/// Deletes events, which are in order, if they are as old as required.
async fn delete_places<C: PgLink>(
    conn: &mut C,
    session_id: &str,
    places: &[EventPlace],
    before: Option<i64>,
) -> QueryResult<u64> {
    let (Some((first, first_id)), Some((last, last_id))) = (places.first(), places.last()) else { return Ok(0) };
    let ids: Vec<&str> = places.iter().map(|(_, id)| &**id).collect();
    let delete = DeleteFound { session_id, ids: &ids, first: *first, first_id, last: *last, last_id, before };
    Ok(conn.run(delete).await? as u64)
}

/// Deletes the rows of a finding, which are few enough to be deleted at once.
pub(super) async fn delete<C: PgLink>(conn: &mut C, request: &PruneRequest, finding: &Finding) -> Result<Deleted> {
    let mut report = PruneReport::default();
    let session_id = &*finding.session_id;
    // In the order in which a deletion of the whole session takes its locks.
    let is_by_activity = finding.rule == Rule::Size || request.inactive_before.is_some();
    if is_by_activity {
        // Also if nothing was ever appended: an append from now on would be activity.
        heads::lock(conn, session_id).await?;
    } else {
        heads::hold(conn, session_id).await?;
    }
    // The session may have changed since it was found.
    let is_hit = match finding.rule {
        Rule::Named | Rule::Excess => true,
        Rule::Doomed => is_doomed(conn, request, session_id).await?,
        Rule::Orphans => !conn.one::<bool, _>(HasRecord { session_id }).await?,
        Rule::Size => {
            hold_record(conn, session_id).await?;
            let activity = last_activity(conn, session_id).await?;
            // Its events may be gone already, by the findings before this one.
            activity == finding.activity || activity.is_none() && finding.places.is_empty()
        }
    };
    if !is_hit {
        if is_by_activity {
            heads::drop_if_empty(conn, session_id).await?;
        }
        return Ok(Deleted { report, next_row: None });
    }
    let before = request.orphans_before.filter(|_| finding.rule == Rule::Orphans);
    report.events += delete_places(conn, session_id, &finding.places, before).await?;
    let is_whole = finding.is_last && finding.rule.is_whole();
    if is_whole {
        // Events that were appended meanwhile, up to one step of them.
        let newcomers = search::first_places(conn, session_id, STEP_ROWS).await?;
        report.events += delete_places(conn, session_id, &newcomers, None).await?;
        // Triggers on its events may have changed it.
        if finding.rule != Rule::Doomed || is_doomed(conn, request, session_id).await? {
            report.sessions += conn.run(DeleteEmptySession { id: session_id }).await? as u64;
        }
    }
    if finding.is_last && finding.rule != Rule::Excess {
        heads::drop_if_empty(conn, session_id).await?;
    }
    Ok(Deleted { report, next_row: None })
}

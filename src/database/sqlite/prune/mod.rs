//! What a prune deletes: it finds rows without the write lock, a bounded number at a time, and then deletes them by
//! rowid.

mod delete;
mod dry_run;
mod places;
mod search;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

pub(super) use self::delete::delete;
pub(super) use self::dry_run::dry_run;
use self::places::EventPlace;
use crate::database::pruning::{self, Rule};
use crate::database::statement::sqlite_statement;
use crate::error::Result;
use crate::model::retention::PruneRequest;

pub(super) type Search = pruning::Search<search::RuleStage>;

/// Some rows of one session.
#[derive(Debug)]
pub(crate) struct Finding {
    session_id: String,
    rule: Rule,
    rowids: Vec<i64>,
    /// The last event examined.
    after: Option<EventPlace>,
    /// Whether nothing to delete followed.
    is_last: bool,
}

/// Sessions selected by an age rule; `?1` is `destroyed_before` and `?2` is `created_before`, either of which may be
/// NULL.
const DOOMED: &str = "(destroyed_at < ?1 OR created_at < ?2)";

sqlite_statement! {
    IsDoomed { id: &'a str, destroyed_before: Option<i64>, created_before: Option<i64> } -> Bool,
    "SELECT EXISTS (SELECT 1 FROM " sessions " WHERE id = " { id as Text }
    " AND (destroyed_at < " { destroyed_before as Nullable<BigInt> }
    " OR created_at < " { created_before as Nullable<BigInt> }
    "))"
}

/// Whether an age rule selects the session as it is now.
fn is_doomed(conn: &mut SqliteConnection, request: &PruneRequest, id: &str) -> Result<bool> {
    let &PruneRequest { destroyed_before, created_before, .. } = request;
    Ok(IsDoomed { id, destroyed_before, created_before }.get_result(conn)?)
}

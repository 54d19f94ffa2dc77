//! What a prune deletes: it finds rows without the write lock, a bounded number at a time, and then deletes them by
//! rowid.

mod activity;
mod archived;
mod delete;
mod distinct_ids;
mod measure;
mod places;
mod search;
mod survey;

pub(super) use self::archived::{delete_emptied, delete_unchanged, is_selected};
pub(super) use self::delete::delete;
use self::places::EventPlace;
pub(super) use self::survey::survey;
use crate::database::pruning::{self, Rule};
use crate::database::survey::LastActivity;

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
    /// The session's last activity, if that is why it goes.
    activity: Option<LastActivity>,
}

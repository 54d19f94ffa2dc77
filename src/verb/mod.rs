//! What each verb does, over the seam, the same for every database.

mod access;
mod append;
mod archive;
mod events;
mod export;
mod import;
mod inspect;
mod lines;
mod pace;
mod prune;
mod reclaim;
mod restore;
mod sessions;
mod spool;
mod step;
mod summaries;
mod walk;

pub(crate) use self::access::{Access, Writing};
pub(crate) use self::append::{append, append_events, append_events_after, last_event_index};
pub(crate) use self::events::{get_event, insert_event, insert_events, latest_events, list_events};
pub(crate) use self::export::export;
pub(crate) use self::import::{import, import_in_steps};
pub(crate) use self::inspect::{check, get_session_stats, session_stats, stats};
pub(crate) use self::prune::{prune, prune_in_steps};
pub(crate) use self::reclaim::{reclaim_in_steps, reclaim_space};
pub(crate) use self::sessions::{
    delete_session, destroy_session, fork_session, get_session, list_sessions, update_session,
};
pub(crate) use self::summaries::list_session_summaries;
pub(crate) use self::walk::{Walk, walk};

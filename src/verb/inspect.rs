//! Statistics and checks of a database. Nothing here changes anything.

use crate::database::Database;
use crate::error::Result;
use crate::model::report::{CheckReport, SessionStats, Stats};

pub(crate) async fn stats<D: Database>(db: &mut D) -> Result<Stats> {
    db.stats().await
}

pub(crate) async fn session_stats<D: Database>(db: &mut D) -> Result<Vec<SessionStats>> {
    db.session_stats().await
}

pub(crate) async fn get_session_stats<D: Database>(db: &mut D, session_id: &str) -> Result<Option<SessionStats>> {
    let stats = db.stats_of_session(session_id).await?;
    let is_there = stats.events > 0 || db.session_exists(session_id).await?;
    Ok(is_there.then_some(stats))
}

pub(crate) async fn check<D: Database>(db: &mut D) -> Result<CheckReport> {
    db.check().await
}

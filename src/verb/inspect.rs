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

pub(crate) async fn check<D: Database>(db: &mut D) -> Result<CheckReport> {
    db.check().await
}

//! Pruning: deletes old rows in steps that let other writers in between.

use std::sync::Arc;

use super::access::{Access, Direct};
use super::pace::Pace;
use super::step::{Next, Step, step};
use crate::database::{Database, Lock};
use crate::error::{Done, Error, Result};
use crate::model::report::PruneReport;
use crate::model::retention::{PruneRequest, STEP_ROWS, STEP_TIME};

pub(crate) async fn prune<D: Database>(db: &mut D, request: &PruneRequest) -> Result<PruneReport> {
    if request.is_dry_run() {
        return db.dry_run(request).await;
    }
    if !db.is_in_transaction()? {
        let reclaim = async |access: &mut Direct<'_, D>| access.read(async |db| db.reclaim_space().await).await;
        return prune_in_steps(&mut Direct::new(db)?, request, reclaim).await;
    }
    // Nothing is final inside the caller's transaction, so there it is atomic.
    db.atomically(Lock::ReadWrite { session: None }, async |db| {
        let mut report = PruneReport::default();
        take_steps(&mut Direct::new(db)?, request, Pace::new(false, STEP_ROWS), &mut report).await?;
        if request.reclaims_space() {
            db.reclaim_space().await?;
        }
        Ok(report)
    })
    .await
}

/// Prunes in its own transactions, and then reclaims space if requested.
pub(crate) async fn prune_in_steps<A: Access>(
    access: &mut A,
    request: &PruneRequest,
    reclaim_space: impl AsyncFnOnce(&mut A) -> Result<()>,
) -> Result<PruneReport> {
    let mut report = PruneReport::default();
    let mut result = take_steps(access, request, Pace::new(A::Database::WRITERS_WAIT, STEP_ROWS), &mut report).await;
    if result.is_ok() && request.reclaims_space() {
        result = reclaim_space(access).await;
    }
    match result {
        Ok(()) => Ok(report),
        Err(source) if report == PruneReport::default() => Err(source),
        Err(source) => Err(Error::Unfinished { done: Done::Pruned(report), source: Box::new(source) }),
    }
}

/// Alternates between searching and deleting. The report counts what was committed, even if it then failed.
async fn take_steps<A: Access>(
    access: &mut A,
    request: &PruneRequest,
    mut pace: Pace,
    report: &mut PruneReport,
) -> Result<()> {
    let request = Arc::new(request.clone());
    let mut search = A::Database::search(&request);
    loop {
        let rows = pace.rows();
        let Some(findings) = access.read(async |db| db.find(&mut search, rows).await).await? else { return Ok(()) };
        let findings = Arc::new(findings);
        let (mut next, mut row) = (0, 0);
        while next < findings.len() {
            access.wait(&mut pace).await;
            let (request, findings) = (Arc::clone(&request), Arc::clone(&findings));
            let deleted = access.write(async move |db| delete(db, &request, &findings, next, row).await).await?;
            pace.took(deleted.began);
            *report += deleted.state.report;
            if let Some(failure) = deleted.failure {
                return Err(failure);
            }
            (next, row) = (deleted.next, deleted.state.row);
        }
    }
}

/// What a step has deleted, and the row of its next finding to continue from.
#[derive(Clone, Copy, Default)]
struct Deletion {
    report: PruneReport,
    row: usize,
}

async fn delete<D: Database>(
    db: &mut D,
    request: &PruneRequest,
    findings: &[D::Finding],
    next: usize,
    row: usize,
) -> Result<Step<Deletion>> {
    let begun = Deletion { row, ..Deletion::default() };
    step(db, next..findings.len(), begun, async |db: &mut D, finding, began, before| {
        let deleted = db.delete_found(request, &findings[finding], before.row, began).await?;
        let mut report = before.report;
        report += deleted.report;
        let next = match deleted.next_row {
            None if began.elapsed() < STEP_TIME => Next::Part,
            next_row => Next::Step { is_done: next_row.is_none() },
        };
        Ok((Deletion { report, row: deleted.next_row.unwrap_or(0) }, next))
    })
    .await
}

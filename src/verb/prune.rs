//! Pruning: deletes old rows in steps that let other writers in between.

use std::sync::Arc;
use std::time::Instant;

use super::access::{Access, Direct, Writing};
use super::archive::archive_and_prune;
use super::pace::Pace;
use super::reclaim::reclaim_space;
use super::step::{Next, Parts, Step, step};
use crate::database::{Database, Lock};
use crate::error::{Done, Error, Result};
use crate::model::lines_file::LinesFormat;
use crate::model::report::PruneReport;
use crate::model::retention::{PruneRequest, STEP_ROWS, STEP_TIME};

pub(crate) async fn prune<D: Database>(db: &mut D, request: &PruneRequest) -> Result<PruneReport> {
    if request.is_dry_run() {
        request.archive.as_deref().map(LinesFormat::of).transpose()?;
        let mut report = PruneReport::default();
        db.survey(request).await?.iter().for_each(|session| report += session.report());
        return Ok(report);
    }
    if !db.is_in_transaction()? {
        let reclaim = async |access: &mut Direct<'_, D>| access.read(async |db| reclaim_space(db).await).await;
        return prune_in_steps(&mut Direct::new(db)?, request, reclaim).await;
    }
    // Nothing is final inside the caller's transaction, so there it is atomic.
    db.atomically(Lock::ReadWrite { session: None }, async |db| {
        let mut report = PruneReport::default();
        prune_rows(&mut Direct::new(db)?, request, Pace::new(false, STEP_ROWS), &mut report).await?;
        if request.reclaims_space() {
            reclaim_space(db).await?;
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
    let mut result = prune_rows(access, request, Pace::new(A::Database::WRITERS_WAIT, STEP_ROWS), &mut report).await;
    if result.is_ok() && request.reclaims_space() {
        result = reclaim_space(access).await;
    }
    match result {
        Ok(()) => Ok(report),
        Err(source) if report == PruneReport::default() => Err(source),
        Err(source) => Err(Error::Unfinished { done: Done::Pruned(report), source: Box::new(source) }),
    }
}

async fn prune_rows<A: Access>(
    access: &mut A,
    request: &PruneRequest,
    pace: Pace,
    report: &mut PruneReport,
) -> Result<()> {
    match &request.archive {
        // The compiler gives up on futures that are nested more deeply.
        Some(path) => Box::pin(archive_and_prune(access, request, path, pace, report)).await,
        None => take_steps(access, request, pace, report).await,
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
            let deleted = access.write(DeleteStep { request, findings, next, row }).await?;
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

/// A step: it deletes some of what was found.
struct DeleteStep<F> {
    request: Arc<PruneRequest>,
    findings: Arc<Vec<F>>,
    next: usize,
    row: usize,
}

impl<D: Database> Writing<D> for DeleteStep<D::Finding> {
    type Answer = Step<Deletion>;

    const ADDS_EVENTS: bool = false;

    async fn run(&mut self, db: &mut D) -> Result<Step<Deletion>> {
        let begun = Deletion { row: self.row, ..Deletion::default() };
        step(db, self.next..self.findings.len(), begun, self).await
    }
}

impl<D: Database> Parts<D> for DeleteStep<D::Finding> {
    type State = Deletion;

    async fn work(&self, db: &mut D, part: usize, began: Instant, before: &Deletion) -> Result<(Deletion, Next)> {
        let deleted = db.delete_found(&self.request, &self.findings[part], before.row, began).await?;
        let mut report = before.report;
        report += deleted.report;
        let next = match deleted.next_row {
            None if began.elapsed() < STEP_TIME => Next::Part,
            next_row => Next::Step { is_done: next_row.is_none() },
        };
        Ok((Deletion { report, row: deleted.next_row.unwrap_or(0) }, next))
    }
}

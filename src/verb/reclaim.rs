//! Returning unused space to the file system.

use std::time::Instant;

use super::access::{Access, Direct, Writing};
use super::pace::Pace;
use crate::database::{Database, Lock};
use crate::error::Result;
use crate::model::retention::STEP_ROWS;

/// On the caller's connection, which may be inside a transaction.
pub(crate) async fn reclaim_space<D: Database>(db: &mut D) -> Result<()> {
    let is_inside = db.is_in_transaction()?;
    let pace = Pace::new(D::WRITERS_WAIT && !is_inside, STEP_ROWS);
    if !reclaim_pages(&mut Direct::new(db)?, pace).await? {
        return db.reclaim_at_once().await;
    }
    if is_inside { Ok(()) } else { db.shrink_file().await }
}

/// Works in transactions of its own. Returns false, and has done nothing, if the database is not made for it.
pub(crate) async fn reclaim_in_steps<A: Access>(access: &mut A) -> Result<bool> {
    reclaim_pages(access, Pace::new(A::Database::WRITERS_WAIT, STEP_ROWS)).await
}

async fn reclaim_pages<A: Access>(access: &mut A, mut pace: Pace) -> Result<bool> {
    let Some(mut left) = access.read(async |db| db.reclaimable_pages().await).await? else { return Ok(false) };
    // Not what others free meanwhile, so that it ends.
    while left > 0 {
        access.wait(&mut pace).await;
        let pages = left.min(pace.rows() as u64);
        pace.took(access.write(ReclaimPages(pages)).await?);
        left -= pages;
    }
    Ok(true)
}

/// A step: it returns this many pages, and says when it began.
struct ReclaimPages(u64);

impl<D: Database> Writing<D> for ReclaimPages {
    type Answer = Instant;

    const ADDS_EVENTS: bool = false;

    async fn run(&mut self, db: &mut D) -> Result<Instant> {
        db.atomically(Lock::Write, async |db| {
            let began = Instant::now();
            db.reclaim_pages(self.0).await?;
            Ok(began)
        })
        .await
    }
}

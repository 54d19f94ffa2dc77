//! One step of a long verb: as many of its parts as there is time for, in one transaction, each part atomic.

use std::time::Instant;

use crate::database::{Database, Lock, is_worth_repeating};
use crate::error::{Error, Result};

/// What a step did.
pub(super) struct Step<S> {
    /// The first part that still has to be done or continued.
    pub(super) next: usize,
    pub(super) state: S,
    /// The error that stopped it; the failed part has been rolled back.
    pub(super) failure: Option<Error>,
    /// When the lock was taken.
    pub(super) began: Instant,
}

/// How to continue after a part.
pub(super) enum Next {
    /// With the next part.
    Part,
    /// Time is up: with the next part, or the rest of this one, in another step.
    Step { is_done: bool },
}

/// What a step consists of.
pub(super) trait Parts<D> {
    /// What the parts before have come to.
    type State: Clone;

    /// Does one of the parts, in a step that began then.
    async fn work(&self, db: &mut D, part: usize, began: Instant, before: &Self::State) -> Result<(Self::State, Next)>;
}

/// Runs the parts in a range. A part's result is applied to the state only if the part stays.
pub(super) async fn step<D: Database, P: Parts<D>>(
    db: &mut D,
    range: std::ops::Range<usize>,
    state: P::State,
    parts: &P,
) -> Result<Step<P::State>> {
    let is_inside = db.is_in_transaction()?;
    let (from, mut upto) = (range.start, range.end);
    // The error of a part that ended the whole transaction.
    let mut known = None;
    loop {
        let mut struck = None;
        let stepped = db
            .atomically(Lock::Write, async |db| {
                let mut step = Step { next: from, state: state.clone(), failure: None, began: Instant::now() };
                while step.next < upto {
                    let (part, began, before) = (step.next, step.began, &step.state);
                    let done = db.atomically(Lock::Write, async |db| parts.work(db, part, began, before).await).await;
                    let (state, next) = match done {
                        Ok(done) => done,
                        Err(error) => {
                            struck = Some((error, part));
                            break;
                        }
                    };
                    step.state = state;
                    match next {
                        Next::Part => step.next += 1,
                        Next::Step { is_done } => {
                            step.next += usize::from(is_done);
                            break;
                        }
                    }
                }
                Ok(step)
            })
            .await;
        match (stepped, struck) {
            // The next step begins with it, and whoever runs steps repeats it there.
            (Ok(step), Some((failure, part))) if part > from && !is_inside && is_worth_repeating(&failure) => {
                return Ok(step);
            }
            (Ok(step), Some((failure, _))) => return Ok(Step { failure: Some(failure), ..step }),
            (Ok(step), None) => {
                let failure = known.filter(|_| step.next == upto);
                return Ok(Step { failure, ..step });
            }
            // It rolled back the parts before it, which run once more without it.
            (Err(_), Some((failure, part))) if part > from && !is_inside => (upto, known) = (part, Some(failure)),
            (Err(_), Some((failure, _))) => return Err(failure),
            (Err(error), None) => return Err(error),
        }
    }
}

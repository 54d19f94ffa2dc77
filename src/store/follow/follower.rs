//! Following on a thread.

use std::sync::Arc;
use std::time::Instant;

use super::follow_state::{FollowState, FollowStep};
use super::trail::Trail;
use crate::error::Result;
use crate::store::blocking::OpenStore;
use crate::store::reentrance::{ANYTHING, Activity, refuse};

/// It holds the connections but not the store, so the store closes without it.
pub(super) struct Follower<T> {
    store: Arc<OpenStore>,
    pub(super) state: FollowState<T>,
}

impl<T: Trail> Follower<T> {
    pub(super) fn new(store: Arc<OpenStore>, trail: T) -> Self {
        Self { store, state: FollowState::new(trail) }
    }

    /// The next item; `None` after the end, or if none has come until the deadline.
    pub(super) fn next(&mut self, deadline: Option<Instant>) -> Option<Result<T::Item>> {
        let mut has_read = false;
        loop {
            match self.state.next(&self.store.engine) {
                FollowStep::Deliver(item) => return Some(item),
                FollowStep::Read(question) => {
                    self.state.trail.answer(T::read(&self.store.engine, question));
                    has_read = true;
                }
                // Where others commit without a pause, there is always a reason to look again.
                FollowStep::Wait if has_read && deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return None;
                }
                FollowStep::Wait => {
                    let (listener, seen, known) = self.state.awaited()?;
                    // Nobody else can commit, or this very thread would have to.
                    let id = self.store.engine.id();
                    let waited = refuse(id, ANYTHING)
                        .and_then(|()| refuse(id, &[Activity::Transacting]))
                        .map(|()| listener.wait(seen, known, deadline));
                    match waited {
                        Err(inside) => return Some(Err(inside)),
                        Ok(Ok(false)) => return None,
                        Ok(woken) => {
                            if let Err(closed) = self.state.woken(woken.map(drop)) {
                                return Some(Err(closed));
                            }
                        }
                    }
                }
                FollowStep::End => return None,
            }
        }
    }

    pub(super) fn beginning_at_end(mut self) -> Result<Self> {
        let end = T::find_end(&self.store.engine, self.state.trail.selection())?;
        self.state.skip_to(end);
        Ok(self)
    }
}

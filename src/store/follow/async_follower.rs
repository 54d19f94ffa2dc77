//! Following in a task.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::follow_state::{FollowState, FollowStep};
use super::trail::Trail;
use crate::error::Result;
use crate::store::asynchronous::Reader;

type Reading<T> = Pin<Box<dyn Future<Output = Result<<T as Trail>::Page>> + Send>>;

pub(super) struct AsyncFollower<T: Trail> {
    reader: Arc<Reader>,
    pub(super) state: FollowState<T>,
    /// The page that is on its way. The future of a single `next` may be dropped and made again.
    reading: Option<Reading<T>>,
}

impl<T: Trail> AsyncFollower<T> {
    pub(super) fn new(reader: Arc<Reader>, trail: T) -> Self {
        Self { reader, state: FollowState::new(trail), reading: None }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T::Item>>> {
        loop {
            if let Some(reading) = &mut self.reading {
                let page = ready!(reading.as_mut().poll(context));
                self.reading = None;
                self.state.trail.answer(page);
            }
            match self.state.next(self.reader.engine()) {
                FollowStep::Deliver(item) => return Poll::Ready(Some(item)),
                FollowStep::Read(question) => {
                    let reader = Arc::clone(&self.reader);
                    self.reading = Some(Box::pin(async move { reader.read(|engine| T::read(engine, question)).await }));
                }
                FollowStep::Wait => {
                    let Some((listener, seen, known)) = self.state.awaited() else { return Poll::Ready(None) };
                    let woken = ready!(listener.poll(seen, known, context));
                    if let Err(closed) = self.state.woken(woken) {
                        return Poll::Ready(Some(Err(closed)));
                    }
                }
                FollowStep::End => return Poll::Ready(None),
            }
        }
    }

    pub(super) async fn beginning_at_end(mut self) -> Result<Self> {
        let selection = self.state.trail.selection();
        let end = self.reader.read(move |engine| T::find_end(engine, selection)).await?;
        self.reading = None;
        self.state.skip_to(end);
        Ok(self)
    }
}

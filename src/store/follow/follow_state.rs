//! What a follower does next, on a thread or in a task.

use super::trail::Trail;
use crate::error::{Error, Result};
use crate::error_kind::ErrorKind;
use crate::model::known::Known;
use crate::store::changes::Listener;
use crate::store::engine::{Engine, StoreEngine, on_engine};

pub(super) struct FollowState<T> {
    pub(super) trail: T,
    /// Once it has begun.
    listener: Option<Listener>,
    /// What was announced before it last began to read.
    seen: u64,
    stage: FollowStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FollowStage {
    /// It has to read what there is.
    Behind,
    Reading,
    /// It has read everything.
    Waiting,
    Over,
}

pub(super) enum FollowStep<T: Trail> {
    Deliver(Result<T::Item>),
    /// Ask the store, and pass in the answer.
    Read(T::Question),
    /// Wait for a change, and say that there was one.
    Wait,
    End,
}

impl<T: Trail> FollowState<T> {
    pub(super) fn new(trail: T) -> Self {
        Self { trail, listener: None, seen: 0, stage: FollowStage::Behind }
    }

    pub(super) fn next(&mut self, engine: &Engine) -> FollowStep<T> {
        loop {
            if self.stage == FollowStage::Over {
                return FollowStep::End;
            }
            if let Some(item) = self.trail.pop() {
                if let Err(error) = &item {
                    self.stage = after(error, self.stage);
                }
                return FollowStep::Deliver(item);
            }
            match self.stage {
                FollowStage::Behind => match self.listen(engine) {
                    Ok(now) => {
                        self.seen = now;
                        self.trail.resume();
                        self.stage = FollowStage::Reading;
                    }
                    Err(error) => {
                        self.stage = after(&error, self.stage);
                        return FollowStep::Deliver(Err(error));
                    }
                },
                FollowStage::Reading => match self.trail.question() {
                    Some(question) => return FollowStep::Read(question),
                    None => self.stage = FollowStage::Waiting,
                },
                FollowStage::Waiting => return FollowStep::Wait,
                FollowStage::Over => {}
            }
        }
    }

    /// Whatever is committed from here on wakes it.
    fn listen(&mut self, engine: &Engine) -> Result<u64> {
        let listener = match &self.listener {
            Some(listener) => listener,
            None => {
                let changes = on_engine!(engine, engine => engine.watch().map(|()| engine.changes()))?;
                self.listener.insert(Listener::new(changes, self.trail.interest())?)
            }
        };
        Ok(listener.now())
    }

    /// What to wait for.
    pub(super) fn awaited(&self) -> Option<(&Listener, u64, impl Fn() -> Known)> {
        Some((self.listener.as_ref()?, self.seen, || self.trail.known()))
    }

    /// Something was committed, or the store was closed.
    pub(super) fn woken(&mut self, woken: Result<()>) -> Result<()> {
        self.stage = if woken.is_ok() { FollowStage::Behind } else { FollowStage::Over };
        woken
    }

    /// Goes on from the end that was found.
    pub(super) fn skip_to(&mut self, end: T::End) {
        self.trail.skip_to(end);
        self.stage = FollowStage::Behind;
    }

    /// Tries again what has ended.
    pub(super) fn revive(&mut self) {
        if self.stage == FollowStage::Over {
            self.stage = FollowStage::Behind;
        }
    }
}

/// What comes after an error: the next row, another attempt, or nothing.
fn after(error: &Error, stage: FollowStage) -> FollowStage {
    match error {
        Error::Decode { after: Some(_), .. } => stage,
        Error::Closed => FollowStage::Over,
        error => match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::Unsupported => FollowStage::Over,
            _ => FollowStage::Behind,
        },
    }
}

//! One result, for a thread or a task that waits for it.

#[cfg(feature = "async")]
use std::future::Future;
#[cfg(feature = "async")]
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
#[cfg(feature = "async")]
use std::task::{Context, Poll};

use crate::error::{Error, Result};

/// The receiver of the result: `wait` on a thread, `await` in a task.
pub(super) struct Ticket<T>(Arc<Slot<T>>);

/// The sender of the result. If it is dropped without one (its thread panicked), the result is [`Error::Panicked`].
pub(super) struct Promise<T>(Arc<Slot<T>>);

struct Slot<T> {
    state: Mutex<State<T>>,
    answered: Condvar,
}

enum State<T> {
    Open(Option<Waker>),
    Answered(Option<Result<T>>),
}

pub(super) fn ticket<T>() -> (Promise<T>, Ticket<T>) {
    let slot = Arc::new(Slot { state: Mutex::new(State::Open(None)), answered: Condvar::new() });
    (Promise(Arc::clone(&slot)), Ticket(slot))
}

impl<T> Slot<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Promise<T> {
    pub(super) fn answer(self, answer: Result<T>) {
        self.put(answer);
    }

    fn put(&self, answer: Result<T>) {
        let mut state = self.0.state();
        if let State::Open(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Answered(Some(answer));
            drop(state);
            self.0.answered.notify_one();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.put(Err(Error::Panicked));
    }
}

impl<T> Ticket<T> {
    pub(super) fn wait(self) -> Result<T> {
        let mut state = self.0.state();
        loop {
            if let State::Answered(answer) = &mut *state {
                return answer.take().unwrap_or(Err(Error::Panicked));
            }
            state = self.0.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(feature = "async")]
impl<T> Future for Ticket<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let mut new = None;
        loop {
            let mut state = self.0.state();
            let known = match &mut *state {
                State::Answered(answer) => return Poll::Ready(answer.take().unwrap_or(Err(Error::Panicked))),
                State::Open(known) => known,
            };
            if known.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
                return Poll::Pending;
            }
            // Cloned and dropped without the lock: a waker is foreign code.
            if let Some(new) = new.take() {
                let old = known.replace(new);
                drop(state);
                drop(old);
                return Poll::Pending;
            }
            drop(state);
            new = Some(context.waker().clone());
        }
    }
}

/// The receiver is gone, so nothing is woken, or kept to be woken, until the result is there.
#[cfg(feature = "async")]
impl<T> Drop for Ticket<T> {
    fn drop(&mut self) {
        let _waker = match &mut *self.0.state() {
            State::Open(waker) => waker.take(),
            State::Answered(_) => None,
        };
    }
}

//! The thread that finds commits by others, for all who listen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How others' commits are found. It is asked by one thread, and only while somebody listens.
pub(in crate::store) trait Watch: Send + 'static {
    /// Looks once, announces what was found, and returns how long to wait before the next look. The first look after
    /// its connection was opened finds something, since nobody knows what happened before.
    fn look(&mut self) -> Duration;

    /// Others were found to have committed, between two looks. Returns how long to wait, at least, before the next one.
    fn examine(&mut self) -> Duration {
        Duration::ZERO
    }

    /// Nobody has listened for a while.
    fn rest(&mut self) {}
}

/// How long the watcher keeps its connection if nobody listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it waits after the application's instrumentation has panicked.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// How long closing waits for the watcher, which may be waiting for a server that does not answer.
const LONGEST_END: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Watcher(Arc<WatchThread>);

#[derive(Default)]
struct WatchThread {
    state: Mutex<WatchState>,
    /// There is something to do, or the thread has ended.
    stirred: Condvar,
}

#[derive(Default)]
struct WatchState {
    listeners: usize,
    is_closed: bool,
    /// Something is to be examined.
    is_stirred: bool,
    thread: Option<ThreadId>,
}

impl WatchState {
    fn is_idle(&mut self) -> bool {
        self.listeners == 0 && !self.is_closed
    }
}

impl Watcher {
    pub(super) fn add_listener(&self) {
        self.0.state().listeners += 1;
        self.0.stirred.notify_all();
    }

    pub(super) fn remove_listener(&self) {
        self.0.state().listeners -= 1;
    }

    /// Lets the thread examine what was found by others.
    pub(super) fn stir(&self) {
        self.0.state().is_stirred = true;
        self.0.stirred.notify_all();
    }

    /// Starts the thread, unless it runs.
    pub(super) fn start<W: Watch>(&self, make: impl FnOnce() -> W) -> Result<()> {
        let mut state = self.0.state();
        if state.is_closed {
            return Err(Error::Closed);
        }
        if state.thread.is_none() {
            let (watcher, mut watch) = (Arc::clone(&self.0), make());
            let run = move || {
                watcher.run(&mut watch);
                drop(watch);
                watcher.state().thread = None;
                watcher.stirred.notify_all();
            };
            let thread = std::thread::Builder::new().name("agent-session-store-watch".to_owned());
            let started = thread.spawn(run).map_err(|source| Error::Thread { source })?;
            state.thread = Some(started.thread().id());
        }
        Ok(())
    }

    /// Ends the thread, and waits for it, unless this is that thread.
    pub(super) fn close(&self) {
        let mut state = self.0.state();
        state.is_closed = true;
        self.0.stirred.notify_all();
        let runs_elsewhere = |state: &mut WatchState| state.thread.is_some_and(|id| id != std::thread::current().id());
        drop(self.0.stirred.wait_timeout_while(state, LONGEST_END, runs_elsewhere));
    }
}

impl WatchThread {
    fn state(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, watch: &mut impl Watch) {
        loop {
            let idle = self.stirred.wait_timeout_while(self.state(), PATIENCE, WatchState::is_idle);
            let (state, waited) = idle.unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() {
                drop(state);
                watch.rest();
                drop(self.stirred.wait_while(self.state(), WatchState::is_idle));
                continue;
            }
            if state.is_closed {
                return;
            }
            drop(state);
            let pause = catch_unwind(AssertUnwindSafe(|| watch.look())).unwrap_or(AFTER_PANIC);
            let mut next = Instant::now() + pause;
            let mut state = self.state();
            while !state.is_closed
                && let Some(left) = next.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            {
                if std::mem::take(&mut state.is_stirred) {
                    drop(state);
                    next = next.max(Instant::now() + watch.examine());
                    state = self.state();
                    continue;
                }
                state = self.stirred.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

//! A limited number of threads that work for async tasks, which must not block their own.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::reentrance::{Activity, ActivityGuard, StoreId};
use super::ticket::ticket;
use crate::error::{Error, Result};

type Work = Box<dyn FnOnce() + Send>;

/// How long a thread waits for more work before it ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts threads on demand, up to a limit. Further work waits, and starts in the order in which it came.
pub(super) struct Workers {
    shared: Arc<Shared>,
    limit: usize,
    name: &'static str,
    /// The store that calls the application's code here, if any.
    store: Option<StoreId>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Backlog>,
    filled: Condvar,
}

#[derive(Default)]
struct Backlog {
    /// By number, in order of arrival; cancelled work leaves the queue from any position.
    waiting: BTreeMap<u64, Work>,
    last_number: u64,
    threads: usize,
    idle: usize,
    is_closed: bool,
}

impl Workers {
    pub(super) fn new(limit: usize, name: &'static str, store: Option<StoreId>) -> Self {
        Self { shared: Arc::default(), limit, name, store }
    }

    /// Runs the work on one of the threads. If it is cancelled before its turn, it never starts.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let (promise, ticket) = ticket();
        let store = self.store;
        let work = move || {
            let _inside = store.map(|store| ActivityGuard::enter(store, Activity::Working));
            work()
        };
        let mut turn = self.submit(Box::new(move || promise.answer(work())))?;
        let answer = ticket.await;
        turn.number = None;
        answer
    }

    fn submit(&self, work: Work) -> Result<QueueTurn<'_>> {
        let mut queue = self.shared.queue();
        if queue.idle <= queue.waiting.len() && queue.threads < self.limit {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name(self.name.to_owned());
            match thread.spawn(move || shared.run()) {
                Ok(_) => queue.threads += 1,
                // The existing threads will do it.
                Err(_) if queue.threads > 0 => {}
                Err(source) => {
                    drop(queue);
                    return Err(Error::Thread { source });
                }
            }
        }
        queue.last_number += 1;
        let number = queue.last_number;
        queue.waiting.insert(number, work);
        drop(queue);
        self.shared.filled.notify_one();
        Ok(QueueTurn { shared: &self.shared, number: Some(number) })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.queue().is_closed = true;
        self.shared.filled.notify_all();
    }
}

/// Work that may still be waiting. Dropping this removes it from the queue.
struct QueueTurn<'a> {
    shared: &'a Shared,
    number: Option<u64>,
}

impl Drop for QueueTurn<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // Drop the work after the lock: it owns a writer, a callback, perhaps the last clone of a store.
            let _work = self.shared.queue().waiting.remove(&number);
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Backlog> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut queue = self.queue();
        loop {
            if let Some((_, work)) = queue.waiting.pop_first() {
                drop(queue);
                // A panic (in the application's code) only affects whoever waits for this work.
                let _ = catch_unwind(AssertUnwindSafe(work));
                queue = self.queue();
                continue;
            }
            if !queue.is_closed {
                queue.idle += 1;
                let (again, waited) = self.filled.wait_timeout(queue, PATIENCE).unwrap_or_else(PoisonError::into_inner);
                queue = again;
                queue.idle -= 1;
                if !waited.timed_out() || !queue.waiting.is_empty() {
                    continue;
                }
            }
            queue.threads -= 1;
            return;
        }
    }
}

//! Threads that read for tasks: a task must not block its own.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use diesel::SqliteConnection;

use super::Connections;
use super::ticket::ticket;
use crate::error::{Error, Result};

type Read = Box<dyn FnOnce() + Send>;

/// Starts threads as they are needed, as many as there may be reading connections, and ends them when it is dropped.
pub(super) struct ReadingThreads {
    shared: Arc<Shared>,
    limit: usize,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Default)]
struct Queue {
    reads: VecDeque<Read>,
    threads: usize,
    idle: usize,
    is_closed: bool,
}

impl ReadingThreads {
    pub(super) fn new(limit: usize) -> Self {
        Self { shared: Arc::default(), limit }
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        connections: &Arc<Connections>,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (promise, ticket) = ticket();
        let connections = Arc::clone(connections);
        self.submit(Box::new(move || {
            // Its future may have been dropped meanwhile.
            if promise.is_awaited() {
                promise.answer(connections.read(work));
            }
        }))?;
        ticket.await
    }

    fn submit(&self, read: Read) -> Result<()> {
        let mut queue = self.shared.queue();
        if queue.idle <= queue.reads.len() && queue.threads < self.limit {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("agent-session-store-reads".to_owned());
            match thread.spawn(move || shared.run()) {
                Ok(_) => queue.threads += 1,
                // The threads that there are will do.
                Err(_) if queue.threads > 0 => {}
                Err(source) => return Err(Error::Thread { source }),
            }
        }
        queue.reads.push_back(read);
        drop(queue);
        self.shared.filled.notify_one();
        Ok(())
    }
}

impl Drop for ReadingThreads {
    fn drop(&mut self) {
        self.shared.queue().is_closed = true;
        self.shared.filled.notify_all();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut queue = self.queue();
        loop {
            if let Some(read) = queue.reads.pop_front() {
                drop(queue);
                // A panic (of a host's instrumentation) answers the one who waits for this read, and nobody else.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
                queue = self.queue();
            } else if queue.is_closed {
                return;
            } else {
                queue.idle += 1;
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }
}

//! The queue of writes that wait for the connection, and the size of a group.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
#[cfg(feature = "async")]
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::job::Job;
use crate::error::{Error, Result};
use crate::store::reentrance::undisturbed;

/// How many calls may wait. Each keeps a copy of its data; a further call waits outside, with the data that it has
/// anyway.
const QUEUE_LENGTH: usize = 1024;

/// The most calls in one transaction, so that none waits for too many others.
const GROUP_SIZE: usize = 512;

/// The longest that a group waits for callers of the last group that are about to come back.
const PATIENCE: Duration = Duration::from_micros(500);

type Group<C> = Vec<Box<dyn Job<C>>>;

pub(super) struct WriteQueue<C> {
    state: Mutex<QueueState<C>>,
    /// Something was put into the queue, or it was closed.
    filled: Condvar,
    /// Something was taken out of the queue, or it was closed.
    drained: Condvar,
}

struct QueueState<C> {
    jobs: VecDeque<Box<dyn Job<C>>>,
    is_closed: bool,
    /// The size of the last group: as many callers may be about to come back.
    last_group: usize,
    /// How many the thread waits for.
    wanted: usize,
    /// The thread that empties the queue.
    thread: Option<JoinHandle<()>>,
    /// Tasks that found the queue full, by number. If there are any, there are jobs.
    waiting_tasks: BTreeMap<u64, Waker>,
    #[cfg(feature = "async")]
    last_number: u64,
}

impl<C> QueueState<C> {
    fn is_full(&self) -> bool {
        self.jobs.len() >= QUEUE_LENGTH
    }

    /// The tasks for which there is room, in order of arrival. The room is not reserved for them, since a task may
    /// never be polled again; one that finds it taken keeps waiting, in its old place. Once the queue holds nothing
    /// that would lead back here, this returns all of them.
    fn tasks_to_wake(&mut self) -> BTreeMap<u64, Waker> {
        let room = QUEUE_LENGTH.saturating_sub(self.jobs.len());
        match self.waiting_tasks.keys().nth(room).copied() {
            Some(first_to_wait) if !self.jobs.is_empty() => {
                let rest = self.waiting_tasks.split_off(&first_to_wait);
                std::mem::replace(&mut self.waiting_tasks, rest)
            }
            _ => std::mem::take(&mut self.waiting_tasks),
        }
    }
}

impl<C> WriteQueue<C> {
    pub(super) fn new() -> Self {
        let state = QueueState {
            jobs: VecDeque::new(),
            is_closed: false,
            last_group: 0,
            wanted: 0,
            thread: None,
            waiting_tasks: BTreeMap::new(),
            #[cfg(feature = "async")]
            last_number: 0,
        };
        Self { state: Mutex::new(state), filled: Condvar::new(), drained: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, QueueState<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a write needs to bypass the queue, if it need not wait its turn.
    ///
    /// It must wait after a group of several calls, too: taking the connection now would make the others wait for a
    /// commit that they are not in.
    pub(super) fn pass<G>(&self, take: impl FnOnce() -> Option<G>) -> Result<Option<G>> {
        let state = self.state();
        if state.is_closed {
            return Err(Error::Closed);
        }
        Ok(if state.jobs.is_empty() && state.last_group <= 1 { take() } else { None })
    }

    /// Queues a write, and waits while the queue is full. The first one starts the thread that empties it.
    pub(super) fn submit(&self, job: Box<dyn Job<C>>, start: impl FnOnce() -> Result<JoinHandle<()>>) -> Result<()> {
        let mut state = self.state();
        while state.is_full() && !state.is_closed {
            state = self.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.push(state, job, start)
    }

    /// A place in the line of tasks that found the queue full.
    #[cfg(feature = "async")]
    pub(super) fn place(&self) -> PlaceInLine<'_, C> {
        PlaceInLine { queue: self, number: None }
    }

    /// Queues a write, or registers to be woken when there is room.
    #[cfg(feature = "async")]
    pub(super) fn poll_submit(
        &self,
        context: &Context<'_>,
        place: &mut PlaceInLine<'_, C>,
        job: &mut Option<Box<dyn Job<C>>>,
        start: impl FnOnce() -> Result<JoinHandle<()>>,
    ) -> Poll<Result<()>> {
        let mut waker = None;
        loop {
            let mut state = self.state();
            if !state.is_full() || state.is_closed {
                return Poll::Ready(match job.take() {
                    Some(job) => self.push(state, job, start),
                    None => Err(Error::Panicked),
                });
            }
            let number = *place.number.get_or_insert_with(|| {
                state.last_number += 1;
                state.last_number
            });
            if state.waiting_tasks.get(&number).is_some_and(|known| known.will_wake(context.waker())) {
                return Poll::Pending;
            }
            // Cloned and dropped without the lock: a waker is foreign code.
            if let Some(waker) = waker.take() {
                let old = state.waiting_tasks.insert(number, waker);
                drop(state);
                drop(old);
                return Poll::Pending;
            }
            drop(state);
            waker = Some(context.waker().clone());
        }
    }

    fn push(
        &self,
        mut state: MutexGuard<'_, QueueState<C>>,
        job: Box<dyn Job<C>>,
        start: impl FnOnce() -> Result<JoinHandle<()>>,
    ) -> Result<()> {
        if state.is_closed {
            return Err(Error::Closed);
        }
        if state.thread.is_none() {
            state.thread = Some(start()?);
        }
        state.jobs.push_back(job);
        let enough = state.jobs.len() >= state.wanted;
        drop(state);
        if enough {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Waits until there is work; `false` if the queue is closed and empty.
    pub(super) fn wait_for_work(&self) -> bool {
        let mut state = self.state();
        loop {
            if !state.jobs.is_empty() {
                return true;
            }
            if state.is_closed {
                return false;
            }
            state.wanted = 1;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the next group out of the queue. Callers that have just been answered come back in a moment, and a commit
    /// without them would make them wait for the next one; so this waits for them, but not for long.
    pub(super) fn gather(&self) -> Group<C> {
        let mut state = self.state();
        let started = Instant::now();
        state.wanted = state.last_group;
        while state.jobs.len() < state.wanted && !state.is_closed {
            let Some(left) = PATIENCE.checked_sub(started.elapsed()) else { break };
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let size = state.jobs.len().min(GROUP_SIZE);
        let group = state.jobs.drain(..size).collect();
        state.last_group = size;
        drop(state);
        self.drained.notify_all();
        group
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state().jobs.len()
    }

    /// Wakes the tasks that waited for room, after a group has been written: what a waker runs may use the store.
    pub(super) fn wake_tasks(&self) {
        let tasks = self.state().tasks_to_wake();
        wake(tasks);
    }

    /// Rejects new writes, and waits until everything in the queue has been written.
    pub(super) fn close(&self) {
        let (thread, waiting_tasks) = {
            let mut state = self.state();
            state.is_closed = true;
            (state.thread.take(), std::mem::take(&mut state.waiting_tasks))
        };
        self.filled.notify_all();
        self.drained.notify_all();
        wake(waiting_tasks);
        if let Some(thread) = thread {
            // The thread catches its own panics.
            let _ = thread.join();
        }
    }
}

fn wake(tasks: BTreeMap<u64, Waker>) {
    tasks.into_values().for_each(|task| undisturbed(|| task.wake()));
}

/// A task's place in the line for a full queue. Dropping this leaves the line.
#[cfg(feature = "async")]
pub(super) struct PlaceInLine<'a, C> {
    queue: &'a WriteQueue<C>,
    number: Option<u64>,
}

#[cfg(feature = "async")]
impl<C> Drop for PlaceInLine<'_, C> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // The waker is dropped after the lock.
            let _waker = self.queue.state().waiting_tasks.remove(&number);
        }
    }
}

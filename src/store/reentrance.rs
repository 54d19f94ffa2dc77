//! What the current thread is in the middle of. The store runs the application's code: callbacks, writers,
//! instrumentation, wakers. If that calls the store again, it must not wait for something that this very thread holds.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Identifies a store within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoreId(u64);

impl StoreId {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a thread is doing for a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// It holds the writing connection.
    Writing,
    /// It holds a reading connection.
    Reading,
    /// It is the thread that empties the queue.
    Emptying,
    /// It is closing the store.
    Closing,
    /// It is running the application's part of a transaction.
    Transacting,
    /// It is running a long operation for an async task.
    #[cfg(feature = "async")]
    Working,
}

/// What a call that needs the whole store would wait for.
pub(super) const ANYTHING: &[Activity] = &[Activity::Writing, Activity::Reading, Activity::Emptying, Activity::Closing];

thread_local! {
    static ACTIVITIES: RefCell<Vec<(StoreId, Activity)>> = const { RefCell::new(Vec::new()) };
}

/// Marks the thread as in the middle of something until this is dropped, on the same thread.
pub(super) struct ActivityGuard(StoreId, Activity, PhantomData<*const ()>);

impl ActivityGuard {
    pub(super) fn enter(store: StoreId, activity: Activity) -> Self {
        // A thread that is ending may have lost its list. Then nothing is recorded, and nothing found.
        let _ = ACTIVITIES.try_with(|activities| activities.borrow_mut().push((store, activity)));
        Self(store, activity, PhantomData)
    }
}

impl Drop for ActivityGuard {
    fn drop(&mut self) {
        let _ = ACTIVITIES.try_with(|activities| {
            let mut activities = activities.borrow_mut();
            if activities.last() == Some(&(self.0, self.1)) {
                activities.pop();
            } else if let Some(found) = activities.iter().position(|entry| *entry == (self.0, self.1)) {
                activities.remove(found);
            }
        });
    }
}

/// Whether this thread is in the middle of one of these.
#[inline]
pub(super) fn is_inside(store: StoreId, any_of: &[Activity]) -> bool {
    ACTIVITIES
        .try_with(|activities| activities.borrow().iter().any(|(of, what)| *of == store && any_of.contains(what)))
        .unwrap_or(false)
}

/// Returns an error if this thread is in the middle of one of these.
pub(super) fn refuse(store: StoreId, inside: &[Activity]) -> Result<()> {
    if is_inside(store, inside) { Err(Error::Reentrant) } else { Ok(()) }
}

/// Runs what may be foreign code, a waker: whatever happens there, the others still have to be served.
pub(super) fn undisturbed(work: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(work));
}

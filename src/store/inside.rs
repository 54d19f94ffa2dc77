//! What this thread is in the middle of. The store runs code of the host's: callbacks, writers, instrumentation, wakers.
//! Where that calls the store again, it must not wait for what this very thread holds.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Which store, of all there are in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoreId(u64);

impl StoreId {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What a thread does for a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It holds the connection that writes.
    Writing,
    /// It holds a connection that reads.
    Reading,
    /// It is the one that empties the queue.
    Emptying,
    /// It closes the store.
    Closing,
    /// It is one of those that work for tasks for as long as that takes.
    #[cfg(feature = "async")]
    Working,
}

thread_local! {
    static USES: RefCell<Vec<(StoreId, Use)>> = const { RefCell::new(Vec::new()) };
}

/// Says that the thread is in the middle of something until this is dropped, on the same thread.
pub(super) struct Inside(StoreId, Use, PhantomData<*const ()>);

impl Inside {
    pub(super) fn enter(store: StoreId, what: Use) -> Self {
        // A thread that is ending may have lost its list. Then nothing is noted, and nothing found.
        let _ = USES.try_with(|uses| uses.borrow_mut().push((store, what)));
        Self(store, what, PhantomData)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = USES.try_with(|uses| {
            let mut uses = uses.borrow_mut();
            if uses.last() == Some(&(self.0, self.1)) {
                uses.pop();
            } else if let Some(place) = uses.iter().position(|entry| *entry == (self.0, self.1)) {
                uses.remove(place);
            }
        });
    }
}

/// Whether this thread is in the middle of one of these.
#[inline]
pub(super) fn is_inside(store: StoreId, any_of: &[Use]) -> bool {
    USES.try_with(|uses| uses.borrow().iter().any(|(of, what)| *of == store && any_of.contains(what))).unwrap_or(false)
}

/// An error if this thread is in the middle of one of these.
pub(super) fn refuse(store: StoreId, inside: &[Use]) -> Result<()> {
    if is_inside(store, inside) { Err(Error::Reentrant) } else { Ok(()) }
}

/// What a call that needs all of the store would wait for.
pub(super) const ANYTHING: &[Use] = &[Use::Writing, Use::Reading, Use::Emptying, Use::Closing];

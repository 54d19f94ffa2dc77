//! The connection inside diesel-async's migration harness, which blocks on a connection that waits.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use diesel::SqliteConnection;
use diesel::connection::BoxableConnection;
use diesel::sqlite::Sqlite;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;

use super::adopt;
use crate::error::{Error, Result};

type Wrapped = SyncConnectionWrapper<SqliteConnection>;

/// The wrapped connection, if this is one in the harness.
pub(super) fn in_harness(conn: &mut dyn BoxableConnection<Sqlite>) -> Option<&mut Wrapped> {
    conn.downcast_mut::<AsyncConnectionWrapper<Wrapped>>().map(|harness| &mut **harness)
}

/// Adopts the tables, blocking as the harness does.
pub(super) fn adopt(wrapped: &mut Wrapped) -> Result<()> {
    wait(wrapped.spawn_blocking(|conn| Ok(adopt::in_own_transaction(conn)))).unwrap_or(Err(Error::Panicked))
}

/// Waits for work on another thread.
fn wait<T>(work: impl Future<Output = T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

//! The verbs on a connection that diesel-async wraps: each runs as a whole on a thread for blocking work.

use std::io::Write;

use diesel::SqliteConnection;
use diesel::connection::{AnsiTransactionManager as Manager, SimpleConnection, TransactionManager};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;

use super::migrate;
use crate::async_driver::AsyncSessionPersistDriver;
use crate::database::migrations::AsyncMigratable;
use crate::driver::SessionPersistDriver;
use crate::error::{Error, Result};
use crate::verbs::*;

type Wrapped = SyncConnectionWrapper<SqliteConnection>;

macro_rules! wrapped_driver {
    ($(
        $(#[$words:meta])*
        $kind:ident $verb:ident($($how:ident $argument:ident: $type:ty),*) -> $answer:ty:
            $let:literal, $arguments:literal, $then:literal;
    )*) => {
        impl AsyncSessionPersistDriver for Wrapped {
            $(
                async fn $verb(&mut self, $($argument: argument_type!($how $type)),*) -> Result<$answer> {
                    $(let $argument = $argument.to_owned();)*
                    on_a_thread(self, move |conn| conn.$verb($(from_owned!($how $argument)),*)).await
                }
            )*

            async fn export<W: Write + Send + 'static>(
                &mut self,
                mut writer: W,
                export: impl Into<Export<'static>> + Send,
            ) -> Result<(W, Progress)> {
                let export = export.into();
                on_a_thread(self, move |conn| conn.export(&mut writer, export).map(|done| (writer, done))).await
            }

            async fn import<S>(&mut self, lines: S) -> Result<Progress>
            where
                S: ImportSource<'static, Reader: Send> + Send + 'static,
            {
                on_a_thread(self, move |conn| conn.import(lines)).await
            }
        }
    };
}

verbs!(wrapped_driver!);

impl AsyncMigratable for Wrapped {
    async fn bring_up_to_date(&mut self) -> Result<()> {
        on_a_thread(self, migrate::migrate).await
    }
}

async fn on_a_thread<T: Send + 'static>(
    wrapped: &mut Wrapped,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T> + Send + 'static,
) -> Result<T> {
    let mut call = WrappedCall { wrapped, is_over: false };
    let done = call.wrapped.spawn_blocking(move |conn| Ok(work(conn))).await;
    call.is_over = true;
    // Its only error is that of the thread.
    done.unwrap_or(Err(Error::Panicked))
}

/// A call in progress. If its future is dropped before it is ready, diesel-async waits for the end of the call; but
/// perhaps the caller has dropped a transaction as well, in which whatever is written later would seem to be stored.
struct WrappedCall<'a> {
    wrapped: &'a mut Wrapped,
    is_over: bool,
}

impl Drop for WrappedCall<'_> {
    fn drop(&mut self) {
        if !self.is_over && !std::thread::panicking() {
            drop(self.wrapped.spawn_blocking(|conn| {
                end_for_good(conn);
                Ok(())
            }));
        }
    }
}

/// Rolls back the caller's transaction, if one is open, and makes everything fail that comes after it: if the caller has
/// not dropped it, but goes on with it, nothing of the rest may be stored either.
fn end_for_good(conn: &mut SqliteConnection) {
    if let Ok(Some(_)) = Manager::transaction_manager_status_mut(conn).transaction_depth() {
        for sql in ["ROLLBACK", "PRAGMA query_only = ON"] {
            // It fails if SQLite has rolled back already.
            let _ = conn.batch_execute(sql);
        }
        Manager::transaction_manager_status_mut(conn).set_in_error();
    }
}

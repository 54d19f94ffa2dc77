//! Tells other stores what this one has committed. In the transaction itself, `NOTIFY` would let only one commit at a
//! time; so it is sent afterwards, by a thread, for everything that was committed meanwhile, and only if anybody listens.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::notice::{CHANNEL, LISTENERS_LOCK, Notice};
use crate::error::{Error, Result};
use crate::store::changes::change::Change;

/// The time between two notices, at least.
const BREAK: Duration = Duration::from_millis(10);

/// The same as a multiple of the time that a notice takes, during which the store cannot write.
const BREAK_TIMES: u32 = 50;

/// How long it waits if a notice could not be sent.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How long closing waits for a notice that is being sent. Without it, others look by themselves.
const LONGEST_END: Duration = Duration::from_secs(1);

pub(super) struct Notifier {
    /// Names this store in its notices.
    name: String,
    state: Mutex<Outbox>,
    /// There is something to be sent, or the thread has ended.
    stirred: Condvar,
    lend: OnceLock<Box<Lend>>,
}

/// Runs work on the writing connection, in between writes, so that a store needs no further one.
type Lend = dyn Fn(&mut dyn FnMut(&mut PgConnection) -> Result<()>) -> Result<()> + Send + Sync;

#[derive(Default)]
struct Outbox {
    notice: Option<Notice<'static>>,
    is_running: bool,
    is_closed: bool,
}

impl Notifier {
    pub(super) fn new(name: String) -> Self {
        Self { name, state: Mutex::default(), stirred: Condvar::new(), lend: OnceLock::new() }
    }

    /// Says how to send, before the first commit.
    pub(super) fn send_by(
        &self,
        lend: impl Fn(&mut dyn FnMut(&mut PgConnection) -> Result<()>) -> Result<()> + Send + Sync + 'static,
    ) {
        // It is said once.
        let _ = self.lend.set(Box::new(lend));
    }

    fn state(&self) -> MutexGuard<'_, Outbox> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends this soon. If it cannot be sent, others look by themselves.
    pub(super) fn tell(self: &Arc<Self>, change: &Change<'_>) {
        let mut state = self.state();
        if !state.is_running && !state.is_closed {
            let notifier = Arc::clone(self);
            let thread = std::thread::Builder::new().name("agent-session-store-notify".to_owned());
            state.is_running = thread.spawn(move || notifier.run()).is_ok();
        }
        let is_first = state.notice.is_none();
        state.notice.get_or_insert_with(|| Notice::new(self.name.clone())).add(change);
        drop(state);
        if is_first {
            self.stirred.notify_all();
        }
    }

    fn run(&self) {
        loop {
            let state = self.stirred.wait_while(self.state(), |state| state.notice.is_none() && !state.is_closed);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            if state.is_closed {
                break;
            }
            let Some(notice) = state.notice.take() else { continue };
            drop(state);
            let mut took = Duration::ZERO;
            let mut work = |conn: &mut PgConnection| {
                let began = Instant::now();
                send(conn, &notice.written())?;
                took = began.elapsed();
                Ok(())
            };
            let sent = self.lend.get().map_or(Err(Error::Closed), |lend| lend(&mut work));
            let rest = if sent.is_ok() { BREAK.max(took * BREAK_TIMES) } else { AFTER_FAILURE };
            drop(self.stirred.wait_timeout_while(self.state(), rest, |state| !state.is_closed));
        }
        self.state().is_running = false;
        self.stirred.notify_all();
    }

    /// Ends the thread. What is told from here on is sent by [`flush`](Self::flush).
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        self.stirred.notify_all();
        drop(self.stirred.wait_timeout_while(state, LONGEST_END, |state| state.is_running));
    }

    /// Sends what is left.
    pub(super) fn flush(&self, conn: &mut PgConnection) {
        let left = self.state().notice.take();
        if let Some(notice) = left {
            // Whoever is not told finds out.
            let _ = send(conn, &notice.written());
        }
    }
}

/// Nobody has to wait until the disk has it: after a crash of the server, all connect anew.
fn send(conn: &mut PgConnection, text: &str) -> Result<()> {
    let send = format!(
        "SELECT pg_notify($1, $2) WHERE NOT pg_try_advisory_xact_lock({LISTENERS_LOCK}) \
         AND set_config('synchronous_commit', 'off', true) IS NOT NULL"
    );
    diesel::sql_query(send).bind::<Text, _>(CHANNEL).bind::<Text, _>(text).execute(conn)?;
    Ok(())
}

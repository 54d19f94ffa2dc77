//! Tells other stores what this one has committed. In the transaction itself, `NOTIFY` would let only one commit at a
//! time; so it is sent afterwards, by a thread, for everything that was committed meanwhile, and only if anybody listens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::notice::{CHANNEL, LISTENERS_LOCK, Notice};
use crate::error::{Error, Result};
use crate::store::changes::change::Change;
use crate::store::writer::{GroupCommit, Writer};

/// The time between two notices, at least.
const BREAK: Duration = Duration::from_millis(10);

/// The same as a multiple of the time that a notice takes, during which the store cannot write.
const BREAK_TIMES: u32 = 50;

/// How long it waits, at least, if a notice could not be sent.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How long a notice waits for other clients' notices, in milliseconds: a server commits one at a time.
const LOCK_TIMEOUT: u32 = 50;

/// How long closing waits for a notice that is being sent. Without it, others look by themselves.
const LONGEST_END: Duration = Duration::from_secs(1);

pub(super) struct Notifier {
    /// Names this store in its notices.
    name: String,
    state: Mutex<Outbox>,
    /// There is something to be sent, or the thread has ended.
    stirred: Condvar,
    lender: OnceLock<Box<dyn Lender>>,
}

/// Who has the writing connection. Notices are sent over that, in between writes, so that a store needs no further one.
trait Lender: Send + Sync {
    fn lend(&self, work: &mut dyn FnMut(&mut PgConnection) -> Result<()>) -> Result<()>;
    fn close(&self);
}

impl<W: GroupCommit<Connection = PgConnection>> Lender for Weak<Writer<W>> {
    fn lend(&self, work: &mut dyn FnMut(&mut PgConnection) -> Result<()>) -> Result<()> {
        self.upgrade().map_or(Err(Error::Closed), |writer| writer.read(work))
    }

    fn close(&self) {
        drop(self.upgrade().and_then(|writer| writer.close()));
    }
}

#[derive(Default)]
struct Outbox {
    notice: Option<Notice<'static>>,
    is_running: bool,
    is_closed: bool,
}

impl Notifier {
    pub(super) fn new(name: String) -> Self {
        Self { name, state: Mutex::default(), stirred: Condvar::new(), lender: OnceLock::new() }
    }

    /// Says whose connection to use, before the first commit.
    pub(super) fn borrow_from<W: GroupCommit<Connection = PgConnection>>(&self, writer: Weak<Writer<W>>) {
        // It is said once.
        let _ = self.lender.set(Box::new(writer));
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
            let Some(notice) = state.notice.take() else { break };
            drop(state);
            let rest = self.send(&notice);
            drop(self.stirred.wait_timeout_while(self.state(), rest, |state| !state.is_closed));
        }
        if let Some(lender) = self.lender.get() {
            lender.close();
        }
        self.state().is_running = false;
        self.stirred.notify_all();
    }

    /// Sends a notice, and returns how long to rest.
    fn send(&self, notice: &Notice<'_>) -> Duration {
        let mut took = Duration::ZERO;
        let mut work = |conn: &mut PgConnection| {
            let began = Instant::now();
            let sent = send(conn, &notice.written());
            took = began.elapsed();
            sent
        };
        let sent = self.lender.get().map(|lender| catch_unwind(AssertUnwindSafe(|| lender.lend(&mut work))));
        let least = if matches!(sent, Some(Ok(Ok(())))) { BREAK } else { AFTER_FAILURE };
        least.max(took.saturating_mul(BREAK_TIMES))
    }

    /// Sends what is left, and ends the thread, which closes the connection. Returns whether that is done; if not, the
    /// thread still does it.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state();
        state.is_closed = true;
        self.stirred.notify_all();
        let ended = self.stirred.wait_timeout_while(state, LONGEST_END, |state| state.is_running);
        !ended.unwrap_or_else(PoisonError::into_inner).0.is_running
    }
}

/// Nobody has to wait until the disk has it: after a crash of the server, all connect anew.
fn send(conn: &mut PgConnection, text: &str) -> Result<()> {
    let send = format!(
        "SELECT pg_notify($1, $2) WHERE NOT pg_try_advisory_xact_lock({LISTENERS_LOCK}) \
         AND set_config('synchronous_commit', 'off', true) IS NOT NULL \
         AND set_config('lock_timeout', '{LOCK_TIMEOUT}', true) IS NOT NULL"
    );
    diesel::sql_query(send).bind::<Text, _>(CHANNEL).bind::<Text, _>(text).execute(conn)?;
    Ok(())
}

//! Tells other stores what this one has committed. In the transaction itself, `NOTIFY` would let only one commit at a
//! time; so it is sent afterwards, by a thread, for everything that was committed meanwhile.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::Text;

use super::alive::Alive;
use super::notice::{CHANNEL, Notice};
use crate::error::Result;
use crate::store::changes::change::Change;
use crate::store::reader_pool::ReaderPool;

/// The time between two notices.
const BREAK: Duration = Duration::from_millis(10);

/// How long closing waits for the last notice. Without it, others look by themselves.
const LONGEST_END: Duration = Duration::from_secs(1);

pub(super) struct Notifier(Arc<NoticeSender>);

struct NoticeSender {
    /// Names this store in its notices.
    name: String,
    state: Mutex<Outbox>,
    /// There is something to be sent, or the thread has ended.
    stirred: Condvar,
    connections: Arc<ReaderPool<Alive>>,
}

#[derive(Default)]
struct Outbox {
    notice: Option<Notice<'static>>,
    is_running: bool,
    is_closed: bool,
}

impl Notifier {
    /// Notices go over a connection that nobody else uses at the moment.
    pub(super) fn new(name: String, connections: Arc<ReaderPool<Alive>>) -> Self {
        Self(Arc::new(NoticeSender { name, state: Mutex::default(), stirred: Condvar::new(), connections }))
    }

    /// Sends this soon. If it cannot be sent, others look by themselves.
    pub(super) fn tell(&self, change: &Change<'_>) {
        let mut state = self.0.state();
        if state.is_closed {
            return;
        }
        if !state.is_running {
            let sender = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("agent-session-store-notify".to_owned());
            state.is_running = thread.spawn(move || sender.run()).is_ok();
        }
        let is_first = state.notice.is_none();
        state.notice.get_or_insert_with(|| Notice::new(self.0.name.clone())).add(change);
        drop(state);
        if is_first {
            self.0.stirred.notify_all();
        }
    }

    /// Sends what is left.
    pub(super) fn close(&self) {
        let mut state = self.0.state();
        state.is_closed = true;
        self.0.stirred.notify_all();
        drop(self.0.stirred.wait_timeout_while(state, LONGEST_END, |state| state.is_running));
    }
}

impl NoticeSender {
    fn state(&self) -> MutexGuard<'_, Outbox> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let state = self.stirred.wait_while(self.state(), |state| state.notice.is_none() && !state.is_closed);
            let notice = state.unwrap_or_else(PoisonError::into_inner).notice.take();
            let Some(notice) = notice else { break };
            let began = Instant::now();
            // Whoever is not told finds out.
            let _ = self.send(&notice.written());
            let rest = BREAK.saturating_sub(began.elapsed());
            drop(self.stirred.wait_timeout_while(self.state(), rest, |state| !state.is_closed));
        }
        self.state().is_running = false;
        self.stirred.notify_all();
    }

    /// Nobody has to wait until the disk has it: after a crash of the server, all connect anew.
    fn send(&self, text: &str) -> Result<()> {
        let send = "SELECT 1 FROM set_config('synchronous_commit', 'off', true), pg_notify($1, $2)";
        self.connections.aside(|conn| {
            diesel::sql_query(send).bind::<Text, _>(CHANNEL).bind::<Text, _>(text).execute(conn.get())?;
            Ok(())
        })
    }
}

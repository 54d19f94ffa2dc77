//! A lock that another connection takes in the middle of a verb.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_session_store::SessionStore;
use agent_session_store::diesel::connection::InstrumentationEvent;
use agent_session_store::diesel::{Connection, SqliteConnection};

use super::TempDb;
use super::instrumentation::{Moment, Watch};

/// Another connection takes the lock before this statement runs for the time given, and keeps it.
fn locked_before(db: &TempDb, statement: &'static str, time: usize) -> impl FnMut(&str) + use<> {
    let (path, mut left, mut lock) = (db.path(), time, None);
    move |sql| {
        if sql == statement {
            left = left.saturating_sub(1);
            if left == 0 && lock.is_none() {
                let other = rusqlite::Connection::open(&path).unwrap();
                other.execute_batch("BEGIN IMMEDIATE").unwrap();
                lock = Some(other);
            }
        }
    }
}

/// A store that waits for 10 ms, and finds the lock held from such a statement of its own on.
pub fn store_locked_before(db: &TempDb, statement: &'static str, time: usize) -> SessionStore {
    let (look, is_open) = (Mutex::new(locked_before(db, statement, time)), Arc::new(AtomicBool::new(false)));
    let is_opened = Arc::clone(&is_open);
    Watch::with_hook(db, move |moment, sql| {
        if moment == Moment::Start && is_opened.load(Ordering::Relaxed) {
            look.lock().unwrap()(sql);
        }
    });
    let store = SessionStore::builder().busy_timeout(Duration::from_millis(10)).open(db.path()).unwrap();
    is_open.store(true, Ordering::Relaxed);
    store
}

/// The same as a connection, which does not wait.
pub fn connection_locked_before(db: &TempDb, statement: &'static str, time: usize) -> SqliteConnection {
    let (mut conn, mut look) = (db.connect(), locked_before(db, statement, time));
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            look(&query.to_string());
        }
    });
    conn
}

//! How large the write-ahead log becomes while readers overlap, and what is left of it when they have gone:
//! `cargo bench --bench wal`.
//!
//! The workload is the one that makes it grow: two connections that read in turns, each of them beginning before the
//! other has ended, so that at every moment somebody looks at the log, and a thread that writes without a pause.
//! `-- <seconds>` sets how long; 10 unless set.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use agent_session_store::{Durability, Json, ListEventsRequest, NewEvent, Sender, SessionStore};
use chrono::DateTime;
use rusqlite::Connection;
use tempfile::TempDir;

const READ: &str = "BEGIN; SELECT count(*) FROM events";
const BATCH: usize = 1_000;

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10);
    println!(
        "| durability | events written | database | log, at most | log, readers gone and one more write | log, closed |"
    );
    println!("|---|---|---|---|---|---|");
    for durability in [Durability::Normal, Durability::Full] {
        measure(durability, Duration::from_secs(seconds));
    }
}

fn measure(durability: Durability, time: Duration) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sessions.db");
    let log = folder.path().join("sessions.db-wal");
    let store = SessionStore::builder().durability(durability).open(&path).unwrap();
    // One session that is read, and one that is overwritten all the time: the database stays small.
    store.append_events("read", &(0..2_000).map(|id| event("read", id)).collect::<Vec<_>>()).unwrap();
    let (over, written, most) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let started = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut readers = [reader(&path), reader(&path)];
            while !over.load(Relaxed) {
                // The other one goes on meanwhile.
                readers[0].execute_batch("COMMIT").unwrap();
                readers[0].execute_batch(READ).unwrap();
                readers.swap(0, 1);
                thread::sleep(Duration::from_millis(10));
            }
        });
        let events: Vec<_> = (0..5_000).map(|id| event("written", id)).collect();
        store.append_events("written", &events).unwrap();
        let request = ListEventsRequest::new("written").limit(5_000);
        let mut stored = store.list_events(&request).unwrap().items;
        'all: for round in 0.. {
            // SQLite does not write what is the same.
            stored.iter_mut().for_each(|event| event.connection_id = format!("connection-{}", round % 10));
            for batch in stored.chunks(BATCH) {
                store.insert_events(batch).unwrap();
                written.fetch_add(BATCH as u64, Relaxed);
                most.fetch_max(size(&log), Relaxed);
                if started.elapsed() > time {
                    break 'all;
                }
            }
        }
        over.store(true, Relaxed);
    });
    for id in 0..2 {
        store.append_events("after", &[event("after", id)]).unwrap();
    }
    let after = size(&log);
    let database = size(&path);
    store.close().unwrap();
    println!(
        "| {durability:?} | {} | {} | {} | {} | {} |",
        written.into_inner(),
        shown(database),
        shown(most.into_inner()),
        shown(after),
        shown(size(&log)),
    );
}

fn reader(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(READ).unwrap();
    conn
}

fn event(session: &str, id: usize) -> NewEvent {
    NewEvent::new(
        format!("{session}-{id:012x}"),
        DateTime::from_timestamp_millis(1_700_000_000_000 + id as i64).unwrap(),
        "0b9c8a5e-6f0e-4c5b-8a56-0a8f3c1d2e4f",
        Sender::Agent,
        Json::parse(format!(r#"{{"method":"session/update","text":"{}"}}"#, "x".repeat(700))).unwrap(),
    )
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

fn shown(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

//! How long another process waits to write one event while this one prunes or imports:
//! `cargo bench --bench bystander --all-features`, or with `-- prune_long` one part of it.
//!
//! The other process inserts single durable events, one after the other, with a generous busy timeout, and reports its
//! longest wait. `BYSTANDER_SESSIONS` (150,000) and `BYSTANDER_EVENTS` (400,000) say how many small sessions and how
//! long a session there are, `BYSTANDER_FACE=connection` uses a plain connection instead of a store, and
//! `BYSTANDER_JOURNAL=delete` a rollback journal.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection as _, SqliteConnection};
use agent_session_store::{
    FileMaintenance, JournalMode, PruneRequest, SessionPersistDriver, SessionRecord, SessionStore,
};
use chrono::DateTime;
use rusqlite::Connection;
use tempfile::TempDir;

const CHILD: &str = "BYSTANDER_CHILD";

fn main() {
    if let Ok(path) = std::env::var(CHILD) {
        return stand_by(Path::new(&path));
    }
    let (sessions, events) = (number("BYSTANDER_SESSIONS", 150_000), number("BYSTANDER_EVENTS", 400_000));
    let many = move |path: &Path| fill(path, sessions, 3);
    let one = move |path: &Path| fill(path, 1, events);
    let kept = u32::try_from(events * 3 / 4).unwrap();
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!(
        "| work | rows | took | another's writes | their longest wait | of 99 in 100 |\n|---|---|---|---|---|---|"
    );
    let part = |name: &str, rows: i64, fill: &dyn Fn(&Path), work: &dyn Fn(&Path, &mut Face)| {
        if asked.is_empty() || asked.iter().any(|asked| name.starts_with(asked.as_str())) {
            measure(name, rows, fill, work);
        }
    };
    let all = PruneRequest::new().created_before(DateTime::from_timestamp_millis(i64::MAX >> 12).unwrap());
    part("nothing", 0, &|path| fill(path, 1, 1), &|_, _| std::thread::sleep(Duration::from_secs(3)));
    part("prune_many", sessions * 4, &many, &|_, face| prune(face, &all));
    part("prune_long", events / 4, &one, &|_, face| {
        prune(face, &PruneRequest::new().max_events_per_session(kept));
    });
    part("prune_session", events, &one, &|_, face| prune(face, &PruneRequest::new().session("session-1")));
    part("prune_archive", events, &one, &|path, face| {
        prune(face, &PruneRequest::new().session("session-1").archive_to(path.with_extension("archive")));
    });
    part("prune_size", sessions * 4, &many, &|_, face| prune(face, &PruneRequest::new().max_total_bytes(1)));
    part("reclaim_steps", events, &one, &|_, face| {
        prune(face, &PruneRequest::new().session("session-1"));
        match face {
            Face::Store(store) => store.reclaim_space().unwrap(),
            Face::Connection(conn) => conn.reclaim_space().unwrap(),
        }
    });
    part("delete_session", events, &one, &|_, face| match face {
        Face::Store(store) => assert!(store.delete_session("session-1").unwrap()),
        Face::Connection(conn) => assert!(conn.delete_session("session-1").unwrap()),
    });
    part("fork_session", events, &one, &|_, face| {
        let mut new = record();
        new.id = "fork".to_owned();
        let copied = match face {
            Face::Store(store) => store.fork_session("session-1", None, &new),
            Face::Connection(conn) => conn.fork_session("session-1", None, &new),
        };
        assert_eq!(copied.unwrap(), events as u64);
    });
    part("import_many", sessions * 4, &|path| lines(path, sessions, 3), &import);
    part("import_long", events, &|path| lines(path, 1, events), &import);
}

fn number(name: &str, default: i64) -> i64 {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

enum Face {
    Store(SessionStore),
    Connection(SqliteConnection),
}

impl Face {
    fn open(path: &Path) -> Self {
        let is_rollback = std::env::var("BYSTANDER_JOURNAL").is_ok_and(|mode| mode == "delete");
        let journal_mode = if is_rollback { JournalMode::Rollback } else { JournalMode::Wal };
        let store = SessionStore::builder().journal_mode(journal_mode).busy_timeout(Duration::from_secs(60));
        let store = store.open(path).unwrap();
        if std::env::var("BYSTANDER_FACE").is_ok_and(|face| face == "connection") {
            store.close().unwrap();
            let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            conn.batch_execute("PRAGMA busy_timeout = 60000").unwrap();
            return Self::Connection(conn);
        }
        Self::Store(store)
    }
}

fn prune(face: &mut Face, request: &PruneRequest) {
    let report = match face {
        Face::Store(store) => store.prune(request),
        Face::Connection(conn) => conn.prune(request),
    };
    assert!(report.unwrap().events > 0);
}

fn import(path: &Path, face: &mut Face) {
    let file = BufReader::new(std::fs::File::open(path.with_extension("jsonl")).unwrap());
    let done = match face {
        Face::Store(store) => store.import(file),
        Face::Connection(conn) => conn.import(file),
    };
    assert!(done.unwrap().events > 0);
}

fn measure(name: &str, rows: i64, fill: &dyn Fn(&Path), work: &dyn Fn(&Path, &mut Face)) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sessions.db");
    // Made for returning space in steps, as an existing file cannot be.
    SessionStore::builder().incremental_vacuum(name == "reclaim_steps").open(&path).unwrap().close().unwrap();
    fill(&path);
    let mut face = Face::open(&path);
    let mut child = Command::new(std::env::current_exe().unwrap());
    let mut child = child.env(CHILD, &path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.next().unwrap(), "ready");
    let started = Instant::now();
    work(&path, &mut face);
    let took = started.elapsed();
    drop(child.stdin.take());
    let waits = said.next().unwrap();
    assert!(child.wait().unwrap().success());
    println!("| {name} | {rows} | {:.1} s | {waits} |", took.as_secs_f64());
}

/// Another process: writes until its input ends, then says how long that took.
fn stand_by(path: &Path) {
    let conn = Connection::open(path).unwrap();
    conn.busy_timeout(Duration::from_secs(300)).unwrap();
    let mut waits = Vec::new();
    let mut write = || {
        let started = Instant::now();
        conn.prepare_cached(
            "INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, payload_json) \
             VALUES ('bystander-' || ?1, ?1, 'bystander', 9007199254740991, 'c', 'agent', '{}')",
        )
        .unwrap()
        .execute([waits.len() as i64])
        .unwrap();
        waits.push(started.elapsed());
    };
    write();
    println!("ready");
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            _ = std::io::stdin().read_line(&mut String::new());
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
            write();
        }
    });
    waits.sort();
    let millis = |wait: Duration| wait.as_secs_f64() * 1e3;
    let [last, usual] = [waits.len() - 1, waits.len() * 99 / 100].map(|place| millis(waits[place]));
    println!("{} | {last:.0} ms | {usual:.1} ms", waits.len());
}

// ---- what there is to delete or to import ----

const PAYLOAD: &str = r#"{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"session","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"the tests pass now; next the parser, and then the rest of the plan"}}}}"#;

fn record() -> SessionRecord {
    SessionRecord::new("session-1", "claude", "a", "c", DateTime::UNIX_EPOCH)
}

/// Session after session, with ids in no order, as UUIDs are.
fn fill(path: &Path, sessions: i64, events: i64) {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000").unwrap();
    conn.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
         INSERT INTO sessions (id, agent, agent_session_id, last_connection_id, created_at) \
         SELECT 'session-' || i, 'claude', 'a', 'c', i FROM n",
        [sessions],
    )
    .unwrap();
    conn.execute(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 * ?2 - 1) \
         INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, payload_json) \
         SELECT lower(hex(randomblob(16))), i % ?2 + 1, 'session-' || (i / ?2 + 1), i, 'c', 'agent', ?3 FROM n",
        rusqlite::params![sessions, events, PAYLOAD],
    )
    .unwrap();
}

fn lines(path: &Path, sessions: i64, events: i64) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path.with_extension("jsonl")).unwrap());
    writeln!(file, r#"{{"format":"agent-session-store","version":1}}"#).unwrap();
    let payload = PAYLOAD.replace('"', "\\\"");
    for session in 1..=sessions {
        let (of_agent, of_event) = (
            r#""agent":"claude","agentSessionId":"a","lastConnectionId":"c""#,
            r#""connectionId":"c","sender":"agent""#,
        );
        writeln!(
            file,
            r#"{{"session":{{"id":"session-{session}",{of_agent},"createdAt":{session},"events":{events}}}}}"#
        )
        .unwrap();
        for index in 1..=events {
            let id = ((session * events + index) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            writeln!(file, r#"{{"event":{{"id":"{id:016x}-8f2c-4c3a","eventIndex":{index},"sessionId":"session-{session}","createdAt":{index},{of_event},"payloadJson":"{payload}"}}}}"#).unwrap();
        }
    }
    file.flush().unwrap();
}

//! What rebuilding a legacy file costs, in time and memory, beside the reference driver's own statements on the same
//! SQLite library.
//!
//! `cargo bench --bench rebuild`; `EVENTS` (a million) and `ROUNDS` (three) scale it. Each run has a copy of the file
//! and a process of its own, so that the memory is its own; the ways take turns, and the median counts.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use agent_session_store::diesel::{Connection as _, SqliteConnection};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const SHAPES: [(&str, &str); 3] = [
    ("TEXT ids, no event_index", "id TEXT PRIMARY KEY, session_id TEXT NOT NULL"),
    ("INTEGER ids, no event_index", "id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL"),
    ("INTEGER ids, event_index", "id INTEGER PRIMARY KEY, event_index INTEGER NOT NULL, session_id TEXT NOT NULL"),
];

const WAYS: [&str; 3] = ["reference", "migrate()", "plain SQL"];

fn main() -> Result<()> {
    if let (Ok(way), Ok(path)) = (std::env::var("REBUILD_WAY"), std::env::var("REBUILD_FILE")) {
        return one_run(&way, Path::new(&path));
    }
    let events = number_from_environment("EVENTS", 1_000_000)?;
    let rounds = number_from_environment("ROUNDS", 3)?;
    let folder = tempfile::tempdir()?;
    println!("{events} events, median of {rounds} rounds, SQLite {}", rusqlite::version());
    println!("{:<28} {:<10} {:>9} {:>6} {:>12}", "legacy shape", "way", "seconds", "ratio", "memory (MiB)");
    for (shape, columns) in SHAPES {
        let legacy = folder.path().join("legacy.db");
        write_legacy_file(&legacy, columns, events)?;
        let mut runs: Vec<Vec<Run>> = WAYS.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds as usize {
            for turn in 0..WAYS.len() {
                let way = (round + turn) % WAYS.len();
                runs[way].push(run_in_child(WAYS[way], &legacy)?);
            }
        }
        let medians: Vec<Duration> = runs.iter().map(|runs| median(runs)).collect();
        for ((way, runs), time) in WAYS.iter().zip(&runs).zip(&medians) {
            let memory = runs.iter().map(|run| run.memory_kib).max().unwrap_or(0) as f64 / 1024.0;
            let ratio = time.as_secs_f64() / medians[0].as_secs_f64();
            println!("{shape:<28} {way:<10} {:>9.2} {ratio:>6.2} {memory:>12.1}", time.as_secs_f64());
        }
        std::fs::remove_file(&legacy)?;
    }
    Ok(())
}

struct Run {
    time: Duration,
    memory_kib: u64,
}

fn median(runs: &[Run]) -> Duration {
    let mut times: Vec<Duration> = runs.iter().map(|run| run.time).collect();
    times.sort();
    times[times.len() / 2]
}

fn number_from_environment(name: &str, default: u64) -> Result<u64> {
    std::env::var(name).map_or(Ok(default), |value| Ok(value.replace('_', "").parse()?))
}

/// Ten sessions at a time take turns in no regular order, as agents that work side by side do.
fn write_legacy_file(path: &Path, columns: &str, events: u64) -> Result<()> {
    let conn = rusqlite::Connection::open(path)?;
    let index = if columns.contains("event_index") {
        "CREATE INDEX idx_events_session_order ON events (session_id, event_index, id)"
    } else {
        "CREATE INDEX idx_events_session_created ON events (session_id, created_at, id)"
    };
    conn.execute_batch(&format!(
        "PRAGMA synchronous = OFF;
         CREATE TABLE sessions (
             id TEXT PRIMARY KEY, agent TEXT NOT NULL, agent_session_id TEXT NOT NULL,
             last_connection_id TEXT NOT NULL, created_at INTEGER NOT NULL, destroyed_at INTEGER, session_init_json TEXT
         );
         CREATE TABLE events (
             {columns}, created_at INTEGER NOT NULL, connection_id TEXT NOT NULL, sender TEXT NOT NULL,
             payload_json TEXT NOT NULL
         );
         {index};"
    ))?;
    let id = if columns.starts_with("id TEXT") { "lower(hex(randomblob(16)))" } else { "number" };
    let (index, index_value) =
        if columns.contains("event_index") { ("event_index, ", "number / 10, ") } else { ("", "") };
    conn.execute_batch(&format!(
        "BEGIN;
         WITH RECURSIVE count (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM count WHERE number < {events})
         INSERT INTO events (id, {index}session_id, created_at, connection_id, sender, payload_json)
         SELECT {id}, {index_value}printf('session-%08x', (number / 10000 * 10 + abs(random()) % 10) * 2654435761 % 4294967296),
             1700000000000 + number / 3, 'connection-' || number / 5000,
             CASE number % 8 WHEN 0 THEN 'client' ELSE 'agent' END,
             '{{\"jsonrpc\":\"2.0\",\"method\":\"session/update\",\"params\":{{\"text\":\"'
                 || hex(zeroblob(100 + abs(random()) % 150)) || '\"}}}}'
         FROM count;
         INSERT INTO sessions
         SELECT DISTINCT session_id, 'claude', session_id, 'connection', 1700000000000, NULL, NULL FROM events;
         COMMIT;"
    ))?;
    Ok(())
}

fn run_in_child(way: &str, legacy: &Path) -> Result<Run> {
    let copy: PathBuf = legacy.with_file_name("copy.db");
    std::fs::copy(legacy, &copy)?;
    std::fs::File::open(&copy)?.sync_all()?;
    let output = Command::new(std::env::current_exe()?).env("REBUILD_WAY", way).env("REBUILD_FILE", &copy).output()?;
    std::fs::remove_file(&copy)?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [micros, memory_kib] = numbers[..] else {
        return Err(format!("{way}: {text}{}", String::from_utf8_lossy(&output.stderr)).into());
    };
    Ok(Run { time: Duration::from_micros(micros), memory_kib })
}

fn one_run(way: &str, path: &Path) -> Result<()> {
    let before = memory_kib("VmRSS:")?;
    let start = Instant::now();
    match way {
        "reference" => {
            let conn = rusqlite::Connection::open(path)?;
            reference_rebuild(&conn)?;
        }
        "migrate()" => {
            let mut conn = SqliteConnection::establish(path.to_str().ok_or("a path that is text")?)?;
            agent_session_store::migrate(&mut conn)?;
        }
        _ => {
            let migration = std::env::var("REBUILD_SQL").unwrap_or_else(|_| {
                concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite/0000-00-00-475301_sessions_and_events/up.sql")
                    .into()
            });
            rusqlite::Connection::open(path)?.execute_batch(&std::fs::read_to_string(migration)?)?;
        }
    }
    let time = start.elapsed();
    println!("{} {}", time.as_micros(), memory_kib("VmHWM:")? - before);
    Ok(())
}

/// What the reference driver runs on such a file when it opens it, statement by statement.
fn reference_rebuild(conn: &rusqlite::Connection) -> Result<()> {
    let has_index = conn.prepare("SELECT 1 FROM pragma_table_info('events') WHERE name = 'event_index'")?.exists([])?;
    let id_type: String =
        conn.query_row("SELECT type FROM pragma_table_info('events') WHERE name = 'id'", [], |row| row.get(0))?;
    for column in ["sandbox_id", "config_options_json", "modes_json"] {
        conn.execute_batch(&format!("ALTER TABLE sessions ADD COLUMN {column} TEXT"))?;
    }
    if id_type != "TEXT" || !has_index {
        let position = "ROW_NUMBER() OVER (PARTITION BY session_id ORDER BY created_at ASC, id ASC)";
        let index = if has_index { format!("COALESCE(event_index, {position})") } else { position.to_owned() };
        conn.execute_batch("ALTER TABLE events RENAME TO events_legacy;")?;
        conn.execute_batch(
            "CREATE TABLE IF NOT EXISTS events (
                 id TEXT PRIMARY KEY, event_index INTEGER NOT NULL, session_id TEXT NOT NULL,
                 created_at INTEGER NOT NULL, connection_id TEXT NOT NULL, sender TEXT NOT NULL,
                 payload_json TEXT NOT NULL
             );
             CREATE INDEX IF NOT EXISTS idx_events_session_order ON events (session_id, event_index, id);",
        )?;
        conn.execute_batch(&format!(
            "INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, payload_json)
             SELECT CAST(id AS TEXT), {index}, session_id, created_at, connection_id, sender, payload_json
             FROM events_legacy"
        ))?;
        conn.execute_batch("DROP TABLE events_legacy")?;
    }
    conn.execute_batch("CREATE INDEX IF NOT EXISTS idx_events_session_order ON events (session_id, event_index, id)")?;
    Ok(())
}

fn memory_kib(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

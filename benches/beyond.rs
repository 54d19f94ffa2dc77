//! What goes beyond the five verbs against hand-written SQLite doing the same work, as ratios:
//! `cargo bench --bench beyond`.
//!
//! `rusqlite` is what one would write by hand: the same pragmas, cached statements, the same transactions. The
//! contenders take turns, each round on fresh files, and the table shows the median of the ratios of the rounds.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::hint::black_box;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use agent_session_store::{Json, ListSessionsRequest, NewEvent, Selection, Sender, SessionRecord, SessionStore};
use chrono::DateTime;
use rusqlite::{Connection, OptionalExtension, params};
use tempfile::TempDir;

const ROUNDS: usize = 9;

fn main() {
    // `cargo bench --bench beyond -- append` runs the parts of that name alone.
    let parts: [(&str, fn()); 5] = [
        ("latest", latest),
        ("summaries", summaries),
        ("append_one", append_one),
        ("append_batch", append_batch),
        ("move", moving),
    ];
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!("| work | store | the other | ratio | goal |\n|---|---|---|---|---|");
    for (name, part) in parts {
        if asked.is_empty() || asked.iter().any(|asked| name.starts_with(asked.as_str())) {
            part();
        }
    }
}

fn event(id: usize) -> NewEvent {
    NewEvent::new(format!("{:08x}-8f2c-4c3a-9d9e-{id:012x}", (id as u32).wrapping_mul(2_654_435_761)), DateTime::from_timestamp_millis(1_700_000_000_000 + id as i64).unwrap(), "0b9c8a5e-6f0e-4c5b-8a56-0a8f3c1d2e4f", Sender::Agent, Json::parse(format!(
            r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"sessionId":"session","update":{{"sessionUpdate":"agent_message_chunk","content":{{"type":"text","text":"the tests pass now; next the parser, number {id}, and then the rest of the plan"}}}}}}}}"#
        ))
        .unwrap())
}

fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(event).collect()
}

/// The end of a long session against the end of a short one: what the length costs.
fn latest() {
    let folder = TempDir::new().unwrap();
    let [long, short] = [("long", 100_000), ("short", 100)].map(|(name, count)| {
        let store = SessionStore::open(folder.path().join(name)).unwrap();
        events(count).chunks(10_000).for_each(|events| _ = store.append_events("session", events).unwrap());
        store
    });
    let replay = |store: &SessionStore| {
        timed(|| {
            (0..400).for_each(|_| assert_eq!(black_box(store.latest_events("session", 50, None)).unwrap().len(), 50))
        })
    };
    let (ours, other) = compare(|_| replay(&long), |_| replay(&short));
    line("latest_events(50) of 100,000, against of 100", &ours, &other, "at least 0.67 (within 1.5 ×)");
    let last = |store: &SessionStore| {
        timed(|| (0..4_000).for_each(|_| assert!(black_box(store.last_event_index("session")).unwrap() >= Some(100))))
    };
    let (ours, other) = compare(|_| last(&long), |_| last(&short));
    line("last_event_index of 100,000, against of 100", &ours, &other, "at least 0.67 (within 1.5 ×)");
}

/// Pages of 100 summaries: of long sessions against short ones, and against reading the same rows by hand, which makes
/// nothing of them.
fn summaries() {
    const SESSIONS: usize = 100;
    const PAGES: usize = 20;
    let folder = TempDir::new().unwrap();
    let [long, short] = [("long", 2_000), ("short", 40)].map(|(name, count)| {
        let path = folder.path().join(name);
        let store = SessionStore::open(&path).unwrap();
        for number in 0..SESSIONS {
            let id = format!("session-{number}");
            store.update_session(&SessionRecord::new(&id, "claude", "s", "c", DateTime::UNIX_EPOCH)).unwrap();
            let events: Vec<_> = (0..count).map(|event_number| event(number * 10_000 + event_number)).collect();
            store.append_events(&id, &events).unwrap();
        }
        (store, path)
    });
    let request = ListSessionsRequest::new().limit(SESSIONS as u32);
    let replay = |store: &SessionStore| {
        timed(|| {
            for _ in 0..PAGES {
                assert_eq!(black_box(store.list_session_summaries(&request)).unwrap().items.len(), SESSIONS);
            }
        })
    };
    let (ours, other) = compare(|_| replay(&long.0), |_| replay(&short.0));
    line("pages of 100 summaries, of sessions of 2,000 events, against of 40", &ours, &other, "at least 0.67");

    let conn = Connection::open(&short.1).unwrap();
    let ends = ["", " DESC"].map(|order| {
        format!(
            "SELECT id, event_index, created_at, sender, payload_json FROM events WHERE session_id = ?1 \
             ORDER BY event_index{order}, id{order} LIMIT 16"
        )
    });
    let by_hand = || {
        timed(|| {
            for _ in 0..PAGES {
                let mut sessions =
                    conn.prepare_cached("SELECT * FROM sessions ORDER BY created_at, id LIMIT 100").unwrap();
                let ids = sessions.query_map([], |row| row.get(0)).unwrap();
                let ids: Vec<String> = ids.map(Result::unwrap).collect();
                assert_eq!(ids.len(), SESSIONS);
                for (id, sql) in ids.iter().flat_map(|id| ends.iter().map(move |sql| (id, sql))) {
                    let mut events = conn.prepare_cached(sql).unwrap();
                    let rows = events.query_map([id], |row| {
                        Ok((
                            row.get::<_, String>(0)?,
                            row.get::<_, i64>(1)?,
                            row.get::<_, i64>(2)?,
                            row.get::<_, String>(3)?,
                            row.get::<_, String>(4)?,
                        ))
                    });
                    assert_eq!(black_box(rows.unwrap().map(Result::unwrap).collect::<Vec<_>>()).len(), 16);
                }
            }
        })
    };
    let (ours, other) = compare(|_| replay(&short.0), |_| by_hand());
    line("pages of 100 summaries, against reading the same rows", &ours, &other, "");
}

fn append_one() {
    let events = events(1_000);
    let (ours, other) = compare(
        |path| {
            let store = SessionStore::open(path).unwrap();
            timed(|| events.iter().for_each(|event| _ = append(&store, std::slice::from_ref(event))))
        },
        |path| {
            let conn = by_hand(path);
            timed(|| events.iter().for_each(|event| append_by_hand(&conn, std::slice::from_ref(event))))
        },
    );
    line("append_events, one durable event a call, 1,000 times", &ours, &other, "0.85");
}

fn append_batch() {
    for size in [10, 100, 10_000] {
        let events = events(10_000);
        let (ours, other) = compare(
            |path| {
                let store = SessionStore::open(path).unwrap();
                timed(|| events.chunks(size).for_each(|events| _ = append(&store, events)))
            },
            |path| {
                let conn = by_hand(path);
                timed(|| events.chunks(size).for_each(|events| append_by_hand(&conn, events)))
            },
        );
        line(&format!("append_events, 10,000 events in batches of {size}"), &ours, &other, "0.85");
    }
}

/// Ten sessions of 5,000 events, to a file and from it, against the rows alone: read into values, or inserted session
/// by session.
fn moving() {
    let folder = TempDir::new().unwrap();
    let store = SessionStore::open(folder.path().join("full")).unwrap();
    let events = events(50_000);
    for (place, events) in events.chunks(5_000).enumerate() {
        store.append_events(&format!("session-{place}"), events).unwrap();
    }
    let lines = folder.path().join("lines");
    let conn = by_hand(&folder.path().join("full"));
    let (ours, other) = compare(
        |_| {
            let file = BufWriter::new(std::fs::File::create(&lines).unwrap());
            timed(|| assert_eq!(store.export(file, Selection::all()).unwrap().events, 50_000))
        },
        |_| timed(|| assert_eq!(read_by_hand(&conn, std::io::sink()), 50_000)),
    );
    line("export of 50,000 events to a file, against only reading the rows", &ours, &other, "");
    let (ours, other) = compare(
        |_| {
            let file = BufWriter::new(std::fs::File::create(&lines).unwrap());
            timed(|| assert_eq!(store.export(file, Selection::all()).unwrap().events, 50_000))
        },
        |_| {
            let file = BufWriter::new(std::fs::File::create(folder.path().join("by-hand")).unwrap());
            timed(|| assert_eq!(read_by_hand(&conn, file), 50_000))
        },
    );
    line("the same, against reading the rows and writing them to a file", &ours, &other, "0.5");

    let rows: Vec<(String, Vec<NewEvent>)> =
        events.chunks(5_000).enumerate().map(|(place, events)| (format!("session-{place}"), events.to_vec())).collect();
    let (ours, other) = compare(
        |path| {
            let store = SessionStore::open(path).unwrap();
            let file = BufReader::new(std::fs::File::open(&lines).unwrap());
            timed(|| assert_eq!(store.import(file).unwrap().events, 50_000))
        },
        |path| {
            let conn = by_hand(path);
            timed(|| rows.iter().for_each(|(session, events)| write_by_hand(&conn, session, events)))
        },
    );
    line("import of 50,000 events, against writing the rows", &ours, &other, "0.5");
}

// ---- ours ----

fn append(store: &SessionStore, events: &[NewEvent]) -> Vec<i64> {
    store.append_events("session", events).unwrap()
}

// ---- by hand ----

fn by_hand(path: &Path) -> Connection {
    drop(SessionStore::open(path).unwrap());
    let conn = Connection::open(path).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; SELECT 1 FROM sessions").unwrap();
    conn
}

const INSERT: &str = "INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, payload_json) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

fn insert(conn: &Connection, session: &str, index: i64, event: &NewEvent) {
    let NewEvent { id, created_at, connection_id, sender, payload, .. } = event;
    let created_at = created_at.timestamp_millis();
    let values = params![id, index, session, created_at, connection_id, sender.as_str(), payload.get()];
    conn.prepare_cached(INSERT).unwrap().execute(values).unwrap();
}

fn append_by_hand(conn: &Connection, events: &[NewEvent]) {
    conn.prepare_cached("BEGIN IMMEDIATE").unwrap().execute([]).unwrap();
    let last: Option<i64> = conn
        .prepare_cached("SELECT max(event_index) FROM events WHERE session_id = ?1")
        .unwrap()
        .query_row(["session"], |row| row.get(0))
        .optional()
        .unwrap()
        .flatten();
    for (event, index) in events.iter().zip(last.unwrap_or(0) + 1..) {
        insert(conn, "session", index, event);
    }
    conn.prepare_cached("COMMIT").unwrap().execute([]).unwrap();
}

fn write_by_hand(conn: &Connection, session: &str, events: &[NewEvent]) {
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    events.iter().zip(1..).for_each(|(event, index)| insert(conn, session, index, event));
    conn.execute_batch("COMMIT").unwrap();
}

/// Every column of every row as an owned value, in the order of the export, and the values as they are to the writer.
fn read_by_hand(conn: &Connection, mut writer: impl Write) -> usize {
    conn.prepare_cached(
        "SELECT id, event_index, session_id, created_at, connection_id, sender, payload_json FROM events \
         ORDER BY session_id, event_index, id",
    )
    .unwrap()
    .query_map([], |row| {
        let text = |column| row.get::<_, String>(column);
        let number = |column| row.get::<_, i64>(column);
        let row = (text(0)?, number(1)?, text(2)?, number(3)?, text(4)?, text(5)?, text(6)?);
        let (id, index, session, time, connection, sender, payload) = black_box(row);
        writeln!(writer, "{id}\t{index}\t{session}\t{time}\t{connection}\t{sender}\t{payload}").unwrap();
        Ok(())
    })
    .unwrap()
    .map(Result::unwrap)
    .count()
}

// ---- measuring ----

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

/// The times of both in each round. Which goes first alternates, and a first round is not counted.
fn compare(ours: impl Fn(&Path) -> Duration, other: impl Fn(&Path) -> Duration) -> (Vec<Duration>, Vec<Duration>) {
    let run = |work: &dyn Fn(&Path) -> Duration| {
        let folder = TempDir::new().unwrap();
        work(&folder.path().join("sessions.db"))
    };
    let mut times = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (mine, theirs) = if round % 2 == 0 {
            let mine = run(&ours);
            (mine, run(&other))
        } else {
            let theirs = run(&other);
            (run(&ours), theirs)
        };
        if round > 0 {
            times.0.push(mine);
            times.1.push(theirs);
        }
    }
    times
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn line(name: &str, ours: &[Duration], other: &[Duration], goal: &str) {
    let millis = |times: &[Duration]| median(times.iter().map(Duration::as_secs_f64)) * 1e3;
    let ratio = median(ours.iter().zip(other).map(|(ours, other)| other.as_secs_f64() / ours.as_secs_f64()));
    println!("| {name} | {:.1} ms | {:.1} ms | {ratio:.2} | {goal} |", millis(ours), millis(other));
}

//! The store against hand-written SQLite doing the same work, as ratios: `cargo bench --bench store --all-features`.
//!
//! `rusqlite` is what one would write by hand: the same pragmas, cached statements, the same record types. `reference`
//! is the reference driver's strategy in the same SQLite: rollback journal, one commit per event, statements prepared
//! at every call, pages by OFFSET and COUNT. All contenders take turns, each round on fresh files, and the table shows
//! the median of the ratios of the rounds.
//!
//! Whoever reads opens the file for itself, and nobody else has it open meanwhile: the SQLite that is compiled in is
//! built with one page cache for all connections of a process, where one of them can take the pages of another.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agent_session_store::{
    Json, ListEventsRequest, ListSessionsRequest, Sender, SessionEvent, SessionRecord, SessionStore,
};
use chrono::DateTime;
use rusqlite::{Connection, Row, params};
use tempfile::TempDir;

const ROUNDS: usize = 9;

fn main() {
    // `cargo bench --bench store -- walk` runs that part alone.
    type Part = fn(&mut Table);
    let parts: [(&str, Part); 6] = [
        ("one_caller", one_caller),
        ("many_callers", many_callers),
        ("batch", batch),
        ("walk", walk),
        ("sessions", sessions),
        ("open", open),
    ];
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut table = Table::default();
    for (name, part) in parts {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            part(&mut table);
        }
    }
    table.print();
}

// ---- the work ----

fn event(id: usize, session: &str, index: i64) -> SessionEvent {
    SessionEvent::new(format!("{:08x}-8f2c-4c3a-9d9e-{id:012x}", (id as u32).wrapping_mul(2_654_435_761)), index, session, DateTime::from_timestamp_millis(1_700_000_000_000 + index).unwrap(), "0b9c8a5e-6f0e-4c5b-8a56-0a8f3c1d2e4f", Sender::Agent, Json::parse(format!(
            r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"sessionId":"{session}","update":{{"sessionUpdate":"agent_message_chunk","content":{{"type":"text","text":"the tests pass now; next the parser, number {index}, and then the rest of the plan"}}}}}}}}"#
        ))
        .unwrap())
}

fn events(count: usize, session: &str) -> Vec<SessionEvent> {
    (0..count).map(|id| event(id, session, id as i64 + 1)).collect()
}

fn session(id: usize) -> SessionRecord {
    let mut session = SessionRecord::new(
        format!("{:08x}-8f2c-4c3a-9d9e-{id:012x}", (id as u32).wrapping_mul(2_654_435_761)),
        "claude",
        format!("agent-{id}"),
        "0b9c8a5e-6f0e-4c5b-8a56-0a8f3c1d2e4f",
        DateTime::from_timestamp_millis(1_700_000_000_000 + id as i64).unwrap(),
    );
    session.sandbox_id = Some("sandbox-1".to_owned());
    session.session_init = Some(Json::parse(r#"{"cwd":"/srv/app","mcpServers":[]}"#).unwrap());
    session.config_options = Some(Json::parse("[]").unwrap());
    session.modes = Some(Json::parse("null").unwrap());
    session
}

fn one_caller(table: &mut Table) {
    let events = events(1_000, "session");
    let timing = compare(
        ROUNDS,
        |path| {
            let store = SessionStore::open(path).unwrap();
            timed(|| events.iter().for_each(|event| store.insert_event(event).unwrap()))
        },
        |path| {
            let conn = by_hand(path);
            timed(|| events.iter().for_each(|event| insert(&conn, event)))
        },
        |path| {
            let conn = reference(path);
            timed(|| events[..200].iter().for_each(|event| reference_insert(&conn, event))) * 5
        },
    );
    table.add("one caller, one durable event a call", timing, 0.9, Some(3.0));
}

fn many_callers(table: &mut Table) {
    const CALLERS: usize = 64;
    const EACH: usize = 100;
    // Every caller has a session of its own; their events come in turns, by whichever way they are written.
    let callers: Vec<Vec<SessionEvent>> = (0..CALLERS)
        .map(|caller| {
            let session = format!("session-{caller}");
            (0..EACH).map(|index| event(index * CALLERS + caller, &session, index as i64 + 1)).collect()
        })
        .collect();
    let events: Vec<&SessionEvent> =
        (0..EACH).flat_map(|index| callers.iter().map(move |caller| &caller[index])).collect();
    let rusqlite = |path: &Path| {
        let conn = by_hand(path);
        timed(|| {
            for chunk in events.chunks(CALLERS) {
                let transaction = conn.unchecked_transaction().unwrap();
                chunk.iter().for_each(|event| insert(&conn, event));
                transaction.commit().unwrap();
            }
        })
    };
    let reference = |path: &Path| {
        let conn = reference(path);
        timed(|| events[..200].iter().for_each(|event| reference_insert(&conn, event))) * (CALLERS * EACH / 200) as u32
    };
    let timing = compare(
        ROUNDS,
        |path| {
            let store = SessionStore::open(path).unwrap();
            timed(|| {
                std::thread::scope(|scope| {
                    for caller in &callers {
                        let store = &store;
                        scope.spawn(move || caller.iter().for_each(|event| store.insert_event(event).unwrap()));
                    }
                });
            })
        },
        rusqlite,
        reference,
    );
    table.add("64 threads, one durable event a call", timing, 0.6, Some(20.0));

    #[cfg(feature = "async")]
    {
        // One runtime of one thread, as small as it gets; the tasks own what they write.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let timing = compare(
            ROUNDS,
            |path| {
                let store = agent_session_store::AsyncSessionStore::from(SessionStore::open(path).unwrap());
                let mut tasks = tokio::task::JoinSet::new();
                for caller in callers.clone() {
                    let store = store.clone();
                    let work = async move {
                        for event in &caller {
                            store.insert_event(event).await.unwrap();
                        }
                    };
                    tasks.spawn_on(work, runtime.handle());
                }
                let all = async {
                    while let Some(task) = tasks.join_next().await {
                        task.unwrap();
                    }
                };
                timed(|| runtime.block_on(all))
            },
            rusqlite,
            reference,
        );
        table.add("64 tasks on one thread, one durable event a call", timing, 0.6, Some(20.0));
    }
}

fn batch(table: &mut Table) {
    let events = events(10_000, "session");
    let timing = compare(
        ROUNDS,
        |path| {
            let store = SessionStore::open(path).unwrap();
            timed(|| store.insert_events(&events).unwrap())
        },
        |path| {
            let conn = by_hand(path);
            timed(|| {
                let transaction = conn.unchecked_transaction().unwrap();
                events.iter().for_each(|event| insert(&conn, event));
                transaction.commit().unwrap();
            })
        },
        |path| {
            let conn = reference(path);
            timed(|| events[..200].iter().for_each(|event| reference_insert(&conn, event))) * 50
        },
    );
    table.add("a batch of 10,000 events", timing, 0.85, None);
}

fn walk(table: &mut Table) {
    const EVENTS: usize = 100_000;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sessions.db");
    SessionStore::open(&path).unwrap().insert_events(&events(EVENTS, "session")).unwrap();

    let ours = |_: &Path| {
        let store = SessionStore::open(&path).unwrap();
        store.list_events(&ListEventsRequest::new("session")).unwrap();
        timed(|| {
            let mut request = ListEventsRequest::new("session");
            let mut rows = 0;
            loop {
                let page = store.list_events(&request).unwrap();
                rows += black_box(page.items).len();
                let Some(cursor) = page.next_cursor else { break };
                request = request.cursor(cursor);
            }
            assert_eq!(rows, EVENTS);
        })
    };
    let rusqlite = |_: &Path| {
        let conn = by_hand(&path);
        keyset_page(&conn, "session", None);
        timed(|| {
            let mut last: Option<(i64, String)> = None;
            let mut rows = 0;
            loop {
                let mut page = keyset_page(&conn, "session", last.as_ref());
                let follows = page.len() > 100;
                page.truncate(100);
                rows += page.len();
                last = page.last().map(|event| (event.event_index, event.id.clone()));
                black_box(page);
                if !follows {
                    break;
                }
            }
            assert_eq!(rows, EVENTS);
        })
    };
    // The whole walk is quadratic; one page of every 50 stands for its neighbours.
    let reference = |_: &Path| {
        let conn = by_hand(&path);
        timed(|| {
            for offset in (0..EVENTS as i64).step_by(100 * 50) {
                black_box(reference_page(&conn, "session", offset));
            }
        }) * 50
    };
    let timing = compare(ROUNDS, ours, rusqlite, reference);
    table.add("walking 100,000 events in pages of 100", timing, 0.9, Some(20.0));

    let store = SessionStore::open(&path).unwrap();
    let mut request = ListEventsRequest::new("session").limit(EVENTS as u32 - 100);
    let cursor = store.list_events(&request).unwrap().next_cursor.unwrap();
    request = request.limit(100);
    let last = request.clone().cursor(cursor);
    let page = |request: &ListEventsRequest| {
        timed(|| (0..500).for_each(|_| assert_eq!(black_box(store.list_events(request).unwrap()).items.len(), 100)))
    };
    let timing = compare(ROUNDS, |_| page(&last), |_| page(&request), |_| Duration::ZERO);
    table.add("its last page, against its first", timing, 0.9, None);
}

fn sessions(table: &mut Table) {
    const SESSIONS: usize = 100_000;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sessions.db");
    {
        let conn = by_hand(&path);
        let transaction = conn.unchecked_transaction().unwrap();
        (0..SESSIONS).for_each(|id| insert_session(&conn, &session(id)));
        transaction.commit().unwrap();
    }

    let mut request = ListSessionsRequest::new().limit(SESSIONS as u32 / 2);
    let cursor = SessionStore::open(&path).unwrap().list_sessions(&request).unwrap().next_cursor.unwrap();
    request = ListSessionsRequest::new().cursor(cursor);
    let middle = session(SESSIONS / 2 - 1);
    let timing = compare(
        ROUNDS,
        |_| {
            let store = SessionStore::open(&path).unwrap();
            let page = || assert_eq!(store.list_sessions(&request).unwrap().items.len(), 100);
            page();
            timed(|| (0..200).for_each(|_| page()))
        },
        |_| {
            let conn = by_hand(&path);
            let page = || assert_eq!(session_page(&conn, &middle).len(), 101);
            page();
            timed(|| (0..200).for_each(|_| page()))
        },
        |_| {
            let conn = by_hand(&path);
            timed(|| assert_eq!(reference_sessions(&conn, SESSIONS as i64 / 2), 100)) * 200
        },
    );
    table.add("a page among 100,000 sessions", timing, 0.9, None);

    let ids: Vec<String> = (0..5_000).map(|id| session(id * 17).id).collect();
    let timing = compare(
        ROUNDS,
        |_| {
            let store = SessionStore::open(&path).unwrap();
            let get = |id: &String| assert_eq!(store.get_session(id).unwrap().unwrap().id, *id);
            get(&ids[0]);
            timed(|| ids.iter().for_each(get))
        },
        |_| {
            let conn = by_hand(&path);
            let get = |id: &String| assert_eq!(get_session(&conn, id).id, *id);
            get(&ids[0]);
            timed(|| ids.iter().for_each(get))
        },
        |_| Duration::ZERO,
    );
    table.add("get_session among 100,000", timing, 0.9, None);
}

fn open(table: &mut Table) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("sessions.db");
    SessionStore::open(&path).unwrap().insert_events(&events(1_000, "session")).unwrap();
    let timing = compare(
        ROUNDS,
        |_| timed(|| (0..50).for_each(|_| drop(black_box(SessionStore::open(&path).unwrap())))),
        |_| {
            timed(|| {
                (0..50).for_each(|_| {
                    let conn = Connection::open(&path).unwrap();
                    pragmas(&conn);
                    drop(black_box(conn));
                })
            })
        },
        |_| Duration::ZERO,
    );
    table.add("opening an existing file", timing, 0.5, None);
}

// ---- by hand ----

fn by_hand(path: &Path) -> Connection {
    drop(SessionStore::open(path).unwrap());
    let conn = Connection::open(path).unwrap();
    pragmas(&conn);
    conn
}

fn pragmas(conn: &Connection) {
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; SELECT 1 FROM sessions").unwrap();
}

const UPSERT: &str = "INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, payload_json) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO UPDATE SET event_index = excluded.event_index, \
    session_id = excluded.session_id, created_at = excluded.created_at, connection_id = excluded.connection_id, \
    sender = excluded.sender, payload_json = excluded.payload_json";

fn insert(conn: &Connection, event: &SessionEvent) {
    bind_event(&mut conn.prepare_cached(UPSERT).unwrap(), event);
}

fn bind_event(statement: &mut rusqlite::Statement<'_>, event: &SessionEvent) {
    let millis = event.created_at.timestamp_millis();
    statement
        .execute(params![
            event.id,
            event.event_index,
            event.session_id,
            millis,
            event.connection_id,
            event.sender.as_str(),
            event.payload.get()
        ])
        .unwrap();
}

fn insert_session(conn: &Connection, session: &SessionRecord) {
    let text = |json: &Option<Json>| json.as_ref().map(|json| json.get().to_owned());
    conn.prepare_cached("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .unwrap()
        .execute(params![
            session.id,
            session.agent,
            session.agent_session_id,
            session.last_connection_id,
            session.created_at.timestamp_millis(),
            session.destroyed_at.map(|time| time.timestamp_millis()),
            session.sandbox_id,
            text(&session.session_init),
            text(&session.config_options),
            text(&session.modes)
        ])
        .unwrap();
}

fn read_event(row: &Row<'_>) -> rusqlite::Result<SessionEvent> {
    Ok(SessionEvent::new(
        row.get::<_, String>(0)?,
        row.get(1)?,
        row.get::<_, String>(2)?,
        DateTime::from_timestamp_millis(row.get(3)?).unwrap(),
        row.get::<_, String>(4)?,
        row.get_ref(5)?.as_str()?.parse().unwrap(),
        Json::parse(row.get::<_, String>(6)?).unwrap(),
    ))
}

fn read_session(row: &Row<'_>) -> rusqlite::Result<SessionRecord> {
    let json =
        |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(column)?.map(|text| Json::parse(text).unwrap()));
    let text = |column| row.get::<_, String>(column);
    let created_at = DateTime::from_timestamp_millis(row.get(4)?).unwrap();
    let mut session = SessionRecord::new(text(0)?, text(1)?, text(2)?, text(3)?, created_at);
    session.destroyed_at = row.get::<_, Option<i64>>(5)?.map(|millis| DateTime::from_timestamp_millis(millis).unwrap());
    session.sandbox_id = row.get(6)?;
    session.session_init = json(7)?;
    session.config_options = json(8)?;
    session.modes = json(9)?;
    Ok(session)
}

fn keyset_page(conn: &Connection, session: &str, after: Option<&(i64, String)>) -> Vec<SessionEvent> {
    let columns = "SELECT id, event_index, session_id, created_at, connection_id, sender, payload_json FROM events";
    match after {
        None => conn
            .prepare_cached(&format!("{columns} WHERE session_id = ?1 ORDER BY event_index, id LIMIT 101"))
            .unwrap()
            .query_map(params![session], read_event)
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap(),
        Some((index, id)) => conn
            .prepare_cached(&format!(
                "{columns} WHERE session_id = ?1 AND (event_index, id) > (?2, ?3) ORDER BY event_index, id LIMIT 101"
            ))
            .unwrap()
            .query_map(params![session, index, id], read_event)
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap(),
    }
}

fn session_page(conn: &Connection, after: &SessionRecord) -> Vec<SessionRecord> {
    conn.prepare_cached(
        "SELECT id, agent, agent_session_id, last_connection_id, created_at, destroyed_at, sandbox_id, \
         session_init_json, config_options_json, modes_json FROM sessions \
         WHERE (created_at, id) > (?1, ?2) ORDER BY created_at, id LIMIT 101",
    )
    .unwrap()
    .query_map(params![after.created_at.timestamp_millis(), after.id], read_session)
    .unwrap()
    .collect::<Result<_, _>>()
    .unwrap()
}

fn get_session(conn: &Connection, id: &str) -> SessionRecord {
    conn.prepare_cached(
        "SELECT id, agent, agent_session_id, last_connection_id, created_at, destroyed_at, sandbox_id, \
         session_init_json, config_options_json, modes_json FROM sessions WHERE id = ?1",
    )
    .unwrap()
    .query_row(params![id], read_session)
    .unwrap()
}

// ---- the reference driver's strategy ----

fn reference(path: &Path) -> Connection {
    drop(SessionStore::open(path).unwrap());
    let conn = Connection::open(path).unwrap();
    conn.execute_batch("PRAGMA journal_mode = DELETE; DROP INDEX idx_sessions_order; SELECT 1 FROM sessions").unwrap();
    conn
}

fn reference_insert(conn: &Connection, event: &SessionEvent) {
    bind_event(&mut conn.prepare(UPSERT).unwrap(), event);
}

fn reference_page(conn: &Connection, session: &str, offset: i64) -> Vec<SessionEvent> {
    let page = conn
        .prepare(
            "SELECT id, event_index, session_id, created_at, connection_id, sender, payload_json FROM events \
             WHERE session_id = ? ORDER BY event_index ASC, id ASC LIMIT ? OFFSET ?",
        )
        .unwrap()
        .query_map(params![session, 100, offset], read_event)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let count: i64 = conn
        .prepare("SELECT COUNT(*) AS count FROM events WHERE session_id = ?")
        .unwrap()
        .query_row(params![session], |row| row.get(0))
        .unwrap();
    black_box(count);
    page
}

fn reference_sessions(conn: &Connection, offset: i64) -> usize {
    let page: Vec<SessionRecord> = conn
        .prepare(
            "SELECT id, agent, agent_session_id, last_connection_id, created_at, destroyed_at, sandbox_id, \
             session_init_json, config_options_json, modes_json FROM sessions \
             ORDER BY +created_at ASC, id ASC LIMIT 100 OFFSET ?",
        )
        .unwrap()
        .query_map(params![offset], read_session)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let count: i64 = conn.query_row("SELECT COUNT(*) FROM sessions", [], |row| row.get(0)).unwrap();
    black_box(count);
    page.len()
}

// ---- measuring ----

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

/// The time of each contender in each round.
struct Timing {
    ours: Vec<Duration>,
    rusqlite: Vec<Duration>,
    reference: Vec<Duration>,
}

fn compare(
    rounds: usize,
    ours: impl Fn(&Path) -> Duration,
    rusqlite: impl Fn(&Path) -> Duration,
    reference: impl Fn(&Path) -> Duration,
) -> Timing {
    let mut timing = Timing { ours: Vec::new(), rusqlite: Vec::new(), reference: Vec::new() };
    let fresh = || {
        let folder = TempDir::new().unwrap();
        let path: PathBuf = folder.path().join("sessions.db");
        (folder, path)
    };
    // One round to warm up, not counted.
    for round in 0..=rounds {
        let [(_a, first), (_b, second), (_c, third)] = [fresh(), fresh(), fresh()];
        let times = if round % 2 == 0 {
            let ours = ours(&first);
            (ours, rusqlite(&second), reference(&third))
        } else {
            let rusqlite = rusqlite(&second);
            (ours(&first), rusqlite, reference(&third))
        };
        if round > 0 {
            timing.ours.push(times.0);
            timing.rusqlite.push(times.1);
            timing.reference.push(times.2);
        }
    }
    timing
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[derive(Default)]
struct Table(Vec<[String; 4]>);

impl Table {
    fn add(&mut self, name: &str, timing: Timing, goal: f64, reference_goal: Option<f64>) {
        let ratio = |others: &[Duration]| {
            let ratios = others.iter().zip(&timing.ours);
            median(ratios.map(|(other, ours)| other.as_secs_f64() / ours.as_secs_f64()).collect())
        };
        let ours = median(timing.ours.iter().map(Duration::as_secs_f64).collect());
        let against = |ratio: f64, goal: f64| format!("{ratio:.2} (goal {goal})");
        let reference = match reference_goal {
            Some(goal) => against(ratio(&timing.reference), goal),
            None if timing.reference.iter().any(|time| !time.is_zero()) => format!("{:.1}", ratio(&timing.reference)),
            None => String::new(),
        };
        let row = [name.to_owned(), format!("{:.2} ms", ours * 1e3), against(ratio(&timing.rusqlite), goal), reference];
        eprintln!("{row:?}");
        self.0.push(row);
    }

    fn print(&self) {
        println!("Speed of the store, as a multiple of the other's (above 1: the store is faster)\n");
        println!("| work | store | × rusqlite | × reference |");
        println!("|---|---|---|---|");
        for [name, ours, rusqlite, reference] in &self.0 {
            println!("| {name} | {ours} | {rusqlite} | {reference} |");
        }
    }
}

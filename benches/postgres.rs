//! The verbs on PostgreSQL against hand-written SQL doing the same work, as ratios:
//! `cargo bench --bench postgres --features postgres,async`, or with `-- walk` one part of it.
//!
//! `by hand` is the crate `postgres` with prepared statements on the same tables. `reference` is the reference driver's
//! strategy: pages by OFFSET, each with a COUNT. All contenders take turns, each round in fresh schemas, and the table
//! shows the median of the ratios of the rounds.
//!
//! It needs a server at 127.0.0.1:5432, or one that `AGENT_SESSIONS_TEST_POSTGRES` names, and makes and drops a database
//! of its own there. Commits are as durable as the server has them, unless a line says otherwise.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::hint::black_box;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, PgConnection};
use agent_session_store::{
    Json, ListEventsRequest, NewEvent, Selection, Sender, SessionEvent, SessionPersistDriver, SessionRecord,
    SessionStore, migrate,
};
use chrono::DateTime;
use postgres::types::private::BytesMut;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, NoTls, Statement};

fn main() {
    type Part = fn(&Server, &mut Table);
    let parts: [(&str, Part); 8] = [
        ("one_event", one_event),
        ("append", append),
        ("batch", batch),
        ("walk", walk),
        ("newest", newest),
        ("many_callers", many_callers),
        ("transfer", transfer),
        ("size", size),
    ];
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let server = Server::new();
    let mut table = Table::default();
    for (name, part) in parts {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            part(&server, &mut table);
        }
    }
    table.print();
}

// ---- the work ----

fn payload(session: &str, index: i64) -> Json {
    Json::parse(format!(
        r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"sessionId":"{session}","update":{{"sessionUpdate":"agent_message_chunk","content":{{"type":"text","text":"the tests pass now; next the parser, number {index}, and then the rest of the plan"}}}}}}}}"#
    ))
    .unwrap()
}

fn id(number: usize) -> String {
    format!("{:08x}-8f2c-4c3a-9d9e-{number:012x}", (number as u32).wrapping_mul(2_654_435_761))
}

fn event(number: usize, session: &str, index: i64) -> SessionEvent {
    SessionEvent::new(
        id(number),
        index,
        session,
        DateTime::from_timestamp_millis(1_700_000_000_000 + index).unwrap(),
        "0b9c8a5e-6f0e-4c5b-8a56-0a8f3c1d2e4f",
        Sender::Agent,
        payload(session, index),
    )
}

fn events(count: usize, session: &str) -> Vec<SessionEvent> {
    (0..count).map(|number| event(number, session, number as i64 + 1)).collect()
}

fn new_event(number: usize, session: &str) -> NewEvent {
    let SessionEvent { id, created_at, connection_id, sender, payload, .. } = event(number, session, number as i64);
    NewEvent::new(id, created_at, connection_id, sender, payload)
}

fn session(number: usize) -> SessionRecord {
    let mut session = SessionRecord::new(
        id(number),
        "claude",
        format!("agent-{number}"),
        "0b9c8a5e-6f0e-4c5b-8a56-0a8f3c1d2e4f",
        DateTime::from_timestamp_millis(1_700_000_000_000 + number as i64).unwrap(),
    );
    session.sandbox_id = Some("sandbox-1".to_owned());
    session.session_init = Some(Json::parse(r#"{"cwd":"/srv/app","mcpServers":[]}"#).unwrap());
    session.config_options = Some(Json::parse("[]").unwrap());
    session
}

/// How long a commit waits, and how a line says so.
const DURABILITIES: [(&str, &str); 2] = [("", ""), ("-c synchronous_commit=off", ", synchronous_commit off")];

fn one_event(server: &Server, table: &mut Table) {
    for (options, words) in DURABILITIES {
        let events = events(220, "session");
        let (warming, measured) = events.split_at(20);
        let timing = compare(
            41,
            || {
                let schema = server.schema(options);
                let mut conn = schema.diesel();
                warming.iter().for_each(|event| conn.insert_event(event).unwrap());
                timed(|| measured.iter().for_each(|event| conn.insert_event(event).unwrap()))
            },
            || {
                let schema = server.schema(options);
                let mut client = schema.client();
                let upsert = client.prepare(UPSERT).unwrap();
                warming.iter().for_each(|event| insert(&mut client, &upsert, event));
                timed(|| measured.iter().for_each(|event| insert(&mut client, &upsert, event)))
            },
        );
        table.add(&format!("one event a call, 200{words}"), &timing, Some(0.95));
    }
}

fn append(server: &Server, table: &mut Table) {
    for (options, words) in DURABILITIES {
        let events: Vec<NewEvent> = (0..220).map(|number| new_event(number, "session")).collect();
        let (warming, measured) = events.split_at(20);
        let timing = compare(
            41,
            || {
                let schema = server.schema(options);
                let mut conn = schema.diesel();
                let mut append = |event| {
                    black_box(conn.append_events("session", std::slice::from_ref(event)).unwrap());
                };
                warming.iter().for_each(&mut append);
                timed(|| measured.iter().for_each(&mut append))
            },
            || {
                let schema = server.schema(options);
                let mut client = schema.client();
                let append = client.prepare(APPEND).unwrap();
                let mut append = |event| {
                    black_box(append_by_hand(&mut client, &append, "session", event));
                };
                warming.iter().for_each(&mut append);
                timed(|| measured.iter().for_each(&mut append))
            },
        );
        table.add(&format!("appending one event a call, 200{words}"), &timing, Some(0.9));
    }
}

fn batch(server: &Server, table: &mut Table) {
    let events = events(12_000, "session");
    let batches: Vec<&[SessionEvent]> = events.chunks(1_000).collect();
    let (warming, measured) = batches.split_at(2);
    // The first pass inserts; the second overwrites what the first has inserted.
    for (passes, words, goal) in [(1, "inserting", Some(0.95)), (2, "overwriting", None)] {
        let timing = compare(
            if passes == 1 { 9 } else { 5 },
            || {
                let schema = server.schema("");
                let mut conn = schema.diesel();
                warming.iter().for_each(|batch| conn.insert_events(batch).unwrap());
                let mut took = Duration::ZERO;
                for _ in 0..passes {
                    took = timed(|| measured.iter().for_each(|batch| conn.insert_events(batch).unwrap()));
                }
                took
            },
            || {
                let schema = server.schema("");
                let mut client = schema.client();
                let upsert = client.prepare(UPSERT_MANY).unwrap();
                warming.iter().for_each(|batch| insert_many(&mut client, &upsert, batch));
                let mut took = Duration::ZERO;
                for _ in 0..passes {
                    took = timed(|| measured.iter().for_each(|batch| insert_many(&mut client, &upsert, batch)));
                }
                took
            },
        );
        table.add(&format!("{words} 10 batches of 1,000"), &timing, goal);
    }
}

fn walk(server: &Server, table: &mut Table) {
    const EVENTS: usize = 100_000;
    let schema = server.schema("");
    let mut conn = schema.diesel();
    schema.fill(&mut conn, EVENTS, "session");
    let walk = |conn: &mut PgConnection, request: &ListEventsRequest| {
        let (mut request, mut rows) = (request.clone(), 0);
        loop {
            let page = conn.list_events(&request).unwrap();
            rows += black_box(page.items).len();
            let Some(cursor) = page.next_cursor else { break };
            request = request.cursor(cursor);
        }
        rows
    };
    let mut client = schema.client();
    let pages = [client.prepare(FIRST_PAGE).unwrap(), client.prepare(NEXT_PAGE).unwrap()];
    let timing = compare(
        9,
        || {
            let mut conn = schema.diesel();
            walk(&mut conn, &ListEventsRequest::new("session").before(1_000));
            timed(|| assert_eq!(walk(&mut conn, &ListEventsRequest::new("session")), EVENTS))
        },
        || {
            timed(|| {
                let (mut last, mut rows) = (None, 0);
                loop {
                    let mut page = page_by_hand(&mut client, &pages, "session", last.as_ref());
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
        },
    );
    table.add("walking 100,000 events in pages of 100", &timing, Some(0.9));

    // The whole walk is quadratic; one page of every 200 stands for its neighbours.
    let mut client = schema.client();
    let mut reference = || {
        timed(|| {
            (0..EVENTS as i64).step_by(100 * 200).for_each(|offset| reference_page(&mut client, "session", offset))
        }) * 200
    };
    let ours = || timed(|| assert_eq!(walk(&mut conn, &ListEventsRequest::new("session")), EVENTS));
    table.add("the same, beside the reference's strategy", &compare(3, ours, &mut reference), Some(20.0));

    let mut conn = schema.diesel();
    let first = ListEventsRequest::new("session");
    let all_but_one_page = conn.list_events(&first.clone().limit(EVENTS as u32 - 100)).unwrap();
    let last = first.clone().cursor(all_but_one_page.next_cursor.unwrap());
    let conn = Mutex::new(conn);
    let page = |request: &ListEventsRequest| {
        let mut conn = conn.lock().unwrap();
        timed(|| (0..500).for_each(|_| assert_eq!(black_box(conn.list_events(request).unwrap()).items.len(), 100)))
    };
    table.add("its last page, against its first, 500", &compare(9, || page(&last), || page(&first)), Some(0.9));
}

fn newest(server: &Server, table: &mut Table) {
    let schema = server.schema("");
    let mut conn = schema.diesel();
    schema.fill(&mut conn, 100_000, "long");
    schema.fill(&mut conn, 1_000, "short");
    let conn = Mutex::new(conn);
    let latest = |session: &str| {
        let mut conn = conn.lock().unwrap();
        timed(|| (0..500).for_each(|_| assert_eq!(black_box(conn.latest_events(session, 50, None).unwrap()).len(), 50)))
    };
    let timing = compare(9, || latest("long"), || latest("short"));
    table.add("latest_events(50) of 100,000, against of 1,000, 500", &timing, Some(0.9));
    let last = |session: &str| {
        let mut conn = conn.lock().unwrap();
        timed(|| (0..1_000).for_each(|_| assert!(black_box(conn.last_event_index(session).unwrap()).is_some())))
    };
    let timing = compare(9, || last("long"), || last("short"));
    table.add("last_event_index of 100,000, against of 1,000, 1,000", &timing, Some(0.9));
}

/// Callers, each with the events that it appends one by one.
const CALLERS: usize = 64;
const EACH: usize = 50;

fn many_callers(server: &Server, table: &mut Table) {
    for (sessions, words) in [(1, "one session"), (CALLERS, "64 sessions")] {
        let callers: Vec<(String, Vec<NewEvent>)> = (0..CALLERS)
            .map(|caller| {
                let session = format!("session-{}", caller % sessions);
                let events = (0..EACH).map(|number| new_event(caller * EACH + number, &session)).collect();
                (session, events)
            })
            .collect();
        let pooled = || {
            let schema = server.schema("");
            let pool = Pool::new(&schema);
            in_threads(&callers, |session, event| pool.append(session, event))
        };
        let timing = compare(
            5,
            || {
                let schema = server.schema("");
                let store = schema.store();
                in_threads(&callers, |session, event| {
                    store.append_events(session, std::slice::from_ref(event)).unwrap();
                })
            },
            pooled,
        );
        table.add(&format!("64 threads append to {words}, 3,200"), &timing, Some(5.0));
        #[cfg(feature = "async")]
        {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let ours = || {
                let schema = server.schema("");
                in_tasks(&runtime, &agent_session_store::AsyncSessionStore::from(schema.store()), &callers)
            };
            let timing = compare(5, ours, pooled);
            table.add(&format!("64 tasks on one thread append to {words}, 3,200"), &timing, Some(5.0));
        }
    }
}

fn in_threads(callers: &[(String, Vec<NewEvent>)], append: impl Fn(&str, &NewEvent) + Sync) -> Duration {
    // So that all statements are prepared, and no caller is measured that still waits for its thread.
    append("warming", &new_event(usize::MAX >> 16, "warming"));
    timed(|| {
        std::thread::scope(|scope| {
            for (session, events) in callers {
                let append = &append;
                scope.spawn(move || events.iter().for_each(|event| append(session, event)));
            }
        });
    })
}

#[cfg(feature = "async")]
fn in_tasks(
    runtime: &tokio::runtime::Runtime,
    store: &agent_session_store::AsyncSessionStore,
    callers: &[(String, Vec<NewEvent>)],
) -> Duration {
    let mut tasks = tokio::task::JoinSet::new();
    for (session, events) in callers.iter().cloned() {
        let store = store.clone();
        let work = async move {
            for event in events {
                store.append_events(&session, &[event]).await.unwrap();
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
}

fn transfer(server: &Server, table: &mut Table) {
    for (sessions, each) in [(100, 500), (10_000, 3), (1, 50_000)] {
        let rows: Vec<(SessionRecord, Vec<SessionEvent>)> = (0..sessions)
            .map(|number| {
                let record = session(number);
                let events =
                    (0..each).map(|index| event(number * each + index, &record.id, index as i64 + 1)).collect();
                (record, events)
            })
            .collect();
        let full = server.schema("");
        copy_in(&mut full.client(), &rows);
        full.client().batch_execute("VACUUM ANALYZE events").unwrap();
        let mut lines = Vec::new();
        full.diesel().export(&mut lines, Selection::all()).unwrap();
        let timing = compare(
            5,
            || {
                let schema = server.schema("");
                let mut conn = schema.diesel();
                timed(|| assert_eq!(conn.import(&lines[..]).unwrap().events, (sessions * each) as u64))
            },
            || {
                let schema = server.schema("");
                let mut client = schema.client();
                timed(|| copy_in(&mut client, &rows))
            },
        );
        let words = format!("{sessions} sessions of {each}");
        table.add(&format!("import of {words}, against COPY"), &timing, Some(0.5));

        let mut conn = full.diesel();
        let mut client = full.client();
        let timing = compare(
            5,
            || {
                let mut text = Vec::with_capacity(lines.len());
                let took =
                    timed(|| assert_eq!(conn.export(&mut text, Selection::all()).unwrap().sessions, sessions as u64));
                assert_eq!(text.len(), lines.len());
                took
            },
            || {
                let mut text = Vec::with_capacity(lines.len());
                timed(|| assert_eq!(write_by_hand(&mut client, &mut text), sessions * each))
            },
        );
        table.add(&format!("export of {words}, against a cursor"), &timing, None);
    }
}

/// Not a comparison: what an event takes on the server's disk, and in its log, where everybody's writes are counted.
fn size(server: &Server, _: &mut Table) {
    const EVENTS: i64 = 100_000;
    // A payload of about 450 bytes.
    let text = "x".repeat(450 - payload("session", 1).get().len() - 8);
    let payload = Json::parse(payload("session", 1).get().replacen('{', &format!(r#"{{"_":"{text}","#), 1)).unwrap();
    let schema = server.schema("");
    let mut client = schema.client();
    let mut number = |sql: &str| client.query_one(sql, &[]).unwrap().get::<_, i64>(0);
    let store = schema.store();
    let log = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
    let events: Vec<NewEvent> = (0..EVENTS as usize)
        .map(|number| {
            let mut event = new_event(number, "session");
            event.payload = payload.clone();
            event
        })
        .collect();
    for (name, each, count) in [("one by one", 1, EVENTS / 10), ("by 100", 100, EVENTS), ("by 1,000", 1_000, EVENTS)] {
        number("SELECT 1::bigint FROM pg_switch_wal()");
        let before = number(log);
        let took = timed(|| {
            events[..count as usize].chunks(each).enumerate().for_each(|(place, events)| {
                let events: Vec<NewEvent> = events
                    .iter()
                    .map(|event| {
                        let mut event = event.clone();
                        event.id = format!("{}-{each}", event.id);
                        event
                    })
                    .collect();
                // A hundred sessions, as they come.
                store.append_events(&format!("session-{each}-{}", place % 100), &events).unwrap();
            })
        });
        let logged = number(log) - before;
        let size = "SELECT pg_total_relation_size('events')::bigint";
        println!(
            "{count} events of {} byte payloads appended {name}: {} commits, at most {} bytes of log an event, {:.0} events a \
             second; the table has {} bytes an event",
            payload.get().len(),
            count / each as i64,
            logged / count,
            count as f64 / took.as_secs_f64(),
            number(size) / number("SELECT count(*) FROM events"),
        );
    }
    for index in ["events", "events_pkey", "idx_events_session_order"] {
        let bytes = number(&format!("SELECT pg_relation_size('{index}')::bigint"));
        println!("{index}: {} bytes an event", bytes / number("SELECT count(*) FROM events"));
    }
    store.close().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    println!(
        "event_heads: {} updates, {} of them HOT; {} bytes for {} sessions\n",
        number("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relid = 'event_heads'::regclass"),
        number("SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'event_heads'::regclass"),
        number("SELECT pg_total_relation_size('event_heads')::bigint"),
        number("SELECT count(*) FROM event_heads"),
    );
}

// ---- by hand ----

const UPSERT: &str = "INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, payload_json) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET event_index = excluded.event_index, \
    session_id = excluded.session_id, created_at = excluded.created_at, connection_id = excluded.connection_id, \
    sender = excluded.sender, payload_json = excluded.payload_json";

const UPSERT_MANY: &str = "INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, \
    payload_json) SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], \
    $7::json[]) ON CONFLICT (id) DO UPDATE SET event_index = excluded.event_index, session_id = excluded.session_id, \
    created_at = excluded.created_at, connection_id = excluded.connection_id, sender = excluded.sender, \
    payload_json = excluded.payload_json";

/// One statement that keeps a counter.
const APPEND: &str = "WITH head AS (INSERT INTO event_heads AS h VALUES ($1, coalesce((SELECT max(event_index) \
    FROM events WHERE session_id = $1), 0) + 1) ON CONFLICT (session_id) DO UPDATE SET \
    last_index = greatest(h.last_index + 1, excluded.last_index) RETURNING last_index) \
    INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, payload_json) \
    SELECT $2, head.last_index, $1, $3, $4, $5, $6 FROM head RETURNING event_index";

const FIRST_PAGE: &str = "SELECT id, event_index, session_id, created_at, connection_id, sender, payload_json FROM events \
    WHERE session_id = $1 ORDER BY event_index, id COLLATE \"C\" LIMIT 101";

const NEXT_PAGE: &str = "SELECT id, event_index, session_id, created_at, connection_id, sender, payload_json FROM events \
    WHERE session_id = $1 AND (event_index, id COLLATE \"C\") > ($2, $3) ORDER BY event_index, id COLLATE \"C\" LIMIT 101";

/// JSON as the text that it is.
#[derive(Debug)]
struct Text<'a>(&'a str);

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSON
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Text<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSON
    }
}

fn insert(client: &mut Client, upsert: &Statement, event: &SessionEvent) {
    let rows = client.execute(
        upsert,
        &[
            &event.id,
            &event.event_index,
            &event.session_id,
            &event.created_at.timestamp_millis(),
            &event.connection_id,
            &event.sender.as_str(),
            &Text(event.payload.get()),
        ],
    );
    assert_eq!(rows.unwrap(), 1);
}

fn insert_many(client: &mut Client, upsert: &Statement, events: &[SessionEvent]) {
    let texts = |text: fn(&SessionEvent) -> &str| events.iter().map(text).collect::<Vec<_>>();
    let numbers = |number: fn(&SessionEvent) -> i64| events.iter().map(number).collect::<Vec<_>>();
    let payloads: Vec<Text<'_>> = events.iter().map(|event| Text(event.payload.get())).collect();
    let rows = client.execute(
        upsert,
        &[
            &texts(|event| &event.id),
            &numbers(|event| event.event_index),
            &texts(|event| &event.session_id),
            &numbers(|event| event.created_at.timestamp_millis()),
            &texts(|event| &event.connection_id),
            &texts(|event| event.sender.as_str()),
            &payloads,
        ],
    );
    assert_eq!(rows.unwrap(), events.len() as u64);
}

fn append_by_hand(client: &mut Client, append: &Statement, session: &str, event: &NewEvent) -> i64 {
    let row = client.query_one(
        append,
        &[
            &session,
            &event.id,
            &event.created_at.timestamp_millis(),
            &event.connection_id,
            &event.sender.as_str(),
            &Text(event.payload.get()),
        ],
    );
    row.unwrap().get(0)
}

fn read_event(row: &postgres::Row) -> SessionEvent {
    SessionEvent::new(
        row.get::<_, String>(0),
        row.get(1),
        row.get::<_, String>(2),
        DateTime::from_timestamp_millis(row.get(3)).unwrap(),
        row.get::<_, String>(4),
        row.get::<_, &str>(5).parse().unwrap(),
        Json::parse(row.get::<_, Text<'_>>(6).0).unwrap(),
    )
}

fn page_by_hand(
    client: &mut Client,
    pages: &[Statement; 2],
    session: &str,
    after: Option<&(i64, String)>,
) -> Vec<SessionEvent> {
    let rows = match after {
        None => client.query(&pages[0], &[&session]),
        Some((index, id)) => client.query(&pages[1], &[&session, index, id]),
    };
    rows.unwrap().iter().map(read_event).collect()
}

/// As the reference driver does it: not prepared, and with a count.
fn reference_page(client: &mut Client, session: &str, offset: i64) {
    let page = "SELECT id, event_index, session_id, created_at, connection_id, sender, payload_json FROM events \
        WHERE session_id = $1 ORDER BY event_index ASC, id ASC LIMIT 100 OFFSET $2";
    let page: Vec<SessionEvent> = client.query(page, &[&session, &offset]).unwrap().iter().map(read_event).collect();
    let count = client.query_one("SELECT COUNT(*) FROM events WHERE session_id = $1", &[&session]).unwrap();
    black_box((page, count.get::<_, i64>(0)));
}

/// A pool of 16 connections, each of which commits for itself.
struct Pool {
    idle: Mutex<Vec<(Client, Statement)>>,
    freed: Condvar,
}

impl Pool {
    fn new(schema: &Schema<'_>) -> Self {
        let connect = |_| {
            let mut client = schema.client();
            let append = client.prepare(APPEND).unwrap();
            (client, append)
        };
        Self { idle: Mutex::new((0..16).map(connect).collect()), freed: Condvar::new() }
    }

    fn append(&self, session: &str, event: &NewEvent) {
        let mut idle = self.freed.wait_while(self.idle.lock().unwrap(), |idle| idle.is_empty()).unwrap();
        let (mut client, append) = idle.pop().unwrap();
        drop(idle);
        append_by_hand(&mut client, &append, session, event);
        self.idle.lock().unwrap().push((client, append));
        self.freed.notify_one();
    }
}

/// The rows by two COPYs in one transaction.
fn copy_in(client: &mut Client, rows: &[(SessionRecord, Vec<SessionEvent>)]) {
    let mut transaction = client.transaction().unwrap();
    let mut copy = transaction.copy_in("COPY sessions FROM STDIN").unwrap();
    let mut text = String::new();
    for (session, _) in rows {
        let json = |json: &Option<Json>| json.as_ref().map_or("\\N", |json| json.get()).to_owned();
        text += &format!(
            "{}\t{}\t{}\t{}\t{}\t\\N\t{}\t{}\t{}\t{}\n",
            session.id,
            session.agent,
            session.agent_session_id,
            session.last_connection_id,
            session.created_at.timestamp_millis(),
            session.sandbox_id.as_deref().unwrap_or("\\N"),
            json(&session.session_init),
            json(&session.config_options),
            json(&session.modes),
        );
    }
    copy.write_all(text.as_bytes()).unwrap();
    copy.finish().unwrap();
    let mut copy = transaction.copy_in("COPY events FROM STDIN").unwrap();
    for (_, events) in rows {
        for event in events {
            // Nothing in these values needs to be escaped.
            writeln!(
                copy,
                "{}\t{}\t{}\t{}\t{}\t{}\t{}",
                event.id,
                event.event_index,
                event.session_id,
                event.created_at.timestamp_millis(),
                event.connection_id,
                event.sender,
                event.payload.get(),
            )
            .unwrap();
        }
    }
    copy.finish().unwrap();
    transaction.commit().unwrap();
}

/// The events in the order of an export, by a cursor of the server's, as the same lines.
fn write_by_hand(client: &mut Client, text: &mut Vec<u8>) -> usize {
    let mut transaction = client.transaction().unwrap();
    let portal = transaction
        .bind(
            "SELECT e.id, e.event_index, e.session_id, e.created_at, e.connection_id, e.sender, e.payload_json \
             FROM events AS e ORDER BY e.session_id, e.event_index, e.id COLLATE \"C\"",
            &[],
        )
        .unwrap();
    let mut count = 0;
    loop {
        let rows = transaction.query_portal(&portal, 1_000).unwrap();
        if rows.is_empty() {
            return count;
        }
        count += rows.len();
        for row in &rows {
            let event = read_event(row);
            write!(text, r#"{{"event":{{"id":"#).unwrap();
            serde_json::to_writer(&mut *text, &event.id).unwrap();
            write!(text, r#","eventIndex":{},"sessionId":"#, event.event_index).unwrap();
            serde_json::to_writer(&mut *text, &event.session_id).unwrap();
            write!(text, r#","createdAt":{},"connectionId":"#, event.created_at.timestamp_millis()).unwrap();
            serde_json::to_writer(&mut *text, &event.connection_id).unwrap();
            write!(text, r#","sender":"{}","payloadJson":"#, event.sender).unwrap();
            serde_json::to_writer(&mut *text, event.payload.get()).unwrap();
            text.extend_from_slice(b"}}\n");
        }
    }
}

// ---- the server ----

/// A database of this run's own.
struct Server {
    url: String,
    name: String,
}

impl Server {
    fn new() -> Self {
        let given = std::env::var("AGENT_SESSIONS_TEST_POSTGRES").ok();
        let url = given.unwrap_or_else(|| "postgres://postgres@127.0.0.1:5432".to_owned());
        let server = Self { url, name: format!("agent_sessions_bench_{}", std::process::id()) };
        server.admin(&format!("CREATE DATABASE {}", server.name));
        server
    }

    fn admin(&self, sql: &str) {
        PgConnection::establish(&format!("{}/postgres", self.url)).unwrap().batch_execute(sql).unwrap();
    }

    /// A new schema with our tables, whose connections have these options.
    fn schema(&self, options: &str) -> Schema<'_> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("round_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let options = format!("-c search_path={name} {options}").replace(' ', "%20").replace('=', "%3D");
        // One of the two clients has no TLS, which the other would use if the server offers it.
        let url = format!("{}/{}?sslmode=disable&options={options}", self.url, self.name);
        let schema = Schema { server: self, url, name };
        let mut conn = schema.diesel();
        conn.batch_execute(&format!("CREATE SCHEMA {}", schema.name)).unwrap();
        migrate(&mut conn).unwrap();
        schema
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.admin(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// A schema for one contender in one round.
struct Schema<'a> {
    server: &'a Server,
    url: String,
    name: String,
}

impl Schema<'_> {
    fn diesel(&self) -> PgConnection {
        PgConnection::establish(&self.url).unwrap()
    }

    fn client(&self) -> Client {
        Client::connect(&self.url, NoTls).unwrap()
    }

    fn store(&self) -> SessionStore {
        SessionStore::builder().schema(&self.name).connect(&self.url).unwrap()
    }

    fn fill(&self, conn: &mut PgConnection, count: usize, session: &str) {
        for events in events(count, session).chunks_mut(1_000) {
            events.iter_mut().for_each(|event| event.id = format!("{session}-{}", event.id));
            conn.insert_events(events).unwrap();
        }
        conn.batch_execute("VACUUM ANALYZE events").unwrap();
    }
}

impl Drop for Schema<'_> {
    fn drop(&mut self) {
        let url = format!("{}/{}", self.server.url, self.server.name);
        let drop = format!("SET client_min_messages = warning; DROP SCHEMA {} CASCADE", self.name);
        PgConnection::establish(&url).unwrap().batch_execute(&drop).unwrap();
    }
}

// ---- measuring ----

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

/// The time of both contenders in each round.
type Timing = Vec<(Duration, Duration)>;

fn compare(rounds: usize, mut ours: impl FnMut() -> Duration, mut other: impl FnMut() -> Duration) -> Timing {
    // One round to warm up, not counted.
    let round = |round| {
        if round % 2 == 0 {
            let ours = ours();
            (ours, other())
        } else {
            let other = other();
            (ours(), other)
        }
    };
    (0..=rounds).map(round).skip(1).collect()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[derive(Default)]
struct Table(Vec<[String; 4]>);

impl Table {
    fn add(&mut self, name: &str, timing: &Timing, goal: Option<f64>) {
        let ratio = median(timing.iter().map(|(ours, other)| other.as_secs_f64() / ours.as_secs_f64()));
        let millis = |time: &Duration| time.as_secs_f64() * 1e3;
        let row = [
            name.to_owned(),
            format!("{:.1} ms", median(timing.iter().map(|(ours, _)| millis(ours)))),
            format!("{:.1} ms", median(timing.iter().map(|(_, other)| millis(other)))),
            goal.map_or_else(|| format!("{ratio:.2}"), |goal| format!("{ratio:.2} (goal {goal})")),
        ];
        eprintln!("{row:?}");
        self.0.push(row);
    }

    fn print(&self) {
        println!("Speed on PostgreSQL, as a multiple of the other's (above 1: ours is faster)\n");
        println!("| work | ours | other | ratio |");
        println!("|---|---|---|---|");
        for [name, ours, other, ratio] in &self.0 {
            println!("| {name} | {ours} | {other} | {ratio} |");
        }
    }
}

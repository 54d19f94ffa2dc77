//! Proves that an import reads without a lock and writes in steps: nobody waits for its reader, what is wrong with a
//! session leaves nothing of it however long it is, and what is half written when it is killed is finished by the next.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod common;

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{
    Done, Error, ListEventsRequest, Progress, Result, SessionPersistDriver, SessionStore, migrate,
};
use common::watch::Watch;
use common::{Statements, TempDb, child, connection_locked_before, event, rows, session, store_locked_before, task};

const HEADER: &str = "{\"format\":\"agent-session-store\",\"version\":1}\n";
/// More than one step has, whatever the disk.
const LONG: i64 = 12_000;

fn session_line(id: &str, events: i64) -> String {
    format!(
        "{{\"session\":{{\"id\":\"{id}\",\"agent\":\"a\",\"agentSessionId\":\"a\",\"lastConnectionId\":\"c\",\
         \"createdAt\":1,\"events\":{events}}}}}\n"
    )
}

fn event_line(session: &str, index: i64, payload: &str) -> String {
    format!(
        "{{\"event\":{{\"id\":\"{session}-{index}\",\"eventIndex\":{index},\"sessionId\":\"{session}\",\"createdAt\":1,\
         \"connectionId\":\"c\",\"sender\":\"agent\",\"payloadJson\":\"{payload}\"}}}}\n"
    )
}

fn lines_of(session: &str, events: i64) -> String {
    let lines = (1..=events).map(|index| event_line(session, index, "{}"));
    std::iter::once(session_line(session, events)).chain(lines).collect()
}

/// A long session that does not fit into memory either.
fn large_lines_of(session: &str) -> String {
    let payload = format!("\\\"{}\\\"", "x".repeat(800));
    let events = (1..=LONG).map(|index| event_line(session, index, &payload));
    std::iter::once(session_line(session, LONG)).chain(events).collect()
}

fn count(db: &TempDb) -> [u64; 2] {
    ["sessions", "events"]
        .map(|table| rows(&db.plain(), &format!("SELECT count(*) FROM {table}")).concat()[0].parse().unwrap())
}

fn told(sessions: u64, events: u64) -> Progress {
    Progress { sessions, events }
}

type Import = Box<dyn FnMut(&mut dyn BufRead) -> Result<Progress>>;

/// By a connection and by a store.
fn both(db: &TempDb) -> [Import; 2] {
    let (mut conn, store) = (db.connect(), SessionStore::open(db.path()).unwrap());
    conn.batch_execute("PRAGMA busy_timeout = 60000").unwrap();
    [Box::new(move |reader| conn.import(reader)), Box::new(move |reader| store.import(reader))]
}

fn migrated() -> TempDb {
    let db = TempDb::new();
    SessionStore::open(db.path()).unwrap().close().unwrap();
    db
}

/// Does nothing by itself; the tests below run it in a process of its own. It writes one event for each line that it
/// gets, or one after the other until its input ends.
#[test]
fn a_process_that_writes() {
    let Some(task) = task() else { return };
    let conn = rusqlite::Connection::open(&task[0]).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    let write = |id: usize| {
        conn.execute("INSERT INTO events VALUES ('by-' || ?1, ?1, 'by', ?1, 'c', 'agent', '{}')", [id as i64]).unwrap();
    };
    if task[1] == "asked" {
        for (id, line) in std::io::stdin().lines().enumerate() {
            line.unwrap();
            write(id);
            println!("\nwritten");
        }
        return;
    }
    let ended = std::thread::spawn(|| std::io::stdin().read_line(&mut String::new()));
    for id in 0.. {
        if ended.is_finished() {
            break;
        }
        write(id);
        if id == 0 {
            println!("\nwritten");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The process above.
struct Writer {
    child: Child,
    input: Option<ChildStdin>,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Writer {
    fn start(db: &TempDb, how: &str) -> Self {
        let mut child = child("a_process_that_writes", &format!("{}|{how}", db.path().display()));
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(std::result::Result::unwrap);
        Self { input: child.stdin.take(), child, lines: Box::new(lines) }
    }

    fn has_written(&mut self) -> bool {
        self.lines.any(|line| line == "written")
    }

    fn write(&mut self) {
        self.input.as_mut().unwrap().write_all(b"now\n").unwrap();
        assert!(self.has_written(), "it was kept waiting for too long");
    }

    fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// Lines in pieces; before each of them but the first it stalls, and something happens.
struct Stalling<F> {
    pieces: std::vec::IntoIter<String>,
    piece: Cursor<String>,
    stalls: F,
}

impl<F: FnMut()> Stalling<F> {
    fn new(pieces: Vec<String>, stalls: F) -> Self {
        let mut pieces = pieces.into_iter();
        Self { piece: Cursor::new(pieces.next().unwrap()), pieces, stalls }
    }
}

impl<F: FnMut()> Read for Stalling<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.piece.read(buffer)?;
        if read > 0 {
            return Ok(read);
        }
        let Some(piece) = self.pieces.next() else { return Ok(0) };
        (self.stalls)();
        self.piece = Cursor::new(piece);
        self.read(buffer)
    }
}

/// Cuts a text at these places, from its start and, where they are negative, from its end.
fn cut(text: &str, places: &[isize]) -> Vec<String> {
    let mut from = 0;
    let places = places.iter().map(|place| place.rem_euclid(text.len() as isize) as usize).chain([text.len()]);
    places.map(|to| text[std::mem::replace(&mut from, to)..to].to_owned()).collect()
}

#[test]
fn nobody_waits_for_a_reader_that_stalls() {
    for long in [lines_of("long", LONG), large_lines_of("long")] {
        for of_store in [false, true] {
            let db = migrated();
            let text = [HEADER, &lines_of("short", 2), &long, &lines_of("last", 1)].concat();
            let start = (HEADER.len() + lines_of("short", 2).len() + 300) as isize;
            // In the record of the long session, in the middle of its events, near their end, and in the last session.
            let places = [start - 290, start, start + 500_000, -420, -1];
            let store = SessionStore::open(db.path()).unwrap();
            let mut other = Writer::start(&db, "asked");
            let mut stalls = 0;
            let reader = BufReader::new(Stalling::new(cut(&text, &places), || {
                stalls += 1;
                other.write();
                // Whether it was whole showed when the next line was there.
                assert_eq!(store.get_session("short").unwrap().is_some(), stalls > 1, "what was read is stored");
                // So does the store, which is one of many threads for all it knows.
                store.insert_event(&event(&format!("own-{stalls}"), "own", stalls)).unwrap();
            }));
            let done = if of_store { store.import(reader) } else { db.connect().import(reader) };
            assert_eq!(done.unwrap(), told(3, LONG as u64 + 3));
            assert_eq!(stalls, 5);
            assert_eq!(count(&db), [3, LONG as u64 + 3 + 10]);
            other.end();
        }
    }
}

#[test]
fn another_process_writes_while_sessions_come_in() {
    let many: String = (0..4_000).map(|id| lines_of(&id.to_string(), 2)).collect();
    for text in [many, lines_of("long", 2 * LONG)] {
        for of_store in [false, true] {
            let db = migrated();
            let watch = Watch::on(&db);
            let mut import = both(&db).into_iter().nth(usize::from(of_store)).unwrap();
            let mut other = Writer::start(&db, "on and on");
            assert!(other.has_written());
            let written =
                || rows(&db.plain(), "SELECT count(*) FROM events WHERE session_id = 'by'").concat()[0].parse();
            watch.take();
            let before: usize = written().unwrap();
            import(&mut [HEADER, &text].concat().as_bytes()).unwrap();
            let written = written().unwrap() - before;
            let steps = watch.take().iter().filter(|sql| *sql == "BEGIN IMMEDIATE").count();
            assert!(written * 20 >= steps, "{written} writes beside {steps} steps");
            other.end();
        }
    }
}

#[test]
fn many_small_sessions_share_a_step() {
    let db = TempDb::new();
    let mut conn = db.migrated();
    let text: String = (0..3_000).map(|id| lines_of(&id.to_string(), 1)).collect();
    let statements = Statements::of(&mut conn);
    assert_eq!(conn.import([HEADER, &text].concat().as_bytes()).unwrap(), told(3_000, 3_000));
    let begun = statements.take_run().iter().filter(|sql| *sql == "BEGIN IMMEDIATE").count();
    assert!(begun < 1_500, "{begun}");
}

#[test]
fn what_is_wrong_with_a_session_leaves_nothing_of_it_however_long_it_is() {
    for long in [lines_of("long", LONG), large_lines_of("long")] {
        let last = format!("\"id\":\"long-{LONG}\"");
        for (wrong, says) in [
            (long.replace(&last, "\"id\":7"), "invalid type"),
            (long.replace(&last, "\"id\":\"taken\""), "is taken by an event of session \"other\""),
            (long.replacen(&format!("\"events\":{LONG}"), "\"events\":9", 1), "has 12000 of its 9 events"),
            (long[..long.len() - 60].to_owned(), " while parsing"),
        ] {
            for import in 0..2 {
                let db = migrated();
                db.connect().insert_event(&event("taken", "other", 1)).unwrap();
                // Short ones before, which are stored, and one after it, which is not.
                let before: String = (0..5).map(|id| lines_of(&id.to_string(), 3)).collect();
                let text = [HEADER, &before, &wrong, "\n", &lines_of("after", 1)].concat();
                let error = both(&db)[import](&mut text.as_bytes()).unwrap_err();
                let Error::Import { line, done, source } = error else { panic!("{error}") };
                assert!(source.to_string().contains(says), "{source}");
                // With a count that is wrong it is the line after the last one that shows it.
                assert!([LONG as u64 + 22, LONG as u64 + 23, LONG as u64 + 24].contains(&line), "{line}");
                assert_eq!(done, told(5, 15));
                assert_eq!(count(&db), [5, 16], "{says}");
            }
        }
    }
}

#[test]
fn a_bad_session_among_small_ones_takes_none_of_them_along() {
    for import in 0..2 {
        let db = migrated();
        db.connect().insert_event(&event("taken", "other", 1)).unwrap();
        let mut text: Vec<String> = (0..40).map(|id| lines_of(&id.to_string(), 3)).collect();
        text[29] = text[29].replace("\"29-3\"", "\"taken\"");
        let text = [HEADER, &text.concat()].concat();
        let error = both(&db)[import](&mut text.as_bytes()).unwrap_err();
        let Error::Import { line, done, source } = error else { panic!("{error}") };
        assert_eq!((line, done), (1 + 29 * 4 + 4, told(29, 87)));
        assert!(matches!(source.downcast_ref(), Some(Error::EventIdTaken { .. })), "{source}");
        assert_eq!(count(&db), [29, 88]);
    }
}

/// What a host's trigger refuses cannot be known before. What was written then is told.
#[test]
fn a_long_session_that_is_refused_half_way_says_what_is_stored() {
    for import in 0..2 {
        let db = migrated();
        db.plain()
            .execute_batch(
                "CREATE TRIGGER no BEFORE INSERT ON events WHEN new.id = 'long-11000' \
                 BEGIN SELECT RAISE(ABORT, 'not this one'); END",
            )
            .unwrap();
        let text = [HEADER, &lines_of("short", 2), &lines_of("long", LONG)].concat();
        let error = both(&db)[import](&mut text.as_bytes()).unwrap_err();
        let Error::Import { line, done, source } = error else { panic!("{error}") };
        assert_eq!((line, source.to_string()), (5 + 11_000, "the database reported an error: not this one".to_owned()));
        assert_eq!(count(&db), [1, done.events]);
        assert_eq!(done.sessions, 1);
        assert!((5_000..11_002).contains(&done.events), "{done:?}");
        db.plain().execute_batch("DROP TRIGGER no").unwrap();
        assert_eq!(both(&db)[import](&mut text.as_bytes()).unwrap(), told(2, LONG as u64 + 2));
        assert_eq!(count(&db), [2, LONG as u64 + 2]);
    }
}

#[test]
fn a_long_session_is_listed_when_it_is_whole() {
    for import in 0..2 {
        let db = migrated();
        db.plain()
            .execute_batch(
                "CREATE TABLE seen (events); CREATE TRIGGER seen AFTER INSERT ON sessions BEGIN \
                 INSERT INTO seen SELECT count(*) FROM events WHERE session_id = new.id; END",
            )
            .unwrap();
        both(&db)[import](&mut [HEADER, &lines_of("long", LONG)].concat().as_bytes()).unwrap();
        let seen: i64 = rows(&db.plain(), "SELECT events FROM seen").concat()[0].parse().unwrap();
        assert!(seen >= LONG - 5_000, "{seen}");
    }
}

/// Does nothing by itself; the test below runs it in a process of its own, and kills it.
#[test]
fn a_process_that_imports() {
    let Some(task) = task() else { return };
    let reader = BufReader::new(std::fs::File::open(&task[1]).unwrap());
    let tell = |progress: Progress| {
        let line = format!("\ntold {} {}\n", progress.sessions, progress.events);
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    };
    if task[2] == "store" {
        SessionStore::open(&task[0]).unwrap().import_with_progress(reader, tell).unwrap();
    } else {
        let mut conn = SqliteConnection::establish(&task[0]).unwrap();
        migrate(&mut conn).unwrap();
        conn.import_with_progress(reader, tell).unwrap();
    }
}

#[test]
fn a_killed_import_is_finished_by_the_next() {
    let rounds = std::env::var("CRASH_ROUNDS").map_or(6, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines");
    let small: String = (0..300).map(|id| lines_of(&id.to_string(), 3)).collect();
    std::fs::write(&path, [HEADER, &small, &lines_of("long", LONG), &large_lines_of("large")].concat()).unwrap();
    let whole = (302_u64, 900 + 2 * LONG as u64);
    let mut random = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    let mut half = 0;
    for round in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let db = migrated();
        let how = if round % 2 == 0 { "store" } else { "connection" };
        let mut child = child("a_process_that_imports", &format!("{}|{}|{how}", db.path().display(), path.display()));
        let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(std::result::Result::unwrap);
        // As soon as it says that it is this far, it is killed.
        let enough = random % whole.1;
        let mut last = (0, 0);
        for line in lines {
            let Some(progress) = line.strip_prefix("told ") else { continue };
            let (sessions, events) = progress.split_once(' ').unwrap();
            last = (sessions.parse::<u64>().unwrap(), events.parse::<u64>().unwrap());
            if last.1 > enough {
                child.kill().unwrap();
                break;
            }
        }
        child.wait().unwrap();
        let found = count(&db);
        assert!(found[0] + 1 >= last.0 && found[1] >= last.1, "{last:?} was told, and there is {found:?}");
        let mut conn = db.connect();
        for (id, events) in [("long", LONG), ("large", LONG), ("7", 3)] {
            let is_listed = conn.get_session(id).unwrap().is_some();
            let stored = conn.last_event_index(id).unwrap();
            assert!(!is_listed || stored == Some(events), "{id} is listed and has {stored:?}");
            half += usize::from(!is_listed && stored.is_some());
        }
        let reader = BufReader::new(std::fs::File::open(&path).unwrap());
        assert_eq!(conn.import(reader).unwrap(), told(whole.0, whole.1));
        assert_eq!(count(&db), [whole.0, whole.1]);
        assert_eq!(common::event_ids(&db.path()).len() as u64, whole.1);
    }
    println!("{half} of {rounds} had half a session");
}

#[test]
fn a_lock_that_is_held_says_what_was_done_before() {
    let text = [HEADER, &lines_of("short", 2), &lines_of("long", LONG)].concat();
    for time in [1, 2, 4] {
        for of_store in [false, true] {
            let db = migrated();
            let result = if of_store {
                store_locked_before(&db, "BEGIN IMMEDIATE", time).import(text.as_bytes())
            } else {
                connection_locked_before(&db, "BEGIN IMMEDIATE", time).import(text.as_bytes())
            };
            let found = count(&db);
            match result.unwrap_err() {
                Error::Unfinished { done: Done::Imported(done), source } => {
                    assert!(matches!(*source, Error::Busy { .. }), "{source}");
                    assert_eq!([done.sessions, done.events], found);
                    assert!(found[0] == 1 && (found[1] > 2) == (time > 2), "{found:?}");
                }
                error => {
                    assert!(matches!(error, Error::Busy { .. }), "{error}");
                    assert_eq!((found, time), ([0, 0], 1));
                }
            }
        }
    }
}

#[test]
fn what_is_told_is_stored_and_the_store_can_be_used_then() {
    let small: String = (0..20).map(|id| lines_of(&id.to_string(), 3)).collect();
    let text = [HEADER, &small, &lines_of("long", LONG), &lines_of("last", 1)].concat();
    for in_memory in [true, false] {
        let db = migrated();
        let store = if in_memory { SessionStore::open_in_memory() } else { SessionStore::open(db.path()) }.unwrap();
        let (mut calls, mut last) = (0, told(0, 0));
        let done = store
            .import_with_progress(text.as_bytes(), |progress| {
                calls += 1;
                assert!(progress.events >= last.events && progress.sessions >= last.sessions);
                last = progress;
                let stats = store.stats().unwrap();
                assert!(stats.events >= progress.events + calls - 1, "{progress:?} {stats:?}");
                store.insert_event(&event(&format!("own-{calls}"), "own", calls as i64)).unwrap();
                store.import([HEADER, &lines_of("inner", 1)].concat().as_bytes()).unwrap();
            })
            .unwrap();
        assert_eq!((done, last), (told(22, LONG as u64 + 61), done));
        assert_eq!(calls, 22 + (LONG as u64 + 61) / 1_000);
    }
    // The callbacks of an import on a connection hold no lock either.
    let db = migrated();
    let mut other = Writer::start(&db, "asked");
    db.connect().import_with_progress(text.as_bytes(), |_| other.write()).unwrap();
    other.end();
}

#[test]
fn in_a_transaction_a_session_is_whole_or_not_there() {
    let db = migrated();
    let mut conn = db.connect();
    let trigger = |how: &str| {
        format!(
            "DROP TRIGGER IF EXISTS no; CREATE TRIGGER no BEFORE INSERT ON events WHEN new.id = 'long-11000' \
             BEGIN SELECT RAISE({how}, 'not this one'); END"
        )
    };
    let text = [HEADER, &lines_of("short", 2), &lines_of("long", LONG)].concat();
    conn.batch_execute(&trigger("ABORT")).unwrap();
    let result: Result<()> = conn.transaction(|conn| {
        conn.update_session(&session("host's own"))?;
        let error = conn.import(text.as_bytes()).unwrap_err();
        let Error::Import { done, line, .. } = error else { panic!("{error}") };
        assert_eq!((line, done), (11_005, told(1, 2)));
        assert_eq!(conn.stats()?.events, 2);
        Ok(())
    });
    result.unwrap();
    assert_eq!(count(&db), [2, 2], "the rest of the transaction is as good as ever");

    conn.batch_execute(&trigger("ROLLBACK")).unwrap();
    conn.batch_execute("DELETE FROM events; DELETE FROM sessions").unwrap();
    let result: Result<()> = conn.transaction(|conn| {
        conn.update_session(&session("host's own"))?;
        let error = conn.import(text.as_bytes()).unwrap_err();
        let Error::Import { done, .. } = error else { panic!("{error}") };
        assert_eq!(done, told(0, 0), "that ended the transaction, and undid all of it");
        Err(Error::Closed)
    });
    assert!(result.is_err());
    assert_eq!(count(&db), [0, 0]);
    // Outside, the step that it struck is undone and no other.
    let error = conn.import(text.as_bytes()).unwrap_err();
    let Error::Import { done, .. } = error else { panic!("{error}") };
    assert_eq!(count(&db), [1, done.events]);
    conn.batch_execute("DROP TRIGGER no").unwrap();
    let done = conn.transaction(|conn| conn.import(text.as_bytes())).unwrap();
    assert_eq!(done, told(2, LONG as u64 + 2));
    let events = conn.events(ListEventsRequest::new("long")).map(|event| event.unwrap().event_index);
    assert!(events.eq(1..=LONG));
}

/// The limit itself is in a unit test; this is that it is one of 1 GiB.
#[test]
fn a_line_without_an_end_is_an_error() {
    struct Endless {
        block: Vec<u8>,
        place: usize,
        consumed: u64,
    }
    impl Read for Endless {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            unreachable!()
        }
    }
    impl BufRead for Endless {
        fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
            Ok(&self.block[self.place..])
        }
        fn consume(&mut self, bytes: usize) {
            self.consumed += bytes as u64;
            self.place += bytes;
            if self.place == self.block.len() {
                (self.block, self.place) = (vec![b' '; 1 << 20], 0);
            }
        }
    }
    let db = migrated();
    let start = [HEADER, &lines_of("short", 2)].concat();
    let mut reader = Endless { block: start.clone().into_bytes(), place: 0, consumed: 0 };
    let error = db.connect().import(&mut reader).unwrap_err();
    let Error::Import { line, done, source } = error else { panic!("{error}") };
    assert_eq!((line, source.to_string()), (5, "it is longer than 1073741824 bytes".to_owned()));
    assert_eq!(done, told(1, 2));
    assert_eq!(reader.consumed, start.len() as u64 + (1 << 30) + 1);
}

/// A callback that panics in the caller's transaction takes back its session, and leaves the transaction as it was.
#[test]
fn a_callback_that_panics_in_a_transaction_leaves_that_as_it_was() {
    common::hush("the callback has had enough");
    let db = migrated();
    let mut conn = db.connect();
    let text = [HEADER, &lines_of("short", 2), &lines_of("long", LONG)].concat();
    conn.transaction(|conn| {
        conn.insert_event(&event("before", "other", 1))?;
        let import = |conn: &mut SqliteConnection| {
            conn.import_with_progress(text.as_bytes(), |done| {
                assert!(done.sessions < 1 || done.events < 500, "the callback has had enough")
            })
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| import(conn))).is_err());
        conn.insert_event(&event("after", "other", 2))
    })
    .unwrap();
    assert!(conn.transaction(|_| Ok::<_, Error>(())).is_ok());
    // Through another connection: it is committed, and nothing is open.
    let ids = common::event_ids(&db.path());
    assert_eq!(ids.iter().filter(|id| ["before", "after"].contains(&id.as_str())).count(), 2);
    assert!(ids.iter().all(|id| !id.starts_with("long")), "{ids:?}");
}

/// A trigger that ends the transaction takes only the session that it strikes.
#[test]
fn what_ends_the_transaction_takes_no_session_before_it() {
    for import in 0..2 {
        let db = migrated();
        db.plain()
            .execute_batch(
                "CREATE TRIGGER host BEFORE INSERT ON events WHEN NEW.session_id = 'bad' \
                 BEGIN SELECT RAISE(ROLLBACK, 'no'); END",
            )
            .unwrap();
        let good: String = (0..20).map(|number| lines_of(&format!("good{number}"), 3)).collect();
        let text = [HEADER, &good, &lines_of("bad", 3)].concat();
        let error = both(&db)[import](&mut text.as_bytes()).unwrap_err();
        let Error::Import { done, .. } = error else { panic!("{error}") };
        assert_eq!(done, told(20, 60));
        assert_eq!(count(&db), [20, 60]);
    }
}

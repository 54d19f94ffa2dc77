//! Proves that an import reads without a lock and writes in steps: nobody waits for its reader, and what is half written
//! when it is killed is finished by the next.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::time::Duration;

use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Done, Error, Import, Progress, SessionPersistDriver, SessionStore, migrate};

use super::import_lines::{LONG, both, large_lines_of, lines_of, migrated, told};
use crate::common::instrumentation::Watch;
use crate::common::locks::{connection_locked_before, store_locked_before};
use crate::common::process::{Process, child, say, task, wait};
use crate::common::samples::HEADER;
use crate::common::{Random, Statements, TempDb, event, event_ids, value};

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
            say("written");
        }
        return;
    }
    let ended = std::thread::spawn(wait);
    for id in 0.. {
        if ended.is_finished() {
            break;
        }
        write(id);
        if id == 0 {
            say("written");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn writer(db: &TempDb, how: &str) -> Process {
    Process::start(child(a_process_that_writes, &format!("{}|{how}", db.path().display())))
}

/// Has it write, and waits until it has.
fn write_by(writer: &mut Process) {
    writer.give_sign();
    writer.wait_for("written");
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
            let mut other = writer(&db, "asked");
            let mut stalls = 0;
            let reader = BufReader::new(Stalling::new(cut(&text, &places), || {
                stalls += 1;
                write_by(&mut other);
                // Whether it was whole showed when the next line was there.
                assert_eq!(store.get_session("short").unwrap().is_some(), stalls > 1, "what was read is stored");
                // So does the store, which is one of many threads for all it knows.
                store.insert_event(&event(&format!("own-{stalls}"), "own", stalls)).unwrap();
            }));
            let done = if of_store { store.import(reader) } else { db.connect().import(reader) };
            assert_eq!(done.unwrap(), told(3, LONG as u64 + 3));
            assert_eq!(stalls, 5);
            assert_eq!(db.counts(), [3, LONG as u64 + 3 + 10]);
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
            let other = writer(&db, "on and on");
            other.wait_for("written");
            let written = || value::<i64>(&db.plain(), "SELECT count(*) FROM events WHERE session_id = 'by'") as usize;
            watch.take();
            let before = written();
            import(&mut [HEADER, &text].concat().as_bytes()).unwrap();
            let written = written() - before;
            let steps = watch.take().iter().filter(|sql| *sql == "BEGIN IMMEDIATE").count();
            assert!(written * 20 >= steps, "{written} writes beside {steps} steps");
            other.end();
        }
    }
}

#[test]
fn many_small_sessions_share_a_step() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let text: String = (0..3_000).map(|id| lines_of(&id.to_string(), 1)).collect();
    let statements = Statements::of(&mut conn);
    assert_eq!(conn.import([HEADER, &text].concat().as_bytes()).unwrap(), told(3_000, 3_000));
    let begun = statements.take_run().iter().filter(|sql| *sql == "BEGIN IMMEDIATE").count();
    assert!(begun < 1_500, "{begun}");
}

/// Does nothing by itself; the test below runs it in a process of its own, and kills it.
#[test]
fn a_process_that_imports() {
    let Some(task) = task() else { return };
    let reader = BufReader::new(File::open(&task[1]).unwrap());
    let tell = |progress: Progress| say(&format!("told {} {}", progress.sessions, progress.events));
    if task[2] == "store" {
        SessionStore::open(&task[0]).unwrap().import(Import::new(reader).progress(tell)).unwrap();
    } else {
        let mut conn = SqliteConnection::establish(&task[0]).unwrap();
        migrate(&mut conn).unwrap();
        conn.import(Import::new(reader).progress(tell)).unwrap();
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
    let mut random = Random::from_clock();
    let mut half = 0;
    for round in 0..rounds {
        let db = migrated();
        let how = if round % 2 == 0 { "store" } else { "connection" };
        let task = format!("{}|{}|{how}", db.path().display(), path.display());
        let importing = Process::start(child(a_process_that_imports, &task));
        // As soon as it says that it is this far, it is killed.
        let enough = random.below(whole.1);
        let mut last = (0, 0);
        for line in importing.lines() {
            let Some(progress) = line.strip_prefix("told ") else { continue };
            let (sessions, events) = progress.split_once(' ').unwrap();
            last = (sessions.parse::<u64>().unwrap(), events.parse::<u64>().unwrap());
            if last.1 > enough {
                break;
            }
        }
        importing.kill();
        let found = db.counts();
        assert!(found[0] + 1 >= last.0 && found[1] >= last.1, "{last:?} was told, and there is {found:?}");
        let mut conn = db.connect();
        for (id, events) in [("long", LONG), ("large", LONG), ("7", 3)] {
            let is_listed = conn.get_session(id).unwrap().is_some();
            let stored = conn.last_event_index(id).unwrap();
            assert!(!is_listed || stored == Some(events), "{id} is listed and has {stored:?}");
            half += usize::from(!is_listed && stored.is_some());
        }
        let reader = BufReader::new(File::open(&path).unwrap());
        assert_eq!(conn.import(reader).unwrap(), told(whole.0, whole.1));
        assert_eq!(db.counts(), [whole.0, whole.1]);
        assert_eq!(event_ids(&db.path()).len() as u64, whole.1);
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
            let found = db.counts();
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
            .import(Import::new(text.as_bytes()).progress(|progress| {
                calls += 1;
                assert!(progress.events >= last.events && progress.sessions >= last.sessions);
                last = progress;
                let stats = store.stats().unwrap();
                assert!(stats.events >= progress.events + calls - 1, "{progress:?} {stats:?}");
                store.insert_event(&event(&format!("own-{calls}"), "own", calls as i64)).unwrap();
                store.import([HEADER, &lines_of("inner", 1)].concat().as_bytes()).unwrap();
            }))
            .unwrap();
        assert_eq!((done, last), (told(22, LONG as u64 + 61), done));
        assert_eq!(calls, 22 + (LONG as u64 + 61) / 1_000);
    }
    // The callbacks of an import on a connection hold no lock either.
    let db = migrated();
    let mut other = writer(&db, "asked");
    db.connect().import(Import::new(text.as_bytes()).progress(|_| write_by(&mut other))).unwrap();
    other.end();
}

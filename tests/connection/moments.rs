//! Proves that exports and backups of a database in use are each of one moment, take no more memory for more events,
//! and that a backup never overwrites anything and leaves nothing half-done behind.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{
    Error, Export, FileMaintenance, ListEventsRequest, Selection, SessionPersistDriver, SessionStore, migrate,
};

use crate::common::{TempDb, child, event, is_sound, new_event, output, rows, say, session, task, value};

/// Appends to sessions of their own, from four threads, while `work` is done with the store.
fn beside_writers(db: &TempDb, work: impl Fn(&SessionStore)) {
    let store = SessionStore::open(db.path()).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (store, is_done) = (&store, &is_done);
            scope.spawn(move || {
                let session_id = format!("session-{writer}");
                for place in 0_u64.. {
                    let [a, b] = ["a", "b"].map(|half| new_event(&format!("{writer}-{place}-{half}")));
                    // Two at a time, so that half of a write would show.
                    store.append_events(&session_id, &[a, b]).unwrap();
                    if is_done.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        while store.stats().unwrap().events < 100 {}
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&store)));
        is_done.store(true, Ordering::Relaxed);
        if let Err(panic) = worked {
            std::panic::resume_unwind(panic);
        }
    });
}

/// What each session holds must be whole writes, from the first one on.
fn assert_is_a_moment(conn: &rusqlite::Connection, sessions: usize) {
    is_sound(conn);
    let found = rows(conn, "SELECT session_id, min(event_index), max(event_index), count(*) FROM events GROUP BY 1");
    assert_eq!(found.len(), sessions);
    for row in found {
        assert_eq!(row[1], "1", "{row:?}");
        assert_eq!(row[2], row[3], "{row:?}");
        assert_eq!(row[3].parse::<i64>().unwrap() % 2, 0, "{row:?}");
    }
}

#[test]
fn a_backup_beside_writers_is_one_moment() {
    let db = TempDb::new();
    beside_writers(&db, |store| {
        let mut sizes = Vec::new();
        for round in 0..5 {
            let path = db.folder().join(format!("copy-{round}.db"));
            let before = store.stats().unwrap().events;
            store.backup_to(&path).unwrap();
            let after = store.stats().unwrap().events;
            let copy = rusqlite::Connection::open(&path).unwrap();
            assert_is_a_moment(&copy, 4);
            let events = value::<i64>(&copy, "SELECT count(*) FROM events") as u64;
            assert!((before..=after).contains(&events), "{before} {events} {after}");
            sizes.push(events);
            // It is a database like any other.
            let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            migrate(&mut conn).unwrap();
            assert!(conn.check().unwrap().is_sound());
        }
        assert!(sizes.is_sorted());
    });
}

#[test]
fn an_export_beside_writers_is_one_moment() {
    let db = TempDb::new();
    beside_writers(&db, |store| {
        let mut lines = Vec::new();
        let mut meanwhile = 0;
        store
            .export(
                &mut lines,
                Export::of(Selection::all()).progress(|_| {
                    // Others get on while the export stands still.
                    let before = store.last_event_index("session-3").unwrap();
                    while store.last_event_index("session-3").unwrap() == before {}
                    meanwhile += 1;
                }),
            )
            .unwrap();
        assert!(meanwhile >= 4);
        let copy = TempDb::ours();
        copy.connect().import(&*lines).unwrap();
        assert_is_a_moment(&copy.plain(), 4);
        // All of them from the moment that it began, not each from when its turn came.
        let exported = copy.connect().stats().unwrap().events;
        assert!(exported < store.stats().unwrap().events);
        let mut last = Vec::new();
        store.export(&mut last, Selection::session("session-3")).unwrap();
        let of_session = |text: &[u8]| text.split(|&byte| byte == b'\n').filter(|line| find(line, "session-3")).count();
        assert!(of_session(&last) >= of_session(&lines) + 2 * 3);
    });
}

fn find(line: &[u8], text: &str) -> bool {
    line.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn a_backup_holds_everything_there_is() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.update_session(&session("one")).unwrap();
    conn.insert_event(&event("e", "one", 1)).unwrap();
    conn.batch_execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text); INSERT INTO notes VALUES (1, x'00ff')")
        .unwrap();
    let path = db.folder().join("copy.db");
    conn.backup_to(&path).unwrap();
    let copy = rusqlite::Connection::open(&path).unwrap();
    let schema = "SELECT type, name, sql FROM sqlite_master ORDER BY name";
    for sql in ["SELECT * FROM sessions", "SELECT * FROM events", "SELECT * FROM notes", schema] {
        assert_eq!(rows(&db.plain(), sql), rows(&copy, sql));
    }
    // From memory to a file, too.
    let store = SessionStore::open_in_memory().unwrap();
    store.update_session(&session("two")).unwrap();
    store.backup_to(db.folder().join("memory.db")).unwrap();
    let copy = SessionStore::open(db.folder().join("memory.db")).unwrap();
    assert!(copy.get_session("two").unwrap().is_some());
}

#[test]
fn a_store_that_only_reads_is_backed_up_and_stays_as_it_is() {
    let db = TempDb::ours();
    db.connect().update_session(&session("one")).unwrap();
    let store = SessionStore::builder().read_only(true).open(db.path()).unwrap();
    store.backup_to(db.folder().join("copy.db")).unwrap();
    let copy = SessionStore::open(db.folder().join("copy.db")).unwrap();
    assert!(copy.get_session("one").unwrap().is_some());
    // The connection that made the copy is again one that cannot write.
    let mut conn = db.connect();
    conn.batch_execute("PRAGMA query_only = 1").unwrap();
    conn.backup_to(db.folder().join("again.db")).unwrap();
    assert!(matches!(conn.update_session(&session("two")), Err(Error::ReadOnly { .. })));
}

#[test]
fn a_backup_overwrites_nothing() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    let mut conn = db.connect();
    let folder = db.folder().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let taken = [("other.txt", "text"), ("empty.db", "")].map(|(name, text)| {
        let path = db.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let before = db.bytes();
    for path in [&taken[0], &taken[1], &folder, &db.path()] {
        for error in [store.backup_to(path).unwrap_err(), conn.backup_to(path).unwrap_err()] {
            let exists = std::io::ErrorKind::AlreadyExists;
            assert!(matches!(&error, Error::Io { source } if source.kind() == exists), "{error}");
        }
    }
    assert_eq!(db.bytes(), before);
    store.backup_to(db.folder().join("new.db")).unwrap();
    assert!(store.backup_to(db.folder().join("new.db")).is_err(), "not even its own");
}

#[test]
fn a_backup_that_fails_leaves_no_file() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.update_session(&session("one")).unwrap();
    let path = db.folder().join("copy.db");
    let inside = conn.transaction(|conn| conn.backup_to(&path));
    assert!(matches!(inside, Err(Error::Database { .. })), "{inside:?}");
    assert!(!path.exists());

    for path in [db.folder().join("no folder/copy.db"), "".into(), "a\0b".into()] {
        assert!(matches!(conn.backup_to(&path), Err(Error::Io { .. })), "{}", path.display());
    }
    let plain = db.plain();
    plain
        .execute_batch("PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 999 WHERE name = 'events'")
        .unwrap();
    drop(plain);
    let result = db.connect().backup_to(&path);
    assert!(result.is_err() && !path.exists(), "{result:?}");
}

#[test]
fn a_backup_may_have_any_name() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.update_session(&session("one")).unwrap();
    let store = SessionStore::open(db.path()).unwrap();
    let names =
        [":memory:", "file:x?mode=memory", "it's", "a b", "é😀", "%41", "a?b#c", "-", "\"", "line\nend", "x.db-wal"];
    for name in names {
        for (place, of_store) in [("connection", false), ("store", true)] {
            let folder = db.folder().join(place);
            let _ = std::fs::create_dir(&folder);
            let path = folder.join(name);
            if of_store {
                store.backup_to(&path).unwrap()
            } else {
                conn.backup_to(&path).unwrap()
            }
            assert!(std::fs::read(&path).unwrap().starts_with(b"SQLite format 3\0"), "{name}");
            let found: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(found, std::slice::from_ref(&path), "{name}");
            std::fs::remove_file(path).unwrap();
        }
    }
}

const EVENTS: i64 = 40_000;

/// Does nothing by itself; the test below runs it in a process whose memory is its own.
#[cfg(target_os = "linux")]
#[test]
fn a_process_that_exports_and_imports() {
    let Some(task) = task() else { return };
    let folder = Path::new(&task[0]);
    let lines = folder.join("lines");
    // The libraries that are linked have a size of their own.
    let (before, program) = (memory("VmRSS:"), memory("RssFile:"));
    let mut conn = SqliteConnection::establish(folder.join("sessions.db").to_str().unwrap()).unwrap();
    let writer = std::io::BufWriter::new(std::fs::File::create(&lines).unwrap());
    assert_eq!(conn.export(writer, Selection::all()).unwrap().events, EVENTS as u64);
    let mut copy = SqliteConnection::establish(folder.join("copy.db").to_str().unwrap()).unwrap();
    copy.batch_execute("PRAGMA synchronous = OFF").unwrap();
    migrate(&mut copy).unwrap();
    let reader = std::io::BufReader::new(std::fs::File::open(&lines).unwrap());
    assert_eq!(copy.import(reader).unwrap().events, EVENTS as u64);
    assert_eq!(copy.events(ListEventsRequest::new("one")).map(Result::unwrap).count(), EVENTS as usize);
    // So does what is loaded of the program meanwhile.
    let loaded = memory("RssFile:").saturating_sub(program);
    say(&format!("most {}", (memory("VmHWM:") - before).saturating_sub(loaded)));
}

/// This process's memory, in kilobytes.
#[cfg(target_os = "linux")]
fn memory(kind: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(kind)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// 60 MB of payload in one session go out and in again, through a process that never takes a third of that.
#[cfg(target_os = "linux")]
#[test]
fn moving_a_large_session_takes_little_memory() {
    let db = TempDb::ours();
    let words = "words ".repeat(250);
    db.plain()
        .execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
             INSERT INTO events SELECT 'event-' || i, i, 'one', i, 'c', 'agent', '\"' || ?2 || '\"' FROM n",
            rusqlite::params![EVENTS, words],
        )
        .unwrap();
    let text = output(&mut child(a_process_that_exports_and_imports, db.folder().to_str().unwrap()));
    let kilobytes: u64 = text.lines().find_map(|line| line.strip_prefix("most ")).unwrap().parse().unwrap();
    assert!(std::fs::metadata(db.folder().join("lines")).unwrap().len() > 60_000_000);
    assert!(kilobytes < 20_000, "{kilobytes} kB");
}

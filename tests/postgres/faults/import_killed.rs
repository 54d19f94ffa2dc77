//! Proves that an import which is killed leaves whole sessions and pieces of one, and that the next import finishes it.

use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use agent_session_store::{Import, Selection, SessionPersistDriver, SessionStore};
use tempfile::TempDir;

use crate::common::process::{Process, child, say, task};
use crate::common::{PgDb, in_memory, new_event, session};

/// Does nothing by itself; the test below kills it in a process of its own.
#[test]
fn a_process_that_imports() {
    let Some(task) = task() else { return };
    let [url, lines] = task.try_into().unwrap();
    let store = SessionStore::connect(&url).unwrap();
    let reader = BufReader::new(std::fs::File::open(Path::new(&lines)).unwrap());
    store.import(Import::new(reader).progress(|done| say(&format!("events {}", done.events)))).unwrap();
}

#[test]
fn the_next_import_finishes_it() {
    let Some(db) = PgDb::ours() else { return };
    let mut given = in_memory();
    for number in 0..40 {
        let id = format!("session-{number:02}");
        given.update_session(&session(&id)).unwrap();
        let count = if number == 20 { 4_000 } else { 60 };
        let events: Vec<_> = (0..count).map(|event| new_event(&format!("{number}-{event:05}"))).collect();
        given.append_events(&id, &events).unwrap();
    }
    let mut lines = Vec::new();
    given.export(&mut lines, Selection::all()).unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("lines");
    std::fs::write(&path, &lines).unwrap();

    let mut conn = db.connect();
    // At different moments: among the small sessions, and inside the long one.
    for reached in [1, 700, 2_000, 4_000] {
        let importing = Process::start(child(a_process_that_imports, &format!("{}|{}", db.url(), path.display())));
        let events = |line: String| line.strip_prefix("events ")?.parse::<u64>().ok();
        importing.lines().filter_map(events).find(|events| *events >= reached);
        importing.kill();
        // The server notices by itself, and rolls back what was not committed.
        std::thread::sleep(Duration::from_millis(20));
        assert!(conn.check().unwrap().is_sound());
        for stats in conn.session_stats().unwrap() {
            // A session with a record is there as a whole; the long one may be there in part, without one.
            let whole = if stats.session_id == "session-20" { 4_000 } else { 60 };
            let has_record = conn.get_session(&stats.session_id).unwrap().is_some();
            assert!(stats.events == whole || !has_record && stats.session_id == "session-20", "{stats:?}");
        }
    }
    conn.import(&*lines).unwrap();
    let mut stored = Vec::new();
    conn.export(&mut stored, Selection::all()).unwrap();
    assert_eq!(String::from_utf8(stored).unwrap(), String::from_utf8(lines).unwrap());
    assert_eq!(conn.append_events("session-20", &[new_event("next")]).unwrap(), [4_001]);
}

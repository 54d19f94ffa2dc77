//! Proves what happens when the disk is full in the middle of a group: each caller whose write did not fit is told so,
//! what was acknowledged stays, and the store goes on when there is space again.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use agent_session_store::{Error, JournalMode, Json, ListEventsRequest, SessionEvent, SessionStore};

use crate::common::faults::{SmallDisk, with_file_limit};
use crate::common::process::{Process, child, say, task, wait};
use crate::common::{TempDb, event, event_ids};

fn large(id: &str, index: i64) -> SessionEvent {
    let payload = Json::new(&"x".repeat(2_000)).unwrap();
    with!(event(id, "large", index), payload: payload)
}

/// Has many threads write until each has been refused; returns what was acknowledged, and hands on what was not.
fn fill(store: &SessionStore, name: &str, refused: impl Fn(Error) + Sync) -> Vec<String> {
    let acknowledged = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..16 {
            let (acknowledged, refused) = (&acknowledged, &refused);
            scope.spawn(move || {
                let mut failures = 0;
                for index in 0.. {
                    let id = format!("{name}-{number:02}-{index:04}");
                    let ids = [format!("{id}-a"), format!("{id}-b"), format!("{id}-c")];
                    let ids = if number % 4 == 0 { &ids[..] } else { &ids[..1] };
                    let events: Vec<_> = ids.iter().map(|id| large(id, index)).collect();
                    let result = match &events[..] {
                        [event] => store.insert_event(event),
                        events => store.insert_events(events),
                    };
                    match result {
                        Ok(()) => acknowledged.lock().unwrap().extend_from_slice(ids),
                        Err(error) => {
                            refused(error);
                            failures += 1;
                        }
                    }
                    if failures == 3 {
                        break;
                    }
                }
            });
        }
    });
    acknowledged.into_inner().unwrap()
}

fn assert_has(path: &Path, acknowledged: &[String]) {
    let stored = event_ids(path);
    assert!(acknowledged.iter().all(|id| stored.contains(id)));
    let parts = |part| stored.iter().filter(|id| id.ends_with(part)).count();
    assert_eq!(parts("-b"), parts("-c"), "half a batch");
}

#[test]
fn a_full_disk_is_an_error_for_those_it_concerns_until_there_is_space() {
    for journal_mode in [JournalMode::Wal, JournalMode::Rollback] {
        let Some(disk) = SmallDisk::new("size=3m") else { return };
        let ballast = disk.folder().join("ballast");
        std::fs::write(&ballast, vec![0; 1_500_000]).unwrap();
        let store = SessionStore::builder().journal_mode(journal_mode).open(disk.path()).unwrap();
        let refused = |error| assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
        let mut acknowledged = fill(&store, "before", refused);
        assert!(!acknowledged.is_empty());
        // Reading goes on.
        assert!(!store.list_events(&ListEventsRequest::new("large")).unwrap().items.is_empty());

        std::fs::remove_file(ballast).unwrap();
        for index in 0..5 {
            let id = format!("again-{index}");
            store.insert_event(&large(&id, index)).unwrap();
            let batch =
                [large(&format!("{id}-a"), index), large(&format!("{id}-b"), index), large(&format!("{id}-c"), index)];
            store.insert_events(&batch).unwrap();
            acknowledged.extend(batch.into_iter().map(|event| event.id).chain([id]));
        }
        acknowledged.extend(fill(&store, "after", refused));
        // The log may have no room in the file: then it stays where it is.
        let closed = store.close();
        assert!(matches!(closed, Ok(()) | Err(Error::DiskFull { .. })), "{closed:?}");
        let copy = TempDb::new();
        for end in ["", "-wal"] {
            let from = disk.folder().join(format!("sessions.db{end}"));
            if from.exists() {
                std::fs::copy(from, copy.folder().join(format!("sessions.db{end}"))).unwrap();
            }
        }
        assert_has(&copy.path(), &acknowledged);
    }
}

/// Does nothing by itself; the test below runs it in a process whose files must not grow beyond a limit.
#[test]
fn a_process_with_a_limit() {
    let Some(task) = task() else { return };
    let store = SessionStore::open(&task[0]).unwrap();
    let refused = |error| assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    for id in fill(&store, "before", refused) {
        say(&format!("ack {id}"));
    }
    assert!(!store.list_events(&ListEventsRequest::new("large")).unwrap().items.is_empty());
    say("full");
    wait();
    thread::scope(|scope| {
        for number in 0..16 {
            let store = &store;
            scope.spawn(move || store.insert_events(&[large(&format!("after-{number:02}"), number)]).unwrap());
        }
    });
    store.close().unwrap();
}

#[test]
fn a_limit_on_the_size_of_files_is_the_same() {
    let has_prlimit = Command::new("prlimit").arg("--version").stdout(Stdio::null()).status();
    if !has_prlimit.is_ok_and(|status| status.success()) {
        println!("skipped: there is no prlimit to lift the limit with");
        return;
    }
    let db = TempDb::new();
    let limited = with_file_limit(1_000, &child(a_process_with_a_limit, db.path().to_str().unwrap()));
    let process = Process::start(limited);
    let before = process.lines().take_while(|line| line != "full");
    let mut acknowledged: Vec<_> = before.filter_map(|line| Some(line.strip_prefix("ack ")?.to_owned())).collect();
    assert!(!acknowledged.is_empty());
    let lift = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &process.id().to_string()]).status();
    assert!(lift.unwrap().success());
    process.end();
    acknowledged.extend((0..16).map(|number| format!("after-{number:02}")));
    assert_has(&db.path(), &acknowledged);
}

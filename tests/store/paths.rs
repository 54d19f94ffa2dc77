//! Proves what a path stands for: a file of that name, memory, or a clear refusal of what can be no database.

use agent_session_store::{Error, SessionStore, SessionStoreBuilder};

use crate::common::{TempDb, child, event, output, session, task};

/// The ways to open a path.
fn builders() -> [SessionStoreBuilder; 3] {
    let builder = SessionStore::builder;
    [builder(), builder().create(false), builder().read_only(true)]
}

/// Does nothing by itself; the tests below run it in a folder of its own.
#[test]
fn a_process_in_a_folder() {
    let Some(task) = task() else { return };
    for path in &task {
        let store = SessionStore::open(path).unwrap();
        store.update_session(&session("one")).unwrap();
        store.insert_event(&event("e1", "one", 1)).unwrap();
        assert_eq!(store.get_session("one").unwrap(), Some(session("one")));
        assert_eq!(store.stats().unwrap().events, 1, "{path}");
    }
}

/// Opens relative paths, writes there, and says which files there are then.
fn files_after_opening(paths: &str) -> Vec<String> {
    let db = TempDb::new();
    output(child(a_process_in_a_folder, paths).current_dir(db.folder()));
    db.files()
}

#[test]
fn memory_is_no_file() {
    // Each is another database.
    assert!(files_after_opening(":memory:|:memory:").is_empty());
    for builder in builders() {
        let store = builder.open(":memory:").unwrap();
        store.insert_event(&event("e1", "one", 1)).unwrap();
        let clone = store.clone();
        assert_eq!(clone.stats().unwrap().events, 1);
    }
}

#[cfg(feature = "async")]
#[test]
fn tasks_open_the_same() {
    use agent_session_store::AsyncSessionStore;

    use crate::common::tasks::block_on;

    let store = block_on(AsyncSessionStore::open(":memory:")).unwrap();
    block_on(store.insert_event(&event("e1", "one", 1))).unwrap();
    assert_eq!(block_on(store.stats()).unwrap().events, 1);
    for path in ["", "file:x.db"] {
        let refused = block_on(AsyncSessionStore::open(path));
        assert!(matches!(refused, Err(Error::Open { .. })), "{refused:?}");
    }
    assert!(!std::path::Path::new(":memory:").exists());
}

#[cfg(not(windows))]
#[test]
fn a_file_may_have_a_name_that_means_something() {
    assert_eq!(files_after_opening("./:memory:|./file:x.db?mode=ro"), [":memory:", "file:x.db?mode=ro"]);
    assert_eq!(
        files_after_opening(":memory|memory:|file|FILE:x|:memory: "),
        [":memory", ":memory: ", "FILE:x", "file", "memory:"]
    );
}

#[test]
fn a_uri_is_refused_with_a_way_on() {
    let db = TempDb::new();
    let before = std::env::current_dir().unwrap();
    let uris = ["file:x.db?mode=ro", "file:", "file::memory:", "file:///tmp/x.db", "file://localhost/x.db"];
    for uri in uris {
        for builder in builders() {
            let error = builder.open(uri).unwrap_err();
            let message = error.to_string();
            assert!(matches!(&error, Error::Open { path, .. } if path == uri), "{error:?}");
            assert!(message.contains("read_only") && message.contains("create"), "{message}");
            assert!(message.contains(&format!("./{uri}")), "{message}");
        }
        assert!(!before.join(uri).exists());
    }
    assert!(db.bytes().is_empty());
}

#[test]
fn an_empty_path_is_refused_with_a_way_on() {
    for builder in builders() {
        let error = builder.open("").unwrap_err();
        assert!(matches!(&error, Error::Open { path, .. } if path.is_empty()), "{error:?}");
        assert!(error.to_string().contains("open_in_memory"), "{error}");
    }
}

#[cfg(unix)]
mod unix {
    use std::path::Path;
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::common::{Process, say};

    /// Does nothing by itself; the test below runs it in a process that can be ended.
    #[test]
    fn a_process_that_might_hang() {
        let Some(task) = task() else { return };
        for builder in builders() {
            let error = builder.open(&task[0]).unwrap_err();
            assert!(matches!(error, Error::Open { .. }), "{error:?}");
            say(&format!("says {}", error.to_string().rsplit_once("\": ").unwrap().1));
        }
    }

    /// Each of the ways to open it says the same, and none waits.
    fn is_refused_as(path: &Path) -> String {
        let mut process = Process::start(child(a_process_that_might_hang, path.to_str().unwrap()));
        let begun = Instant::now();
        while process.is_running() {
            assert!(begun.elapsed() < Duration::from_secs(60), "opening {} hangs", path.display());
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = process.end();
        let said: Vec<_> = said.iter().filter_map(|line| line.strip_prefix("says ")).collect();
        assert_eq!(said.len(), 3);
        assert!(said.iter().all(|line| *line == said[0]), "{said:?}");
        said[0].to_owned()
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let db = TempDb::new();
        let path = |name: &str| db.folder().join(name);
        assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        std::fs::create_dir(path("folder")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink("pipe", path("link")).unwrap();
        std::os::unix::fs::symlink("/dev/null", path("null")).unwrap();
        for (name, says) in [
            ("pipe", "it is a named pipe, not a database file"),
            ("link", "it is a named pipe, not a database file"),
            ("folder", "it is a folder, not a database file"),
            ("socket", "it is a socket, not a database file"),
            ("null", "it is a device, not a database file"),
        ] {
            assert_eq!(is_refused_as(&path(name)), says, "{name}");
        }
        assert_eq!(is_refused_as(Path::new("/dev/zero")), "it is a device, not a database file");
        let there: Vec<_> = std::fs::read_dir(db.folder()).unwrap().collect();
        assert_eq!(there.len(), 5);
    }
}

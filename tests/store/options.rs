//! Proves that every option of the builder does what it says, on files of any name.

use std::path::Path;
use std::time::Duration;

use agent_session_store::{Durability, Error, JournalMode, ListEventsRequest, SessionStore, SessionStoreBuilder};

use crate::common::instrumentation::Watch;
use crate::common::{TempDb, child, event, event_ids, output, session, task, value};

fn journal_mode(db: &TempDb) -> String {
    value(&db.plain(), "PRAGMA journal_mode")
}

fn assert_works(store: &SessionStore) {
    store.update_session(&session("one")).unwrap();
    store.insert_event(&event("e1", "one", 1)).unwrap();
    assert_eq!(store.get_session("one").unwrap(), Some(session("one")));
    assert_eq!(store.list_events(&ListEventsRequest::new("one")).unwrap().items, [event("e1", "one", 1)]);
}

#[test]
fn the_journal_mode_is_the_files() {
    let db = TempDb::new();
    for (mode, says) in [
        (JournalMode::Wal, "wal"),
        (JournalMode::Wal, "wal"),
        (JournalMode::Rollback, "delete"),
        (JournalMode::Rollback, "delete"),
        (JournalMode::Wal, "wal"),
    ] {
        let store = SessionStore::builder().journal_mode(mode).open(db.path()).unwrap();
        assert_works(&store);
        assert_eq!(journal_mode(&db), says);
    }
    let db = TempDb::new();
    assert_works(&SessionStore::open(db.path()).unwrap());
    assert_eq!(journal_mode(&db), "wal");
}

#[test]
fn the_durability_is_the_writers_and_the_busy_timeout_comes_first() {
    // EXTRA is FULL, and with a rollback journal it also syncs the folder: without that, the journal that a commit
    // deletes could be back after power loss, and undo it.
    // NORMAL keeps the file intact with a write-ahead log alone, so it waits until there is one.
    for durability in [Durability::Full, Durability::Normal] {
        for mode in [JournalMode::Wal, JournalMode::Rollback] {
            let synchronous: &[u8] = match (durability, mode) {
                (Durability::Normal, JournalMode::Wal) => &[3, 1],
                _ => &[3],
            };
            let db = TempDb::new();
            let watch = Watch::on(&db);
            let builder = SessionStore::builder().durability(durability).journal_mode(mode);
            let store = builder.busy_timeout(Duration::from_millis(1234)).open(db.path()).unwrap();
            let ran = watch.take();
            assert_eq!(ran[0], "PRAGMA busy_timeout = 1234");
            let set: Vec<_> = ran.iter().filter_map(|sql| sql.strip_prefix("PRAGMA synchronous = ")).collect();
            assert_eq!(set, synchronous.iter().map(u8::to_string).collect::<Vec<_>>());

            assert_works(&store);
            let ran = watch.take();
            assert!(ran.contains(&"PRAGMA busy_timeout = 1234".to_owned()), "the reader's");
            assert!(!ran.iter().any(|sql| sql.starts_with("PRAGMA synchronous")));
        }
    }
}

#[test]
fn the_log_is_the_writers_to_take_care_of() {
    let set = |builder: SessionStoreBuilder| {
        let db = TempDb::new();
        let watch = Watch::on(&db);
        assert_works(&builder.open(db.path()).unwrap());
        let about_the_log = |sql: &String| ["journal_size", "wal_auto"].iter().any(|name| sql.contains(name));
        watch.take().into_iter().filter(about_the_log).collect::<Vec<_>>()
    };
    let builder = SessionStore::builder;
    // The second is the question that closing asks.
    let asked = "PRAGMA wal_autocheckpoint";
    assert_eq!(set(builder()), ["PRAGMA journal_size_limit = 67108864", asked]);
    assert_eq!(set(builder().log_size_limit(1 << 20)), ["PRAGMA journal_size_limit = 1048576", asked]);
    assert_eq!(set(builder().log_size_limit(u64::MAX)), [&format!("PRAGMA journal_size_limit = {}", i64::MAX), asked]);
    assert_eq!(set(builder().auto_checkpoint(false)), ["PRAGMA wal_autocheckpoint = 0"]);
}

#[test]
fn a_file_is_created_only_where_that_is_allowed() {
    let db = TempDb::new();
    let must_exist = || SessionStore::builder().create(false).open(db.path());
    assert!(matches!(must_exist(), Err(Error::Open { .. })));
    assert!(db.bytes().is_empty());
    assert_works(&SessionStore::open(db.path()).unwrap());
    assert_works(&must_exist().unwrap());

    let nowhere = db.folder().join("no such folder").join("sessions.db");
    assert!(matches!(SessionStore::open(nowhere), Err(Error::Open { .. })));
    assert!(matches!(SessionStore::open(db.folder()), Err(Error::Open { .. })));
}

#[test]
fn a_store_that_only_reads_reads_and_refuses_to_write() {
    let db = TempDb::new();
    let read_only = || SessionStore::builder().read_only(true).open(db.path());
    assert!(matches!(read_only(), Err(Error::Open { .. })));

    let writing = SessionStore::open(db.path()).unwrap();
    assert_works(&writing);
    for others_have_it_open in [true, false] {
        let store = read_only().unwrap();
        assert_eq!(store.get_session("one").unwrap(), Some(session("one")));
        assert_eq!(store.list_events(&ListEventsRequest::new("one")).unwrap().items.len(), 1);
        let refused = [
            store.insert_event(&event("e2", "one", 2)),
            store.insert_events(&[event("e2", "one", 2), event("e3", "one", 3)]),
            store.update_session(&session("two")),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
        }
        // Also where several wait for the connection at once.
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for index in 0..20 {
                        let refused = store.insert_event(&event("e2", "one", index));
                        assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
                    }
                });
            }
        });
        store.close().unwrap();
        if others_have_it_open {
            writing.close().unwrap();
        }
    }
    assert_eq!(db.event_ids(), ["e1"]);
}

#[test]
fn a_name_is_a_name_whatever_is_in_it() {
    let db = TempDb::new();
    let mut names = vec![
        "with space.db",
        "100%.db",
        "%41.db",
        "what?mode=ro.db",
        "a#fragment.db",
        "ünï-cødé-文.db",
        "file:x.db",
        ":memory:",
        "a&b=c;d+e.db",
        "quote'\".db",
        "no-extension",
        "new\nline",
    ];
    if cfg!(windows) {
        names.retain(|name| !name.contains([':', '?', '"', '\n']));
    }
    for name in &names {
        let store = SessionStore::open(db.folder().join(name)).unwrap();
        assert_works(&store);
        store.close().unwrap();
        assert_eq!(event_ids(&db.folder().join(name)), ["e1"], "{name}");
    }
    names.sort_unstable();
    assert_eq!(db.files(), names);
}

#[cfg(unix)]
#[test]
fn a_name_need_not_be_unicode() {
    use std::os::unix::ffi::OsStrExt;
    let db = TempDb::new();
    let path = db.folder().join(std::ffi::OsStr::from_bytes(b"\xff\xfe.db"));
    assert_works(&SessionStore::open(&path).unwrap());
    assert_eq!(event_ids(&path), ["e1"]);
}

#[test]
fn what_is_no_name_is_refused() {
    let db = TempDb::new();
    for path in [Path::new(""), &db.folder().join("a\0b.db")] {
        let refused = SessionStore::open(path);
        assert!(matches!(refused, Err(Error::Open { .. })), "{path:?}: {refused:?}");
    }
    assert!(db.bytes().is_empty());
}

/// Reads are done on connections that are opened later than the store.
#[test]
fn a_relative_path_stays_the_file_it_was() {
    // In a process of its own: the current folder is the whole process's.
    if task().is_none() {
        output(&mut child(a_relative_path_stays_the_file_it_was, "alone"));
        return;
    }
    let db = TempDb::new();
    let elsewhere = TempDb::new();
    std::env::set_current_dir(db.folder()).unwrap();
    let store = SessionStore::open("sessions.db");
    std::env::set_current_dir(elsewhere.folder()).unwrap();
    let store = store.unwrap();
    assert_works(&store);
    let reopened = SessionStore::open(Path::new("..").join(db.folder().file_name().unwrap()).join("sessions.db"));
    assert_works(&reopened.unwrap());
    drop(store);
    assert_eq!(db.event_ids(), ["e1"]);
    assert!(elsewhere.bytes().is_empty());
}

#[test]
fn one_reading_connection_serves_many_threads() {
    let db = TempDb::new();
    let watch = Watch::on(&db);
    for (readers, at_most) in [(0, 1), (1, 1), (3, 3)] {
        let store = SessionStore::builder().readers(readers).open(db.path()).unwrap();
        assert_works(&store);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| (0..50).for_each(|_| assert!(store.get_session("one").unwrap().is_some())));
            }
        });
        let opened = watch.take().iter().filter(|sql| sql.starts_with("PRAGMA query_only")).count();
        assert!((1..=at_most).contains(&opened), "{opened} connections for {readers}");
    }
}

#[test]
fn the_options_can_be_shown_and_kept() {
    let builder: SessionStoreBuilder = SessionStore::builder().readers(7);
    let again = builder.clone();
    assert!(format!("{again:?}").contains("readers: 7"));
    let db = TempDb::new();
    let store = builder.open(db.path()).unwrap();
    assert!(format!("{store:?}").contains("sessions.db"), "{store:?}");
    assert_works(&again.open_in_memory().unwrap());
}

//! Proves that `on_open` runs first on every connection to a file that a store opens, and that what fails there is an
//! error that says nothing of the statement. (`tests/sqlcipher` has the same with encryption.)

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use agent_session_store::diesel::connection::InstrumentationEvent;
use agent_session_store::diesel::{Connection, RunQueryDsl, dsl, sql_types};
use agent_session_store::{
    Error, JournalMode, PruneRequest, Selection, SessionStore, SessionStoreBuilder, StoreConnection,
};

use crate::common::{TempDb, event, new_event, session};

/// A builder whose hook notes, for each connection, the first statement after the hook's own.
fn noting() -> (SessionStoreBuilder, Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>) {
    let (firsts, opened) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (notes, count) = (Arc::clone(&firsts), Arc::clone(&opened));
    let builder = SessionStore::builder().on_open(move |conn| {
        count.fetch_add(1, Ordering::SeqCst);
        conn.batch_execute("PRAGMA cache_size = -77")?;
        let StoreConnection::Sqlite(conn) = conn else { unreachable!("it is a file") };
        let (notes, mut is_first) = (Arc::clone(&notes), true);
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event
                && std::mem::take(&mut is_first)
            {
                notes.lock().unwrap().push(query.to_string());
            }
        });
        Ok(())
    });
    (builder, firsts, opened)
}

#[test]
fn it_runs_first_on_every_connection() {
    for mode in [JournalMode::Wal, JournalMode::Rollback] {
        let db = TempDb::new();
        let (builder, firsts, opened) = noting();
        let store = builder.clone().journal_mode(mode).open(db.path()).unwrap();
        let count = || opened.load(Ordering::SeqCst);
        let writers = count();
        assert!(writers >= 1);
        store.update_session(&session("one")).unwrap();
        store.get_session("one").unwrap();
        assert_eq!(count(), writers + 1, "a reader");
        store.backup_to(db.beside(".copy")).unwrap();
        assert_eq!(count(), writers + 2, "the copy");
        store.close().unwrap();
        let store = builder.clone().read_only(true).open(db.path()).unwrap();
        assert_eq!(count(), writers + 3, "read-only");
        store.get_session("one").unwrap();
        store.close().unwrap();
        assert!(count() >= writers + 4, "a reader that only reads, and what tidies up");
        let firsts = firsts.lock().unwrap();
        // The backup's copy is read and nothing else.
        let (settings, others): (Vec<_>, Vec<_>) =
            firsts.iter().partition(|first| first.starts_with("PRAGMA busy_timeout = "));
        assert_eq!(others, ["SELECT 1 FROM main.sqlite_master LIMIT 1"]);
        assert_eq!(settings.len() + 1, count());
    }
}

#[test]
fn what_it_sets_stays() {
    let db = TempDb::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (builder, _, _) = noting();
    for store in [builder.clone().open(db.path()).unwrap(), builder.open_in_memory().unwrap()] {
        let seen = Arc::clone(&seen);
        let set = store.transaction(move |tx| {
            let StoreConnection::Sqlite(conn) = tx.connection() else { unreachable!("it is a file") };
            let size = dsl::sql::<sql_types::BigInt>("PRAGMA cache_size").get_result::<i64>(conn)?;
            seen.lock().unwrap().push(size);
            Ok::<_, Error>(())
        });
        set.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [-77, -77]);
}

#[test]
fn the_last_of_several_counts() {
    let (builder, _, opened) = noting();
    builder.on_open(|_| Ok(())).open_in_memory().unwrap();
    assert_eq!(opened.load(Ordering::SeqCst), 0);
}

#[test]
fn an_error_fails_the_opening_and_says_nothing_of_the_statement() {
    let db = TempDb::new();
    for (sql, says) in [
        ("PRAGMA key = 'it's secret'", "on_open failed: near \"…\": syntax error"),
        ("PRAGMA key = 'it is secret", "on_open failed: unrecognized token: \"…\""),
        ("SELECT secret", "on_open failed: no such column: …"),
        ("SELECT \"secret\" FROM sqlite_master, \"secret\"", "on_open failed: no such table: …"),
    ] {
        let failed = SessionStore::builder().on_open(|conn| conn.batch_execute(sql)).open(db.path()).unwrap_err();
        assert!(matches!(failed, Error::Open { .. }), "{failed:?}");
        assert!(failed.to_string().ends_with(says), "{failed}");
        assert!(!format!("{failed:?}").contains("secret"), "{failed:?}");
    }
    // One that has a name keeps it.
    let busy = db.plain();
    busy.execute_batch("CREATE TABLE x (y); BEGIN EXCLUSIVE").unwrap();
    let read = |conn: &mut StoreConnection<'_>| conn.batch_execute("SELECT * FROM x");
    let failed = SessionStore::builder().on_open(read).open(db.path()).unwrap_err();
    assert!(matches!(failed, Error::Busy { .. }), "{failed:?}");
}

#[test]
fn a_reader_whose_hook_fails_is_an_error_of_that_call() {
    let db = TempDb::new();
    let opened = AtomicUsize::new(0);
    let store = SessionStore::builder().journal_mode(JournalMode::Wal).on_open(move |conn| {
        match opened.fetch_add(1, Ordering::SeqCst) {
            1 => conn.batch_execute("SELECT * FROM missing"),
            _ => Ok(()),
        }
    });
    let store = store.open(db.path()).unwrap();
    store.update_session(&session("one")).unwrap();
    let failed = store.get_session("one");
    assert!(matches!(failed, Err(Error::Open { .. })), "{failed:?}");
    assert_eq!(store.get_session("one").unwrap(), Some(session("one")));
}

/// The hook may be met by many threads at once.
#[test]
fn all_verbs_work_behind_it() {
    let db = TempDb::new();
    let (builder, _, _) = noting();
    let store = builder.open(db.path()).unwrap();
    thread::scope(|scope| {
        for number in 0..8 {
            let store = &store;
            scope.spawn(move || {
                let name = format!("session-{number}");
                store.update_session(&session(&name)).unwrap();
                store.append_events(&name, &[new_event(&format!("{name}-a"))]).unwrap();
                store.insert_event(&event(&format!("{name}-b"), &name, 2)).unwrap();
                assert_eq!(store.last_event_index(&name).unwrap(), Some(2));
            });
        }
    });
    let mut lines = Vec::new();
    store.export(&mut lines, Selection::all()).unwrap();
    assert_eq!(store.import(&*lines).unwrap().sessions, 8);
    store.prune(&PruneRequest::new().max_events_per_session(1)).unwrap();
    store.reclaim_space().unwrap();
    assert!(store.checkpoint().unwrap().is_complete);
    assert!(store.check().unwrap().is_sound());
}

#[cfg(feature = "async")]
#[test]
fn an_async_store_has_the_same_builder() {
    use agent_session_store::AsyncSessionStore;

    use crate::common::tasks::block_on;

    let db = TempDb::new();
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let builder = AsyncSessionStore::builder().readers(2).on_open(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    block_on(async {
        let store = builder.clone().open(db.path()).await.unwrap();
        store.update_session(&session("one")).await.unwrap();
        store.close().await.unwrap();
        for store in [
            builder.clone().connect(db.path().to_str().unwrap()).await.unwrap(),
            builder.clone().open_async(db.path()).await.unwrap(),
            SessionStore::builder().create(false).open_async(db.path()).await.unwrap(),
        ] {
            assert_eq!(store.get_session("one").await.unwrap(), Some(session("one")));
        }
        let store: AsyncSessionStore = builder.open_in_memory().unwrap();
        assert_eq!(store.get_session("one").await.unwrap(), None);
    });
    assert!(opened.load(Ordering::SeqCst) >= 4);
}

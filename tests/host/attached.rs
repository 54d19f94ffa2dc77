//! Proves that the tables are the ones in `main`: an attached database and temporary tables of the same names are neither
//! read nor written.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::dsl::sql;
use agent_session_store::diesel::sql_types::BigInt;
use agent_session_store::diesel::{RunQueryDsl, SqliteConnection};
use agent_session_store::{
    Error, Export, FileMaintenance, ListEventsRequest, ListSessionsRequest, PruneRequest, Selection,
    SessionPersistDriver,
};

use crate::common::samples::{HEADER, far_future};
use crate::common::{TempDb, event, millis, new_event, session};

/// A line to import.
const LINE: &str = "{\"event\":{\"id\":\"in\",\"eventIndex\":1,\"sessionId\":\"one\",\"createdAt\":0,\"connectionId\":\"c\",\
    \"sender\":\"agent\",\"payloadJson\":\"1\"}}\n";

/// Every verb that needs the tables.
type Verb = (&'static str, fn(&mut SqliteConnection) -> Result<(), Error>);

const VERBS: [Verb; 25] = [
    ("get_session", |conn| conn.get_session("one").map(drop)),
    ("list_sessions", |conn| conn.list_sessions(&ListSessionsRequest::new()).map(drop)),
    ("list_sessions, filtered", |conn| conn.list_sessions(&ListSessionsRequest::new().live().descending()).map(drop)),
    ("list_session_summaries", |conn| conn.list_session_summaries(&ListSessionsRequest::new()).map(drop)),
    ("update_session", |conn| conn.update_session(&session("one"))),
    ("list_events", |conn| conn.list_events(&ListEventsRequest::new("one")).map(drop)),
    ("list_events, bounded", |conn| conn.list_events(&ListEventsRequest::new("one").after(0).descending()).map(drop)),
    ("insert_event", |conn| conn.insert_event(&event("e1", "one", 1))),
    ("insert_events", |conn| conn.insert_events(&[event("e1", "one", 1)])),
    ("append_events", |conn| conn.append_events("one", &[new_event("new")]).map(drop)),
    ("append_events_after", |conn| conn.append_events_after("one", 1, &[new_event("new")]).map(drop)),
    ("last_event_index", |conn| conn.last_event_index("one").map(drop)),
    ("latest_events", |conn| conn.latest_events("one", 5, None).map(drop)),
    ("events", |conn| conn.events(ListEventsRequest::new("one")).try_for_each(|event| event.map(drop))),
    ("export", |conn| conn.export(std::io::sink(), Selection::all()).map(drop)),
    ("export_readable", |conn| {
        conn.export(std::io::sink(), Export::of(Selection::all()).skip_undecodable(|_| ())).map(drop)
    }),
    ("import", |conn| conn.import([HEADER, LINE].concat().as_bytes()).map(drop)),
    ("stats", |conn| conn.stats().map(drop)),
    ("session_stats", |conn| conn.session_stats().map(drop)),
    ("get_session_stats", |conn| conn.get_session_stats("one").map(drop)),
    ("check", |conn| conn.check().map(drop)),
    ("destroy_session", |conn| conn.destroy_session("one", millis(0)).map(drop)),
    ("fork_session", |conn| conn.fork_session("one", None, &session("two")).map(drop)),
    ("delete_session", |conn| conn.delete_session("one").map(drop)),
    ("prune", |conn| {
        let request =
            PruneRequest::new().created_before(far_future()).orphans_before(far_future()).max_events_per_session(0);
        conn.prune(&request.clone().dry_run())?;
        conn.prune(&request).map(drop)
    }),
];

fn filled() -> TempDb {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.update_session(&session("one")).unwrap();
    conn.insert_event(&event("e1", "one", 1)).unwrap();
    db
}

#[test]
fn an_attached_database_with_the_same_tables_is_not_ours() {
    let attached = filled();
    let before = attached.tables();
    for (verb, run) in VERBS {
        let db = TempDb::new();
        let mut conn = db.connect();
        conn.batch_execute(&format!("ATTACH '{}' AS other", attached.path().display())).unwrap();
        let result = run(&mut conn);
        assert!(matches!(result, Err(Error::NotMigrated { .. })), "{verb}: {result:?}");
        assert_eq!(attached.tables(), before, "{verb}");
    }
}

#[test]
fn temporary_tables_of_the_same_names_are_not_ours() {
    // What each verb does where there are none.
    let expected: Vec<_> = VERBS
        .iter()
        .map(|(_, run)| {
            let db = filled();
            run(&mut db.connect()).unwrap();
            db.tables()
        })
        .collect();
    for ((verb, run), expected) in VERBS.iter().zip(expected) {
        let db = filled();
        let mut conn = db.connect();
        conn.batch_execute(
            "CREATE TEMP TABLE sessions AS SELECT * FROM main.sessions; CREATE TEMP TABLE events AS SELECT * FROM main.events; \
             DELETE FROM temp.sessions; DELETE FROM temp.events; INSERT INTO temp.sessions (id) VALUES ('temporary')",
        )
        .unwrap();
        run(&mut conn).unwrap_or_else(|error| panic!("{verb}: {error}"));
        assert_eq!(db.tables(), expected, "{verb}");
        let count = "SELECT (SELECT count(*) FROM temp.sessions) * 10 + (SELECT count(*) FROM temp.events)";
        let left: i64 = sql::<BigInt>(count).get_result(&mut conn).unwrap();
        assert_eq!(left, 10, "{verb}");
    }
}

/// A checkpoint of ours is of `main`: a host's attached log is the host's.
#[test]
fn a_checkpoint_leaves_an_attached_log_alone() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let other = db.folder().join("other.db");
    let host = rusqlite::Connection::open(&other).unwrap();
    host.execute_batch("PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0; CREATE TABLE host (id)").unwrap();
    conn.batch_execute(&format!("PRAGMA journal_mode = wal; ATTACH '{}' AS other", other.display())).unwrap();
    let size = || std::fs::metadata(db.folder().join("other.db-wal")).unwrap().len();
    let before = size();
    assert!(before > 0);
    host.execute_batch("BEGIN; SELECT * FROM host").unwrap();
    assert!(conn.checkpoint().unwrap().is_complete);
    host.execute_batch("COMMIT").unwrap();
    assert!(conn.checkpoint().unwrap().is_complete);
    assert_eq!(size(), before);
}

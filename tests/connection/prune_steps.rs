//! Proves that a prune goes in steps whatever it deletes, ends whatever a host's triggers do, reads nothing twice, and
//! says what it did when it fails.

use std::time::Duration;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Done, Error, PruneReport, PruneRequest, SessionPersistDriver, SessionStore};

use crate::common::instrumentation::Watch;
use crate::common::locks::{connection_locked_before, store_locked_before};
use crate::common::process::{Process, child, say, task, wait};
use crate::common::samples::far_future;
use crate::common::{Statements, TempDb, event, millis, plan, rows, session, value};

fn report(sessions: u64, events: u64) -> PruneReport {
    PruneReport { sessions, events }
}

/// Sessions `1`, `2`, …, with their records or without, and so many events in each.
fn fill(db: &TempDb, sessions: i64, events: i64, records: bool) {
    let plain = db.plain();
    if records {
        plain
            .execute(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
                 INSERT INTO sessions (id, agent, agent_session_id, last_connection_id, created_at) \
                 SELECT i, 'claude', 'a', 'c', i FROM n",
                [sessions],
            )
            .unwrap();
    }
    plain
        .execute(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 * ?2 - 1) \
             INSERT INTO events SELECT (i / ?2 + 1) || '-' || (i % ?2), i % ?2, i / ?2 + 1, i, 'c', 'agent', '{}' FROM n",
            [sessions, events],
        )
        .unwrap();
}

fn everything() -> PruneRequest {
    PruneRequest::new().created_before(far_future()).orphans_before(far_future())
}

type Prune = Box<dyn FnMut(&PruneRequest) -> Result<PruneReport, Error>>;

/// By a connection and by a store.
fn both(db: &TempDb) -> [Prune; 2] {
    let (mut conn, store) = (db.connect(), SessionStore::open(db.path()).unwrap());
    conn.batch_execute("PRAGMA busy_timeout = 60000").unwrap();
    [Box::new(move |request| conn.prune(request)), Box::new(move |request| store.prune(request))]
}

#[test]
fn many_small_sessions_share_a_step() {
    for records in [true, false] {
        let db = TempDb::ours();
        let mut conn = db.connect();
        fill(&db, 3_000, 2, records);
        let statements = Statements::of(&mut conn);
        let done = conn.prune(&everything()).unwrap();
        assert_eq!(done, report(if records { 3_000 } else { 0 }, 6_000));
        assert_eq!(db.counts(), [0, 0]);
        let begun = statements.take_run().iter().filter(|sql| *sql == "BEGIN IMMEDIATE").count();
        assert!((6_000 / 500..1_500).contains(&begun), "{begun}");
    }
}

/// Does nothing by itself; the test below runs it in a process of its own. It writes with the ordinary patience until
/// its input ends.
#[test]
fn a_process_that_writes_meanwhile() {
    let Some(task) = task() else { return };
    let conn = rusqlite::Connection::open(&task[0]).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    let ended = std::thread::spawn(wait);
    for index in 0.. {
        if ended.is_finished() {
            break;
        }
        conn.execute("INSERT INTO events VALUES ('by-' || ?1, ?1, 'by', ?1, 'c', 'agent', '{}')", [index]).unwrap();
        if index == 0 {
            say("writing");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn another_process_writes_while_many_small_sessions_go() {
    for of_store in [false, true] {
        let db = TempDb::ours();
        SessionStore::open(db.path()).unwrap().close().unwrap();
        fill(&db, 6_000, 2, true);
        let watch = Watch::on(&db);
        let mut prune = both(&db).into_iter().nth(usize::from(of_store)).unwrap();
        let other = Process::start(child(a_process_that_writes_meanwhile, db.path().to_str().unwrap()));
        other.wait_for("writing");
        let written = || value::<i64>(&db.plain(), "SELECT count(*) FROM events WHERE session_id = 'by'") as usize;
        watch.take();
        let before = written();
        assert_eq!(prune(&PruneRequest::new().created_before(millis(9_999))).unwrap(), report(6_000, 12_000));
        assert_eq!(db.counts()[0], 0);
        let written = written() - before;
        let steps = watch.take().iter().filter(|sql| *sql == "BEGIN IMMEDIATE").count();
        // The lock is left free after some 50 ms, which is five steps or fewer.
        assert!(written * 20 >= steps, "{written} writes beside {steps} steps");
        other.end();
    }
}

#[test]
fn a_long_session_is_read_once() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    fill(&db, 1, 6_000, true);
    let statements = Statements::of(&mut conn);
    assert_eq!(conn.prune(&PruneRequest::new().max_events_per_session(2_000)).unwrap(), report(0, 4_000));
    let run = statements.take_run();
    assert_eq!(run.iter().filter(|sql| sql.contains("OFFSET")).count(), 1, "what stays is counted once");
    // And each statement finds its rows by a seek, and the next ones behind them.
    let plain = db.plain();
    let mut seen = std::collections::HashSet::new();
    for sql in run.iter().filter(|sql| sql.contains("events") && seen.insert(*sql)) {
        let plan = plan(&plain, sql).join("\n");
        assert!(!plan.contains("SCAN events") && !plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
    }
    assert!(seen.len() >= 4, "{seen:?}");
}

/// More events than one look has room for share an index, and are told apart by their ids.
#[test]
fn a_tie_of_many_events_is_cut_where_it_should_be() {
    for prune in 0..2 {
        let db = TempDb::ours();
        fill(&db, 1, 2_300, false);
        db.plain().execute_batch("UPDATE events SET event_index = 7, id = printf('%05d', event_index)").unwrap();
        let prune = &mut both(&db)[prune];
        assert_eq!(prune(&PruneRequest::new().max_events_per_session(700)).unwrap(), report(0, 1_600));
        assert_eq!(rows(&db.plain(), "SELECT min(id), count(*) FROM events"), [["'01600'", "700"]]);
    }
}

#[test]
fn old_orphans_go_from_between_younger_ones() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    fill(&db, 2, 5_000, false);
    // Young ones only, for longer than one look, then by turns.
    db.plain().execute_batch("UPDATE events SET created_at = 9 WHERE event_index < 3500 OR event_index % 2").unwrap();
    conn.batch_execute("UPDATE events SET created_at = 1 WHERE created_at <> 9").unwrap();
    let request = PruneRequest::new().orphans_before(millis(5));
    assert_eq!(conn.prune(&request.clone().dry_run()).unwrap(), report(0, 1_500));
    assert_eq!(conn.prune(&request).unwrap(), report(0, 1_500));
    assert_eq!(rows(&db.plain(), "SELECT DISTINCT created_at FROM events"), [["9"]]);
}

#[test]
fn it_ends_where_a_trigger_keeps_rows_or_puts_them_back() {
    let requests = [
        everything(),
        PruneRequest::new().session("1").session("2"),
        PruneRequest::new().max_events_per_session(0),
        PruneRequest::new().max_events_per_session(100),
    ];
    let back = "CREATE TRIGGER back AFTER DELETE ON events BEGIN INSERT INTO events \
                VALUES (old.id, old.event_index, old.session_id, old.created_at, 'back', 'agent', '{}'); END";
    let elsewhere = back.replace("old.event_index", "old.event_index + 1");
    let kept = "CREATE TRIGGER kept BEFORE DELETE ON events BEGIN SELECT RAISE(IGNORE); END";
    let record = "CREATE TRIGGER record AFTER DELETE ON sessions BEGIN INSERT INTO sessions \
                  (id, agent, agent_session_id, last_connection_id, created_at) VALUES (old.id, 'back', '', '', 0); END";
    for (trigger, keeps_events) in [(back, true), (&elsewhere, true), (kept, true), (record, false)] {
        for request in &requests {
            for records in [true, false] {
                for prune in 0..2 {
                    let db = TempDb::ours();
                    fill(&db, 2, 600, records);
                    let before = db.counts();
                    db.plain().execute_batch(trigger).unwrap();
                    both(&db)[prune](request).unwrap();
                    let after = db.counts();
                    assert_eq!(after[0], before[0], "a session keeps its record as long as it has events");
                    assert_eq!(after[1] == before[1], keeps_events, "{trigger} {request:?}");
                }
            }
        }
    }
}

#[test]
fn a_session_that_is_named_goes_with_all_it_has() {
    for prune in 0..2 {
        let db = TempDb::ours();
        let mut conn = db.connect();
        fill(&db, 3, 1_200, true);
        conn.update_session(&session("empty")).unwrap();
        conn.insert_event(&event("x", "orphan", 1)).unwrap();
        let request = PruneRequest::new().session("2").session("never").session("empty").session("orphan").session("2");
        assert_eq!(conn.prune(&request.clone().dry_run()).unwrap(), report(2, 1_201));
        assert_eq!(both(&db)[prune](&request).unwrap(), report(2, 1_201));
        assert_eq!(rows(&db.plain(), "SELECT id FROM sessions ORDER BY id"), [["'1'"], ["'3'"]]);
        assert_eq!(rows(&db.plain(), "SELECT DISTINCT session_id FROM events"), [["'1'"], ["'3'"]]);
        // With other rules each row counts once.
        let request = request.session("1").created_before(millis(3)).max_events_per_session(200);
        assert_eq!(conn.prune(&request.clone().dry_run()).unwrap(), report(1, 2_200));
        assert_eq!(both(&db)[prune](&request).unwrap(), report(1, 2_200));
        assert_eq!(db.counts(), [1, 200]);
    }
}

/// The sessions before one that a foreign key holds go, and stay gone; the next call goes as far.
#[test]
fn what_cannot_go_does_not_bring_back_what_went() {
    for prune in 0..2 {
        let db = TempDb::ours();
        fill(&db, 9, 2, true);
        // A foreign key, or a trigger where SQLite was built so that it does not enforce any.
        let enforces: i64 = value(&db.plain(), "PRAGMA foreign_keys");
        let (holds, lets_go) = if enforces == 1 {
            ("CREATE TABLE host (id TEXT REFERENCES sessions); INSERT INTO host VALUES ('6')", "DROP TABLE host")
        } else {
            (
                "CREATE TRIGGER host BEFORE DELETE ON sessions WHEN OLD.id = '6' BEGIN SELECT RAISE(ABORT, 'held'); END",
                "DROP TRIGGER host",
            )
        };
        db.plain().execute_batch(holds).unwrap();
        let result = both(&db)[prune](&everything());
        let Err(Error::Unfinished { done: Done::Pruned(done), source }) = result else { panic!("{result:?}") };
        assert_eq!(done, report(5, 10));
        assert!(matches!(*source, Error::Database { .. }), "{source}");
        assert_eq!(db.counts(), [4, 8], "its own events are there still");
        let result = both(&db)[prune](&everything());
        assert!(matches!(result, Err(Error::Database { .. })), "this time nothing was done: {result:?}");
        db.plain().execute_batch(lets_go).unwrap();
        assert_eq!(both(&db)[prune](&everything()).unwrap(), report(4, 8));
    }
}

#[test]
fn a_lock_that_is_held_says_what_was_done_before() {
    for (statement, time) in [("BEGIN IMMEDIATE", 3), ("BEGIN IMMEDIATE", 1), ("VACUUM", 1)] {
        for of_store in [false, true] {
            let db = TempDb::ours();
            fill(&db, 1, 1_700, true);
            let request = everything().reclaim_space();
            let result = if of_store {
                store_locked_before(&db, statement, time).prune(&request)
            } else {
                connection_locked_before(&db, statement, time).prune(&request)
            };
            let gone = 1_700 - db.counts()[1];
            match result.unwrap_err() {
                Error::Unfinished { done: Done::Pruned(done), source } => {
                    assert!(matches!(*source, Error::Busy { .. }), "{source}");
                    assert_eq!(done, report(u64::from(statement == "VACUUM"), gone));
                    assert!(gone > 0 && (statement == "VACUUM") == (gone == 1_700), "{gone}");
                }
                error => {
                    assert!(matches!(error, Error::Busy { .. }), "{error}");
                    assert_eq!((gone, time), (0, 1));
                }
            }
        }
    }
}

#[test]
fn in_a_transaction_it_is_all_or_nothing() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    fill(&db, 2, 1_200, true);
    let stop = |when: &str, how: &str| {
        format!(
            "DROP TRIGGER IF EXISTS stop; CREATE TRIGGER stop BEFORE DELETE ON events WHEN {when} \
             BEGIN SELECT RAISE({how}, 'stopped'); END"
        )
    };
    conn.batch_execute(&stop("old.id = '2-900'", "ABORT")).unwrap();
    let result: Result<(), Error> = conn.transaction(|conn| {
        conn.update_session(&with!(session("host's own"), destroyed_at: None))?;
        let error = conn.prune(&everything()).unwrap_err();
        assert!(matches!(error, Error::Database { .. }), "{error}");
        assert_eq!(conn.stats()?.events, 2_400);
        Ok(())
    });
    result.unwrap();
    assert_eq!(db.counts(), [3, 2_400], "the rest of the transaction is as good as ever");

    // One that ends the transaction takes the caller's part with it, and the connection is usable.
    conn.batch_execute(&stop("old.id = '2-900'", "ROLLBACK")).unwrap();
    let result: Result<PruneReport, Error> = conn.transaction(|conn| {
        conn.update_session(&with!(session("another"), destroyed_at: None))?;
        conn.prune(&everything())
    });
    assert!(matches!(result, Err(Error::Database { .. })), "{result:?}");
    assert_eq!(db.counts(), [3, 2_400]);
    let error = conn.prune(&everything()).unwrap_err();
    let Error::Unfinished { done: Done::Pruned(done), .. } = error else { panic!("{error}") };
    assert_eq!(db.counts(), [3 - done.sessions, 2_400 - done.events]);
    conn.batch_execute("DROP TRIGGER stop").unwrap();
    let rest = conn.transaction(|conn: &mut SqliteConnection| conn.prune(&everything())).unwrap();
    assert_eq!((rest.sessions + done.sessions, rest.events + done.events), (3, 2_400));
}

/// A trigger that ends the transaction brings nothing back of what went before.
#[test]
fn what_ends_the_transaction_does_not_bring_back_what_went() {
    for prune in 0..2 {
        let db = TempDb::ours();
        fill(&db, 9, 2, true);
        db.plain()
            .execute_batch(
                "CREATE TRIGGER host BEFORE DELETE ON sessions WHEN OLD.id = '6' \
                 BEGIN SELECT RAISE(ROLLBACK, 'held'); END",
            )
            .unwrap();
        let result = both(&db)[prune](&everything());
        let Err(Error::Unfinished { done: Done::Pruned(done), .. }) = result else { panic!("{result:?}") };
        assert_eq!(done, report(5, 10));
        assert_eq!(db.counts(), [4, 8]);
    }
}

//! A migration that is killed, or finds the disk full, leaves the file as it was; the next one finishes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Instant;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Error, migrate};

use crate::common::faults::{SmallDisk, with_file_limit};
use crate::common::legacy::{Way, dump, shape_sql};
use crate::common::{Process, TempDb, child, is_sound, lines, output, say, task};

const EVENTS: i64 = 20_000;

/// An interrupted rebuild of some size: most of it in `events_legacy`, the rest in `events`.
fn large_legacy_file(journal_mode: &str) -> TempDb {
    static FILES: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
        ["DELETE", "WAL"].map(|journal_mode| std::fs::read(new_legacy_file(journal_mode).path()).unwrap())
    });
    let [rollback, wal] = &*FILES;
    TempDb::of_bytes(if journal_mode == "WAL" { wal } else { rollback })
}

fn new_legacy_file(journal_mode: &str) -> TempDb {
    let db = TempDb::with(&shape_sql("interrupted_empty"));
    let conn = db.plain();
    lines(&conn, &format!("PRAGMA journal_mode = {journal_mode}"));
    conn.execute_batch(&format!(
        "PRAGMA synchronous = OFF;
         BEGIN;
         DELETE FROM events_legacy;
         WITH RECURSIVE count (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM count WHERE number < {EVENTS})
         INSERT INTO events_legacy (id, session_id, created_at, connection_id, sender, payload_json)
         SELECT number, 'session-' || number % 5, number / 2, 'c', 'agent', '{{\"text\":\"' || hex(zeroblob(80)) || '\"}}'
         FROM count;
         INSERT INTO events
         SELECT CAST(id AS TEXT), 1000000 + id, session_id, created_at, 'c', 'agent', '{{}}'
         FROM events_legacy WHERE id % 10 = 0;
         COMMIT;"
    ))
    .unwrap();
    db
}

fn check_that_it_has_finished(db: &TempDb) {
    let conn = db.plain();
    is_sound(&conn);
    let summary = "SELECT count(*), count(DISTINCT id), sum(CAST(id AS INTEGER)), sum(event_index >= 1000000),
            sum(payload_json = '{}'), min(event_index), (SELECT count(*) FROM sqlite_master WHERE name = 'events_legacy')
        FROM events";
    let total = EVENTS * (EVENTS + 1) / 2;
    assert_eq!(lines(&conn, summary), [format!("{EVENTS} {EVENTS} {total} 2000 2000 1 0")]);
}

/// Does nothing by itself: what the tests run as a process of its own.
#[test]
fn a_process_that_migrates() {
    let Some(task) = task() else { return };
    let mut conn = SqliteConnection::establish(&task[0]).unwrap();
    // A small cache, so that the file is written to long before the commit.
    conn.batch_execute("PRAGMA busy_timeout = 60000; PRAGMA cache_size = -200").unwrap();
    if task[1] == "PlainSql" {
        return say(&format!("outcome {:?}", Way::PlainSql.go_on(&mut conn)));
    }
    match migrate(&mut conn) {
        Ok(()) => say("outcome done"),
        Err(Error::DiskFull { source }) => say(&format!("outcome disk full: {source}")),
        Err(Error::Database { source }) => say(&format!("outcome database: {source}")),
        Err(other) => say(&format!("outcome other: {other:?}")),
    }
    say(&format!("afterwards {:?}", conn.batch_execute("BEGIN IMMEDIATE; ROLLBACK")));
}

fn migrating(way: Way, path: &Path) -> Command {
    child(a_process_that_migrates, &format!("{}|{way:?}", path.display()))
}

/// What became of the migration, and of the connection afterwards.
fn outcome<'a>(said: impl IntoIterator<Item = &'a str>) -> String {
    let told = said.into_iter().filter(|line| ["outcome ", "afterwards "].iter().any(|word| line.starts_with(word)));
    told.collect::<Vec<_>>().join("; ")
}

fn kill_at_many_points(way: Way, journal_mode: &str, times: u32) {
    let whole = large_legacy_file(journal_mode);
    let before = dump(&whole.plain());
    let start = Instant::now();
    let outcome = outcome(output(&mut migrating(way, &whole.path())).lines());
    let duration = start.elapsed();
    assert!(outcome.starts_with("outcome done") || outcome == "outcome Ok(())", "{outcome}");
    check_that_it_has_finished(&whole);

    let (mut killed, mut in_the_middle) = (0, 0);
    for point in 0..times {
        let db = large_legacy_file(journal_mode);
        let mut process = migrating(way, &db.path()).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(duration * point / times);
        process.kill().unwrap();
        killed += u32::from(!process.wait().unwrap().success());
        let journal = db.beside(if journal_mode == "WAL" { "-wal" } else { "-journal" });
        in_the_middle += u32::from(std::fs::metadata(journal).is_ok_and(|file| file.len() > 0));

        let conn = db.plain();
        is_sound(&conn);
        let found = lines(&conn, "SELECT count(*) FROM sqlite_master WHERE name = 'events_legacy'");
        if found == ["1"] {
            let now = dump(&conn);
            assert!(now == before, "killed after {point}/{times} of {duration:?}: neither the old file nor the new");
        }
        way.go(&db).unwrap();
        check_that_it_has_finished(&db);
    }
    println!("{way:?}, {journal_mode}: {killed} of {times} killed, {in_the_middle} with a journal left behind");
    assert!(killed > 0);
}

#[test]
fn killed_with_a_rollback_journal() {
    kill_at_many_points(Way::Migrate, "DELETE", 30);
}

#[test]
fn killed_in_wal_mode() {
    kill_at_many_points(Way::Migrate, "WAL", 30);
}

#[test]
fn killed_while_running_the_plain_sql() {
    kill_at_many_points(Way::PlainSql, "DELETE", 15);
    kill_at_many_points(Way::PlainSql, "WAL", 15);
}

#[test]
fn a_file_that_may_not_grow_stays_as_it_was() {
    for journal_mode in ["DELETE", "WAL"] {
        for way in [Way::Migrate, Way::PlainSql] {
            for growth in [40_000, 100_000, 1_000_000, 3_000_000] {
                let db = large_legacy_file(journal_mode);
                lines(&db.plain(), "PRAGMA wal_checkpoint(TRUNCATE)");
                let (bytes, before) = (std::fs::read(db.path()).unwrap(), dump(&db.plain()));
                // In WAL mode it is the log that grows.
                let start = if journal_mode == "WAL" { 0 } else { bytes.len() as u64 };
                let mut limited = with_file_limit((start + growth) / 512, &migrating(way, &db.path()));
                let outcome = outcome(output(&mut limited).lines());
                let context = format!("{journal_mode}, {way:?}, {growth} bytes more: {outcome}");
                if way == Way::Migrate {
                    let typed = outcome.starts_with("outcome database: ") || outcome.starts_with("outcome disk full");
                    assert!(typed && outcome.ends_with("afterwards Ok(())"), "{context}");
                }
                assert!(outcome.contains("disk I/O error") || outcome.contains("disk is full"), "{context}");
                assert!(dump(&db.plain()) == before, "{context}");
                // By the other way, Diesel's bookkeeping table has been made before.
                if way == Way::Migrate {
                    assert!(std::fs::read(db.path()).unwrap() == bytes, "{context}");
                }
                is_sound(&db.plain());
                way.go(&db).unwrap();
                check_that_it_has_finished(&db);
            }
        }
    }
}

#[test]
fn a_full_disk_is_reported_as_such_and_nothing_is_lost() {
    for journal_mode in ["DELETE", "WAL"] {
        for room in [100_000, 1_500_000] {
            let db = large_legacy_file(journal_mode);
            lines(&db.plain(), "PRAGMA wal_checkpoint(TRUNCATE)");
            let bytes = std::fs::read(db.path()).unwrap();
            let before = dump(&db.plain());
            let Some(disk) = SmallDisk::of_size(bytes.len() as u64 + room) else { return };
            let path = disk.path();
            std::fs::write(&path, &bytes).unwrap();

            let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
            conn.batch_execute("PRAGMA cache_size = -200").unwrap();
            let error = migrate(&mut conn).unwrap_err();
            assert!(matches!(error, Error::DiskFull { .. }), "{journal_mode}, {room}: {error:?}");
            let plain = rusqlite::Connection::open(&path).unwrap();
            assert!(dump(&plain) == before, "{journal_mode}, {room}");
            is_sound(&plain);
            drop(plain);

            disk.resize(64_000_000);
            migrate(&mut conn).unwrap();
            drop(conn);
            std::fs::copy(&path, db.path()).unwrap();
            check_that_it_has_finished(&db);
        }
    }
}

#[test]
fn eight_processes_at_once_migrate_once() {
    for journal_mode in ["DELETE", "WAL"] {
        let schema_version = |db: &TempDb| lines(&db.plain(), "PRAGMA schema_version");
        let alone = large_legacy_file(journal_mode);
        migrate(&mut alone.connect()).unwrap();

        let db = large_legacy_file(journal_mode);
        let start = |_| Process::start(migrating(Way::Migrate, &db.path()));
        for process in (0..8).map(start).collect::<Vec<_>>() {
            let said = process.end();
            assert_eq!(outcome(said.iter().map(|line| &**line)), "outcome done; afterwards Ok(())");
        }
        check_that_it_has_finished(&db);
        assert_eq!(lines(&db.plain(), "SELECT count(*) FROM __diesel_schema_migrations"), ["1"]);
        assert_eq!(schema_version(&db), schema_version(&alone), "{journal_mode}: migrated more than once");
    }
}

#[test]
fn a_full_disk_is_no_refusal_wherever_it_is_found() {
    let sql = shape_sql("ids_integer")
        + "WITH RECURSIVE count (number) AS (SELECT 100 UNION ALL SELECT number + 1 FROM count WHERE number < 500)
           INSERT INTO events SELECT number, 1, 's', 1, 'c', 'agent', hex(zeroblob(200)) FROM count;
           ALTER TABLE events ADD COLUMN mine TEXT;
           UPDATE events SET mine = 'mine ' || id;
           CREATE INDEX one ON events (payload_json, mine);
           CREATE INDEX two ON events (payload_json);
           CREATE INDEX three ON events (mine, payload_json);";
    // The indexes take more room than the table, so there are limits at which only the last of them lacks some.
    let mut full = 0;
    for room in 0.. {
        let db = TempDb::with(&sql);
        let (pages, before) = (lines(&db.plain(), "PRAGMA page_count").concat(), dump(&db.plain()));
        let mut conn = db.connect();
        let limit = pages.parse::<u32>().unwrap() + room;
        conn.batch_execute(&format!("PRAGMA synchronous = OFF; PRAGMA max_page_count = {limit}")).unwrap();
        match migrate(&mut conn) {
            Ok(()) => break,
            Err(Error::DiskFull { .. }) => full += 1,
            Err(other) => panic!("with {room} more pages: {other:?}"),
        }
        assert!(dump(&db.plain()) == before, "with {room} more pages");
    }
    assert!(full > 5, "{full}");
}

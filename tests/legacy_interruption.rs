//! A migration that is killed, or finds the disk full, leaves the file as it was; the next one finishes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod common;
mod legacy;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Error, migrate};
use common::TempDb;
use legacy::{Way, dump, file_of, is_sound, lines};

const EVENTS: i64 = 20_000;

/// An interrupted rebuild of some size: most of it in `events_legacy`, the rest in `events`.
fn large_legacy_file(journal_mode: &str) -> TempDb {
    let db = file_of(&legacy::shape_sql("interrupted_empty"));
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

/// This test binary, told to migrate a file.
fn child(way: Way, path: &Path) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child_arguments(&mut child);
    child.env("LEGACY_WAY", format!("{way:?}")).env("LEGACY_FILE", path);
    child
}

fn child_arguments(command: &mut Command) {
    command.args(["--exact", "migrates_as_a_child", "--nocapture"]).stdout(Stdio::piped()).stderr(Stdio::piped());
}

/// Not a test by itself: what the other tests run as a process of its own.
#[test]
fn migrates_as_a_child() {
    let (Ok(way), Ok(path)) = (std::env::var("LEGACY_WAY"), std::env::var("LEGACY_FILE")) else { return };
    let mut conn = SqliteConnection::establish(&path).unwrap();
    // A small cache, so that the file is written to long before the commit.
    conn.batch_execute("PRAGMA busy_timeout = 60000; PRAGMA cache_size = -200").unwrap();
    if way == "PlainSql" {
        println!("outcome {:?}", Way::PlainSql.go_on(&mut conn));
        return;
    }
    match migrate(&mut conn) {
        Ok(()) => println!("outcome done"),
        Err(Error::DiskFull { source }) => println!("outcome disk full: {source}"),
        Err(Error::Database { source }) => println!("outcome database: {source}"),
        Err(other) => println!("outcome other: {other:?}"),
    }
    println!("afterwards {:?}", conn.batch_execute("BEGIN IMMEDIATE; ROLLBACK"));
}

fn outcome(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let start = text.find("outcome ").unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    text[start..]
        .lines()
        .take_while(|line| !line.is_empty() && !line.starts_with("test "))
        .collect::<Vec<_>>()
        .join("; ")
}

fn kill_at_many_points(way: Way, journal_mode: &str, times: u32) {
    let whole = large_legacy_file(journal_mode);
    let before = dump(&whole.plain());
    let start = Instant::now();
    let output = child(way, &whole.path()).output().unwrap();
    assert!(
        outcome(&output).starts_with("outcome done") || outcome(&output) == "outcome Ok(())",
        "{}",
        outcome(&output)
    );
    let duration = start.elapsed();
    check_that_it_has_finished(&whole);

    let (mut killed, mut in_the_middle) = (0, 0);
    for point in 0..times {
        let db = large_legacy_file(journal_mode);
        let mut process = child(way, &db.path()).spawn().unwrap();
        std::thread::sleep(duration * point / times);
        process.kill().unwrap();
        let output = process.wait_with_output().unwrap();
        killed += u32::from(!output.status.success());
        let journal = db.folder().join(if journal_mode == "WAL" { "sessions.db-wal" } else { "sessions.db-journal" });
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
                // The shell counts in blocks of 512 bytes. With the signal ignored, the write fails instead.
                let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", (start + growth) / 512);
                let plain_child = child(way, &db.path());
                let mut limited = Command::new("sh");
                limited.arg("-c").arg(script).arg(plain_child.get_program());
                child_arguments(&mut limited);
                limited.envs(plain_child.get_envs().filter_map(|(name, value)| Some((name, value?))));
                let outcome = outcome(&limited.output().unwrap());
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

/// A file system in memory, as large as it is made.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(folder.path());
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(folder)),
            other => {
                println!("skipped: cannot mount a small file system: {other:?}");
                None
            }
        }
    }

    fn resize(&self, bytes: u64) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={bytes}")]).arg(self.0.path());
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
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
            let Some(disk) = SmallDisk::mount(bytes.len() as u64 + room) else { return };
            let path = disk.0.path().join("sessions.db");
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
        let children: Vec<_> = (0..8).map(|_| child(Way::Migrate, &db.path()).spawn().unwrap()).collect();
        for process in children {
            assert_eq!(outcome(&process.wait_with_output().unwrap()), "outcome done; afterwards Ok(())");
        }
        check_that_it_has_finished(&db);
        assert_eq!(lines(&db.plain(), "SELECT count(*) FROM __diesel_schema_migrations"), ["1"]);
        assert_eq!(schema_version(&db), schema_version(&alone), "{journal_mode}: migrated more than once");
    }
}

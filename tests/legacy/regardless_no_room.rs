//! The plain SQL changes nothing where it finds no room, also in a client that goes on after the error.

use std::path::Path;
use std::process::{Command, Output};

use rusqlite::Connection;

use crate::common::faults::{SmallDisk, with_file_limit};
use crate::common::legacy::{Way, dump, has_shell, script_path, shape_sql, shell, statements};
use crate::common::{TempDb, is_sound, lines};

/// Some thousand events, the most of them in `events_legacy`, beside the host's notes.
fn large_file() -> TempDb {
    let db = TempDb::with(&shape_sql("interrupted_empty"));
    db.plain()
        .execute_batch(
            "CREATE TABLE notes (note TEXT); INSERT INTO notes VALUES ('mine');
             INSERT INTO sessions (id, agent, agent_session_id, last_connection_id, created_at)
             WITH RECURSIVE count (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM count WHERE number < 2000)
             SELECT 'session-' || number, 'claude', hex(zeroblob(50)), 'c', number FROM count;
             WITH RECURSIVE count (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM count WHERE number < 3000)
             INSERT INTO events_legacy (id, session_id, created_at, connection_id, sender, payload_json)
             SELECT 1000 + number, 'session-' || number % 5, number, 'c', 'agent', hex(zeroblob(100)) FROM count;
             INSERT INTO events
             SELECT CAST(id AS TEXT), id, session_id, created_at, 'c', 'agent', hex(zeroblob(100))
             FROM events_legacy WHERE id % 2;
             VACUUM;",
        )
        .unwrap();
    db
}

/// Checks that a run that found no room has changed nothing, and that another one finishes.
fn check_that_nothing_has_changed(db: &TempDb, before: &[String], context: &str) {
    assert!(dump(&db.plain()) == before, "{context}");
    is_sound(&db.plain());
    assert_eq!(lines(&db.plain(), "PRAGMA freelist_count"), ["0"], "{context}");
    Way::Regardless.go(db).unwrap();
    assert_eq!(lines(&db.plain(), "SELECT count(*) FROM events"), ["3006"], "{context}");
}

/// A limit on the pages ends only the statement that needs one more, and leaves the transaction open.
#[test]
fn a_limit_on_the_pages_changes_nothing() {
    let template = large_file();
    let (before, original) = (dump(&template.plain()), std::fs::read(template.path()).unwrap());
    let pages = original.len() / 4096;
    let mut stopped = 0;
    for room in (0..pages * 2).step_by(17) {
        let limit = format!("PRAGMA synchronous = OFF; PRAGMA max_page_count = {}", pages + room);
        for by_shell in [false, true] {
            let db = TempDb::of_bytes(&original);
            let context = format!("{room} pages more, by shell: {by_shell}");
            let failed = if by_shell {
                if !has_shell() {
                    continue;
                }
                // The shell shows what the limit has become.
                let output = shell(&["-cmd", &limit], &db.path(), &script_path("up.sql"));
                String::from_utf8_lossy(&output.stderr).contains("full")
            } else {
                let conn = db.plain();
                conn.execute_batch(&limit).unwrap();
                let outcomes: Vec<_> = statements().iter().map(|statement| conn.execute_batch(statement)).collect();
                assert!(conn.is_autocommit(), "{context}");
                outcomes.iter().any(Result::is_err)
            };
            if failed {
                stopped += 1;
                check_that_nothing_has_changed(&db, &before, &context);
            } else {
                assert_eq!(lines(&db.plain(), "SELECT count(*) FROM events"), ["3006"], "{context}");
            }
        }
    }
    assert!(stopped > 20, "{stopped}");
}

/// The shell, where no file may grow beyond a size.
fn limited_shell(db: &Path, blocks: u64) -> Output {
    // A small cache, so that the file is written to long before the commit.
    let mut shell = Command::new("sqlite3");
    shell.args(["-cmd", "PRAGMA cache_size = 20"]).arg(db);
    let input = std::fs::File::open(script_path("up.sql")).unwrap();
    with_file_limit(blocks, &shell).stdin(input).output().unwrap()
}

#[test]
fn a_file_that_may_not_grow_stays_as_it_was() {
    if !has_shell() {
        return;
    }
    for journal_mode in ["DELETE", "WAL"] {
        let db = large_file();
        lines(&db.plain(), &format!("PRAGMA journal_mode = {journal_mode}"));
        let (before, original) = (dump(&db.plain()), std::fs::read(db.path()).unwrap());
        let start = if journal_mode == "WAL" { 0 } else { original.len() as u64 };
        for more in [8192, 40_000, 100_000, 200_000, 400_000, 600_000] {
            let output = limited_shell(&db.path(), (start + more) / 512);
            let said = String::from_utf8_lossy(&output.stderr);
            let context = format!("{journal_mode}, {more} bytes more: {said}");
            assert!(said.contains("disk I/O error") || said.contains("is full"), "{context}");
            assert!(dump(&db.plain()) == before, "{context}");
            is_sound(&db.plain());
        }
        check_that_nothing_has_changed(&db, &before, journal_mode);
    }
}

/// A file system in memory that is as large as the file and a little more.
#[test]
fn a_full_disk_changes_nothing() {
    let template = large_file();
    lines(&template.plain(), "PRAGMA journal_mode = WAL");
    let (before, original) = (dump(&template.plain()), std::fs::read(template.path()).unwrap());
    for room in [60_000, 150_000, 400_000] {
        let Some(disk) = SmallDisk::of_size((original.len() + room) as u64) else { return };
        let path = disk.path();
        std::fs::write(&path, &original).unwrap();
        let output = has_shell().then(|| shell(&["-cmd", "PRAGMA cache_size = 20"], &path, &script_path("up.sql")));
        let said = output.map(|output| String::from_utf8(output.stderr).unwrap());
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("PRAGMA cache_size = 20").unwrap();
        let failed = statements().iter().filter(|statement| conn.execute_batch(statement).is_err()).count();
        let now = dump(&conn);
        drop(conn);
        std::fs::copy(&path, template.path()).unwrap();
        drop(disk);
        assert!(said.is_none_or(|said| said.contains("is full")) && failed > 0, "{room}");
        assert!(now == before, "{room}");
        check_that_nothing_has_changed(&template, &before, &room.to_string());
    }
}

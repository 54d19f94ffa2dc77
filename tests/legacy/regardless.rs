//! The plain SQL is all or nothing also for a client that goes on after an error: SQLite's shell, and one that runs
//! statement after statement.

use std::path::Path;

use rusqlite::Connection;

use crate::common::legacy::{
    Way, dump, has_shell, legacy_file, listed, schema, script_path, shape_sql, shapes, shell, statements,
};
use crate::common::process::{Process, child, say, task, wait};
use crate::common::{TempDb, is_sound, lines};

/// A table of the host's whose rows go with the events, if those are deleted.
const MARKS: &str = "
    CREATE TABLE marks (event_id TEXT NOT NULL REFERENCES events(id) ON DELETE CASCADE);
    INSERT INTO marks SELECT id FROM events;
";

/// The server's database, in which one event has lost its payload.
fn server_file_with_a_null() -> TempDb {
    let db = TempDb::fixture("server-0.4.2.db");
    db.plain()
        .execute_batch(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_master SET sql = replace(sql, 'payload_json TEXT NOT NULL', 'payload_json TEXT')
             WHERE name = 'events';
             PRAGMA writable_schema = RESET;
             UPDATE events SET payload_json = NULL WHERE rowid = 7;",
        )
        .unwrap();
    db
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// A statement fails.
    Statement,
    /// A statement fails, and SQLite ends the transaction.
    Transaction,
    /// Nothing works, until this statement has failed: a lock that was let go of.
    AllSoFar,
}

/// These need neither the file nor a lock, only a few bytes for a name.
fn cannot_fail(statement: &str) -> bool {
    statement.starts_with("SAVEPOINT") || statement == "ROLLBACK"
}

/// Runs the script on a connection, with a fault at one statement; what fails otherwise is passed over.
fn run_with_fault(conn: &Connection, script: &[String], at: usize, fault: Fault) {
    for (place, statement) in script.iter().enumerate() {
        match fault {
            Fault::Statement if place == at => {}
            Fault::Transaction if place == at => drop(conn.execute_batch("ROLLBACK")),
            Fault::AllSoFar if place <= at && !cannot_fail(statement) => {}
            _ => drop(conn.execute_batch(statement)),
        }
    }
}

/// Whatever statement fails, and however, the file is as it was or migrated.
#[test]
fn any_statement_may_fail() {
    let script = statements();
    let whole = |sql: &str| {
        let db = TempDb::with(sql);
        db.plain().execute_batch(&std::fs::read_to_string(script_path("up.sql")).unwrap()).unwrap();
        dump(&db.plain())
    };
    let files = [
        shape_sql("ids_integer") + MARKS,
        shape_sql("interrupted_half"),
        shape_sql("only_events"),
        // To be refused, at the first look and while it is copied.
        shape_sql("no_index_ids_text") + "CREATE INDEX mine ON events (sender);",
        shape_sql("current") + "INSERT INTO events VALUES (NULL, 9, 's1', 1, 'c', 'agent', '{}');",
    ];
    for (number, sql) in files.iter().enumerate() {
        let is_refused = number > 2;
        let template = TempDb::with(sql);
        let (before, original) = (dump(&template.plain()), bytes(&template.path()));
        let after = if is_refused { Vec::new() } else { whole(sql) };
        let (mut unchanged, mut migrated) = (0, 0);
        for fault in [Fault::Statement, Fault::Transaction, Fault::AllSoFar] {
            for at in 0..script.len() {
                if cannot_fail(&script[at]) {
                    continue;
                }
                let context = || format!("file {number}, {fault:?} at {:?}", script[at]);
                let db = TempDb::of_bytes(&original);
                let conn = db.plain();
                conn.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY")
                    .unwrap();
                run_with_fault(&conn, &script, at, fault);
                assert!(conn.is_autocommit(), "{}", context());
                let now = dump(&db.plain());
                if now == before {
                    assert!(bytes(&db.path()) == original, "{}: the bytes have changed", context());
                    unchanged += 1;
                } else {
                    assert!(!is_refused && now == after, "{}: {now:#?}", context());
                    migrated += 1;
                }
                is_sound(&conn);
                if fault != Fault::Statement {
                    continue;
                }
                // What it has left on the connection does not stand in the way of the next run.
                let again = conn.execute_batch(&script.join(";\n"));
                assert_eq!(again.is_err(), is_refused, "{}: {again:?}", context());
                if !is_refused {
                    assert!(dump(&db.plain()) == after, "{}, again", context());
                    assert_eq!(lines(&conn, "SELECT name FROM sqlite_temp_master"), [""; 0], "{}", context());
                }
            }
        }
        assert!(
            unchanged > script.len() && (is_refused || migrated > 10),
            "{unchanged} unchanged, {migrated} migrated"
        );
    }
}

#[test]
fn a_null_in_the_servers_file_loses_no_event() {
    let db = server_file_with_a_null();
    let (before, original) = (dump(&db.plain()), bytes(&db.path()));
    assert_eq!(lines(&db.plain(), "SELECT count(*) FROM events"), ["72"]);
    let mut ways = vec![Way::Regardless];
    ways.extend(has_shell().then_some(Way::Shell));
    for way in ways {
        let error = way.go(&db).unwrap_err();
        assert!(error.contains("the events row 7 (id ") && error.contains("has no payload_json"), "{way:?}: {error}");
        assert_eq!(dump(&db.plain()), before, "{way:?}");
        assert!(bytes(&db.path()) == original, "{way:?}");
    }
    db.plain().execute_batch("UPDATE events SET payload_json = '{}' WHERE payload_json IS NULL").unwrap();
    for way in [Way::Regardless, Way::Migrate] {
        way.go(&db).unwrap();
        assert_eq!(lines(&db.plain(), "SELECT count(*) FROM events"), ["72"]);
    }
}

/// Shape by shape, the shell says nothing and leaves what the crate does.
#[test]
fn the_shell_migrates_as_the_crate_does() {
    if !has_shell() {
        return;
    }
    for shape in shapes() {
        let [by_shell, by_crate] = [Way::Shell, Way::Migrate].map(|way| {
            let db = legacy_file(&shape);
            way.go(&db).unwrap_or_else(|error| panic!("{shape} by {way:?}: {error}"));
            let conn = db.plain();
            is_sound(&conn);
            (schema(&conn), listed(&conn))
        });
        assert_eq!(by_shell, by_crate, "{shape}");
    }
}

/// Does nothing by itself: a process that holds the lock that its task names.
#[test]
fn a_process_that_holds_a_lock() {
    let Some(task) = task() else { return };
    let conn = Connection::open(&task[0]).unwrap();
    conn.execute_batch(&format!("BEGIN {}", task[1])).unwrap();
    say("held");
    wait();
}

/// The lock that the script meets is let go of at every point there is, and what follows must not get anywhere.
#[test]
fn a_lock_that_is_let_go_of_in_the_middle_changes_nothing() {
    let script = statements();
    let begin = script.iter().position(|statement| statement == "BEGIN IMMEDIATE").unwrap();
    let template = legacy_file("interrupted_half");
    let original = bytes(&template.path());
    for lock in ["IMMEDIATE", "EXCLUSIVE"] {
        for free_from in begin + 1..script.len() {
            let db = TempDb::of_bytes(&original);
            let (holder, conn) = (db.plain(), db.plain());
            holder.execute_batch(&format!("BEGIN {lock}")).unwrap();
            conn.busy_timeout(std::time::Duration::ZERO).unwrap();
            for (place, statement) in script.iter().enumerate() {
                if place == free_from {
                    holder.execute_batch("ROLLBACK").unwrap();
                }
                let outcome = conn.execute_batch(statement);
                assert!(place != begin || outcome.is_err());
            }
            assert!(conn.is_autocommit());
            assert!(bytes(&db.path()) == original, "{lock}, free before {:?}", script[free_from]);
        }
    }
}

#[test]
fn beside_another_process_the_shell_changes_nothing() {
    if !has_shell() {
        return;
    }
    for lock in ["IMMEDIATE", "EXCLUSIVE"] {
        let db = legacy_file("ids_integer");
        let original = bytes(&db.path());
        let holder = Process::start(child(a_process_that_holds_a_lock, &format!("{}|{lock}", db.path().display())));
        holder.wait_for("held");
        let output = shell(&[], &db.path(), &script_path("up.sql"));
        assert!(String::from_utf8_lossy(&output.stderr).contains("database is locked"));
        assert!(bytes(&db.path()) == original);
        holder.end();
        Way::Shell.go(&db).unwrap();
    }
}

#[test]
fn a_file_opened_for_reading_stays_as_it_was() {
    if !has_shell() {
        return;
    }
    let db = legacy_file("ids_integer");
    let original = bytes(&db.path());
    let output = shell(&["-readonly"], &db.path(), &script_path("up.sql"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("readonly"));
    assert!(bytes(&db.path()) == original);
}

/// Newer shells are in defensive mode, in which the statement that brings references back cannot run, not even where
/// there are none.
#[test]
fn in_defensive_mode_a_reference_that_has_gone_astray_is_refused() {
    if !has_shell() {
        return;
    }
    let defensive = |db: &TempDb| {
        let output = shell(&["-cmd", ".dbconfig defensive on"], &db.path(), &script_path("up.sql"));
        assert!(String::from_utf8_lossy(&output.stderr).contains("table sqlite_master may not be modified"));
    };
    let db = legacy_file("interrupted_half");
    defensive(&db);
    assert_eq!(lines(&db.plain(), "SELECT count(*) FROM sqlite_master WHERE name = 'events_legacy'"), ["0"]);
    assert_eq!(listed(&db.plain()).len(), 8);

    let astray = "CREATE TABLE marks (event_id TEXT REFERENCES \"events_legacy\"(id) ON DELETE CASCADE);";
    let db = TempDb::with(&(shape_sql("interrupted_half") + astray));
    let original = bytes(&db.path());
    defensive(&db);
    assert!(bytes(&db.path()) == original);
    Way::Shell.go(&db).unwrap();
    assert_eq!(lines(&db.plain(), "SELECT count(*) FROM sqlite_master WHERE sql LIKE '%events_legacy%'"), ["0"]);
}

/// It cannot switch enforcement in there, nor be all or nothing by itself.
#[test]
fn in_an_open_transaction_nothing_is_changed() {
    for enforced in [0, 1] {
        let db = TempDb::with(&(shape_sql("ids_integer") + MARKS));
        let before = dump(&db.plain());
        let conn = db.plain();
        conn.execute_batch(&format!("PRAGMA foreign_keys = {enforced}; BEGIN; INSERT INTO marks VALUES ('1')"))
            .unwrap();
        let outcomes: Vec<_> = statements().iter().map(|statement| conn.execute_batch(statement)).collect();
        assert!(outcomes.iter().any(Result::is_err) && conn.is_autocommit());
        drop(conn);
        assert_eq!(dump(&db.plain()), before);
    }
}

#[test]
fn after_a_refusal_the_same_connection_can_run_it_again() {
    let db = server_file_with_a_null();
    let conn = db.plain();
    let run = || statements().iter().filter(|statement| conn.execute_batch(statement).is_err()).count();
    for _ in 0..2 {
        assert!(run() > 0);
        assert_eq!(lines(&conn, "SELECT name FROM sqlite_temp_master"), [""; 0]);
        assert_eq!(lines(&conn, "PRAGMA foreign_keys; "), ["1"]);
        assert_eq!(lines(&conn, "PRAGMA legacy_alter_table"), ["0"]);
    }
    conn.execute_batch("UPDATE events SET payload_json = '{}' WHERE payload_json IS NULL").unwrap();
    assert_eq!(run(), 0);
    assert_eq!(lines(&conn, "SELECT name FROM sqlite_temp_master"), [""; 0]);
    assert_eq!(lines(&conn, "SELECT count(*) FROM events"), ["72"]);
}

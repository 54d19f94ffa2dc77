//! A host's foreign keys, views, triggers and indexes on the tables survive every rebuild, or it is refused.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::prelude::*;
use agent_session_store::diesel::sql_types::Integer;
use agent_session_store::{Error, diesel, migrate};

use crate::common::legacy::{Way, dump, listed, refusal, shape_sql, shapes, ways};
use crate::common::{TempDb, is_sound, lines};

/// Tables, views and triggers of a host's that refer to ours.
const HOST: &str = "
    CREATE TABLE notes (session_id TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE, events INTEGER);
    CREATE TABLE marks (event_id {type} NOT NULL REFERENCES events(id) ON DELETE CASCADE, mark TEXT);
    INSERT INTO notes SELECT id, 0 FROM sessions;
    INSERT INTO marks SELECT id, 'mark of ' || id FROM events;
    CREATE VIEW session_times AS SELECT session_id, max(created_at) AS latest FROM events GROUP BY session_id;
    CREATE VIEW agents AS SELECT id, agent FROM sessions;
    CREATE TRIGGER count_events AFTER INSERT ON notes BEGIN
        UPDATE notes SET events = (SELECT count(*) FROM events WHERE events.session_id = NEW.session_id)
        WHERE rowid = NEW.rowid;
    END;
";

/// What a host may hang on the tables themselves.
const ATTACHED: &str = "
    CREATE TABLE journal (entry TEXT);
    CREATE INDEX host_events_by_time ON events (created_at);
    CREATE INDEX host_sessions_by_agent ON sessions (agent) WHERE destroyed_at IS NULL;
    CREATE TRIGGER host_event_added AFTER INSERT ON events BEGIN
        INSERT INTO journal VALUES ('event ' || NEW.id || ' of ' || (SELECT count(*) FROM events));
    END;
    CREATE TRIGGER host_session_gone AFTER DELETE ON sessions BEGIN
        INSERT INTO journal VALUES ('session ' || OLD.id);
    END;
";

/// The shapes that have both tables.
fn host_shapes() -> impl Iterator<Item = String> {
    shapes().into_iter().filter(|shape| !matches!(&**shape, "empty" | "only_sessions" | "only_events"))
}

/// A file of such a shape, with the host's objects made before an interrupted rebuild began.
fn host_file(shape: &str, host: &str) -> TempDb {
    let sql = shape_sql(shape);
    let id_type = if sql.to_lowercase().contains("id integer primary key") { "INTEGER" } else { "TEXT" };
    let host = host.replace("{type}", id_type);
    let rename = "ALTER TABLE events RENAME TO events_legacy;";
    match sql.split_once(rename) {
        Some((before, after)) => TempDb::with(&format!("{before}{host}{rename}{after}")),
        None => TempDb::with(&(sql + &host)),
    }
}

fn foreign_keys(conn: &mut SqliteConnection) -> i32 {
    diesel::dsl::sql::<Integer>("PRAGMA foreign_keys").get_result(conn).unwrap()
}

const MARKS: &str = "SELECT event_id, mark FROM marks ORDER BY mark";

fn check_that_the_host_still_works(conn: &rusqlite::Connection, context: &str) {
    is_sound(conn);
    assert_eq!(lines(conn, "PRAGMA foreign_key_check"), [""; 0], "{context}");
    conn.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    assert_eq!(
        lines(conn, "SELECT * FROM session_times"),
        ["early 500", "s1 1000", "s2 900"].map(String::from),
        "{context}"
    );
    assert_eq!(
        lines(conn, "SELECT * FROM agents ORDER BY id"),
        ["s1 claude", "s2 codex"].map(String::from),
        "{context}"
    );
    conn.execute_batch("INSERT INTO notes VALUES ('s2', 0)").unwrap();
    assert_eq!(lines(conn, "SELECT max(events) FROM notes WHERE session_id = 's2'"), ["1"], "{context}");
    conn.execute_batch("INSERT INTO marks VALUES ('nobody', 'x')").expect_err(context);
    conn.execute_batch("INSERT INTO marks SELECT id, 'another' FROM events WHERE session_id = 's2'").unwrap();

    conn.execute_batch("DELETE FROM events WHERE session_id = 's2'").unwrap();
    assert_eq!(lines(conn, "SELECT count(*) FROM marks"), ["5"], "{context}");
    conn.execute_batch("DELETE FROM sessions WHERE id = 's1'").unwrap();
    assert_eq!(lines(conn, "SELECT DISTINCT session_id FROM notes"), ["s2"], "{context}");
}

fn without_later_rows(conn: &rusqlite::Connection) {
    conn.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM events WHERE id LIKE 'later-%'").unwrap();
}

#[test]
fn what_refers_to_the_tables_still_does() {
    for shape in host_shapes() {
        for way in ways() {
            let db = host_file(&shape, HOST);
            let context = format!("{shape} by {way:?}");
            let marks = lines(&db.plain(), MARKS);
            assert_eq!(marks.len(), 6, "{context}");
            way.go(&db).unwrap_or_else(|error| panic!("{context}: {error}"));
            let conn = db.plain();
            assert_eq!(lines(&conn, MARKS), marks, "{context}");
            assert_eq!(lines(&conn, "SELECT session_id FROM notes ORDER BY 1"), ["s1", "s2"], "{context}");
            assert_eq!(
                lines(&conn, "SELECT 1 FROM sqlite_master WHERE sql LIKE '%events_legacy%'"),
                [""; 0],
                "{context}"
            );
            without_later_rows(&conn);
            check_that_the_host_still_works(&conn, &context);
        }
    }
}

#[test]
fn what_hangs_on_the_tables_is_carried_over_or_refused() {
    let host = format!("{HOST}{ATTACHED}");
    for shape in host_shapes() {
        for way in ways() {
            let db = host_file(&shape, &host);
            let context = format!("{shape} by {way:?}");
            let before = dump(&db.plain());
            match way.go(&db) {
                Ok(()) => assert!(way.is_embedded(), "{context} has lost something"),
                Err(error) => {
                    assert!(!way.is_embedded(), "{context}: {error}");
                    assert!(error.contains("which a rebuild would drop"), "{context}: {error}");
                    assert_eq!(dump(&db.plain()), before, "{context}");
                    continue;
                }
            }
            let conn = db.plain();
            without_later_rows(&conn);
            conn.execute_batch("INSERT INTO events VALUES ('new', 1, 's3', 1, 'c', 'client', '{}')").unwrap();
            assert_eq!(lines(&conn, "SELECT * FROM journal"), ["event new of 7"], "{context}");
            conn.execute_batch("DELETE FROM events WHERE id = 'new'").unwrap();
            check_that_the_host_still_works(&conn, &context);
            assert_eq!(lines(&conn, "SELECT entry FROM journal LIMIT 1 OFFSET 1"), ["session s1"], "{context}");
            let indexes =
                "SELECT name, tbl_name FROM sqlite_master WHERE type = 'index' AND name LIKE 'host%' ORDER BY 1";
            assert_eq!(
                lines(&conn, indexes),
                ["host_events_by_time events", "host_sessions_by_agent sessions"],
                "{context}"
            );
        }
    }
}

#[test]
fn the_foreign_keys_setting_is_what_it_was() {
    for way in [Way::Migrate, Way::Harness] {
        for shape in host_shapes() {
            for setting in [0, 1] {
                let db = host_file(&shape, HOST);
                let mut conn = db.connect();
                conn.batch_execute(&format!("PRAGMA foreign_keys = {setting}")).unwrap();
                way.go_on(&mut conn).unwrap();
                assert_eq!(foreign_keys(&mut conn), setting, "{shape} by {way:?}");
            }
        }
    }
}

#[test]
fn the_foreign_keys_setting_is_what_it_was_after_a_refusal_too() {
    for way in [Way::Migrate, Way::Harness] {
        for setting in [0, 1] {
            let db = host_file("interrupted_alone", HOST);
            let mut conn = db.connect();
            conn.batch_execute(&format!(
                "PRAGMA foreign_keys = {setting}; ALTER TABLE events_legacy ADD COLUMN mine REFERENCES notes"
            ))
            .unwrap();
            way.go_on(&mut conn).unwrap_err();
            assert_eq!(foreign_keys(&mut conn), setting, "{way:?}");
        }
    }
}

#[test]
fn a_finished_rebuild_of_the_reference_driver_gets_its_references_back() {
    // With enforcement off, the rows that refer to events outlive its drop, but they refer to events_legacy.
    for way in ways() {
        let db = host_file("interrupted_copied", HOST);
        db.plain().execute_batch("PRAGMA foreign_keys = OFF; DROP TABLE events_legacy").unwrap();
        let kept = listed(&db.plain());
        way.go(&db).unwrap();
        let conn = db.plain();
        assert_eq!(listed(&conn), kept, "{way:?}");
        check_that_the_host_still_works(&conn, &format!("{way:?}"));
    }
}

#[test]
fn inside_a_transaction_with_enforcement_a_rebuild_of_what_is_referred_to_is_refused() {
    for shape in ["ids_integer", "interrupted_alone", "interrupted_half"] {
        let db = host_file(shape, HOST);
        let before = dump(&db.plain());
        let mut conn = db.connect();
        conn.batch_execute("PRAGMA foreign_keys = ON").unwrap();
        let refused = conn.transaction(|conn| {
            let reason = refusal(conn);
            assert!(reason.contains("another table refers to it"), "{shape}: {reason}");
            Err::<(), Error>(Error::CannotMigrate { reason })
        });
        refused.unwrap_err();
        assert_eq!(dump(&db.plain()), before, "{shape}");
        migrate(&mut conn).unwrap();
        without_later_rows(&db.plain());
        check_that_the_host_still_works(&db.plain(), shape);
    }
}

#[test]
fn inside_a_transaction_it_takes_part_in_it() {
    for shape in ["current", "ids_integer", "interrupted_half"] {
        let db = TempDb::with(&shape_sql(shape));
        let before = dump(&db.plain());
        let mut conn = db.connect();
        let undone = conn.transaction(|conn| {
            migrate(conn)?;
            Err::<(), Error>(Error::CannotMigrate { reason: "not now".to_owned() })
        });
        undone.unwrap_err();
        assert_eq!(dump(&db.plain()), before, "{shape}");
        conn.transaction(migrate).unwrap();
        is_sound(&db.plain());
    }
}

#[test]
fn inside_a_transaction_a_fresh_file_takes_no_harm_from_tables_that_refer_to_what_is_not_there_yet() {
    let db = TempDb::with("CREATE TABLE notes (session_id TEXT REFERENCES sessions(id) ON DELETE CASCADE)");
    let mut conn = db.connect();
    conn.batch_execute("PRAGMA foreign_keys = ON").unwrap();
    conn.begin_test_transaction().unwrap();
    migrate(&mut conn).unwrap();
    conn.batch_execute("INSERT INTO notes VALUES ('nobody')").unwrap_err();
}

#[test]
fn a_text_of_the_hosts_that_is_no_reference_stays() {
    for way in ways() {
        let db = TempDb::with("CREATE TABLE notes (text TEXT DEFAULT '\"events_legacy\"')");
        way.go(&db).unwrap();
        let conn = db.plain();
        conn.execute_batch("INSERT INTO notes DEFAULT VALUES").unwrap();
        assert_eq!(lines(&conn, "SELECT text FROM notes"), ["\"events_legacy\""], "{way:?}");
    }
}

#[test]
fn names_in_another_case_end_as_ours() {
    for way in ways() {
        let db = TempDb::with(
            "CREATE TABLE Sessions (id TEXT PRIMARY KEY, agent TEXT NOT NULL, agent_session_id TEXT NOT NULL, \
             last_connection_id TEXT NOT NULL, created_at INTEGER NOT NULL, destroyed_at INTEGER, sandbox_id TEXT, \
             session_init_json TEXT, config_options_json TEXT, modes_json TEXT); \
             CREATE TABLE EVENTS (id INTEGER PRIMARY KEY, event_index INTEGER, session_id TEXT, created_at INTEGER, \
             connection_id TEXT, sender TEXT, payload_json TEXT); \
             CREATE INDEX IDX_EVENTS_SESSION_ORDER ON events (session_id, event_index, id); \
             INSERT INTO events VALUES (1, 1, 's', 1, 'c', 'client', '{}')",
        );
        way.go(&db).unwrap_or_else(|error| panic!("{way:?}: {error}"));
        let tables = "SELECT name FROM sqlite_master WHERE lower(name) IN ('sessions', 'events') ORDER BY 1";
        assert_eq!(lines(&db.plain(), tables), ["events", "sessions"], "{way:?}");
        assert_eq!(lines(&db.plain(), "SELECT id FROM events"), ["1"], "{way:?}");
        is_sound(&db.plain());
    }
}

//! Legacy files built from bytes: any mix of tables, columns, declarations and values.

use std::collections::BTreeMap;

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::prelude::*;
use agent_session_store::{Error, SessionPersistDriver, migrate};

use super::{Choices, execute, exported, lines, message};

const SESSIONS: [&str; 10] = [
    "id",
    "agent",
    "agent_session_id",
    "last_connection_id",
    "created_at",
    "destroyed_at",
    "session_init_json",
    "sandbox_id",
    "config_options_json",
    "modes_json",
];
const EVENTS: [&str; 7] = ["id", "session_id", "created_at", "connection_id", "sender", "payload_json", "event_index"];

const NUMBERS: [&str; 3] = ["created_at", "destroyed_at", "event_index"];

/// What is migrated is all there, once; what is refused stays as it was.
pub fn run(data: &[u8]) {
    let mut choices = Choices(data);
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    let is_utf16 = choices.byte() % 8 == 1;
    if is_utf16 {
        execute(&mut conn, "PRAGMA encoding = 'UTF-16le'");
    }
    let foreign_keys = choices.byte() % 2;
    execute(&mut conn, &format!("PRAGMA foreign_keys = {foreign_keys}"));
    for (table, columns) in [("sessions", &SESSIONS[..]), ("events", &EVENTS[..]), ("events_legacy", &EVENTS[..])] {
        let is_there = if table == "events_legacy" { choices.byte() % 3 == 2 } else { choices.byte() % 8 != 7 };
        if is_there {
            build(&mut conn, table, columns, &mut choices);
        }
    }
    if is_utf16 {
        // As text, a BLOB of an odd number of bytes has one less there.
        for table in ["sessions", "events", "events_legacy"] {
            let _ = conn.batch_execute(&format!("DELETE FROM {table} WHERE typeof(id) = 'blob'"));
        }
    }
    build_hosts(&mut conn, &mut choices);

    let before = dump(&mut conn);
    let sessions = rows(&mut conn, "sessions", &SESSIONS);
    let mut events = rows(&mut conn, "events_legacy", &EVENTS);
    events.extend(rows(&mut conn, "events", &EVENTS));
    match migrate(&mut conn) {
        Ok(()) => {
            is_kept(sessions, rows(&mut conn, "sessions", &SESSIONS));
            is_kept(events, rows(&mut conn, "events", &EVENTS));
            assert!(
                lines(&mut conn, "SELECT name AS line FROM sqlite_master WHERE lower(name) = 'events_legacy'")
                    .is_empty()
            );
            let report = conn.check().unwrap();
            assert!(report.integrity.is_empty(), "{report:?}");
            if report.is_sound() {
                exported(&mut conn).unwrap();
            }
            let migrated = dump(&mut conn);
            migrate(&mut conn).unwrap();
            assert_eq!(dump(&mut conn), migrated, "once more is once too often");
        }
        Err(Error::CannotMigrate { .. }) => assert_eq!(dump(&mut conn), before),
        Err(error) => panic!("{}", message(&error)),
    }
    assert_eq!(
        lines(&mut conn, "SELECT CAST(foreign_keys AS TEXT) AS line FROM pragma_foreign_keys"),
        [foreign_keys.to_string()]
    );
}

/// Makes a table and its rows. What SQLite refuses is not there.
fn build(conn: &mut SqliteConnection, table: &str, columns: &[&str], choices: &mut Choices<'_>) {
    let odd = choices.byte();
    let mut declared: Vec<(String, &str)> = Vec::new();
    for column in columns {
        // Most columns are as they were in some version of the reference driver.
        let how = choices.byte();
        let is_number = NUMBERS.contains(column);
        let kind = match how % 16 {
            0..10 => {
                if is_number {
                    "INTEGER"
                } else {
                    "TEXT"
                }
            }
            10 => {
                if is_number {
                    "bigint"
                } else {
                    "varchar(40)"
                }
            }
            11 => "INTEGER",
            12 => "  text ",
            13 => "",
            14 => "BLOB",
            _ => "REAL",
        };
        let constraint = match (*column, how / 16) {
            ("id", 0..6) => "PRIMARY KEY",
            ("id", 6..9) => "NOT NULL PRIMARY KEY",
            ("id", 9..11) => "PRIMARY KEY AUTOINCREMENT",
            ("id", 11) => "UNIQUE",
            (_, 15) => "DEFAULT 'x'",
            (_, 14) if *column != "created_at" => continue,
            (_, 0..8) => "",
            _ => "NOT NULL",
        };
        declared.push((format!("{column} {kind} {constraint}"), column));
    }
    if odd % 16 == 1 {
        declared.push(("server_id TEXT".to_owned(), "server_id"));
    }
    if odd % 4 == 2 {
        declared.reverse();
    }
    let (declarations, names): (Vec<_>, Vec<_>) = declared.into_iter().unzip();
    let name = match odd / 16 {
        1 => format!("\"{table}\""),
        2 => format!("[{}]", table.to_uppercase()),
        3 => format!("`{table}` /* ) */"),
        _ => table.to_owned(),
    };
    let end = match odd / 16 {
        14 => " WITHOUT ROWID",
        15 => " STRICT",
        _ => "",
    };
    let sql = format!("CREATE TABLE {name} ({}){end}", declarations.join(", -- a, b\n"));
    if conn.batch_execute(&sql).is_err() {
        return;
    }
    for _ in 0..choices.below(12) {
        let values: Vec<&str> = names.iter().map(|column| value(column, choices)).collect();
        let _ = conn.batch_execute(&format!("INSERT INTO {table} VALUES ({})", values.join(", ")));
    }
}

fn value(column: &str, choices: &mut Choices<'_>) -> &'static str {
    let odd = choices.byte();
    if odd >= 240 {
        return choices.one_of(&[
            "NULL",
            "x'ff00'",
            "9223372036854775807",
            "-1.5",
            "''",
            "'a' || char(0) || 'b'",
            "9e99",
        ]);
    }
    let usual: &[&str] = match column {
        "id" => &["1", "2", "10", "'1'", "'2'", "'10'", "3", "4", "'é'", "'e1'", "'e2'", "x'31'", "1.0"],
        "session_id" => &["'s1'", "'s2'", "1", "'S1'"],
        "created_at" => &["1000", "1000", "999", "1000.5"],
        "destroyed_at" => &["NULL", "1", "'2'"],
        "event_index" => &["NULL", "1", "2", "7", "-1"],
        "sender" => &["'agent'", "'client'"],
        "payload_json" => &["'{}'", "'{\"a\":1.0}'", "'\"\\ud83d\"'", "1"],
        _ => &["'x'", "NULL", "'null'", "'[]'", "'é'"],
    };
    usual[usize::from(odd) % usual.len()]
}

/// What a host may have beside and on the tables.
fn build_hosts(conn: &mut SqliteConnection, choices: &mut Choices<'_>) {
    let chosen = choices.byte();
    let pieces = [
        "CREATE INDEX idx_events_session_created ON events (session_id, created_at)",
        "CREATE INDEX idx_events_session_order ON events (session_id, event_index, id)",
        "CREATE TABLE child (event REFERENCES events (id) ON DELETE CASCADE, session REFERENCES sessions ON DELETE CASCADE);
         INSERT INTO child SELECT id, session_id FROM events WHERE session_id IN (SELECT id FROM sessions)",
        "CREATE VIEW seen AS SELECT id, payload_json FROM events",
        "CREATE TABLE log (id);
         CREATE TRIGGER logged AFTER INSERT ON events BEGIN INSERT INTO log VALUES (new.id); END",
        "CREATE UNIQUE INDEX host_unique ON sessions (agent, created_at)",
        "CREATE TABLE idx_sessions_order (x)",
        "CREATE TRIGGER kept BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'kept'); END",
    ];
    for (place, piece) in pieces.into_iter().enumerate() {
        if chosen & (1 << place) != 0 {
            let _ = conn.batch_execute(piece);
        }
    }
}

/// What the rows with one id hold in each column. They may be two where nothing is rebuilt: a text and a BLOB.
type Rows = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// The rows by id: values as bytes, whatever their storage class, and numbers by their value.
fn rows(conn: &mut SqliteConnection, table: &str, columns: &[&str]) -> Rows {
    let found = lines(conn, &format!("SELECT lower(name) AS line FROM pragma_table_xinfo('{table}')"));
    let mut rows = Rows::new();
    if !found.iter().any(|column| column == "id") {
        return rows;
    }
    for column in columns.iter().filter(|column| found.iter().any(|found| found == **column)) {
        let value = if NUMBERS.contains(column) {
            format!("quote({column} + 0.0)")
        } else {
            format!("CASE WHEN {column} IS NULL THEN 'NULL' ELSE hex(CAST({column} AS BLOB)) END")
        };
        let sql = format!("SELECT hex(CAST(id AS TEXT)) || ' ' || {value} AS line FROM {table} WHERE id IS NOT NULL");
        for line in lines(conn, &sql) {
            let (id, value) = line.split_once(' ').unwrap();
            rows.entry(id.to_owned()).or_default().entry((*column).to_owned()).or_default().push(value.to_owned());
        }
    }
    rows
}

/// Every value that was there is there, and no row that was not.
fn is_kept(before: Rows, after: Rows) {
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (id, columns) in before {
        for (column, mut values) in columns {
            let mut kept = after[&id][&column].clone();
            assert_eq!(kept.len(), values.len(), "rows of {id}");
            if column == "event_index" {
                // A missing index is filled in.
                values.retain(|value| value != "NULL");
                kept.retain(|value| values.contains(value));
            }
            values.sort_unstable();
            kept.sort_unstable();
            assert_eq!(kept, values, "{column} of {id}");
        }
    }
}

/// Everything in the database.
fn dump(conn: &mut SqliteConnection) -> Vec<String> {
    let schema = "SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '') AS line \
                  FROM sqlite_master ORDER BY 1";
    let mut dump = lines(conn, schema);
    for table in lines(conn, "SELECT name AS line FROM sqlite_master WHERE type = 'table' ORDER BY 1") {
        let columns = format!("SELECT 'hex(quote(\"' || name || '\"))' AS line FROM pragma_table_xinfo('{table}')");
        let columns = lines(conn, &columns).join(" || ',' || ");
        dump.extend(lines(conn, &format!("SELECT '{table} ' || {columns} AS line FROM \"{table}\" ORDER BY 1")));
    }
    dump
}

//! After a rebuild, by every way, the events of a session lie together in the file, in order.

use crate::common::legacy::ways;
use crate::common::{TempDb, lines};

const SESSIONS: usize = 40;

/// Sessions that took turns in no regular order, in a table of the given name.
fn interleaved(table: &str, id: &str, index: bool) -> String {
    let (column, value) = if index { ("event_index INTEGER,", "number,") } else { ("", "") };
    format!(
        "CREATE TABLE {table} (
             id {id} PRIMARY KEY, {column} session_id TEXT NOT NULL, created_at INTEGER NOT NULL,
             connection_id TEXT NOT NULL, sender TEXT NOT NULL, payload_json TEXT NOT NULL
         );
         WITH RECURSIVE count (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM count WHERE number < 4000)
         INSERT INTO {table}
         SELECT number, {value} 'session-' || (number * number % 7919 % {SESSIONS}), number / 3, 'c', 'agent', '{{}}'
         FROM count;"
    )
}

#[test]
fn the_events_of_a_session_lie_together() {
    let files = [
        interleaved("events", "TEXT", false),
        interleaved("events", "INTEGER", false),
        interleaved("events", "INTEGER", true),
        interleaved("events_legacy", "TEXT", false),
        interleaved("events_legacy", "INTEGER", true),
    ];
    for sql in files {
        for way in ways() {
            let db = TempDb::with(&sql);
            way.go(&db).unwrap();
            let conn = db.plain();
            let in_file_order = "SELECT session_id, lag(session_id) OVER place AS session_before, event_index,
                    lag(event_index) OVER place AS index_before
                FROM events WINDOW place AS (ORDER BY rowid)";
            let runs = format!("SELECT count(*) FROM ({in_file_order}) WHERE session_id IS NOT session_before");
            assert_eq!(lines(&conn, &runs), [SESSIONS.to_string()], "{sql} by {way:?}");
            let backwards = format!(
                "SELECT count(*) FROM ({in_file_order}) WHERE session_id = session_before AND event_index <= index_before"
            );
            assert_eq!(lines(&conn, &backwards), ["0"], "{sql} by {way:?}");
        }
    }
}

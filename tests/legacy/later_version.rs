//! A later version of the reference driver has a column of its own in `sessions`: it stays, with its values, where the
//! events have to be rebuilt too.

use agent_session_store::{SessionPersistDriver, migrate};

use crate::common::legacy::{Way, dump, legacy_file, listed, ways};
use crate::common::{TempDb, column, fixture_path, is_sound, lines, reference, session};

/// What the later version does at its start, and what it has written.
const LATER: &str = "ALTER TABLE sessions ADD COLUMN server_id TEXT;
    UPDATE sessions SET server_id = 'server-' || id WHERE rowid % 2 = 1";

const SHAPES: [&str; 7] = [
    "current",
    "current_without_index",
    "other_order",
    "sessions_oldest",
    "sessions_without_modes_json",
    "ids_integer",
    "no_index_ids_text",
];

#[test]
fn the_column_of_a_later_version_stays() {
    for shape in SHAPES {
        for way in ways() {
            let db = legacy_file(shape);
            let plain = db.plain();
            plain.execute_batch(LATER).unwrap();
            let servers = "SELECT id, server_id FROM sessions ORDER BY id";
            let (before, whole) = (lines(&plain, servers), dump(&plain));
            assert!(
                before.iter().any(|line| line.contains("server-")) && before.iter().any(|line| line.ends_with('-'))
            );
            let rows = listed_by(way, shape);
            if let Err(error) = way.go(&db) {
                // The plain SQL cannot look at a table before it rebuilds it, so it leaves the file as it is.
                assert!(!way.is_embedded() && error.contains("server_id"), "{shape} by {way:?}: {error}");
                assert_eq!(dump(&plain), whole, "{shape} by {way:?}");
                continue;
            }
            assert_eq!(lines(&plain, servers), before, "{shape} by {way:?}");
            assert_eq!(listed(&plain), rows, "{shape} by {way:?}");
            is_sound(&plain);
            assert_eq!(reference::finds_to_do(&plain), [""; 0]);
            // Overwriting a record leaves it alone, and migrating again too.
            let mut conn = db.connect();
            conn.update_session(&session("s1")).unwrap();
            conn.update_session(&session("new")).unwrap();
            migrate(&mut conn).unwrap();
            let [s1, s2] = ["s1", "s2"].map(|id| format!("SELECT server_id FROM sessions WHERE id = '{id}'"));
            let kept: Vec<Option<String>> = [s1, s2].iter().flat_map(|sql| column(&plain, sql)).collect();
            assert_eq!(kept, [Some("server-s1".to_owned()), None], "{shape} by {way:?}");
        }
    }
}

/// The rows of this shape as they come out without the column.
fn listed_by(way: Way, shape: &str) -> Vec<String> {
    let db = legacy_file(shape);
    way.go(&db).unwrap();
    listed(&db.plain())
}

/// The embedded ways keep it in databases of published programs.
#[test]
fn it_stays_in_real_databases() {
    for name in ["sdk-0.4.2.db", "server-0.4.2.db"] {
        assert!(fixture_path(name).exists());
        for way in ways().into_iter().filter(|way| way.is_embedded()) {
            let db = TempDb::fixture(name);
            db.plain().execute_batch(LATER).unwrap();
            let servers = "SELECT id, server_id FROM sessions ORDER BY id";
            let before = lines(&db.plain(), servers);
            way.go(&db).unwrap();
            assert_eq!(lines(&db.plain(), servers), before, "{name} by {way:?}");
        }
    }
}

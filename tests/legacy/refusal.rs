//! What cannot be carried over stops the migration with an error that names it, by every way, and changes nothing.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{Error, migrate};

use crate::common::legacy::{IN_PROCESS, Way, dump, listed, shape_sql, ways};
use crate::common::{TempDb, is_sound, lines};

/// An old `events` that lets anything in.
const LOOSE: &str =
    "CREATE TABLE events (id INTEGER PRIMARY KEY, session_id, created_at, connection_id, sender, payload_json);
    INSERT INTO events VALUES (1, 's1', 1, 'c', 'agent', '{}');";

const LOOSE_SESSIONS: &str = "CREATE TABLE sessions (id TEXT PRIMARY KEY, agent TEXT, agent_session_id TEXT,
        last_connection_id TEXT, created_at INTEGER, destroyed_at INTEGER, session_init_json TEXT);
    INSERT INTO sessions VALUES ('s1', 'claude', 'a', 'c', 1, NULL, NULL);";

const OTHER: &str = "CREATE TABLE notes (note TEXT); INSERT INTO notes VALUES ('mine');";

/// A file, and what the refusal says: by the embedded ways, and by the plain SQL where that says something else.
fn files() -> Vec<(String, &'static str, Option<&'static str>)> {
    let current = shape_sql("current");
    let columns = ["session_id", "created_at", "connection_id", "sender", "payload_json"];
    let null_in = [
        "the events row 7 (id '7') has no session_id",
        "the events row 7 (id '7') has no created_at",
        "the events row 7 (id '7') has no connection_id",
        "the events row 7 (id '7') has no sender",
        "the events row 7 (id '7') has no payload_json",
    ];
    let values = ["'s1'", "1", "'c'", "'agent'", "'{}'"];
    let mut files = Vec::new();
    for (null, says) in null_in.into_iter().enumerate() {
        assert!(says.ends_with(columns[null]));
        let mut values = values;
        values[null] = "NULL";
        files.push((format!("{LOOSE} INSERT INTO events VALUES (7, {});", values.join(", ")), says, None));
    }
    let null_in_session = [
        ("agent", "the sessions row 2 (id 's2') has no agent"),
        ("agent_session_id", "the sessions row 2 (id 's2') has no agent_session_id"),
        ("last_connection_id", "the sessions row 2 (id 's2') has no last_connection_id"),
        ("created_at", "the sessions row 2 (id 's2') has no created_at"),
    ];
    for (column, says) in null_in_session {
        let sql = format!(
            "{LOOSE_SESSIONS} INSERT INTO sessions VALUES ('s2', 'claude', 'a', 'c', 1, NULL, NULL);
             UPDATE sessions SET {column} = NULL WHERE id = 's2';"
        );
        files.push((sql, says, None));
    }
    let events_row = "VALUES (NULL, 1, 's1', 1, 'c', 'agent', '{}');";
    files.extend([
        (format!("{LOOSE_SESSIONS} INSERT INTO sessions VALUES (NULL, 'claude', 'a', 'c', 1, NULL, NULL);"),
            "the sessions row 2 (id NULL) has no id", None),
        (format!("{current} INSERT INTO events {events_row}"), "the events row 7 (id NULL) has no id", None),
        (format!("{current} INSERT INTO sessions VALUES (NULL, 'x', 'a', 'c', 1, NULL, NULL, NULL, NULL, NULL);"),
            "the sessions row 3 (id NULL) has no id", None),
        (format!("{} INSERT INTO events_legacy VALUES (77, NULL, 's1', 1, 'c', 'agent', '{{}}');",
            shape_sql("interrupted_null_index").replace("payload_json TEXT NOT NULL", "payload_json TEXT")
                .replace("sender TEXT NOT NULL", "sender TEXT"))
            .replace("'agent', '{}')", "'agent', NULL)"),
            "the events_legacy row 77 (id '77') has no payload_json", None),
        (shape_sql("interrupted_text_ids") + "INSERT INTO events_legacy VALUES (NULL, 's1', 1, 'c', 'agent', '{}');",
            "the events_legacy row 7 (id NULL) has no id", None),
        // Two ids that are one as text.
        ("CREATE TABLE events (id, session_id TEXT, created_at INTEGER, connection_id TEXT, sender TEXT, payload_json TEXT);
          INSERT INTO events VALUES (5, 's1', 1, 'c', 'agent', '{}'), ('5', 's1', 2, 'c', 'agent', '{}');".to_owned(),
            "the table events has several rows with the id '5'", None),
        ("CREATE TABLE events (id TEXT, session_id TEXT, created_at INTEGER, connection_id TEXT, sender TEXT,
              payload_json TEXT, PRIMARY KEY (id, session_id));
          INSERT INTO events VALUES ('x', 's1', 1, 'c', 'agent', '{}'), ('x', 's2', 2, 'c', 'agent', '{}');".to_owned(),
            "the table events has several rows with the id 'x'", None),
        ("CREATE TABLE events_legacy (id TEXT PRIMARY KEY, session_id TEXT, created_at INTEGER, connection_id TEXT,
              sender TEXT, payload_json TEXT);
          INSERT INTO events_legacy VALUES ('x', 's1', 1, 'c', 'agent', '{}'), (x'78', 's2', 2, 'c', 'agent', '{}');".to_owned(),
            "the table events_legacy has several rows with the id 'x'", None),
        (LOOSE_SESSIONS.replace("id TEXT PRIMARY KEY,", "id,")
            + "INSERT INTO sessions VALUES ('s1', 'claude', 'a', 'c', 1, NULL, NULL);",
            "the table sessions has several rows with the id 's1'", None),
        // Something else of the same name.
        ("CREATE TABLE events (id INTEGER PRIMARY KEY, happened TEXT); INSERT INTO events VALUES (1, 'x');".to_owned(),
            "the table events has no column session_id, so it is not a table of agent sessions", None),
        ("CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB);".to_owned(),
            "the table sessions has no column id, so it is not a table of agent sessions", None),
        (format!("{current} CREATE TABLE events_legacy (year INTEGER); INSERT INTO events_legacy VALUES (1984);"),
            "the table events_legacy has no column id, so it is not a table of agent sessions", None),
        ("CREATE TABLE happenings (id); CREATE VIEW events AS SELECT id FROM happenings;".to_owned(),
            "events is a view, not a table that could be rebuilt", None),
        ("CREATE VIEW sessions AS SELECT 1 AS id;".to_owned(), "sessions is a view, not a table that could be rebuilt", None),
        (LOOSE.replace("payload_json)", "payload_json) WITHOUT ROWID"),
            "events is a table without rowids, not a table that could be rebuilt", None),
        (LOOSE_SESSIONS.replace("session_init_json TEXT)", "session_init_json TEXT) WITHOUT ROWID"),
            "sessions is a table without rowids, not a table that could be rebuilt", None),
        // A host's columns, where the rows have to move.
        (format!("{LOOSE} ALTER TABLE events ADD COLUMN starred INTEGER CHECK (starred IN (0, 1));"),
            "the table events has to be rebuilt, and its column 'starred' cannot be kept: it is declared CHECK; move it \
             to a table of its own first",
            Some("the table events has the column 'starred', which a rebuild would drop; use the crate's migrate()")),
        (format!("{} ALTER TABLE events_legacy ADD COLUMN note TEXT REFERENCES notes(note);", shape_sql("interrupted_half")),
            "the table events_legacy has to be rebuilt, and its column 'note' cannot be kept: it is declared REFERENCES",
            Some("the table events_legacy has the column 'note', which a rebuild would drop; use the crate's migrate()")),
        (format!("{} ALTER TABLE events_legacy ADD COLUMN note TEXT; ALTER TABLE events ADD COLUMN note INTEGER;",
            shape_sql("interrupted_half")),
            "the table events has to be rebuilt, and its column 'note' cannot be kept: another table declares it differently",
            Some("the table events has the column 'note', which a rebuild would drop")),
        (LOOSE_SESSIONS.replace("session_init_json TEXT)", "session_init_json TEXT, title TEXT UNIQUE)")
            .replace("NULL, NULL)", "NULL, NULL, 'mine')"),
            "the table sessions has to be rebuilt, and its column 'title' cannot be kept: it is declared UNIQUE",
            Some("the table sessions has the column 'title', which a rebuild would drop; use the crate's migrate()")),
        // The names that the migration needs.
        (format!("{current} CREATE INDEX idx_sessions_order ON notes (note);"),
            "the name 'idx_sessions_order' is needed, and taken by the index on the table notes", None),
        (format!("{current} CREATE TABLE agent_session_store_events (mine TEXT);"),
            "the name 'agent_session_store_events' is needed, and taken by the table", None),
        // A host's index that the merged rows violate.
        (format!("{} CREATE UNIQUE INDEX one_per_place ON events_legacy (session_id, payload_json);",
            shape_sql("interrupted_later_rows"))
            + "INSERT INTO events SELECT 'clash', 9, session_id, created_at, 'c', 'agent', payload_json FROM events_legacy LIMIT 1;",
            "the index \"one_per_place\" cannot be created on the rebuilt table",
            Some("carries the index 'one_per_place', which a rebuild would drop")),
        (format!("{} ALTER TABLE events_legacy ADD COLUMN number INTEGER; UPDATE events_legacy SET number = id;
                CREATE UNIQUE INDEX by_number ON events_legacy (number);
                ALTER TABLE events ADD COLUMN number INTEGER; UPDATE events SET number = 2 WHERE id = '1';",
            shape_sql("interrupted_half")),
            "the index \"by_number\" cannot be created on the rebuilt table",
            Some("has the column 'number', which a rebuild would drop")),
    ]);
    // A host's columns that cannot be declared again, as they follow the last of ours, and why.
    let columns = [
        ("mine TEXT GENERATED ALWAYS AS (sender) VIRTUAL", "it is declared GENERATED"),
        ("mine TEXT AS (sender) STORED", "it is declared AS"),
        ("mine TEXT NOT NULL", "it is NOT NULL and has no default"),
        ("mine TEXT NOT NULL DEFAULT NULL", "it is NOT NULL and has no default"),
        ("mine TEXT, UNIQUE (session_id, mine)", "a constraint of the table mentions it"),
        ("mine TEXT, CHECK (sender <> \"Mine\")", "a constraint of the table mentions it"),
        (
            "mine TEXT, CONSTRAINT known FOREIGN KEY (mine) REFERENCES notes (note)",
            "a constraint of the table mentions it",
        ),
        ("mine TEXT, PRIMARY KEY (id, mine)", "a constraint of the table mentions it"),
        ("mine TEXT", "the table is STRICT"),
        ("rowid TEXT", "the migration needs its name"),
        ("text_id TEXT", "the migration needs its name"),
        ("place TEXT", "the migration needs its name"),
        ("\" mine\" TEXT", "its declaration is not understood"),
    ];
    for (column, says) in columns {
        let sql = format!(
            "PRAGMA foreign_keys = OFF;
             CREATE TABLE events (id INT, session_id TEXT, created_at INT, connection_id TEXT, sender TEXT,
                 payload_json TEXT, {column}) {};
             INSERT INTO events (id, session_id, created_at, connection_id, sender, payload_json)
             SELECT 1, 's1', 1, 'c', 'agent', '{{}}' WHERE '{says}' NOT LIKE '%default%';",
            if says.ends_with("STRICT") { "STRICT" } else { "" }
        );
        files.push((sql, says, Some("which a rebuild would drop; use the crate's migrate()")));
    }
    let unknown_collation = format!(
        "{LOOSE} ALTER TABLE events ADD COLUMN mine TEXT COLLATE rtrim; PRAGMA writable_schema = ON;
         UPDATE sqlite_master SET sql = replace(sql, 'rtrim', 'klingon') WHERE name = 'events';"
    );
    files.push((
        unknown_collation,
        "its column 'mine' cannot be kept: no such collation sequence: klingon",
        Some("the table events has the column 'mine', which a rebuild would drop"),
    ));
    files
}

#[test]
fn a_refusal_names_what_stands_in_the_way_and_changes_nothing() {
    for (sql, embedded, plain) in files() {
        for way in ways() {
            let db = TempDb::with(&format!("{OTHER}{sql}"));
            let (bytes, before) = (std::fs::read(db.path()).unwrap(), dump(&db.plain()));
            let error = way.go(&db).expect_err(&format!("{sql} by {way:?}"));
            let says = if way.is_embedded() { embedded } else { plain.unwrap_or(embedded) };
            let unquoted = error.replace("''", "'");
            assert!(unquoted.contains(says), "by {way:?}: {error:?} instead of {says:?}");
            assert_eq!(dump(&db.plain()), before, "{says} by {way:?}");
            // By the others, Diesel's bookkeeping table has been made before.
            if matches!(way, Way::Migrate | Way::Regardless | Way::Shell) {
                assert!(std::fs::read(db.path()).unwrap() == bytes, "{says}: the file has changed");
            }
            if way == Way::Migrate {
                assert!(
                    matches!(migrate(&mut db.connect()), Err(Error::CannotMigrate { reason }) if reason.contains(says))
                );
            }
            is_sound(&db.plain());
        }
    }
}

#[test]
fn the_error_of_the_embedded_migrations_is_the_crates_own() {
    use diesel_migrations::MigrationHarness as _;
    let db = TempDb::with(&format!("{LOOSE} INSERT INTO events VALUES (2, 's1', 1, 'c', 'agent', NULL);"));
    let error = db.connect().run_pending_migrations(agent_session_store::MIGRATIONS).unwrap_err();
    let error = error.downcast::<Error>().unwrap();
    assert_eq!(
        error.to_string(),
        "cannot migrate the database, nothing was changed: the events row 2 (id '2') has no payload_json"
    );
}

#[test]
fn after_a_refusal_the_reference_driver_goes_on_and_so_does_the_connection() {
    let sql = shape_sql("current") + "INSERT INTO events VALUES (NULL, 9, 's1', 1, 'c', 'agent', '{}');";
    for way in IN_PROCESS {
        let db = TempDb::with(&sql);
        let mut conn = db.connect();
        way.go_on(&mut conn).unwrap_err();
        if way.is_embedded() {
            conn.batch_execute("BEGIN IMMEDIATE; COMMIT").unwrap();
        }
        drop(conn);
        let reference = db.plain();
        reference
            .execute_batch(
                "INSERT INTO events VALUES ('new', 10, 's1', 1, 'c', 'agent', '{}')
                 ON CONFLICT(id) DO UPDATE SET payload_json = excluded.payload_json;
                 DELETE FROM events WHERE id IS NULL;",
            )
            .unwrap();
        let kept = listed(&reference);
        way.go(&db).unwrap();
        assert_eq!(listed(&reference), kept);
    }
}

#[test]
fn a_row_that_is_superseded_may_have_any_value() {
    let sql = shape_sql("interrupted_half")
        .replace("payload_json TEXT NOT NULL\n);\nINSERT INTO events (", "payload_json TEXT\n);\nINSERT INTO events (")
        + "UPDATE events_legacy SET payload_json = NULL WHERE id = 1;";
    for way in ways() {
        let db = TempDb::with(&sql);
        way.go(&db).unwrap_or_else(|error| panic!("{way:?}: {error}"));
        assert_eq!(listed(&db.plain()).len(), 8);
    }
}

#[test]
fn temporary_objects_in_the_way_are_refused() {
    let objects = [
        ("CREATE TEMP TABLE events (id)", "the temporary table 'events'"),
        ("CREATE TEMP VIEW sessions AS SELECT 1", "the temporary view 'sessions'"),
        ("CREATE TEMP TRIGGER seen AFTER INSERT ON events BEGIN SELECT 1; END", "the temporary trigger 'seen'"),
    ];
    for (object, says) in objects {
        for way in IN_PROCESS {
            let db = TempDb::with(&shape_sql("ids_integer"));
            let before = dump(&db.plain());
            let mut conn = db.connect();
            conn.batch_execute(object).unwrap();
            let error = way.go_on(&mut conn).unwrap_err();
            assert!(error.replace("''", "'").contains(says), "{error} instead of {says}");
            drop(conn);
            assert_eq!(dump(&db.plain()), before);
        }
    }
}

#[test]
fn columns_of_a_host_stay_where_nothing_has_to_be_rebuilt() {
    for way in ways() {
        let sql = shape_sql("sessions_without_modes_json")
            + "ALTER TABLE sessions ADD COLUMN title TEXT; UPDATE sessions SET title = 'mine';
               ALTER TABLE events ADD COLUMN starred INTEGER DEFAULT 1;";
        let db = TempDb::with(&sql);
        let before = dump(&db.plain());
        match way.go(&db) {
            Ok(()) => {
                assert!(way.is_embedded());
                let kept = "SELECT title, modes_json, starred FROM sessions, events WHERE sessions.id = 's1' AND events.id = 'e1'";
                assert_eq!(lines(&db.plain(), kept), ["mine - 1"]);
            }
            Err(error) => {
                assert!(!way.is_embedded() && error.contains("use the crate"), "{way:?}: {error}");
                assert_eq!(dump(&db.plain()), before);
            }
        }
    }
}

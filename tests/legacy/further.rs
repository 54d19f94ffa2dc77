//! Further columns, a host's or a later version's, come through a rebuild as they are declared and with every value.

use agent_session_store::{SessionPersistDriver, SessionStore, migrate};

use crate::common::legacy::{Way, expected, listed, shape_sql, shapes};
use crate::common::{TempDb, event, is_sound, lines, rows, session};

const EMBEDDED: [Way; 2] = [Way::Migrate, Way::Harness];

/// What a host may add to a table.
const COLUMNS: [&str; 6] = [
    "starred INTEGER DEFAULT 7",
    "note TEXT COLLATE NOCASE",
    "score REAL NOT NULL DEFAULT (0.5)",
    "thumbnail BLOB",
    "\"any thing\"",
    "kind varchar(10) NOT NULL DEFAULT 'a, (UNIQUE) b'",
];

const NAMES: &str = "starred, note, score, thumbnail, \"any thing\", kind";

/// Adds them to a table, with values of every type.
fn added_to(table: &str) -> String {
    let columns = COLUMNS.map(|column| format!("ALTER TABLE {table} ADD COLUMN {column};")).concat();
    columns
        + &format!(
            "UPDATE {table} SET starred = CASE rowid % 4 WHEN 0 THEN 'text' WHEN 1 THEN 12 WHEN 2 THEN x'00ff' END,
                 note = 'Note ' || id, score = CASE rowid % 2 WHEN 0 THEN 3 ELSE 'none' END, thumbnail = zeroblob(rowid),
                 \"any thing\" = CASE rowid % 5 WHEN 0 THEN '1' WHEN 1 THEN 1 WHEN 2 THEN 1.0 WHEN 3 THEN x'31' END
             WHERE rowid <> 3;"
        )
}

/// The values of these columns, by id.
fn values(conn: &rusqlite::Connection, table: &str) -> Vec<Vec<String>> {
    rows(conn, &format!("SELECT CAST(id AS TEXT), {NAMES} FROM {table} ORDER BY 1"))
}

/// How they are declared.
fn declared(conn: &rusqlite::Connection, table: &str) -> Vec<String> {
    let known = lines(
        &TempDb::ours().plain(),
        "SELECT name FROM pragma_table_info('events') UNION \
        SELECT name FROM pragma_table_info('sessions')",
    );
    let mut declared =
        lines(conn, &format!("SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{table}')"));
    declared.retain(|column| known.iter().all(|known| !column.starts_with(&format!("{known} "))));
    declared
}

/// A file of such a shape whose sessions have to be rebuilt too.
fn with_old_sessions(shape: &str) -> String {
    shape_sql(shape).replace("agent TEXT NOT NULL", "agent VARCHAR")
}

#[test]
fn they_come_through_every_rebuild() {
    let mut rebuilt = 0;
    for shape in shapes().into_iter().filter(|shape| shape != "empty") {
        let sql = with_old_sessions(&shape);
        for way in EMBEDDED {
            let db = TempDb::with(&sql);
            let plain = db.plain();
            let tables =
                lines(&plain, "SELECT name FROM sqlite_master WHERE name IN ('sessions', 'events') ORDER BY 1");
            let is_interrupted = sql.contains("RENAME TO events_legacy");
            let old_name = |table: &str| {
                if table == "events" && is_interrupted { "events_legacy".to_owned() } else { table.to_owned() }
            };
            let mut before = Vec::new();
            for table in
                if is_interrupted { vec!["sessions", "events"] } else { tables.iter().map(|table| &**table).collect() }
            {
                let old = old_name(table);
                plain.execute_batch(&added_to(&old)).unwrap();
                before.push((table.to_owned(), values(&plain, &old), declared(&plain, &old)));
            }
            way.go(&db).unwrap_or_else(|error| panic!("{shape} by {way:?}: {error}"));
            for (table, values_before, declared_before) in before {
                let context = format!("{table} of {shape} by {way:?}");
                assert_eq!(declared_before.len(), COLUMNS.len(), "{context}");
                assert_eq!(declared(&plain, &table), declared_before, "{context}");
                // The rows that were only in the new table have the defaults.
                let mut after = values(&plain, &table);
                after.retain(|row| !row[0].contains("later"));
                assert_eq!(after, values_before, "{context}");
                let found = format!("SELECT count(*) FROM {table} WHERE note LIKE 'Note%' AND note = upper(note)");
                assert_eq!(
                    lines(&plain, &found),
                    [values_before.iter().filter(|row| row[2] != "NULL").count().to_string()]
                );
                rebuilt += 1;
            }
            assert_eq!(listed(&plain), expected(&shape), "{shape} by {way:?}");
            is_sound(&plain);
        }
    }
    assert!(rebuilt > 80, "{rebuilt}");
}

#[test]
fn the_tables_go_on_as_before() {
    let db = TempDb::with(&(with_old_sessions("ids_integer") + &added_to("sessions") + &added_to("events")));
    let mut conn = db.connect();
    migrate(&mut conn).unwrap();
    let bytes = std::fs::read(db.path()).unwrap();
    migrate(&mut conn).unwrap();
    assert!(std::fs::read(db.path()).unwrap() == bytes, "the second migration has changed the file");
    conn.update_session(&session("new")).unwrap();
    conn.insert_event(&event("new", "new", 1)).unwrap();
    conn.update_session(&session("s1")).unwrap();
    let starred = "SELECT id, starred, kind FROM sessions WHERE id IN ('new', 's1') ORDER BY 1";
    assert_eq!(lines(&db.plain(), starred), ["new 7 a, (UNIQUE) b", "s1 12 a, (UNIQUE) b"]);
    assert_eq!(lines(&db.plain(), "SELECT starred, note FROM events WHERE id = 'new'"), ["7 -"]);
}

#[test]
fn opening_a_store_keeps_them_too() {
    let db = TempDb::with(&(shape_sql("no_index_ids_integer") + &added_to("events")));
    let before = values(&db.plain(), "events");
    SessionStore::open(db.path()).unwrap().close().unwrap();
    assert_eq!(values(&db.plain(), "events"), before);
}

#[test]
fn they_are_kept_however_they_are_written() {
    let columns = [
        ("starred", "starred"),
        ("STARRED", "Starred Integer Default -1"),
        ("starred", "starred -- the user's; (see UNIQUE\n INTEGER /* , */ DEFAULT/**/5 -- 'five'\n"),
        ("[a, column]", "[a, column] DECIMAL(10, 2)"),
        ("quoted", "'quoted' TEXT DEFAULT 'it''s, (really)'"),
        ("`check`", "`check` \"double precision\" DEFAULT (1 + (2 * 3))"),
        ("\"unique\"", "\"unique\" TEXT NOT NULL ON CONFLICT REPLACE DEFAULT x'00'"),
        ("created", "created TEXT DEFAULT CURRENT_TIMESTAMP"),
        ("cast_to", "cast_to TEXT DEFAULT (CAST(5 AS TEXT))"),
        ("größe", "größe INTEGER CONSTRAINT given NOT NULL DEFAULT 0"),
        ("name", "name TEXT COLLATE rtrim NULL"),
        ("missing", "missing INTEGER"),
    ];
    let others = "session_id TEXT NOT NULL, created_at INTEGER NOT NULL, connection_id TEXT NOT NULL,
        sender TEXT NOT NULL, payload_json TEXT NOT NULL";
    for (name, declaration) in columns {
        let bodies = [
            format!("{declaration}, id INTEGER PRIMARY KEY, {others}"),
            format!("id INTEGER PRIMARY KEY, {declaration}, {others}"),
            format!("id TEXT, {others}, {declaration}, PRIMARY KEY (id), CHECK (created_at > 0)"),
            format!("id TEXT PRIMARY KEY, {others}, {declaration}"),
        ];
        for body in bodies {
            let db = TempDb::with(&format!(
                "CREATE TABLE events ({body});
                 INSERT INTO events (id, session_id, created_at, connection_id, sender, payload_json)
                 VALUES (1, 's', 1, 'c', 'client', '{{}}'), (2, 's', 2, 'c', 'agent', '{{}}');
                 UPDATE events SET {name} = 42 WHERE id = 1;"
            ));
            let plain = db.plain();
            let values = format!("SELECT CAST(id AS TEXT), {name} FROM events ORDER BY 1");
            let before = (rows(&plain, &values), declared(&plain, "events"));
            Way::Migrate.go(&db).unwrap_or_else(|error| panic!("{body}: {error}"));
            assert_eq!((rows(&plain, &values), declared(&plain, "events")), before, "{body}");
            is_sound(&plain);
        }
    }
}

#[test]
fn an_interrupted_rebuild_keeps_those_of_both_tables() {
    for way in EMBEDDED {
        // `events` holds the rows 1, 3 and 10 of `events_legacy`.
        let db = TempDb::with(
            &(shape_sql("interrupted_half")
                + "ALTER TABLE events_legacy ADD COLUMN starred INTEGER DEFAULT 7;
                   UPDATE events_legacy SET starred = id;
                   ALTER TABLE events_legacy ADD COLUMN old TEXT;
                   UPDATE events_legacy SET old = 'old ' || id;
                   ALTER TABLE events ADD COLUMN starred INTEGER DEFAULT 7;
                   UPDATE events SET starred = NULL WHERE id = 3;
                   ALTER TABLE events ADD COLUMN new TEXT DEFAULT 'none';
                   UPDATE events SET new = 'new ' || id;
                   INSERT INTO events VALUES ('later', 1, 's9', 1, 'c', 'agent', '{}', 8, 'new');"),
        );
        way.go(&db).unwrap();
        let kept = lines(&db.plain(), "SELECT id, starred, old, new FROM events ORDER BY CAST(id AS INTEGER)");
        assert_eq!(
            kept,
            [
                "later 8 - new",
                "1 7 old 1 new 1",
                "2 2 old 2 none",
                "3 - old 3 new 3",
                "4 4 old 4 none",
                "5 5 old 5 none",
                "10 7 old 10 new 10"
            ],
            "{way:?}"
        );
    }
}

#[test]
fn indexes_triggers_views_and_references_of_theirs_survive() {
    for way in EMBEDDED {
        let db = TempDb::with(
            &(shape_sql("no_index_ids_integer")
                + "CREATE TABLE journal (entry TEXT);
                   ALTER TABLE events ADD COLUMN number INTEGER;
                   UPDATE events SET number = 100 + id;
                   CREATE UNIQUE INDEX events_by_number ON events (number);
                   CREATE INDEX events_numbered ON events (session_id, number) WHERE number > 101;
                   CREATE VIEW numbers AS SELECT id, number FROM events;
                   CREATE TABLE marks (number INTEGER REFERENCES events(number) ON DELETE CASCADE);
                   INSERT INTO marks SELECT number FROM events;
                   CREATE TRIGGER numbered AFTER UPDATE OF number ON events BEGIN
                       INSERT INTO journal VALUES (NEW.id || ' ' || OLD.number || ' ' || NEW.number);
                   END;"),
        );
        way.go(&db).unwrap();
        let plain = db.plain();
        assert_eq!(lines(&plain, "SELECT * FROM journal"), [""; 0], "a trigger has fired during the copy");
        assert_eq!(lines(&plain, "SELECT number FROM numbers WHERE id = '10'"), ["110"]);
        plain.execute_batch("PRAGMA foreign_keys = ON; UPDATE events SET number = 101 WHERE id = '10'").unwrap_err();
        plain.execute_batch("INSERT INTO marks VALUES (99)").unwrap_err();
        plain.execute_batch("DELETE FROM events WHERE id = '2'").unwrap();
        assert_eq!(lines(&plain, "SELECT count(*) FROM marks"), ["5"]);
        plain.execute_batch("PRAGMA foreign_keys = OFF; UPDATE events SET number = 200 WHERE id = '10'").unwrap();
        assert_eq!(lines(&plain, "SELECT * FROM journal"), ["10 110 200"]);
        let indexes = "SELECT name FROM sqlite_master WHERE tbl_name = 'events' AND name LIKE 'events_%' ORDER BY 1";
        assert_eq!(lines(&plain, indexes), ["events_by_number", "events_numbered"], "{way:?}");
        is_sound(&plain);
    }
}

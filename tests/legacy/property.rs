//! Any mix of legacy tables comes out as a small model of the rules says it must, by every way in this process.

use std::collections::BTreeMap;

use agent_session_store::diesel::connection::SimpleConnection;
use proptest::prelude::*;
use proptest::sample::{Index, SizeRange, subsequence};

use crate::common::legacy::{IN_PROCESS, Way, new_schema, schema};
use crate::common::{TempDb, is_sound, lines, rows};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ids {
    Text,
    Varchar,
    Integer,
    AutoIncrement,
}

impl Ids {
    fn declared(self) -> &'static str {
        match self {
            Self::Text => "TEXT PRIMARY KEY",
            Self::Varchar => "varchar(40) PRIMARY KEY",
            Self::Integer => "INTEGER PRIMARY KEY",
            Self::AutoIncrement => "INTEGER PRIMARY KEY AUTOINCREMENT",
        }
    }

    fn are_numbers(self) -> bool {
        matches!(self, Self::Integer | Self::AutoIncrement)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum IndexColumn {
    Missing,
    Nullable,
    NotNull,
}

#[derive(Clone, Debug)]
struct Event {
    id: i64,
    session: u8,
    created_at: i64,
    index: Option<i64>,
}

#[derive(Clone, Debug)]
struct Events {
    ids: Ids,
    index_column: IndexColumn,
    column_order: Vec<Index>,
    rows: Vec<Event>,
}

#[derive(Clone, Debug)]
struct Sessions {
    missing: Vec<&'static str>,
    column_order: Vec<Index>,
    lower_case: bool,
    count: u8,
}

#[derive(Clone, Debug)]
struct File {
    sessions: Option<Sessions>,
    events: Option<Events>,
    leftover: Option<Events>,
}

const LATER_COLUMNS: [&str; 3] = ["sandbox_id", "config_options_json", "modes_json"];

fn some_events(rows: impl Into<SizeRange>) -> impl Strategy<Value = Events> {
    let ids = prop_oneof![Just(Ids::Text), Just(Ids::Varchar), Just(Ids::Integer), Just(Ids::AutoIncrement)];
    let index_column = prop_oneof![Just(IndexColumn::Missing), Just(IndexColumn::Nullable), Just(IndexColumn::NotNull)];
    // Few sessions and times, so that there are ties; ids of one and two digits, so that text and numbers differ.
    let row = (0..3_u8, 0..4_i64, prop::option::of(-1..6_i64));
    (ids, index_column, column_order(), prop::collection::btree_map(1..25_i64, row, rows)).prop_map(
        |(ids, index_column, column_order, rows)| {
            let rows =
                rows.into_iter().map(|(id, (session, created_at, index))| Event { id, session, created_at, index });
            // Rows lie in the table in another order than that of their ids.
            let mut rows: Vec<Event> = rows.collect();
            rows.sort_by_key(|event| (event.id * 7) % 25);
            Events { ids, index_column, column_order, rows }
        },
    )
}

fn column_order() -> impl Strategy<Value = Vec<Index>> {
    prop_oneof![Just(Vec::new()), prop::collection::vec(any::<Index>(), 10)]
}

fn some_sessions() -> impl Strategy<Value = Sessions> {
    (subsequence(LATER_COLUMNS.to_vec(), 0..=3), column_order(), any::<bool>(), 0..4_u8)
        .prop_map(|(missing, column_order, lower_case, count)| Sessions { missing, column_order, lower_case, count })
}

/// What a rebuild leaves when it is stopped: nothing but the old rows, or a new table with none, some or all of them,
/// which may have changed since, and later ones.
fn interrupted() -> impl Strategy<Value = (Option<Events>, Option<Events>)> {
    let stopped = (some_events(0..15), prop::collection::vec(any::<bool>(), 15), some_events(0..6));
    prop_oneof![
        some_events(0..15).prop_map(|leftover| (None, Some(leftover))),
        stopped.prop_map(|(leftover, copied, later)| {
            let copied = leftover.rows.iter().zip(copied).filter(|(_, copied)| *copied).map(|(event, _)| event.clone());
            let mut rows: BTreeMap<i64, Event> = copied.map(|event| (event.id, event)).collect();
            rows.extend(later.rows.into_iter().map(|event| (event.id, event)));
            let rows = rows.into_values().collect();
            let events = Events { ids: Ids::Text, index_column: IndexColumn::NotNull, column_order: Vec::new(), rows };
            (Some(events), Some(leftover))
        }),
        // What no driver leaves: two old tables.
        (some_events(0..10), some_events(0..10)).prop_map(|(events, leftover)| (Some(events), Some(leftover))),
    ]
}

fn some_file() -> impl Strategy<Value = File> {
    let events = prop_oneof![
        1 => Just((None, None)),
        4 => some_events(0..20).prop_map(|events| (Some(events), None)),
        4 => interrupted(),
    ];
    (prop::option::of(some_sessions()), events).prop_map(|(sessions, (events, leftover))| File {
        sessions,
        events,
        leftover,
    })
}

fn reordered<T>(mut columns: Vec<T>, order: &[Index]) -> Vec<T> {
    for (place, other) in order.iter().enumerate().take(columns.len()) {
        let other = other.index(columns.len());
        columns.swap(place, other);
    }
    columns
}

fn table_sql(name: &str, columns: &[(&str, String)]) -> String {
    let columns: Vec<String> = columns.iter().map(|(name, declared)| format!("{name} {declared}")).collect();
    format!("CREATE TABLE {name} ({});\n", columns.join(", "))
}

impl Sessions {
    fn sql(&self) -> String {
        let mut columns = vec![
            ("id", "TEXT PRIMARY KEY".to_owned()),
            ("agent", "TEXT NOT NULL".to_owned()),
            ("agent_session_id", "TEXT NOT NULL".to_owned()),
            ("last_connection_id", "TEXT NOT NULL".to_owned()),
            ("created_at", "INTEGER NOT NULL".to_owned()),
            ("destroyed_at", "INTEGER".to_owned()),
            ("session_init_json", "TEXT".to_owned()),
        ];
        columns.extend(LATER_COLUMNS.iter().map(|name| (*name, "TEXT".to_owned())));
        columns.retain(|(name, _)| !self.missing.contains(name));
        if self.lower_case {
            columns.iter_mut().for_each(|(_, declared)| *declared = declared.to_lowercase());
        }
        let columns = reordered(columns, &self.column_order);
        let mut sql = table_sql("sessions", &columns);
        for number in 0..self.count {
            let values: Vec<String> = columns
                .iter()
                .map(|(name, _)| match *name {
                    "id" => format!("'session-{number}'"),
                    "created_at" => "1000".to_owned(),
                    "destroyed_at" => "NULL".to_owned(),
                    name => format!("'{name} {number}'"),
                })
                .collect();
            sql += &format!("INSERT INTO sessions VALUES ({});\n", values.join(", "));
        }
        sql
    }

    fn model(&self) -> Vec<String> {
        let later = |name: &str, number: u8| {
            if self.missing.contains(&name) { "-".to_owned() } else { format!("{name} {number}") }
        };
        (0..self.count)
            .map(|number| {
                let [sandbox_id, config_options, modes] = LATER_COLUMNS.map(|name| later(name, number));
                format!(
                    "session-{number} agent {number} agent_session_id {number} last_connection_id {number} 1000 - \
                     {sandbox_id} session_init_json {number} {config_options} {modes}"
                )
            })
            .collect()
    }
}

impl Events {
    fn sql(&self, table: &str) -> String {
        let mut columns = vec![("id", self.ids.declared().to_owned())];
        match self.index_column {
            IndexColumn::Missing => {}
            IndexColumn::Nullable => columns.push(("event_index", "INTEGER".to_owned())),
            IndexColumn::NotNull => columns.push(("event_index", "INTEGER NOT NULL".to_owned())),
        }
        columns.extend(
            ["session_id", "connection_id", "sender", "payload_json"].map(|name| (name, "TEXT NOT NULL".to_owned())),
        );
        columns.push(("created_at", "INTEGER NOT NULL".to_owned()));
        let columns = reordered(columns, &self.column_order);
        let mut sql = table_sql(table, &columns);
        for event in &self.rows {
            let values: Vec<String> = columns
                .iter()
                .map(|(name, _)| match *name {
                    "id" if self.ids.are_numbers() => event.id.to_string(),
                    "id" => format!("'{}'", event.id),
                    "event_index" => self.index(event).map_or("NULL".to_owned(), |index| index.to_string()),
                    "session_id" => format!("'session-{}'", event.session),
                    "created_at" => event.created_at.to_string(),
                    "payload_json" => format!("'\"{table} {}\"'", event.id),
                    name => format!("'{name}'"),
                })
                .collect();
            sql += &format!("INSERT INTO {table} VALUES ({});\n", values.join(", "));
        }
        sql
    }

    /// The index that the table holds.
    fn index(&self, event: &Event) -> Option<i64> {
        match self.index_column {
            IndexColumn::Missing => None,
            IndexColumn::Nullable => event.index,
            IndexColumn::NotNull => Some(event.index.unwrap_or(9)),
        }
    }

    /// Whether a row comes before another of its session: by time, then by id as it is stored.
    fn is_before(&self, one: &Event, other: &Event) -> bool {
        if one.created_at != other.created_at {
            return one.created_at < other.created_at;
        }
        if self.ids.are_numbers() { one.id < other.id } else { one.id.to_string() < other.id.to_string() }
    }

    /// The rows as they must come out, by their ids.
    fn model(&self, table: &str) -> BTreeMap<String, String> {
        let place = |event: &Event| {
            let before = |other: &&Event| other.session == event.session && self.is_before(other, event);
            1 + self.rows.iter().filter(before).count() as i64
        };
        self.rows
            .iter()
            .map(|event| {
                let index = self.index(event).unwrap_or_else(|| place(event));
                let (id, session, created_at) = (event.id.to_string(), event.session, event.created_at);
                let row = format!(
                    "text {id} integer {index} session-{session} integer {created_at} connection_id sender \"{table} {id}\""
                );
                (id, row)
            })
            .collect()
    }
}

impl File {
    fn sql(&self) -> String {
        let sessions = self.sessions.as_ref().map(Sessions::sql);
        let events = self.events.as_ref().map(|events| events.sql("events"));
        let leftover = self.leftover.as_ref().map(|events| events.sql("events_legacy"));
        [sessions, events, leftover].into_iter().flatten().collect()
    }

    /// The tables that there are, of the two that are merged the one last whose rows count.
    fn tables(&self) -> Vec<&'static str> {
        let is_there = [self.sessions.is_some(), self.leftover.is_some(), self.events.is_some()];
        TABLES.into_iter().zip(is_there).filter(|(_, is_there)| *is_there).map(|(table, _)| table).collect()
    }

    fn events(&self) -> Vec<String> {
        let mut rows = self.leftover.as_ref().map(|events| events.model("events_legacy")).unwrap_or_default();
        // Where an id is in both, the row of `events` counts.
        rows.extend(self.events.as_ref().map(|events| events.model("events")).unwrap_or_default());
        rows.into_values().collect()
    }
}

fn listed_events(conn: &rusqlite::Connection) -> Vec<String> {
    lines(
        conn,
        "SELECT typeof(id), id, typeof(event_index), event_index, session_id, typeof(created_at), created_at,
             connection_id, sender, payload_json FROM events ORDER BY id",
    )
}

const TABLES: [&str; 3] = ["sessions", "events_legacy", "events"];

/// How a host may declare a column of its own.
fn further_column() -> impl Strategy<Value = &'static str> {
    let declared = [
        "INTEGER",
        "INTEGER NOT NULL DEFAULT 7",
        "TEXT COLLATE NOCASE DEFAULT 'none'",
        "REAL DEFAULT (2.5)",
        "BLOB",
        "DATE",
    ];
    prop::sample::select(declared.to_vec())
}

/// The values of a column, with their types, by the ids of their rows.
fn starred(conn: &rusqlite::Connection, table: &str) -> BTreeMap<String, String> {
    let values = rows(conn, &format!("SELECT CAST(id AS TEXT), starred FROM {table}"));
    values.into_iter().map(|row| (row[0].trim_matches('\'').to_owned(), row[1].clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_mix_comes_out_as_the_model_says(file in some_file()) {
        let new_schema = new_schema();
        for way in IN_PROCESS {
            let db = TempDb::new();
            let plain = db.plain();
            plain.execute_batch(&format!("PRAGMA synchronous = OFF; BEGIN; {} COMMIT;", file.sql())).unwrap();
            let mut conn = db.connect();
            conn.batch_execute("PRAGMA synchronous = OFF").unwrap();
            way.go_on(&mut conn).unwrap();
            prop_assert_eq!(listed_events(&plain), file.events(), "by {:?}", way);
            let sessions = lines(&plain, "SELECT id, agent, agent_session_id, last_connection_id, created_at,
                destroyed_at, sandbox_id, session_init_json, config_options_json, modes_json FROM sessions ORDER BY id");
            prop_assert_eq!(sessions, file.sessions.as_ref().map(Sessions::model).unwrap_or_default(), "by {:?}", way);
            prop_assert_eq!(schema(&plain), new_schema.clone(), "by {:?}", way);
            is_sound(&plain);
        }
    }

    #[test]
    fn a_further_column_keeps_the_value_of_every_row(
        file in some_file(),
        declared in further_column(),
        having in subsequence(TABLES.to_vec(), 1..=3),
        salt in 1..50_u8,
    ) {
        let fresh = format!("CREATE TABLE fresh (id, starred {declared}); INSERT INTO fresh (id) VALUES (1)");
        let fresh = TempDb::with(&fresh);
        let default = starred(&fresh.plain(), "fresh").remove("1").unwrap();
        for way in [Way::Migrate, Way::Harness] {
            let db = TempDb::new();
            let plain = db.plain();
            plain.execute_batch(&format!("PRAGMA synchronous = OFF; BEGIN; {} COMMIT;", file.sql())).unwrap();
            let mut expected: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
            for table in file.tables().into_iter().filter(|table| having.contains(table)) {
                plain
                    .execute_batch(&format!(
                        "ALTER TABLE {table} ADD COLUMN starred {declared};
                         UPDATE {table} SET starred = CASE rowid * {salt} % 7 WHEN 0 THEN 'One' WHEN 1 THEN x'31'
                             WHEN 2 THEN '1' WHEN 3 THEN 1 WHEN 4 THEN 1.0 WHEN 5 THEN 1.5 ELSE starred END;"
                    ))
                    .unwrap();
                let merged = if table == "sessions" { "sessions" } else { "events" };
                expected.entry(merged).or_default().extend(starred(&plain, table));
            }
            let mut conn = db.connect();
            conn.batch_execute("PRAGMA synchronous = OFF").unwrap();
            way.go_on(&mut conn).unwrap();
            for (table, expected) in expected {
                for (id, value) in starred(&plain, table) {
                    // Where the row's table had no such column, there is the default.
                    prop_assert_eq!(&value, expected.get(&id).unwrap_or(&default), "{} {} by {:?}", table, id, way);
                }
                let now = lines(&plain, &format!("SELECT sql FROM sqlite_master WHERE name = '{table}'")).concat();
                prop_assert!(now.contains(&format!("starred {declared}")), "{} by {:?}", now, way);
            }
            prop_assert_eq!(listed_events(&plain), file.events(), "by {:?}", way);
            is_sound(&plain);
        }
    }
}

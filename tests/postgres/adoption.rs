//! Proves that a database of the reference driver's is taken over as it is: no column is converted and no row rewritten,
//! whatever schema it is in, and however many do it at once.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::prelude::*;
use agent_session_store::{Error, SessionPersistDriver, SessionStore, migrate};

use super::looking::{assert_holds, catalog, columns, dump, line, lines, places};
use crate::common::{PgDb, Process, child, event, fixture_path, new_event, say, session, task};

const DUMPS: [&str; 2] = ["postgres-0.2", "postgres-0.4"];

/// A dump with its tables in another schema.
fn dump_in(fixture: &str, schema: &str) -> String {
    let dump = std::fs::read_to_string(fixture_path(&format!("{fixture}.sql"))).unwrap();
    format!("CREATE SCHEMA {schema}; {}", dump.replace("public.", &format!("{schema}.")))
}

/// What the reference driver declares beyond what is found in the older dump.
const ADDED: [&str; 3] = [
    "sessions sandbox_id text f \"default\" -",
    "sessions config_options_json json f - -",
    "sessions modes_json json f - -",
];

#[test]
fn an_empty_database_gets_the_schema() {
    let Some(db) = PgDb::ours() else { return };
    let mut client = db.other();
    let declared: Vec<_> = columns(&mut client, "public").into_iter().filter(|line| line.contains("_json")).collect();
    assert_eq!(
        declared,
        [
            "events payload_json json t - -",
            "sessions session_init_json json f - -",
            "sessions config_options_json json f - -",
            "sessions modes_json json f - -"
        ]
    );
    let mut conn = db.connect();
    conn.update_session(&session("one")).unwrap();
    assert_eq!(conn.append_events("one", &[new_event("e")]).unwrap(), [1]);
    assert_eq!(conn.get_session("one").unwrap(), Some(session("one")));
}

#[test]
fn a_database_of_the_reference_drivers_is_adopted_as_it_is() {
    for fixture in DUMPS {
        let Some(db) = PgDb::fixture(&format!("{fixture}.sql")) else { return };
        let mut client = db.other();
        let (rows, mut declared) = (places(&mut client, "public"), columns(&mut client, "public"));
        assert_eq!(rows[1].len(), 102, "there is something to lose");
        let mut conn = db.connect();
        migrate(&mut conn).unwrap();
        assert_eq!(places(&mut client, "public"), rows, "{fixture}: no row was rewritten");
        if fixture == "postgres-0.2" {
            declared.extend(ADDED.map(str::to_owned));
        }
        assert_eq!(columns(&mut client, "public"), declared, "{fixture}: no column was converted");
        assert_holds(&mut conn, fixture);
        assert!(conn.check().unwrap().is_sound());
    }
}

#[test]
fn so_is_one_in_a_schema_of_another_name() {
    for fixture in DUMPS {
        for schema in ["tenant_7", "\"Ü b\""] {
            let Some(db) = PgDb::with(&dump_in(fixture, schema)) else { return };
            let mut client = db.other();
            let rows = places(&mut client, schema);
            let name = schema.trim_matches('"');
            let mut store = SessionStore::builder().schema(name).connect(&db.url()).unwrap();
            assert_eq!(places(&mut client, schema), rows);
            assert_holds(&mut store, fixture);
            // Nothing was made anywhere else.
            assert_eq!(lines(&mut client, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"), [""; 0]);
            // A store without the option has tables of its own.
            let public = SessionStore::connect(&db.url()).unwrap();
            assert_eq!(public.stats().unwrap().sessions, 0);
            assert_eq!(public.append_events("plain", &[new_event("new")]).unwrap(), [1]);
            assert_holds(&mut store, fixture);
        }
    }
}

#[test]
fn one_of_the_two_tables_is_enough() {
    for (missing, left) in [("sessions", [0, 102]), ("events", [5, 0])] {
        let Some(db) = PgDb::fixture("postgres-0.4.sql") else { return };
        let mut client = db.other();
        client.batch_execute(&format!("DROP TABLE {missing}")).unwrap();
        let mut conn = db.connect();
        migrate(&mut conn).unwrap();
        let stats = conn.stats().unwrap();
        assert_eq!([stats.sessions, stats.events], left);
        conn.update_session(&session("new")).unwrap();
        conn.insert_event(&event("new", "new", 1)).unwrap();
        let type_of = "SELECT format_type(atttypid, -1) FROM pg_attribute WHERE attrelid = 'TABLE'::regclass \
                       AND attname IN ('session_init_json', 'payload_json')";
        for table in ["sessions", "events"] {
            let expected = if table == missing { "json" } else { "jsonb" };
            assert_eq!(line(&mut client, &type_of.replace("TABLE", table)), expected);
        }
    }
}

/// Also where somebody reads the tables meanwhile: there is no lock to wait for.
#[test]
fn migrating_again_changes_nothing_and_waits_for_nobody() {
    for fixture in DUMPS {
        let Some(db) = PgDb::fixture(&format!("{fixture}.sql")) else { return };
        let mut conn = db.connect();
        migrate(&mut conn).unwrap();
        let mut client = db.other();
        let before = (dump(&mut client, "public"), places(&mut client, "public"));
        let mut reader = db.other();
        reader.batch_execute("BEGIN; LOCK TABLE sessions, events, event_heads IN ACCESS SHARE MODE").unwrap();
        conn.batch_execute("SET lock_timeout = 1").unwrap();
        migrate(&mut conn).unwrap();
        let store = SessionStore::connect(&db.url()).unwrap();
        drop(store);
        // The plain SQL too, which a host may run at any time.
        conn.batch_execute(&super::migrations::up()).unwrap();
        reader.batch_execute("COMMIT").unwrap();
        assert_eq!((dump(&mut client, "public"), places(&mut client, "public")), before);
    }
}

/// A reader of a current database of the reference's does not hold its adoption up either.
#[test]
fn adopting_current_tables_waits_for_no_reader() {
    let Some(db) = PgDb::fixture("postgres-0.4.sql") else { return };
    let mut reader = db.other();
    reader.batch_execute("BEGIN; LOCK TABLE sessions, events IN ACCESS SHARE MODE").unwrap();
    let mut conn = db.connect();
    conn.batch_execute("SET lock_timeout = 1").unwrap();
    migrate(&mut conn).unwrap();
    assert_holds(&mut conn, "postgres-0.4");
}

/// In the caller's transaction it is part of that.
#[test]
fn a_migration_is_undone_with_the_callers_transaction() {
    for fixture in DUMPS {
        let Some(db) = PgDb::fixture(&format!("{fixture}.sql")) else { return };
        let (mut client, mut conn) = (db.other(), db.connect());
        let before = dump(&mut client, "public");
        conn.transaction::<(), Error, _>(|conn| {
            migrate(conn)?;
            assert_holds(conn, fixture);
            conn.append_events("plain", &[new_event("undone")])?;
            Err(Error::Closed)
        })
        .unwrap_err();
        assert_eq!(dump(&mut client, "public"), before);
        conn.transaction::<(), Error, _>(migrate).unwrap();
        assert_holds(&mut conn, fixture);
    }
}

/// Old tables, which take a while to migrate.
const OLD: &str = "CREATE TABLE events (id SERIAL PRIMARY KEY, session_id TEXT NOT NULL, created_at BIGINT NOT NULL,
        connection_id TEXT NOT NULL, sender TEXT NOT NULL, payload_json JSONB NOT NULL);
    INSERT INTO events (session_id, created_at, connection_id, sender, payload_json)
        SELECT 'one', 0, 'c', 'agent', '{}' FROM generate_series(1, 500)";

fn databases() -> Option<[PgDb; 3]> {
    Some([PgDb::new()?, PgDb::fixture("postgres-0.2.sql")?, PgDb::with(OLD)?])
}

#[test]
fn nine_connections_migrate_a_database_at_once() {
    let Some(databases) = databases() else { return };
    for db in databases {
        let expected = {
            let mut client = db.other();
            lines(&mut client, "SELECT count(*) FROM pg_tables WHERE tablename = 'events'")
        };
        let start = std::sync::Barrier::new(9);
        std::thread::scope(|scope| {
            for place in 0..9 {
                let (db, start) = (&db, &start);
                scope.spawn(move || {
                    let mut conn = db.connect();
                    start.wait();
                    if place % 3 == 0 {
                        SessionStore::connect(&db.url()).unwrap();
                    } else {
                        migrate(&mut conn).unwrap();
                    }
                });
            }
        });
        let mut client = db.other();
        assert_eq!(lines(&mut client, "SELECT version FROM __diesel_schema_migrations"), ["00000000475301"]);
        if expected == ["1"] {
            assert_eq!(line(&mut client, "SELECT count(*) > 100 FROM events"), "t");
        }
        let mut conn = db.connect();
        let last = conn.last_event_index("one").unwrap().unwrap_or(0);
        assert_eq!(conn.append_events("one", &[new_event("next")]).unwrap(), [last + 1]);
    }
}

/// Does nothing by itself; the test below runs it in processes of their own.
#[test]
fn a_process_that_migrates() {
    let Some(task) = task() else { return };
    let mut conn = PgConnection::establish(&task[0]).unwrap();
    say("ready");
    crate::common::process::wait();
    migrate(&mut conn).unwrap();
}

#[test]
fn nine_processes_migrate_a_database_at_once() {
    let Some(databases) = databases() else { return };
    for db in databases {
        let mut processes: Vec<_> = (0..9).map(|_| Process::start(child(a_process_that_migrates, &db.url()))).collect();
        processes.iter().for_each(|process| process.wait_for("ready"));
        processes.iter_mut().for_each(Process::give_sign);
        processes.into_iter().for_each(|process| drop(process.end()));
        let mut conn = db.connect();
        let last = conn.last_event_index("one").unwrap().unwrap_or(0);
        assert_eq!(conn.append_events("one", &[new_event("next")]).unwrap(), [last + 1]);
    }
}

/// A later version of the reference driver has this column, and a host may have anything.
#[test]
fn what_else_is_declared_on_the_tables_stays() {
    let Some(db) = PgDb::fixture("postgres-0.4.sql") else { return };
    let mut client = db.other();
    client
        .batch_execute(
            "ALTER TABLE sessions ADD COLUMN server_id TEXT, ADD COLUMN owner INT NOT NULL DEFAULT 7;
             ALTER TABLE events ADD COLUMN size BIGINT GENERATED ALWAYS AS (length(sender)) STORED;
             UPDATE sessions SET server_id = 'server-' || id WHERE id <> 'plain';
             CREATE TABLE projects (session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
                 event_id TEXT REFERENCES events (id));
             INSERT INTO projects SELECT session_id, id FROM events WHERE session_id IN (SELECT id FROM sessions);
             CREATE INDEX by_owner ON sessions (owner, lower(agent));
             CREATE INDEX by_payload ON events USING gin (payload_json);
             CREATE VIEW agents AS SELECT s.agent, e.id FROM sessions AS s JOIN events AS e ON e.session_id = s.id;
             CREATE TABLE log (id TEXT);
             CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO log VALUES (NEW.id); RETURN NEW; END';
             CREATE TRIGGER log AFTER INSERT OR UPDATE ON events FOR EACH ROW EXECUTE FUNCTION log();
             ALTER TABLE events ADD CONSTRAINT known CHECK (sender IN ('client', 'agent')) NOT VALID",
        )
        .unwrap();
    let is_ours = |line: &String| ["event_heads", "idx_sessions", "__diesel"].iter().any(|name| line.contains(name));
    let look = |client: &mut postgres::Client| {
        let found = dump(client, "public");
        (found.into_iter().filter(|line| !is_ours(line)).collect::<Vec<_>>(), places(client, "public"))
    };
    let before = look(&mut client);
    let mut conn = db.connect();
    migrate(&mut conn).unwrap();
    assert_eq!(look(&mut client), before);
    assert_holds(&mut conn, "postgres-0.4");
    // An upsert leaves the columns that it does not know alone, and the host's trigger sees every event.
    let mut record = conn.get_session("nulls").unwrap().unwrap();
    record.agent = "codex".to_owned();
    conn.update_session(&record).unwrap();
    assert_eq!(
        line(&mut client, "SELECT agent, server_id, owner FROM sessions WHERE id = 'nulls'"),
        "codex server-nulls 7"
    );
    conn.append_events("nulls", &[new_event("logged")]).unwrap();
    assert_eq!(lines(&mut client, "SELECT id FROM log"), ["logged"]);
    assert_eq!(line(&mut client, "SELECT count(*) FROM agents WHERE id = 'logged'"), "1");
}

/// A migrated database that nobody has written to holds what is declared for it, and nothing more.
#[test]
fn both_kinds_of_databases_have_the_same_indexes() {
    let (Some(ours), Some(theirs)) = (PgDb::ours(), PgDb::fixture("postgres-0.4.sql")) else { return };
    migrate(&mut theirs.connect()).unwrap();
    let [ours, theirs] = [ours, theirs].map(|db| {
        let found = catalog(&mut db.other(), "public");
        found.into_iter().filter(|line| line.starts_with("CREATE")).collect::<Vec<_>>()
    });
    let differing: Vec<_> = ours.iter().filter(|line| !theirs.contains(line)).collect();
    // An index of the reference driver's, in the database's own order, serves as well.
    assert_eq!(differing.len(), 1, "{differing:?}");
    assert!(differing[0].contains("idx_events_session_order") && ours.len() == theirs.len());
}

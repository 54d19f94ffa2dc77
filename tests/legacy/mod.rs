//! The ways that lead to the schema, and what can be seen of a file afterwards.
#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{Error, MIGRATIONS, migrate};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use rusqlite::types::ValueRef;

use crate::common::{TempDb, fixture_path};

/// A way to bring a file to the schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// The crate's `migrate`.
    Migrate,
    /// The embedded migrations in a host's harness.
    Harness,
    /// The files of `migrations/sqlite/`, run by Diesel without this crate's code: what the CLI does.
    PlainSql,
    /// The CLI itself.
    Cli,
    /// The plain SQL by a client that runs one statement after the other, and goes on after an error.
    Regardless,
    /// The plain SQL by SQLite's shell, which does the same.
    Shell,
}

pub const IN_PROCESS: [Way; 4] = [Way::Migrate, Way::Harness, Way::PlainSql, Way::Regardless];

/// Every way that this machine has.
pub fn ways() -> Vec<Way> {
    let mut ways = IN_PROCESS.to_vec();
    if has_shell() {
        ways.push(Way::Shell);
    }
    match Command::new("diesel").arg("--version").output() {
        Ok(output) if output.status.success() => ways.push(Way::Cli),
        _ => println!("skipped: the diesel CLI is not on the PATH"),
    }
    ways
}

/// Whether `sqlite3` is there. CI has to have it.
pub fn has_shell() -> bool {
    let found = Command::new("sqlite3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "SQLite's shell, sqlite3, is not on the PATH");
        println!("SKIPPED: SQLite's shell, sqlite3, is not on the PATH, so nothing is tested through it");
    }
    found
}

pub fn migrations_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite")
}

fn script(name: &str) -> PathBuf {
    migrations_folder().join("0000-00-00-475301_sessions_and_events").join(name)
}

/// The statements of the plain SQL. Each ends where a line ends with a semicolon.
pub fn statements() -> Vec<String> {
    let script = std::fs::read_to_string(script("up.sql")).unwrap();
    let code: Vec<&str> = script.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let mut statements: Vec<String> = code.join("\n").split(";\n").map(|text| text.trim().to_owned()).collect();
    statements.retain(|statement| !statement.is_empty());
    assert!(statements.len() > 50, "{}", statements.len());
    statements
}

/// SQLite's shell, run on a file with a script as its input.
pub fn shell(options: &[&str], file: &Path, script: &Path) -> Output {
    let input = std::fs::File::open(script).unwrap();
    Command::new("sqlite3").args(options).arg(file).stdin(input).output().unwrap()
}

impl Way {
    pub fn is_embedded(self) -> bool {
        matches!(self, Self::Migrate | Self::Harness)
    }

    /// Whether it enters into Diesel's bookkeeping what it has done, and so does nothing the next time.
    pub fn keeps_books(self) -> bool {
        !matches!(self, Self::Regardless | Self::Shell)
    }

    /// Goes it, and says why not.
    pub fn go(self, db: &TempDb) -> Result<(), String> {
        match self {
            Self::Cli => return self.cli(db, "run"),
            Self::Shell => return in_shell(db, "up.sql"),
            _ => {}
        }
        let mut conn = db.connect();
        // As the bundled SQLite has it by default, and the system's may not.
        conn.batch_execute("PRAGMA foreign_keys = ON").unwrap();
        self.go_on(&mut conn)
    }

    pub fn go_on(self, conn: &mut SqliteConnection) -> Result<(), String> {
        match self {
            Self::Migrate => migrate(conn).map_err(|error| error.to_string()),
            Self::Harness => match conn.run_pending_migrations(MIGRATIONS) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
            Self::PlainSql => {
                let files = FileBasedMigrations::from_path(migrations_folder()).unwrap();
                match conn.run_pending_migrations(files) {
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.to_string()),
                }
            }
            Self::Regardless => {
                let mut result = Ok(());
                for statement in statements() {
                    let outcome = conn.batch_execute(&statement).map_err(|error| error.to_string());
                    result = result.and(outcome);
                }
                result
            }
            Self::Cli | Self::Shell => unreachable!("{self:?} takes a file"),
        }
    }

    pub fn revert(self, db: &TempDb) -> Result<(), String> {
        match self {
            Self::Cli => self.cli(db, "revert"),
            Self::Shell => in_shell(db, "down.sql"),
            Self::Regardless => db
                .connect()
                .batch_execute(&std::fs::read_to_string(script("down.sql")).unwrap())
                .map_err(|error| error.to_string()),
            Self::PlainSql => db
                .connect()
                .revert_last_migration(FileBasedMigrations::from_path(migrations_folder()).unwrap())
                .map(drop)
                .map_err(|error| error.to_string()),
            Self::Migrate | Self::Harness => {
                db.connect().revert_last_migration(MIGRATIONS).map(drop).map_err(|error| error.to_string())
            }
        }
    }

    fn cli(self, db: &TempDb, verb: &str) -> Result<(), String> {
        let config = db.folder().join("diesel.toml");
        std::fs::write(&config, "").unwrap();
        let output = Command::new("diesel")
            .args(["migration", verb, "--config-file"])
            .arg(&config)
            .arg("--migration-dir")
            .arg(migrations_folder())
            .arg("--database-url")
            .arg(db.path())
            .current_dir(db.folder())
            .output()
            .unwrap();
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}

/// Runs a script in the shell, and says what it has said.
fn in_shell(db: &TempDb, name: &str) -> Result<(), String> {
    // As the bundled SQLite has it by default, and the system's does not.
    let output = shell(&["-cmd", "PRAGMA foreign_keys = ON"], &db.path(), &script(name));
    assert_eq!(output.stdout, b"", "{}", String::from_utf8_lossy(&output.stdout));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    if said.is_empty() { Ok(()) } else { Err(said) }
}

/// The reason that `migrate` gives for refusing.
pub fn refusal(conn: &mut SqliteConnection) -> String {
    match migrate(conn) {
        Err(Error::CannotMigrate { reason }) => reason,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

/// The names of the frozen shapes.
pub fn shapes() -> Vec<String> {
    let mut shapes: Vec<String> = std::fs::read_dir(fixture_path("legacy"))
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().path().file_name()?.to_str()?.strip_suffix(".sql")?.to_owned()))
        .collect();
    shapes.sort();
    assert!(shapes.len() > 25, "{shapes:?}");
    shapes
}

pub fn shape_sql(shape: &str) -> String {
    std::fs::read_to_string(fixture_path(&format!("legacy/{shape}.sql"))).unwrap()
}

/// A file of one of the frozen shapes.
pub fn legacy_file(shape: &str) -> TempDb {
    file_of(&shape_sql(shape))
}

pub fn file_of(sql: &str) -> TempDb {
    let db = TempDb::new();
    db.plain().execute_batch(&format!("PRAGMA synchronous = OFF;\n{sql}")).unwrap();
    db
}

/// The schema's text, without SQLite's own objects, the bookkeeping, quotes and white space.
pub fn schema(conn: &rusqlite::Connection) -> Vec<String> {
    let mut statement = conn
        .prepare(
            "SELECT type || ' ' || name || ' on ' || tbl_name, sql FROM sqlite_master
             WHERE name NOT LIKE 'sqlite_%' AND name <> '__diesel_schema_migrations' ORDER BY 1",
        )
        .unwrap();
    let rows = statement
        .query_map([], |row| {
            let sql: String = row.get(1)?;
            let sql: String = sql.chars().filter(|sign| *sign != '"' && !sign.is_whitespace()).collect();
            Ok(format!("{}: {sql}", row.get::<_, String>(0)?))
        })
        .unwrap();
    rows.map(Result::unwrap).collect()
}

/// Every row of both tables as a line, in the order of the listings; an absent value is a dash.
pub fn rows(conn: &rusqlite::Connection) -> Vec<String> {
    let sessions = "SELECT 'session', id, agent, agent_session_id, last_connection_id, created_at, destroyed_at,
            sandbox_id, session_init_json, config_options_json, modes_json
        FROM sessions ORDER BY created_at, id";
    let events = "SELECT 'event', session_id, event_index, id, created_at, connection_id, sender, payload_json
        FROM events ORDER BY session_id, event_index, id";
    [lines(conn, sessions), lines(conn, events)].concat()
}

pub fn lines(conn: &rusqlite::Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut lines = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let values: Vec<String> = (0..columns)
            .map(|column| match row.get_ref(column).unwrap() {
                ValueRef::Null => "-".to_owned(),
                ValueRef::Integer(value) => value.to_string(),
                ValueRef::Real(value) => format!("{value:?}"),
                ValueRef::Text(value) => String::from_utf8(value.to_vec()).unwrap(),
                ValueRef::Blob(value) => format!("{value:x?}"),
            })
            .collect();
        lines.push(values.join(" "));
    }
    lines
}

/// Everything in the file but the bookkeeping: each object's declaration, and each table's rows with their types.
pub fn dump(conn: &rusqlite::Connection) -> Vec<String> {
    let mut dump = lines(
        conn,
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE '%__diesel_schema_migrations%' ORDER BY 1, 2",
    );
    let tables =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> '__diesel_schema_migrations' ORDER BY 1";
    for table in lines(conn, tables) {
        let columns = lines(
            conn,
            &format!(
                "SELECT 'typeof(\"' || name || '\"), quote(\"' || name || '\")' FROM pragma_table_info('{table}')"
            ),
        );
        dump.extend(lines(conn, &format!("SELECT '{table}', {} FROM \"{table}\" ORDER BY 2, 3", columns.join(", "))));
    }
    dump
}

pub fn is_sound(conn: &rusqlite::Connection) {
    assert_eq!(lines(conn, "PRAGMA integrity_check"), ["ok"]);
}

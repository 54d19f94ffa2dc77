//! Files of older shapes, the ways that lead from there to the schema, and what can be seen of a file afterwards.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{Error, MIGRATIONS, migrate};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};

use super::{TempDb, fixture_path, lines};

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
    static HAS_CLI: LazyLock<bool> = LazyLock::new(|| is_on_path("diesel"));
    let mut ways = IN_PROCESS.to_vec();
    ways.extend(has_shell().then_some(Way::Shell));
    if *HAS_CLI {
        ways.push(Way::Cli);
    } else {
        println!("skipped: the diesel CLI is not on the PATH");
    }
    ways
}

/// Whether `sqlite3` is there. CI has to have it.
pub fn has_shell() -> bool {
    static HAS_SHELL: LazyLock<bool> = LazyLock::new(|| is_on_path("sqlite3"));
    if !*HAS_SHELL {
        assert!(std::env::var_os("CI").is_none(), "SQLite's shell, sqlite3, is not on the PATH");
        println!("SKIPPED: SQLite's shell, sqlite3, is not on the PATH, so nothing is tested through it");
    }
    *HAS_SHELL
}

fn is_on_path(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

pub fn migrations_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite")
}

/// The migration as Diesel runs it without this crate's code.
pub fn plain_sql() -> FileBasedMigrations {
    FileBasedMigrations::from_path(migrations_folder()).unwrap()
}

/// The plain SQL of one direction.
pub fn script_path(name: &str) -> PathBuf {
    migrations_folder().join("0000-00-00-475301_sessions_and_events").join(name)
}

/// The statements of the plain SQL. Each ends where a line ends with a semicolon.
pub fn statements() -> Vec<String> {
    static STATEMENTS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let script = std::fs::read_to_string(script_path("up.sql")).unwrap();
        let code: Vec<&str> = script.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        let mut statements: Vec<String> = code.join("\n").split(";\n").map(|text| text.trim().to_owned()).collect();
        statements.retain(|statement| !statement.is_empty());
        assert!(statements.len() > 50, "{}", statements.len());
        statements
    });
    STATEMENTS.clone()
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
        // As the bundled SQLite has it by default, and the system's may not. Nor does any of this wait for the disk.
        conn.batch_execute("PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF").unwrap();
        self.go_on(&mut conn)
    }

    pub fn go_on(self, conn: &mut SqliteConnection) -> Result<(), String> {
        match self {
            Self::Migrate => migrate(conn).map_err(|error| error.to_string()),
            Self::Harness => match conn.run_pending_migrations(MIGRATIONS) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
            Self::PlainSql => match conn.run_pending_migrations(plain_sql()) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
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
                .batch_execute(&std::fs::read_to_string(script_path("down.sql")).unwrap())
                .map_err(|error| error.to_string()),
            Self::PlainSql => {
                db.connect().revert_last_migration(plain_sql()).map(drop).map_err(|error| error.to_string())
            }
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
    let options = ["-cmd", "PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF"];
    let output = shell(&options, &db.path(), &script_path(name));
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
    TempDb::with(&shape_sql(shape))
}

/// The rows of such a file as they must come out, worked out by hand.
pub fn expected(shape: &str) -> Vec<String> {
    let text = std::fs::read_to_string(fixture_path(&format!("legacy/{shape}.expected"))).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// What the schema is made of, without SQLite's own objects and the bookkeeping.
pub fn schema(conn: &rusqlite::Connection) -> Vec<String> {
    lines(
        conn,
        "SELECT type, name, tbl_name, sql FROM sqlite_master
         WHERE name NOT LIKE 'sqlite_%' AND name <> '__diesel_schema_migrations' ORDER BY 1, 2",
    )
}

/// The schema that a new file gets.
pub fn new_schema() -> Vec<String> {
    static SCHEMA: LazyLock<Vec<String>> = LazyLock::new(|| schema(&TempDb::ours().plain()));
    SCHEMA.clone()
}

/// Every row of both tables as a line, in the order of the listings; an absent value is a dash.
pub fn listed(conn: &rusqlite::Connection) -> Vec<String> {
    let sessions = "SELECT 'session', id, agent, agent_session_id, last_connection_id, created_at, destroyed_at,
            sandbox_id, session_init_json, config_options_json, modes_json
        FROM sessions ORDER BY created_at, id";
    let events = "SELECT 'event', session_id, event_index, id, created_at, connection_id, sender, payload_json
        FROM events ORDER BY session_id, event_index, id";
    [lines(conn, sessions), lines(conn, events)].concat()
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
        // One text a row, put together by SQLite.
        let values = lines(
            conn,
            &format!("SELECT 'typeof(\"' || name || '\") || '' '' || quote(\"' || name || '\")' FROM pragma_table_info('{table}')"),
        )
        .join(" || ' ' || ");
        dump.extend(lines(conn, &format!("SELECT '{table} ' || {values} FROM \"{table}\" ORDER BY 1")));
    }
    dump
}

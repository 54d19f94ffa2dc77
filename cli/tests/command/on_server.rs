//! Proves that the same commands work on a PostgreSQL server. Each test has its own database there.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, PgConnection};

use crate::common::{Db, LONG, SDK, fixture, pinned, prompt, said};

struct Server {
    server: String,
    name: String,
    /// Where the command runs.
    folder: Db,
}

impl Server {
    /// A database with what this script makes, or `None` where there is no server: the test is skipped then, and says so.
    fn with(script: &str) -> Option<Self> {
        static SAID: Once = Once::new();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var("AGENT_SESSIONS_TEST_POSTGRES")
            .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432".to_owned());
        let mut admin = match PgConnection::establish(&format!("{server}/postgres")) {
            Ok(conn) => conn,
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "no PostgreSQL server at {server}, and CI is set: {error}");
                SAID.call_once(|| {
                    use std::io::Write;
                    let _ =
                        writeln!(std::io::stderr(), "\nSKIPPED: the tests on PostgreSQL need a server at {server}\n");
                });
                return None;
            }
        };
        let name = format!("agent_sessions_cli_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let server = Self { server, name, folder: Db::none() };
        PgConnection::establish(&server.url()).unwrap().batch_execute(script).unwrap();
        Some(server)
    }

    fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    fn run(&self, arguments: &[&str]) -> std::process::Output {
        self.folder.command(arguments).env("AGENT_SESSIONS_DB", self.url()).output().unwrap()
    }

    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(mut conn) = PgConnection::establish(&format!("{}/postgres", self.server)) {
            let _ = conn.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}

/// Everything goes there, is shown there as it is from a file, and comes back.
#[test]
fn every_command_works_on_a_server() {
    let Some(server) = Server::with("SELECT 1") else { return };
    let file = Db::fixture(SDK);
    assert_eq!(server.run(&["list"]).status.code(), Some(4));
    assert!(server.stdout(&["migrate", "--dry-run"]).starts_with("would migrate"));
    assert!(server.stdout(&["migrate"]).starts_with("migrated"));
    assert_eq!(server.stdout(&["migrate"]), "up to date\n");

    // What the server cannot hold is refused by name, so these go.
    let lines: Vec<_> = ["--session", "f3330008"].to_vec();
    let one = file.stdout(&[&["export"][..], &lines].concat());
    let refused =
        server.folder.command(&["import"]).env("AGENT_SESSIONS_DB", server.url()).write_stdin(one).output().unwrap();
    assert!(refused.status.success(), "{}", said(&refused));
    for arguments in [
        &["list", "--json"][..],
        &["show", "@1"],
        &["show", "@1", "--json"],
        &["events", "f333"],
        &["events", "f333", "--json", "--last", "2"],
        &["stats", "@1"],
        &["export"],
    ] {
        let there = server.stdout(arguments);
        let here: Vec<_> = arguments.iter().map(|argument| if *argument == "@1" { "@2" } else { argument }).collect();
        let here = match arguments[0] {
            "list" => file.stdout(&["list", "--json", "--ended", "--agent", "mock"]),
            "export" => file.stdout(&["export", "--session", "f333"]),
            _ => file.stdout(&here),
        };
        assert_eq!(there, here, "{arguments:?}");
    }
    assert_eq!(server.stdout(&["check"]), "sound\n");
    assert_eq!(server.stdout(&["prune", "--session", "@1", "--dry-run"]), "would delete 1 session and 12 events\n");
    assert_eq!(
        server.stdout(&["prune", "--session", "@1", "--yes", "--archive", "old.jsonl"]),
        "deleted 1 session and 12 events\n"
    );
    assert_eq!(server.stdout(&["list", "--json"]), "");
    server.stdout(&["import", "old.jsonl"]);
    assert_eq!(server.stdout(&["list", "--json"]).lines().count(), 1);
    let (exit, backup) = (server.run(&["backup", "x.db"]).status.code(), server.folder.files());
    assert_eq!((exit, backup), (Some(2), vec!["old.jsonl".to_owned()]));
}

/// The reference driver's database, of its first version.
#[test]
fn a_database_of_the_reference_driver_is_migrated_first() {
    let Some(server) = Server::with(&std::fs::read_to_string(fixture("postgres-0.2.sql")).unwrap()) else { return };
    for arguments in [&["list"][..], &["list", "--copy"], &["follow", "@1"], &["prune", "--max-events", "1", "--yes"]] {
        let output = server.run(arguments);
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    }
    pinned!("server-old", said(&server.run(&["list"])));
    server.stdout(&["migrate"]);
    pinned!("server-list", said(&server.run(&["list"])));
    assert!(server.stdout(&["show", LONG]).contains("first prompt"));
}

/// In a pipe, where each line is there once the event is stored.
#[test]
#[cfg(unix)]
fn a_session_on_a_server_is_followed() {
    use std::io::BufRead;
    let Some(server) = Server::with("SELECT 1") else { return };
    let store = agent_session_store::SessionStore::connect(&server.url()).unwrap();
    store.append_events("session-1", &[prompt("a", 1, "one")]).unwrap();
    let mut follow = std::process::Command::new(crate::common::COMMAND)
        .args(["follow", "session-1", "--raw", "--db", &server.url()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(follow.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("one"));
    store.append_events("session-1", &[prompt("b", 2, "two")]).unwrap();
    assert!(lines.next().unwrap().unwrap().contains("two"));
    let interrupt = std::process::Command::new("kill").args(["-INT", &follow.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(follow.wait().unwrap().code(), Some(130));
    store.close().unwrap();
}

#[test]
fn a_schema_of_ones_own() {
    let Some(server) = Server::with("CREATE SCHEMA tenant") else { return };
    server.stdout(&["migrate", "--schema", "tenant"]);
    assert_eq!(server.stdout(&["list", "--schema", "tenant", "--json"]), "");
    assert_eq!(server.run(&["list"]).status.code(), Some(4));
}

#[test]
fn a_server_out_of_reach_is_unavailable_and_its_password_is_not_told() {
    let db = Db::none();
    let (exit, line) = db.refusal(&["list", "--db", "postgres://me:secret@127.0.0.1:1/app"]);
    assert_eq!(exit, 5);
    assert!(!line.contains("secret") && line.contains("127.0.0.1"), "{line}");
}

//! Databases in temporary folders, and the command run on them.

use std::path::{Path, PathBuf};
use std::process::Output;

use agent_session_store::{Json, NewEvent, Sender, SessionRecord, SessionStore};
use chrono::{DateTime, Utc};
use tempfile::TempDir;

pub const COMMAND: &str = env!("CARGO_BIN_EXE_agent-sessions");

/// A file of the reference driver, with the current schema.
pub const SDK: &str = "sdk-0.4.2.db";
/// A file of an older schema, which has to be migrated.
pub const SERVER: &str = "server-0.4.2.db";
/// A session of the first, with a long conversation.
pub const LONG: &str = "a664deba-7bbd-42f2-a1b1-ab255ee7e2d5";

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

/// A folder with a database, `sessions.db`, which may not exist yet.
pub struct Db(TempDir);

impl Db {
    pub fn none() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn fixture(name: &str) -> Self {
        let db = Self::none();
        std::fs::copy(fixture(name), db.path()).unwrap();
        db
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self) -> PathBuf {
        self.folder().join("sessions.db")
    }

    pub fn store(&self) -> SessionStore {
        SessionStore::open(self.path()).unwrap()
    }

    /// Everything in the folder, byte for byte.
    pub fn bytes(&self) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = std::fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The command in the folder, with the database as its own.
    pub fn command(&self, arguments: &[&str]) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::new(COMMAND);
        command.args(arguments).current_dir(self.folder()).env("AGENT_SESSIONS_DB", "sessions.db");
        for (name, value) in environment() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints, when all is well.
    pub fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The exit code, and the one line that says why.
    pub fn refusal(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.stdout.len(), line.lines().count()), (0, 1), "{arguments:?}: {line}");
        (output.status.code().unwrap(), line)
    }
}

/// The same wherever the tests run.
pub fn environment() -> [(&'static str, Option<&'static str>); 9] {
    [
        ("TZ", Some("UTC")),
        ("LC_ALL", Some("C.UTF-8")),
        ("NO_COLOR", None),
        ("CLICOLOR", None),
        ("CLICOLOR_FORCE", None),
        ("AGENT_SESSIONS_PAGER", None),
        ("PAGER", None),
        ("LESS", None),
        ("COLUMNS", None),
    ]
}

/// All that a run of the command says, to be compared with what was looked at.
pub fn said(output: &Output) -> String {
    format!(
        "exit {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Compares the output with the pinned one.
macro_rules! pinned {
    ($name:expr, $said:expr) => {
        insta::with_settings!({
            omit_expression => true,
            prepend_module_to_snapshot => false,
            // Ages, which grow.
            filters => vec![(r"(?m)^ *\d+ (s|min|h|d|y)  ", "[age]  ")],
        }, { insta::assert_snapshot!($name, $said) });
    };
}
pub(crate) use pinned;

pub fn millis(value: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(value).unwrap()
}

pub fn session(id: &str, created_at: i64) -> SessionRecord {
    SessionRecord::new(id, "claude", format!("agent-{id}"), "connection-1", millis(created_at))
}

pub fn event(id: &str, sender: Sender, payload: &str) -> NewEvent {
    NewEvent::new(id, millis(1_700_000_000_000), "connection-1", sender, Json::parse(payload).unwrap())
}

pub fn prompt(id: &str, number: u64, text: &str) -> NewEvent {
    let text = serde_json::Value::from(text);
    event(
        id,
        Sender::Client,
        &format!(
            r#"{{"id":{number},"method":"session/prompt","params":{{"prompt":[{{"type":"text","text":{text}}}]}}}}"#
        ),
    )
}

pub fn chunk(id: &str, text: &str) -> NewEvent {
    let text = serde_json::Value::from(text);
    event(
        id,
        Sender::Agent,
        &format!(
            r#"{{"method":"session/update","params":{{"update":{{"sessionUpdate":"agent_message_chunk","content":{{"type":"text","text":{text}}}}}}}}}"#
        ),
    )
}

pub fn answer(id: &str, number: u64) -> NewEvent {
    event(id, Sender::Agent, &format!(r#"{{"id":{number},"result":{{"stopReason":"end_turn"}}}}"#))
}

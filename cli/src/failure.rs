//! What may go wrong, the line that says so, and the exit code.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use agent_session_store::{Error, ErrorKind};

use crate::printable;

pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// The exit codes. They are documented in `--help` and in `docs/command.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// A check found something, or the answer was no.
    No = 1,
    Usage = 2,
    NotFound = 3,
    NotMigrated = 4,
    Unavailable = 5,
    Failed = 6,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[derive(Debug)]
pub enum Failure {
    /// The reader of our output went away, such as `head`. That is no error.
    PipeClosed,
    /// By Ctrl-C or a signal, with what there is to say about it.
    Interrupted(Option<String>),
    /// Anything else: one line that says what happened and what to do.
    Said { exit: Exit, line: String },
}

impl Failure {
    pub fn said(exit: Exit, line: impl Into<String>) -> Self {
        Self::Said { exit, line: line.into() }
    }

    pub fn usage(line: impl Into<String>) -> Self {
        Self::said(Exit::Usage, line)
    }

    /// Says what was done when it happened.
    pub fn when(self, doing: impl fmt::Display) -> Self {
        match self {
            Self::Said { exit, line } => Self::Said { exit, line: format!("{doing}: {line}") },
            other => other,
        }
    }

    /// Writes the line to standard error.
    pub fn report(self) -> ExitCode {
        let (exit, line) = match self {
            Self::PipeClosed => (Exit::Done, None),
            Self::Interrupted(line) => (Exit::Interrupted, line),
            Self::Said { exit, line } => (exit, Some(format!("error: {line}"))),
        };
        if let Some(line) = line {
            warn(&line);
        }
        exit.into()
    }
}

/// Writes one line to standard error.
pub fn warn(line: &str) {
    let _ = writeln!(io::stderr(), "{}", printable::line(line));
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if is_stop(&error) {
            return Self::Interrupted(None);
        }
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::PipeClosed,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::said(Exit::Unavailable, format!("{error}: free some space and run it again"))
            }
            io::ErrorKind::NotFound => Self::said(Exit::NotFound, error.to_string()),
            _ => Self::said(Exit::Failed, error.to_string()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (exit, advice) = match &error {
            // What our own reader or writer said.
            Error::Io { .. } => {
                let Error::Io { source } = error else { return Self::PipeClosed };
                return Self::from(source);
            }
            Error::Unfinished { done, source } => {
                if matches!(&**source, Error::Io { source } if is_stop(source)) {
                    return Self::Interrupted(Some(format!("interrupted: {done}")));
                }
                (exit_of(source), Some("run it again for the rest"))
            }
            Error::Import { .. } => (
                Exit::Failed,
                Some("nothing of its session is stored, and all before it is; mend the line and import the file again"),
            ),
            Error::MigrationNeeded { .. } | Error::NotMigrated { .. } => {
                (Exit::NotMigrated, Some("run `agent-sessions migrate`"))
            }
            Error::CannotMigrate { .. } => {
                (Exit::NotMigrated, Some("see the refusals in the guide, opening existing files"))
            }
            Error::Busy { .. } => (Exit::Unavailable, Some("try again when the other program is done")),
            Error::DiskFull { .. } => (Exit::Unavailable, Some("free some space and run it again")),
            Error::Disconnected { .. } | Error::TimedOut { .. } => (Exit::Unavailable, Some("try again")),
            Error::NotADatabase { .. } => (Exit::Failed, Some("give the path of a database with --db")),
            Error::ReadOnly { .. } => {
                (Exit::Failed, Some("check the permissions of the file and its folder, or of the role"))
            }
            Error::Decode { .. } => (Exit::Failed, Some("`agent-sessions check` lists all such rows")),
            other => (exit_of(other), None),
        };
        match advice {
            Some(advice) => Self::said(exit, format!("{error}: {advice}")),
            None => Self::said(exit, error.to_string()),
        }
    }
}

fn exit_of(error: &Error) -> Exit {
    match error.kind() {
        ErrorKind::NotFound => Exit::NotFound,
        ErrorKind::Unavailable | ErrorKind::StorageFull => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

/// What our readers and writers say when the work is interrupted.
#[derive(Debug)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Stopped {}

fn is_stop(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Stopped>())
}

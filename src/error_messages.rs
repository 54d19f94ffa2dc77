//! Every error there is, in one list, with the words of its message and of its causes.

use std::error::Error as StdError;

use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};

use super::{Done, Error};
use crate::error_kind::ErrorKind;
use crate::model::report::{Progress, PruneReport};

fn said(message: &str) -> DieselError {
    DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned()))
}

fn json_error(text: &str) -> serde_json::Error {
    serde_json::from_str::<serde_json::Value>(text).expect_err("it is none")
}

fn id(text: &str) -> String {
    text.to_owned()
}

/// The name of a variant. There is no `_` here, so that a new variant is missed here first, and then in the list.
fn name(error: &Error) -> &'static str {
    match error {
        Error::InvalidJson { .. } => "InvalidJson",
        Error::InvalidCursor { .. } => "InvalidCursor",
        Error::Decode { .. } => "Decode",
        Error::AppendConflict { .. } => "AppendConflict",
        Error::EventIdTaken { .. } => "EventIdTaken",
        Error::IndexesExhausted { .. } => "IndexesExhausted",
        Error::SessionNotFound { .. } => "SessionNotFound",
        Error::SessionEnded { .. } => "SessionEnded",
        Error::SessionExists { .. } => "SessionExists",
        Error::Import { .. } => "Import",
        Error::Unfinished { .. } => "Unfinished",
        Error::Io { .. } => "Io",
        Error::NotMigrated { .. } => "NotMigrated",
        Error::MigrationNeeded { .. } => "MigrationNeeded",
        Error::CannotMigrate { .. } => "CannotMigrate",
        Error::Migration { .. } => "Migration",
        Error::Open { .. } => "Open",
        Error::NotADatabase { .. } => "NotADatabase",
        Error::ReadOnly { .. } => "ReadOnly",
        Error::Busy { .. } => "Busy",
        Error::DiskFull { .. } => "DiskFull",
        Error::Disconnected { .. } => "Disconnected",
        Error::TimedOut { .. } => "TimedOut",
        Error::NotStorable { .. } => "NotStorable",
        Error::Unsupported { .. } => "Unsupported",
        Error::Closed => "Closed",
        Error::Reentrant => "Reentrant",
        Error::Panicked => "Panicked",
        Error::Thread { .. } => "Thread",
        Error::Database { .. } => "Database",
    }
}

const VARIANTS: usize = 30;

fn all_errors() -> Vec<(Error, &'static str)> {
    let (done, pruned) = (Progress { sessions: 1, events: 20 }, PruneReport { sessions: 0, events: 500 });
    let io = || std::io::Error::other("the pipe is gone");
    vec![
        (
            Error::InvalidJson { source: json_error("{oops") },
            "the text is not JSON: key must be a string at line 1 column 2",
        ),
        (
            Error::InvalidJson {
                source: <serde_json::Error as serde::de::Error>::custom("invalid type: null at line 1 column 4"),
            },
            "the JSON does not match the requested type: invalid type: null at line 1 column 4",
        ),
        (
            Error::InvalidJson { source: <serde_json::Error as serde::ser::Error>::custom("no form") },
            "the value cannot be written as JSON: no form",
        ),
        (
            Error::InvalidJson { source: json_error(&"[".repeat(200)) },
            "the JSON is nested too deeply to be decoded: recursion limit exceeded at line 1 column 128",
        ),
        (
            Error::InvalidCursor { reason: "it was not made by this crate" },
            "the cursor cannot be used: it was not made by this crate",
        ),
        (
            Error::Decode { table: "events", id: id("e"), column: "sender", source: "no word".into(), after: None },
            "cannot decode column sender of the events row with id \"e\": no word",
        ),
        (
            Error::AppendConflict { session_id: id("s"), expected: 7, last_index: Some(9) },
            "session \"s\" does not end at index 7: it ends at 9",
        ),
        (
            Error::AppendConflict { session_id: id("s"), expected: 7, last_index: None },
            "session \"s\" does not end at index 7: it has no events",
        ),
        (
            Error::EventIdTaken { id: id("e"), session_id: id("s") },
            "the id \"e\" is taken by a different event of session \"s\"",
        ),
        (Error::IndexesExhausted { session_id: id("s") }, "session \"s\" already ends at the greatest possible index"),
        (Error::SessionNotFound { id: id("s") }, "there is no session \"s\""),
        (Error::SessionEnded { id: id("s") }, "session \"s\" has ended"),
        (Error::SessionExists { id: id("s") }, "session \"s\" already exists"),
        (Error::Import { line: 3, done, source: "it is too long".into() }, "cannot import line 3: it is too long"),
        (
            Error::Unfinished { done: Done::Imported(done), source: Box::new(Error::Closed) },
            "1 sessions and 20 events were imported, then it failed: the store is closed",
        ),
        (
            Error::Unfinished { done: Done::Pruned(pruned), source: Box::new(Error::Closed) },
            "0 sessions and 500 events were deleted, then it failed: the store is closed",
        ),
        (Error::Io { source: io() }, "reading or writing failed: the pipe is gone"),
        (
            Error::NotMigrated { source: said("no such table: events") },
            "the database has not been migrated (no such table: events): call agent_session_store::migrate or run the \
             crate's MIGRATIONS first",
        ),
        (
            Error::MigrationNeeded { reason: id("the file is empty") },
            "the database has to be migrated before it can be read (the file is empty): open it for writing once, or \
             call agent_session_store::migrate",
        ),
        (
            Error::CannotMigrate { reason: id("the table events is a view") },
            "cannot migrate the database, nothing was changed: the table events is a view",
        ),
        (Error::Migration { source: "no version".into() }, "the migration failed and was rolled back: no version"),
        (
            Error::Open { path: id("x.db"), source: ConnectionError::BadConnection(id("it is a folder")) },
            "cannot open \"x.db\": it is a folder",
        ),
        (
            Error::NotADatabase { source: said("file is not a database") },
            "the file is not an SQLite database, or is encrypted with another key: file is not a database",
        ),
        (
            Error::ReadOnly { source: said("attempt to write a readonly database") },
            "the database cannot be written to: attempt to write a readonly database",
        ),
        (
            Error::Busy { source: said("database is locked") },
            "another connection kept the database locked for too long: database is locked",
        ),
        (
            Error::DiskFull { source: said("database or disk is full") },
            "there is no space left for the database: database or disk is full",
        ),
        (
            Error::Disconnected { may_be_stored: true, source: said("server closed the connection unexpectedly") },
            "the connection to the database was lost, and a write may or may not have been stored: server closed the \
             connection unexpectedly",
        ),
        (
            Error::Disconnected { may_be_stored: false, source: said("server closed the connection unexpectedly") },
            "the connection to the database was lost, and nothing was written: server closed the connection \
             unexpectedly",
        ),
        (
            Error::TimedOut { source: said("canceling statement due to statement timeout") },
            "the database stopped the statement: canceling statement due to statement timeout",
        ),
        (
            Error::NotStorable { reason: "no text holds a NUL", source: said("invalid byte sequence") },
            "the value cannot be stored: no text holds a NUL: invalid byte sequence",
        ),
        (
            Error::Unsupported { reason: "only a file can be backed up" },
            "this database cannot do that: only a file can be backed up",
        ),
        (Error::Closed, "the store is closed"),
        (
            Error::Reentrant,
            "a call of the store came from inside another one and would wait for it forever: make it after the other has returned; in a transaction, call the verbs of the transaction",
        ),
        (Error::Panicked, "the thread that did the work panicked; a write may or may not have been stored"),
        (Error::Thread { source: io() }, "cannot start a thread: the pipe is gone"),
        (Error::Database { source: said("not today") }, "the database reported an error: not today"),
    ]
}

#[test]
fn every_error_says_what_happened_and_keeps_its_cause() {
    let mut names = Vec::new();
    for (error, message) in all_errors() {
        assert_eq!(error.to_string(), message);
        names.push(name(&error));
        // What the message says of a cause is what the cause says.
        if let Some(cause) = error.source() {
            assert!(message.contains(&cause.to_string()), "{message}: {cause}");
        }
    }
    names.dedup();
    assert_eq!(names.len(), VARIANTS, "{names:?}");
}

/// A service answers by these.
#[test]
fn every_error_is_of_a_kind() {
    let of_kind = |kind: ErrorKind| {
        let mut names: Vec<_> =
            all_errors().iter().filter(|(error, _)| error.kind() == kind).map(|(error, _)| name(error)).collect();
        names.dedup();
        names
    };
    let kinds = [
        (ErrorKind::InvalidInput, 400, &["InvalidJson", "InvalidCursor", "Import", "NotStorable"][..]),
        (ErrorKind::NotFound, 404, &["SessionNotFound"]),
        (
            ErrorKind::Conflict,
            409,
            &["AppendConflict", "EventIdTaken", "IndexesExhausted", "SessionEnded", "SessionExists"],
        ),
        (ErrorKind::Unsupported, 501, &["Unsupported"]),
        // Unfinished is here because the list's are stopped by a closed store.
        (ErrorKind::Unavailable, 503, &["Unfinished", "Busy", "Disconnected", "TimedOut", "Closed", "Thread"]),
        (ErrorKind::StorageFull, 507, &["DiskFull"]),
        (ErrorKind::Undecodable, 500, &["Decode"]),
    ];
    for (kind, status, names) in kinds {
        assert_eq!((of_kind(kind), kind.http_status()), (names.to_vec(), status));
    }
    let others: usize = kinds.iter().map(|(_, _, names)| names.len()).sum();
    assert_eq!((of_kind(ErrorKind::Internal).len(), ErrorKind::Internal.http_status()), (VARIANTS - others, 500));
}

/// They come out of the application's own statements, by `?` in a transaction.
#[test]
fn the_rows_of_an_application_conflict_and_are_missing_too() {
    let violated = |kind| DieselError::DatabaseError(kind, Box::new("no".to_owned()));
    for (source, kind) in [
        (DieselError::NotFound, ErrorKind::NotFound),
        (violated(DatabaseErrorKind::UniqueViolation), ErrorKind::Conflict),
        (violated(DatabaseErrorKind::ForeignKeyViolation), ErrorKind::Conflict),
        (violated(DatabaseErrorKind::NotNullViolation), ErrorKind::Internal),
    ] {
        assert_eq!(Error::from(source).kind(), kind);
    }
    let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
    assert_eq!(Error::from(exists).kind(), ErrorKind::Conflict);
}

//! What the application does to each connection before the store uses it.

use std::fmt;
use std::sync::Arc;

use diesel::result::ConnectionError;

use super::store_connection::StoreConnection;
use crate::error::{Error, Result};

type Hook = dyn Fn(&mut StoreConnection<'_>) -> Result<()> + Send + Sync;

/// The application's hook, if it has one.
#[derive(Clone, Default)]
pub(in crate::store) struct OnOpen(Option<Arc<Hook>>);

impl OnOpen {
    pub(in crate::store) fn new(hook: impl Fn(&mut StoreConnection<'_>) -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Runs the hook on a connection to which nothing has been sent.
    pub(super) fn run<'a>(&self, conn: impl Into<StoreConnection<'a>>, location: &dyn fmt::Display) -> Result<()> {
        let Some(hook) = &self.0 else { return Ok(()) };
        hook(&mut conn.into()).map_err(|error| match error {
            Error::Database { source } => Error::Open {
                path: location.to_string(),
                source: ConnectionError::BadConnection(format!("on_open failed: {}", shown(&source.to_string()))),
            },
            // These say the same whatever the statement was.
            error => error,
        })
    }
}

impl fmt::Debug for OnOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "set" } else { "not set" })
    }
}

/// The messages that can be shown, as they are without what they quote. In others there may be anything.
const HARMLESS: [&str; 24] = [
    "near \"…\": syntax error",
    "syntax error at or near \"…\"",
    "syntax error at end of input",
    "incomplete input",
    "unrecognized token: \"…\"",
    "no such column: …",
    "no such table: …",
    "no such function: …",
    "no such module: …",
    "no such collation sequence: …",
    "ambiguous column name: …",
    "invalid value for parameter \"…\"",
    "unrecognized configuration parameter \"…\"",
    "permission denied to set parameter \"…\"",
    "role \"…\" does not exist",
    "schema \"…\" does not exist",
    "not authorized",
    "disk I/O error",
    "file is not a database",
    "database disk image is malformed",
    "attempt to write a readonly database",
    "unable to open database file",
    "database is locked",
    "out of memory",
];

/// What can be shown of a database's message.
fn shown(message: &str) -> String {
    let message = unquoted(message);
    if HARMLESS.contains(&&*message) { message } else { "a statement was refused".to_owned() }
}

/// A database's message without what it quotes of a statement, which may be a key or a password: everything from the
/// first quotation mark to the last, since a key may contain some itself, and a name that has none.
fn unquoted(message: &str) -> String {
    const MARKS: [char; 3] = ['"', '\'', '`'];
    if let Some(first) = message.find(MARKS) {
        let (before, quoted) = message.split_at(first);
        // Where the marks differ, the quotation has no end.
        let after = match quoted.rfind(MARKS) {
            Some(last) if last > 0 && quoted[last..].chars().next() == quoted.chars().next() => &quoted[last + 1..],
            _ => "",
        };
        return format!("{before}\"…\"{after}");
    }
    match message.split_once(": ") {
        Some((what, _)) if what.starts_with("no such ") || what.starts_with("ambiguous ") => format!("{what}: …"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_message_is_shown_without_what_it_quotes() {
        for (message, expected) in [
            ("near \"secret\": syntax error", "near \"…\": syntax error"),
            ("near \"it's a \" secret\": syntax error", "near \"…\": syntax error"),
            ("unrecognized token: \"'secret", "unrecognized token: \"…\""),
            ("unrecognized token: \"secret", "unrecognized token: \"…\""),
            ("no such column: secret", "no such column: …"),
            ("invalid value for parameter \"work_mem\": \"secret\"", "invalid value for parameter \"…\""),
            ("not authorized", "not authorized"),
            ("disk I/O error", "disk I/O error"),
            ("unable to open database: file:/no/such/file?key=secret", "a statement was refused"),
            ("unknown database secret", "a statement was refused"),
            ("function secret() does not exist", "a statement was refused"),
        ] {
            assert_eq!(shown(message), expected);
        }
    }
}

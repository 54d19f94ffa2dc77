//! The command as a process: on the fixtures, on a server, in a pipe and on a terminal.
#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

mod common;
mod documented;
mod hostile;
#[cfg(unix)]
mod long;
mod looking;
mod moving;
#[cfg(feature = "postgres")]
mod on_server;
mod pruning;
mod refused;
#[cfg(unix)]
mod terminal;

//! What the tests share: databases in temporary folders, sample rows, what is in a file, other processes, and faults.
#![allow(dead_code, unused_imports, reason = "every test binary uses its own part of this")]

/// A record with some of its fields changed; outside the crate Rust has no other expression for that.
macro_rules! with {
    ($record:expr, $($field:ident: $value:expr),+ $(,)?) => {{
        let mut changed = $record;
        $(changed.$field = $value;)+
        changed
    }};
}

pub mod database;
#[cfg(unix)]
pub mod faults;
pub mod follow_model;
pub mod following;
pub mod instrumentation;
pub mod legacy;
pub mod locks;
pub mod model;
#[cfg(all(unix, feature = "postgres"))]
pub mod own_server;
pub mod panics;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod process;
pub mod random;
pub mod records;
pub mod reference;
pub mod retention;
pub mod rows;
pub mod samples;
pub mod steps;
pub mod summaries;
#[cfg(feature = "async")]
pub mod tasks;
pub mod transactions;
pub mod walk;

pub use database::{TempDb, event_ids, in_memory};
pub use instrumentation::Statements;
pub use panics::hush;
#[cfg(feature = "postgres")]
pub use postgres::PgDb;
pub use process::{Process, child, output, say, task};
pub use random::Random;
pub use rows::{column, is_sound, lines, plan, rows, value};
pub use samples::{event, fixture_path, json, millis, new_event, session};
pub use walk::{walk_events, walk_sessions};

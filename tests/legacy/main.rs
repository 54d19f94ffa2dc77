//! Bringing a file of any shape up to date, whatever it holds and whatever happens meanwhile.
#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

mod adoption;
mod attached;
mod both_ways;
mod fixtures;
mod further;
mod incomplete;
#[cfg(unix)]
mod interruption;
mod later_version;
mod layout;
mod matrix;
mod migrate;
mod property;
mod references;
mod refusal;
mod regardless;
#[cfg(unix)]
mod regardless_no_room;

//! What a store of its own does: it shares commits, waits, closes, and loses nothing whatever happens to its process,
//! its disk or the power.
#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

#[cfg(feature = "async")]
mod async_follow;
#[cfg(feature = "async")]
mod async_limits;
#[cfg(feature = "async")]
mod async_listings;
#[cfg(feature = "async")]
mod async_store;
#[cfg(unix)]
mod backup_beside;
#[cfg(unix)]
mod backup_kill;
mod callers;
mod changed;
mod checkpoint;
mod close;
#[cfg(unix)]
mod crash;
#[cfg(target_os = "linux")]
mod disk_full;
mod failures;
#[cfg(unix)]
mod file_modes;
mod follow;
mod follow_all;
#[cfg(unix)]
mod follow_model;
mod on_open;
mod opening;
mod options;
mod paths;
#[cfg(target_os = "linux")]
mod power_loss;
mod processes;
#[cfg(target_os = "linux")]
mod quota;
mod read_only;
mod read_only_traces;
mod retention;
mod transaction;

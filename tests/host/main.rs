//! What an application brings along: its tables and migrations, its triggers, its attached databases, and code of its own
//! that is called; and the structure of the source, for whoever works on it.
#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

mod app;
#[cfg(feature = "async")]
mod async_callbacks;
mod attached;
mod callbacks;
mod house;
mod instrumented;
mod migrations;
mod pages;
mod paging;
mod triggers;
mod triggers_in_transactions;

//! The same verbs on PostgreSQL.
#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

mod adoption;
mod append_waits;
mod appending;
mod both_ways;
#[cfg(all(feature = "async", feature = "contract"))]
mod contract;
#[cfg(feature = "diesel-async")]
mod diesel_async;
#[cfg(unix)]
mod faults;
mod follow;
#[cfg(unix)]
mod follow_model;
mod host;
mod host_paging;
mod jsonb;
mod looking;
mod meanwhile;
mod migrations;
#[cfg(feature = "async")]
mod model;
mod moving;
mod old_shapes;
mod on_open;
mod plans;
mod reference;
mod refusal;
mod retention;
#[cfg(feature = "async")]
mod scale;
mod store_transaction;
mod summaries;
mod undecodable;
mod values;

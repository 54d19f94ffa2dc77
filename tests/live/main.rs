//! What the example `live` promises: clients over HTTP get every event of their session once and in order, over
//! reconnects, from several servers on one file, and whether they read or not.
#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

#[path = "../../examples/live/service.rs"]
mod service;

mod client;
mod example;
mod server;
mod streams;

//! The verbs on a Diesel connection: what they store, return, refuse and cost.
#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;
#[path = "../fuzz/mod.rs"]
mod fuzz;

mod append;
mod append_guards;
mod append_together;
mod archive;
mod batch;
mod bounded;
mod bounded_plans;
#[cfg(all(feature = "async", feature = "contract"))]
mod contract;
mod damage;
#[cfg(feature = "contract")]
mod encoding;
mod errors;
mod fuzz_corpus;
mod import_lines;
mod import_refused;
mod import_steps;
mod inspect;
mod json_form;
mod lifecycle;
#[cfg(feature = "async")]
mod model;
mod moments;
mod paging;
mod plans;
mod prune;
mod prune_odd;
mod prune_steps;
mod readable_export;
mod request_form;
mod retention;
mod secrets;
mod summaries;
mod transfer;
mod transfer_broken;
mod undecodable;
mod verbs;
#[cfg(all(feature = "diesel-async", feature = "async", feature = "contract"))]
mod wrapped;

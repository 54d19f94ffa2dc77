//! Keeps the sessions of coding agents in SQLite, for Rust applications that are on Diesel.
//!
//! A *session* is one conversation with a coding agent; its *events* are the JSON-RPC envelopes (Agent Client
//! Protocol) that passed between client and agent, in order. This crate stores both in two tables, the same ones as
//! the TypeScript SDK of sandbox-agent, so that both programs can share a file. For whom it is, and how to use it
//! beside tables and migrations of your own, is in the README.
//!
//! ```
//! use agent_session_store::{ListEventsRequest, SessionStore};
//! # use agent_session_store::{Json, Sender, SessionEvent};
//! # let event = SessionEvent { id: "event-1".into(), event_index: 1, session_id: "session-1".into(),
//! #     created_at: Default::default(), connection_id: "connection-1".into(), sender: Sender::Client,
//! #     payload: Json::parse(r#"{"jsonrpc":"2.0","id":1,"method":"session/new"}"#)? };
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("sessions.db");
//!
//! let store = SessionStore::open(&path)?; // creates or migrates the file
//! store.insert_event(&event)?;
//! let page = store.list_events(&ListEventsRequest::new("session-1").limit(50))?;
//! assert_eq!(page.items, [event]);
//! assert!(page.next_cursor.is_none());
//! # Ok::<(), agent_session_store::Error>(())
//! ```
//!
//! | you have | you use |
//! |---|---|
//! | a path | [`SessionStore`]: opens the file, migrates it, and works from any number of threads |
//! | a path, and tasks | `AsyncSessionStore`, with the feature `async` |
//! | a Diesel connection | [`migrate`] once, then the verbs of [`SessionPersistDriver`], in your own transactions |
//! | a Diesel migration harness | [`MIGRATIONS`] |
//! | queries of your own | [`schema`], and [`SessionRecord`] and [`SessionEvent`] as Diesel models |
//!
//! # Features
//!
//! - `bundled` (default) compiles SQLite into the application. Without it the system's `libsqlite3` is linked.
//! - `contract` has the checks that every implementation of [`SessionPersistDriver`] can run.
//! - `r2d2` lets [`MIGRATIONS`] look into the connections of a `diesel::r2d2` pool, as it does into a plain one.
//! - `async` adds `AsyncSessionStore`: the verbs as `async fn`, on any runtime.

/// The code blocks of the README, as tests. One of them needs the feature.
#[cfg(all(doctest, feature = "async"))]
#[doc = include_str!("../README.md")]
struct Readme;

pub use diesel;

#[expect(missing_docs, reason = "printed by the diesel CLI")]
pub mod schema;

mod adopt;
mod append;
mod backup;
mod checkpoint;
mod column;
#[cfg(feature = "contract")]
pub mod contract;
mod cursor;
mod disk;
mod driver;
mod error;
mod event;
mod exact;
mod insert;
mod inspect;
mod json;
mod keyset;
mod lifecycle;
mod migrations;
mod page;
mod place;
mod pragma;
mod prune;
mod request;
mod session;
mod statement;
mod steps;
mod store;
mod tables;
mod time;
mod transaction;
mod transfer;
mod uri;
mod waiting;
mod walk;

pub use append::NewEvent;
pub use checkpoint::CheckpointReport;
pub use cursor::Cursor;
pub use driver::SessionPersistDriver;
pub use error::{Done, Error, Result};
pub use event::{Sender, SessionEvent, UnknownSender};
pub use inspect::{CheckReport, DuplicateIndex, SessionStats, Stats};
pub use json::Json;
pub use migrations::{MIGRATIONS, Migrations, migrate};
pub use page::ListPage;
pub use prune::{PruneReport, PruneRequest};
pub use request::{ListEventsRequest, ListSessionsRequest};
pub use session::SessionRecord;
#[cfg(feature = "async")]
pub use store::{AsyncEvents, AsyncSessionStore};
pub use store::{Durability, JournalMode, SessionStore, SessionStoreBuilder};
pub use transfer::{Progress, Selection};

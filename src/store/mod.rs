//! A store that owns its connections: one that writes, some that read.
//!
//! `SessionStore` and `AsyncSessionStore` hand each verb to the engine, which knows the database. What any engine can use
//! is here: group commit for the one connection that writes, a pool of those that read, threads that work for tasks, and
//! what keeps a call from waiting for the very thread that makes it.

mod blocking;
mod blocking_verbs;
mod builder;
mod engine;
mod forwarded_verbs;
mod options;
mod reader_pool;
mod reentrance;
mod store_driver;
mod ticket;
mod writer;

#[cfg(feature = "async")]
mod async_events;
#[cfg(feature = "async")]
mod async_verbs;
#[cfg(feature = "async")]
mod asynchronous;
#[cfg(feature = "async")]
mod workers;

#[cfg(feature = "async")]
pub use self::async_events::AsyncEvents;
#[cfg(feature = "async")]
pub use self::asynchronous::AsyncSessionStore;
pub use self::blocking::SessionStore;
pub use self::builder::SessionStoreBuilder;
pub use self::options::{Durability, JournalMode};

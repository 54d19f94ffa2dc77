//! A store that owns its connections: one for writing, several for reading.
//!
//! `SessionStore` and `AsyncSessionStore` pass each verb to the engine, which knows the database. This module has what
//! any engine can use: group commit on the writing connection, a pool of reading connections, threads that work for
//! async tasks, and a guard against calls that would wait for their own thread.

mod blocking;
mod blocking_verbs;
mod builder;
mod changes;
mod engine;
mod follow;
mod open_store;
mod options;
mod reader_pool;
mod reentrance;
mod store_transaction;
mod ticket;
mod transaction_verbs;
mod writer;

#[cfg(feature = "async")]
mod async_rows;
#[cfg(feature = "async")]
mod async_transaction;
#[cfg(feature = "async")]
mod async_verbs;
#[cfg(feature = "async")]
mod asynchronous;
#[cfg(feature = "async")]
mod workers;

#[cfg(feature = "async")]
pub use self::async_rows::{AsyncEvents, AsyncSessions, AsyncSummaries};
#[cfg(feature = "async")]
pub use self::asynchronous::AsyncSessionStore;
pub use self::blocking::SessionStore;
pub use self::builder::SessionStoreBuilder;
pub use self::engine::StoreConnection;
#[cfg(feature = "async")]
pub use self::follow::{AsyncFollow, AsyncFollowAll};
pub use self::follow::{ChangeToken, Follow, FollowAll};
pub use self::options::{Durability, JournalMode};
pub use self::store_transaction::StoreTransaction;

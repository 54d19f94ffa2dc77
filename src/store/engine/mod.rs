//! The database behind a store. Nothing outside this folder names one.

mod sqlite;
mod store_engine;

pub(super) use self::sqlite::SqliteEngine as Engine;
pub(super) use self::store_engine::StoreEngine;

/// The connection that a store's verbs are called on.
#[cfg(feature = "async")]
pub(super) type Connection = <Engine as StoreEngine>::Connection;

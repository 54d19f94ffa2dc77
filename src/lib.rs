//! Keeps it.

pub use diesel;

#[expect(missing_docs, reason = "printed by the diesel CLI")]
pub mod schema;

mod adopt;
mod column;
mod driver;
mod error;
mod event;
mod insert;
mod json;
mod keyset;
mod migrations;
mod page;
mod pragma;
mod session;
mod store;
mod time;
mod transaction;

pub use driver::SessionPersistDriver;
pub use error::{Error, Result};
pub use event::{Sender, SessionEvent, UnknownSender};
pub use json::Json;
pub use migrations::{MIGRATIONS, Migrations, migrate};
pub use page::{Cursor, ListEventsRequest, ListPage, ListSessionsRequest};
pub use session::SessionRecord;
pub use store::{Durability, JournalMode, SessionStore, SessionStoreBuilder};

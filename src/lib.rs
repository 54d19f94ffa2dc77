//! Session persistence for coding agents, in SQLite or PostgreSQL, for Rust applications built on Diesel.
//!
//! A *session* is one conversation with a coding agent; its *events* are the JSON-RPC messages (Agent Client Protocol)
//! between client and agent, in order. The crate stores both in two tables, with the same schema as the TypeScript SDK of
//! sandbox-agent, so both programs can share a database.
//!
//! ```
//! use agent_session_store::{ListEventsRequest, NewEvent, SessionStore};
//! # use agent_session_store::{Json, Sender};
//! # let event = NewEvent::new("event-1", Default::default(), "connection-1", Sender::Client, Json::parse(r#"{"jsonrpc":"2.0","id":1,"method":"session/new"}"#)?);
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("sessions.db");
//!
//! let store = SessionStore::open(&path)?; // creates or migrates the file
//! let indexes = store.append_events("session-1", &[event])?;
//! let page = store.list_events(&ListEventsRequest::new("session-1").limit(50))?;
//! assert_eq!((indexes, page.items.len()), (vec![1], 1));
//! # Ok::<(), agent_session_store::Error>(())
//! ```
//!
//! | if you have | use | guide |
//! |---|---|---|
//! | a path, or the URL of a PostgreSQL server | [`SessionStore`]: opens and migrates the database, and works from any number of threads | [`guide::store`] |
//! | the same, and async tasks | `AsyncSessionStore`, with the feature `async` | [`guide::store`](guide::store#from-async-code) |
//! | a Diesel connection | [`migrate`] once, then the methods of [`SessionPersistDriver`], in your own transactions | [`guide::diesel`] |
//! | a diesel-async connection | `migrate_async` once, then the methods of `AsyncSessionPersistDriver`, with the feature `diesel-async` | [`guide::diesel_async`] |
//! | a Diesel migration harness | [`MIGRATIONS`] | [`guide::diesel`](guide::diesel#two-sets-of-migrations) |
//! | your own queries | [`schema`], with [`SessionRecord`] and [`SessionEvent`] as Diesel models | [`schema`] |
//!
//! [`guide`] lists all pages.
//!
//! # Features
//!
//! - `bundled` (default) compiles SQLite into the application. Without it, the system's `libsqlite3` is linked.
//! - `postgres` adds PostgreSQL, through the system's libpq: the verbs on `PgConnection`, and [`SessionStore::connect`].
//! - `postgres-bundled` compiles libpq into the application. It has no TLS.
//! - `contract` adds checks that any implementation of [`SessionPersistDriver`] can run.
//! - `r2d2` lets [`MIGRATIONS`] and [`migrate`] see the connection inside a pooled one (`diesel::r2d2`).
//! - `async` adds `AsyncSessionStore`: the verbs as `async fn`, on any runtime.
//! - `diesel-async` adds `AsyncSessionPersistDriver`: the verbs on connections of diesel-async, `AsyncPgConnection` and
//!   `SyncConnectionWrapper<SqliteConnection>`. It does not need libpq.
//! - `render` turns [transcripts](transcript) into plain text and Markdown, `html` also into pages for browsers.
//! - `zstd` compresses archives, and decompresses imports, whose file's name ends in `.zst`.
#![cfg_attr(docsrs, feature(doc_cfg))]

/// The README's code blocks as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[macro_use]
pub mod guide;

pub use diesel;
#[cfg(feature = "diesel-async")]
pub use diesel_async;

/// The tables, as the Diesel CLI prints them, for your own queries and joins. The JSON columns are `Text` here on both
/// databases.
///
#[doc = links!()]
#[doc = include_str!("../docs/schema.md")]
#[expect(missing_docs, reason = "printed by the diesel CLI")]
pub mod schema;

/// Lets your tables appear in one query with [`schema::sessions`] and [`schema::events`], for joins and subqueries.
///
/// It takes the place of Diesel's [`allow_tables_to_appear_in_same_query!`](diesel::allow_tables_to_appear_in_same_query),
/// which cannot speak for a table of another crate once Diesel is built with PostgreSQL. Your own tables among each other
/// still need Diesel's.
///
/// ```
/// use agent_session_store::diesel::{self, prelude::*};
/// use agent_session_store::schema::{events, sessions};
///
/// diesel::table! {
///     projects (id) {
///         id -> BigInt,
///         session_id -> Text,
///     }
/// }
/// diesel::joinable!(projects -> sessions (session_id));
/// agent_session_store::allow_joins!(projects);
///
/// # fn main() {
/// let query = projects::table.inner_join(sessions::table).select((projects::id, sessions::agent));
/// let started = projects::table.filter(diesel::dsl::exists(events::table.filter(events::session_id.eq(projects::session_id))));
/// # let _ = diesel::debug_query::<diesel::sqlite::Sqlite, _>(&query);
/// # let _ = diesel::debug_query::<diesel::sqlite::Sqlite, _>(&started);
/// # }
/// ```
#[macro_export]
macro_rules! allow_joins {
    ($($table:ident),+ $(,)?) => {
        $(
            impl $crate::diesel::query_source::TableNotEqual<$crate::schema::sessions::table> for $table::table {}
            impl $crate::diesel::query_source::TableNotEqual<$table::table> for $crate::schema::sessions::table {}
            impl $crate::diesel::query_source::TableNotEqual<$crate::schema::events::table> for $table::table {}
            impl $crate::diesel::query_source::TableNotEqual<$table::table> for $crate::schema::events::table {}
        )+
    };
}

#[cfg(feature = "diesel-async")]
mod async_driver;
#[cfg(feature = "contract")]
pub mod contract;
mod database;
mod driver;
mod error;
mod error_kind;
mod model;
mod store;
pub mod transcript;
mod verb;
mod verbs;

#[cfg(feature = "diesel-async")]
pub use async_driver::{AsyncSessionPersistDriver, ConnectionEvents, ConnectionSessions, ConnectionSummaries};
#[cfg(feature = "postgres")]
pub use database::convert_jsonb;
pub use database::{EventsOrder, EventsPredicate, MIGRATIONS, Migrations, SessionsOrder, SessionsPredicate, migrate};
#[cfg(feature = "diesel-async")]
pub use database::{convert_jsonb_async, migrate_async};
pub use driver::{FileMaintenance, SessionPersistDriver};
pub use error::{Done, Error};
pub use error_kind::ErrorKind;
pub use model::append_request::AppendRequest;
pub use model::commit_order::CommittedEvent;
pub use model::cursor::Cursor;
pub use model::event::{NewEvent, Sender, SessionEvent, UnknownSender};
pub use model::json::Json;
pub use model::optional_text::OptionalText;
pub use model::page::ListPage;
pub use model::report::{CheckReport, CheckpointReport, DuplicateIndex, Progress, PruneReport, SessionStats, Stats};
pub use model::request::{ListEventsRequest, ListSessionsRequest};
pub use model::retention::PruneRequest;
pub use model::session::SessionRecord;
pub use model::transfer::{Export, Import, ImportSource, Selection};
#[cfg(feature = "async")]
pub use store::{AsyncEvents, AsyncFollow, AsyncFollowAll, AsyncSessionStore, AsyncSessions, AsyncSummaries};
pub use store::{
    ChangeToken, Durability, Follow, FollowAll, JournalMode, SessionStore, SessionStoreBuilder, StoreConnection,
    StoreTransaction,
};
pub use transcript::summary::SessionSummary;

//! An axum service with its own tables, on PostgreSQL, with diesel-async and its pool. No call blocks a thread.
//!
//! | | |
//! |---|---|
//! | `POST /projects/{id}/sessions` | starts a session of a project: a record of the store's, and a row of the service's, or neither |
//! | `GET /projects/{id}/sessions?limit=…&cursor=…` | a page of the project's sessions, by a join |
//! | `POST /sessions/{id}/events` | appends events, and answers with their indexes |
//! | `GET /events?sessionId=…&limit=…&cursor=…` | a page of one session's events |

mod error;
mod projects;

use agent_session_store::{
    AppendRequest, AsyncSessionPersistDriver, ListEventsRequest, ListPage, NewEvent, SessionEvent, migrate_async,
};
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool as Deadpool;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::error::{AppError, Result};

pub type Pool = Deadpool<AsyncPgConnection>;

const OUR_MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Connects to the server, and migrates: first the store's tables, to which ours refer. Diesel's harness needs a runtime
/// with several threads.
pub async fn open(url: &str) -> Result<Pool> {
    let pool = Pool::builder(AsyncDieselConnectionManager::new(url)).max_size(8).build()?;
    let mut conn = pool.get().await?;
    migrate_async(&mut *conn).await?;
    AsyncMigrationHarness::new(conn).run_pending_migrations(OUR_MIGRATIONS).map_err(AppError::Migration)?;
    Ok(pool)
}

/// The service over a pool.
pub fn app(pool: Pool) -> Router {
    Router::new()
        .route("/projects/{id}/sessions", post(projects::start).get(projects::sessions))
        .route("/sessions/{id}/events", post(append))
        .route("/events", get(events))
        .with_state(pool)
}

/// A client that never saw the answer sends the same events again and gets the same indexes.
async fn append(
    State(pool): State<Pool>,
    Path(session_id): Path<String>,
    Json(events): Json<Vec<NewEvent>>,
) -> Result<Json<Vec<i64>>> {
    let mut conn = pool.get().await?;
    Ok(Json(conn.append(&AppendRequest::new(session_id).must_be_live(), &events).await?))
}

/// The query string is the request: what it cannot be is answered with 400.
async fn events(
    State(pool): State<Pool>,
    Query(request): Query<ListEventsRequest>,
) -> Result<Json<ListPage<SessionEvent>>> {
    // A page is in memory as a whole, and a client may ask for any.
    let rows = request.page_size().min(projects::MOST_ON_A_PAGE);
    let request = request.limit(rows);
    Ok(Json(pool.get().await?.list_events(&request).await?))
}

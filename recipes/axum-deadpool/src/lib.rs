//! An axum service with its own tables, on SQLite, with a pool of deadpool-diesel.
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
    AppendRequest, ListEventsRequest, ListPage, MIGRATIONS, NewEvent, SessionEvent, SessionPersistDriver,
};
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use deadpool_diesel::sqlite::{Hook, HookError, Manager, Pool, Runtime};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::error::{AppError, Result};

const OUR_MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Opens the file, and migrates it: first the store's tables, to which ours refer.
pub async fn open(path: &str) -> Result<Pool> {
    // What every connection needs. Waiting for the lock beats failing at once; foreign keys are off by default in most
    // builds of SQLite.
    let settings = Hook::async_fn(|conn, _| {
        Box::pin(async move {
            conn.interact(|conn| conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON"))
                .await
                .map_err(|e| HookError::message(e.to_string()))?
                .map_err(|e| HookError::message(e.to_string()))
        })
    });
    let pool = Pool::builder(Manager::new(path, Runtime::Tokio1)).max_size(8).post_create(settings).build()?;
    on(&pool, |conn| {
        // Readers and the writer do not wait for each other. The file remembers it.
        conn.batch_execute("PRAGMA journal_mode = WAL")?;
        conn.run_pending_migrations(MIGRATIONS).map_err(AppError::Migration)?;
        conn.run_pending_migrations(OUR_MIGRATIONS).map_err(AppError::Migration)?;
        Ok(())
    })
    .await?;
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

/// Runs blocking code with a connection, on a thread where that is allowed.
async fn on<T: Send + 'static>(
    pool: &Pool,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T> + Send + 'static,
) -> Result<T> {
    pool.get().await?.interact(work).await?
}

/// A client that never saw the answer sends the same events again and gets the same indexes.
async fn append(
    State(pool): State<Pool>,
    Path(session_id): Path<String>,
    Json(events): Json<Vec<NewEvent>>,
) -> Result<Json<Vec<i64>>> {
    let request = AppendRequest::new(session_id).must_be_live();
    Ok(Json(on(&pool, move |conn| Ok(conn.append(&request, &events)?)).await?))
}

/// The query string is the request: what it cannot be is answered with 400.
async fn events(
    State(pool): State<Pool>,
    Query(request): Query<ListEventsRequest>,
) -> Result<Json<ListPage<SessionEvent>>> {
    // A page is in memory as a whole, and a client may ask for any.
    let rows = request.page_size().min(projects::MOST_ON_A_PAGE);
    let request = request.limit(rows);
    Ok(Json(on(&pool, move |conn| Ok(conn.list_events(&request)?)).await?))
}

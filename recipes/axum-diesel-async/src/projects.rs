//! The service's own tables, next to the store's.

use agent_session_store::schema::sessions;
use agent_session_store::{AsyncSessionPersistDriver, ListPage, ListSessionsRequest, SessionRecord};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, RunQueryDsl};
use serde::Deserialize;

use crate::Pool;
use crate::error::{AppError, Result};

diesel::table! {
    projects (id) {
        id -> BigInt,
        name -> Text,
    }
}

diesel::table! {
    project_sessions (session_id) {
        session_id -> Text,
        project_id -> BigInt,
    }
}

diesel::joinable!(project_sessions -> projects (project_id));
diesel::joinable!(project_sessions -> sessions (session_id));
diesel::allow_tables_to_appear_in_same_query!(projects, project_sessions);
agent_session_store::allow_joins!(projects, project_sessions);

/// However many a client asks for.
pub(crate) const MOST_ON_A_PAGE: u32 = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewSession {
    id: String,
    agent: String,
    agent_session_id: String,
    connection_id: String,
}

pub(crate) async fn start(
    State(pool): State<Pool>,
    Path(project): Path<i64>,
    Json(new): Json<NewSession>,
) -> Result<(StatusCode, Json<SessionRecord>)> {
    let record = SessionRecord::new(new.id, new.agent, new.agent_session_id, new.connection_id, chrono::Utc::now());
    let mut conn = pool.get().await?;
    conn.transaction(async |conn| {
        conn.update_session(&record).await?;
        diesel::insert_into(project_sessions::table)
            .values((project_sessions::session_id.eq(&record.id), project_sessions::project_id.eq(project)))
            .execute(conn)
            .await?;
        Ok::<_, AppError>(())
    })
    .await?;
    Ok((StatusCode::CREATED, Json(record)))
}

/// Pages through a query of the service's own: the request lends its condition and its order, and makes the cursor.
pub(crate) async fn sessions(
    State(pool): State<Pool>,
    Path(project): Path<i64>,
    Query(request): Query<ListSessionsRequest>,
) -> Result<Json<ListPage<SessionRecord>>> {
    let size = request.page_size().min(MOST_ON_A_PAGE) as usize;
    let mut items: Vec<SessionRecord> = sessions::table
        .inner_join(project_sessions::table)
        .filter(project_sessions::project_id.eq(project))
        .filter(request.predicate()?)
        .order(request.order())
        .limit(size as i64 + 1) // one more, to see whether there is a next page
        .select(SessionRecord::as_select())
        .load(&mut pool.get().await?)
        .await?;
    let next_cursor = (items.len() > size).then(|| request.cursor_after(&items[size - 1]));
    items.truncate(size);
    Ok(Json(ListPage { items, next_cursor }))
}

//! The service: events come in by POST, and go out to whoever follows their session.
//!
//! | | |
//! |---|---|
//! | `POST /sessions/{id}/events` | appends events (a JSON array), and answers with their indexes; `createdAt` is in Unix milliseconds |
//! | `GET /sessions/{id}/events?cursor=…` | the session's events as server-sent events, from the beginning or after a cursor, without end |
//! | `GET /` | a page that shows them |

use std::convert::Infallible;
use std::time::Duration;

use agent_session_store::{AsyncFollow, AsyncSessionStore, Error, ListEventsRequest, NewEvent, SessionEvent};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{Html, IntoResponse, Response, Sse};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Deserialize;

/// What a client that does not read keeps in memory: one page.
const EVENTS_ON_A_PAGE: u32 = 20;

/// How long the service waits after an error that may go away.
const PAUSE: Duration = Duration::from_secs(1);

pub fn app(store: AsyncSessionStore) -> Router {
    Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/sessions/{id}/events", get(follow).post(append))
        .with_state(store)
}

/// A client that never saw the answer sends the same events again, and gets the same indexes.
async fn append(
    State(store): State<AsyncSessionStore>,
    Path(session_id): Path<String>,
    Json(events): Json<Vec<NewEvent>>,
) -> Result<(StatusCode, Json<Vec<i64>>), Failure> {
    Ok((StatusCode::CREATED, Json(store.append_events(&session_id, &events).await?)))
}

#[derive(Deserialize)]
struct Start {
    cursor: Option<String>,
}

/// Each event has its cursor as its id. A browser that reconnects sends the last one, and so gets what it has missed.
async fn follow(
    State(store): State<AsyncSessionStore>,
    Path(session_id): Path<String>,
    Query(start): Query<Start>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let mut request = ListEventsRequest::new(session_id).limit(EVENTS_ON_A_PAGE);
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    if let Some(cursor) = last.or(start.cursor).filter(|cursor| !cursor.is_empty()) {
        request = request.cursor(cursor.parse::<agent_session_store::Cursor>()?);
    }
    // A cursor of another session is refused while there is still a status to be sent.
    match store.list_events(&request.clone().limit(1)).await {
        Ok(_) | Err(Error::Decode { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let follow = store.follow(request.clone());
    let events = unfold(follow, move |follow| next(follow, request.clone()));
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// The next event for the client, which is only asked for once it has taken the one before.
async fn next(mut follow: AsyncFollow, request: ListEventsRequest) -> Option<(Result<Event, Infallible>, AsyncFollow)> {
    let event = match follow.next().await {
        Ok(Some(event)) => Event::default().id(request.cursor_after(&event).to_string()).data(line(&event)),
        // The store is closed: the client connects again, perhaps to another server.
        Ok(None) | Err(Error::Closed) => return None,
        Err(error) => {
            // After an event that cannot be decoded comes the next one; after anything else it tries again.
            if !matches!(error, Error::Decode { .. }) {
                tokio::time::sleep(PAUSE).await;
            }
            let event = Event::default().event("failure").data(error.to_string().replace(['\r', '\n'], " "));
            match follow.position() {
                Some(position) => event.id(position.to_string()),
                None => event,
            }
        }
    };
    Some((Ok(event), follow))
}

/// An event on one line: a payload is kept as it was sent, and may have line breaks between its values.
fn line(event: &SessionEvent) -> String {
    serde_json::to_string(event).unwrap_or_default().replace(['\r', '\n'], " ")
}

/// What goes wrong, as an answer.
pub struct Failure(Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, self.0.to_string()).into_response()
    }
}

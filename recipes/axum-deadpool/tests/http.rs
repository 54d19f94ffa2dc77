//! The service, driven by an HTTP client.

use diesel::connection::SimpleConnection;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

struct Service {
    url: String,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Service {
    /// On a port and a file of its own, with two projects.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pool = axum_deadpool::open(folder.path().join("app.db").to_str().unwrap()).await.unwrap();
        let two = "INSERT INTO projects (id, name) VALUES (1, 'website'), (2, 'app')";
        pool.get().await.unwrap().interact(move |conn| conn.batch_execute(two)).await.unwrap().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum_deadpool::app(pool)).await });
        Self { url, client: Client::new(), _folder: folder }
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.client.get(format!("{}{path}", self.url))).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        answer(self.client.post(format!("{}{path}", self.url)).json(&body)).await
    }

    async fn start_session(&self, project: i64, id: &str) -> StatusCode {
        let new = json!({"id": id, "agent": "claude", "agentSessionId": "3f0c", "connectionId": "c"});
        self.post(&format!("/projects/{project}/sessions"), new).await.0
    }
}

/// The status, and the body as JSON, or as text where it is none.
async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn event(id: &str) -> Value {
    json!({
        "id": id, "createdAt": 1_700_000_000_000_i64, "connectionId": "c", "sender": "agent",
        "payload": {"jsonrpc": "2.0", "method": "session/update"},
    })
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn events_are_appended_and_listed_page_by_page() {
    let service = Service::start().await;
    assert_eq!(service.start_session(1, "s").await, StatusCode::CREATED);

    let three = json!([event("a"), event("b"), event("c")]);
    assert_eq!(service.post("/sessions/s/events", three.clone()).await, (StatusCode::OK, json!([1, 2, 3])));
    assert_eq!(service.post("/sessions/s/events", three).await, (StatusCode::OK, json!([1, 2, 3])), "a retry");

    let (status, first) = service.get("/events?sessionId=s&limit=2").await;
    assert_eq!((status, ids(&first)), (StatusCode::OK, vec!["a", "b"]));
    let cursor = first["nextCursor"].as_str().unwrap();
    let (_, second) = service.get(&format!("/events?sessionId=s&limit=2&cursor={cursor}")).await;
    assert_eq!((ids(&second), second.get("nextCursor")), (vec!["c"], None));
}

#[tokio::test]
async fn a_projects_sessions_are_listed_page_by_page() {
    let service = Service::start().await;
    for number in 0..60 {
        assert_eq!(service.start_session(1, &format!("s{number:02}")).await, StatusCode::CREATED);
    }
    service.start_session(2, "elsewhere").await;

    let (_, first) = service.get("/projects/1/sessions?agent=claude&limit=50").await;
    let cursor = first["nextCursor"].as_str().unwrap();
    let (_, second) = service.get(&format!("/projects/1/sessions?agent=claude&limit=50&cursor={cursor}")).await;
    assert_eq!((ids(&first).len(), ids(&second).len(), second.get("nextCursor")), (50, 10, None));
    let mut all = [ids(&first), ids(&second)].concat();
    all.sort();
    assert_eq!(all, (0..60).map(|number| format!("s{number:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_cannot_be_done_is_answered_with_its_status() {
    let service = Service::start().await;
    service.start_session(1, "s").await;

    assert_eq!(service.get("/events?sessionId=s&limit=ten").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(service.get("/events?sessionId=s&cursor=100").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(service.post("/sessions/nobody/events", json!([event("a")])).await.0, StatusCode::NOT_FOUND);

    service.post("/sessions/s/events", json!([event("a")])).await;
    let mut other = event("a");
    other["sender"] = json!("client");
    assert_eq!(service.post("/sessions/s/events", json!([other])).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_session_without_its_project_is_not_started() {
    let service = Service::start().await;
    assert_eq!(service.start_session(7, "s").await, StatusCode::CONFLICT, "there is no project 7");
    let (_, page) = service.get("/projects/7/sessions").await;
    assert_eq!(ids(&page), Vec::<&str>::new());
    assert_eq!(service.post("/sessions/s/events", json!([event("a")])).await.0, StatusCode::NOT_FOUND, "no record");
}

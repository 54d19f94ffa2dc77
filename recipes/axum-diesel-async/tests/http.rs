//! The service, driven by an HTTP client, on a server that `AGENT_SESSIONS_TEST_POSTGRES` names. Where there is none the
//! tests are skipped and say so; with `CI` set they fail.

use std::sync::atomic::{AtomicU32, Ordering};

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

struct Service {
    url: String,
    client: Client,
    /// A connection to the server, and the database to drop.
    server: AsyncPgConnection,
    database: String,
}

impl Service {
    /// On a port and a database of its own, with two projects.
    async fn start() -> Option<Self> {
        let url = std::env::var("AGENT_SESSIONS_TEST_POSTGRES");
        let url = url.unwrap_or("postgres://postgres@127.0.0.1:5432".to_owned());
        let mut server = match AsyncPgConnection::establish(&format!("{url}/postgres")).await {
            Ok(server) => server,
            Err(e) if std::env::var_os("CI").is_none() => {
                eprintln!("SKIPPED: there is no PostgreSQL server at {url}: {e}");
                return None;
            }
            Err(e) => panic!("there is no PostgreSQL server at {url}: {e}"),
        };
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let database = format!("axum_diesel_async_{}_{number}", std::process::id());
        server.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();

        let pool = axum_diesel_async::open(&format!("{url}/{database}")).await.unwrap();
        let two = "INSERT INTO projects (id, name) VALUES (1, 'website'), (2, 'app')";
        pool.get().await.unwrap().batch_execute(two).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum_diesel_async::app(pool)).await });
        Some(Self { url, client: Client::new(), server, database })
    }

    async fn stop(mut self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.database);
        self.server.batch_execute(&drop).await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn events_are_appended_and_listed_page_by_page() {
    let Some(service) = Service::start().await else { return };
    assert_eq!(service.start_session(1, "s").await, StatusCode::CREATED);

    let three = json!([event("a"), event("b"), event("c")]);
    assert_eq!(service.post("/sessions/s/events", three.clone()).await, (StatusCode::OK, json!([1, 2, 3])));
    assert_eq!(service.post("/sessions/s/events", three).await, (StatusCode::OK, json!([1, 2, 3])), "a retry");

    let (status, first) = service.get("/events?sessionId=s&limit=2").await;
    assert_eq!((status, ids(&first)), (StatusCode::OK, vec!["a", "b"]));
    let cursor = first["nextCursor"].as_str().unwrap();
    let (_, second) = service.get(&format!("/events?sessionId=s&limit=2&cursor={cursor}")).await;
    assert_eq!((ids(&second), second.get("nextCursor")), (vec!["c"], None));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projects_sessions_are_listed_page_by_page() {
    let Some(service) = Service::start().await else { return };
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
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_answered_with_its_status() {
    let Some(service) = Service::start().await else { return };
    service.start_session(1, "s").await;

    assert_eq!(service.get("/events?sessionId=s&limit=ten").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(service.get("/events?sessionId=s&cursor=100").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(service.post("/sessions/nobody/events", json!([event("a")])).await.0, StatusCode::NOT_FOUND);

    service.post("/sessions/s/events", json!([event("a")])).await;
    let mut other = event("a");
    other["sender"] = json!("client");
    assert_eq!(service.post("/sessions/s/events", json!([other])).await.0, StatusCode::CONFLICT);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_its_project_is_not_started() {
    let Some(service) = Service::start().await else { return };
    assert_eq!(service.start_session(7, "s").await, StatusCode::CONFLICT, "there is no project 7");
    let (_, page) = service.get("/projects/7/sessions").await;
    assert_eq!(ids(&page), Vec::<&str>::new());
    assert_eq!(service.post("/sessions/s/events", json!([event("a")])).await.0, StatusCode::NOT_FOUND, "no record");
    service.stop().await;
}

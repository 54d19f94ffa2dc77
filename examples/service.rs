//! A small service: agents stream their events into a store, each in its own task, while a reader pages through them.
//! `cargo run --example service --features async`; it leaves nothing behind.

use std::time::Duration;

use agent_session_store::{
    AsyncSessionStore, Error, Json, ListEventsRequest, ListSessionsRequest, Sender, SessionEvent, SessionRecord,
};
use chrono::Utc;
use tokio::task::JoinSet;

const AGENTS: usize = 50;
const EVENTS: i64 = 40;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = AsyncSessionStore::open(folder.path().join("sessions.db")).await?;

    let mut agents = JoinSet::new();
    for number in 0..AGENTS {
        agents.spawn(stream(store.clone(), format!("session-{number:02}")));
    }
    let mut watching = tokio::spawn(watch(store.clone()));
    while let Some(agent) = agents.join_next().await {
        agent??;
    }
    // The reader sees the last events unless it is slow; then it is stopped. Dropping a read does no harm.
    if tokio::time::timeout(Duration::from_secs(10), &mut watching).await.is_err() {
        watching.abort();
    }

    let mut stored = 0;
    let mut request = ListSessionsRequest::new().limit(20);
    loop {
        let page = store.list_sessions(&request).await?;
        for session in &page.items {
            stored += count(&store, &session.id).await?;
        }
        let Some(cursor) = page.next_cursor else { break };
        request = request.cursor(cursor);
    }
    println!("{stored} events of {AGENTS} agents are stored");
    store.close().await?;
    Ok(())
}

/// What a handler does for one agent: stores its session, then every envelope as it arrives. The task waits for its own
/// commit; meanwhile the thread is free, and events of other agents join the same commit.
async fn stream(store: AsyncSessionStore, session_id: String) -> Result<(), Error> {
    store
        .update_session(&SessionRecord::new(
            session_id.clone(),
            "claude",
            format!("agent-{session_id}"),
            "connection-1",
            Utc::now(),
        ))
        .await?;
    for event_index in 1..=EVENTS {
        let text = format!("word {event_index}");
        store
            .insert_event(&SessionEvent::new(
                format!("{session_id}-{event_index:04}"),
                event_index,
                session_id.clone(),
                Utc::now(),
                "connection-1",
                Sender::Agent,
                Json::new(&serde_json::json!({ "jsonrpc": "2.0", "method": "session/update", "params": text }))?,
            ))
            .await?;
    }
    Ok(())
}

/// Follows one session while it is written, page by page.
async fn watch(store: AsyncSessionStore) -> Result<(), Error> {
    let mut seen = 0;
    while seen < EVENTS {
        let now = count(&store, "session-00").await?;
        if now > seen {
            println!("session-00: {now} events");
            seen = now;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

async fn count(store: &AsyncSessionStore, session_id: &str) -> Result<i64, Error> {
    let mut count = 0;
    let mut request = ListEventsRequest::new(session_id).limit(10);
    loop {
        let page = store.list_events(&request).await?;
        count += page.items.len() as i64;
        let Some(cursor) = page.next_cursor else { return Ok(count) };
        request = request.cursor(cursor);
    }
}

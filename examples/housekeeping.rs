//! Maintains a database: replays the end of a session, forks it, prunes, exports and imports, backs up and checks. It
//! runs on a temporary database.
//!
//! ```sh
//! cargo run --example housekeeping
//! ```

use agent_session_store::{Error, Json, NewEvent, PruneRequest, Selection, Sender, SessionRecord, SessionStore};
use chrono::DateTime;

fn main() -> Result<(), Error> {
    let folder = tempfile::tempdir()?;
    let store = SessionStore::open(folder.path().join("sessions.db"))?;

    // The database assigns the indexes.
    for place in 1..=3 {
        let id = format!("session-{place}");
        store.update_session(&session(&id, place))?;
        let indexes = store.append_events(&id, &[event(&id, 1)?, event(&id, 2)?, event(&id, 3)?])?;
        println!("{id}: appended {indexes:?}");
    }
    if let Err(conflict) = store.append_events_after("session-1", 2, &[event("session-1", 9)?]) {
        println!("refused: {conflict}");
    }

    // What to replay to a new agent, and a session that takes another direction from its second event on.
    for event in store.latest_events("session-1", 2, Some(100_000))? {
        println!("replay {} {}", event.event_index, event.payload);
    }
    let copied = store.fork_session("session-1", Some(2), &session("session-4", 4))?;
    println!("session-4 is a fork with {copied} events");

    // Export as JSON Lines, and import into another file.
    let mut lines = Vec::new();
    store.export(&mut lines, Selection::all())?;
    let elsewhere = SessionStore::open(folder.path().join("elsewhere.db"))?;
    let done = elsewhere.import(&*lines)?;
    println!("moved {} sessions and {} events in {} bytes", done.sessions, done.events, lines.len());

    // Delete ended sessions. The file keeps its size until the space is reclaimed, which rewrites the file.
    store.destroy_session("session-2", DateTime::UNIX_EPOCH)?;
    let request = PruneRequest::new().destroyed_before(DateTime::UNIX_EPOCH + std::time::Duration::from_secs(60));
    println!("would prune {:?}", store.prune(&request.clone().dry_run())?);
    println!("pruned {:?}", store.prune(&request.reclaim_space())?);

    store.backup_to(folder.path().join("backup.db"))?;
    println!("holds {:?}", store.stats()?);
    println!("is sound: {}", store.check()?.is_sound());
    Ok(())
}

fn session(id: &str, created_at: i64) -> SessionRecord {
    SessionRecord::new(
        id,
        "claude",
        format!("agent-{id}"),
        "connection-1",
        DateTime::from_timestamp_millis(created_at).unwrap_or_default(),
    )
}

fn event(session_id: &str, number: i64) -> Result<NewEvent, Error> {
    Ok(NewEvent::new(
        format!("{session_id}-event-{number}"),
        DateTime::from_timestamp_millis(number).unwrap_or_default(),
        "connection-1",
        Sender::Client,
        Json::parse(format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"session/prompt"}}"#))?,
    ))
}

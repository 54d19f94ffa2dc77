//! Proves that a transcript has everything that was said, once and in its place.
#![expect(clippy::unwrap_used, reason = "a test says what it expects")]

#[macro_use]
#[path = "../common/mod.rs"]
mod common;

mod anything;
#[cfg(all(unix, feature = "html"))]
mod browser;
mod chunks;
mod compact;
#[cfg(feature = "html")]
mod everything;
mod fixtures;
#[cfg(feature = "html")]
mod hostile;
#[cfg(feature = "html")]
mod pages;
mod pairing;
#[cfg(feature = "html")]
mod rendered;
#[cfg(feature = "html")]
mod renderers;
mod serialized;
#[cfg(all(unix, feature = "html"))]
mod showcase;
mod summary;
mod turns;
mod updates;

use agent_session_store::transcript::{Entry, EntryKind, Transcript};
use agent_session_store::{Json, Sender, SessionEvent};

/// What one side says.
type Said = (Sender, String);

fn client(payload: impl Into<String>) -> Said {
    (Sender::Client, payload.into())
}

fn agent(payload: impl Into<String>) -> Said {
    (Sender::Agent, payload.into())
}

fn prompt(id: &str, text: &str) -> Said {
    let params = format!(r#"{{"sessionId":"s","prompt":[{{"type":"text","text":"{text}"}}]}}"#);
    client(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"session/prompt","params":{params}}}"#))
}

fn stop(id: &str) -> Said {
    agent(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"stopReason":"end_turn"}}}}"#))
}

/// A session update with these fields.
fn update(kind: &str, fields: &str) -> Said {
    let update = format!(r#"{{"sessionUpdate":"{kind}",{fields}}}"#);
    agent(format!(r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"sessionId":"s","update":{update}}}}}"#))
}

/// A chunk of text, spelled as in JSON.
fn chunk(kind: &str, spelled: &str) -> Said {
    update(kind, &format!(r#""content":{{"type":"text","text":"{spelled}"}}"#))
}

fn event(index: i64, (sender, payload): &Said) -> SessionEvent {
    let (id, payload) = (format!("event-{index}"), Json::parse(payload.as_str()).unwrap());
    SessionEvent::new(id, index, "session-1", common::millis(index * 1000), "connection-1", *sender, payload)
}

/// The transcript of what was said, from the beginning.
fn transcript(said: &[Said]) -> Transcript {
    let mut transcript = Transcript::new();
    for (index, said) in (1..).zip(said) {
        transcript.push(&event(index, said));
    }
    transcript
}

/// All entries but prompts.
fn entries(transcript: &Transcript) -> Vec<&Entry> {
    transcript.turns().iter().flat_map(|turn| &turn.entries).collect()
}

/// The only entry of what was said.
fn only(said: &[Said]) -> EntryKind {
    let transcript = transcript(said);
    let [entry] = entries(&transcript)[..] else { panic!("{:#?}", transcript.turns()) };
    entry.kind.clone()
}

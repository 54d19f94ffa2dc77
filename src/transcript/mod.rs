//! Transcripts: the turns of a session, put together from its events, as data.
//!
//! Events are what was sent, message by message. A [`Transcript`] makes of them what people see: prompts and answers. The
//! chunks of a message are one text, a tool call and all its updates are one entry, and so are a request and its response.
//! It takes the events one by one, so it works for a whole session, for the last part of one, and live.
//!
//! ```
//! use agent_session_store::transcript::{EntryKind, Transcript, TurnOutcome};
//! use agent_session_store::{Json, ListEventsRequest, NewEvent, Sender, SessionStore};
//! # use chrono::DateTime;
//!
//! let store = SessionStore::open_in_memory()?;
//! let new_event = |id: &str, sender, payload: &str| -> Result<NewEvent, agent_session_store::Error> {
//!     Ok(NewEvent::new(id, DateTime::UNIX_EPOCH, "connection-1", sender, Json::parse(payload)?))
//! };
//! let prompt = r#"{"id":1,"method":"session/prompt","params":{"prompt":[{"type":"text","text":"Hello!"}]}}"#;
//! let chunk = |text: &str| {
//!     format!(r#"{{"method":"session/update","params":{{"update":{{"sessionUpdate":"agent_message_chunk","content":{{"type":"text","text":"{text}"}}}}}}}}"#)
//! };
//! store.append_events("session-1", &[
//!     new_event("a", Sender::Client, prompt)?,
//!     new_event("b", Sender::Agent, &chunk("Hello to "))?,
//!     new_event("c", Sender::Agent, &chunk(r"you \ud83d"))?,
//!     new_event("d", Sender::Agent, &chunk(r"\ude00"))?,
//!     new_event("e", Sender::Agent, r#"{"id":1,"result":{"stopReason":"end_turn"}}"#)?,
//! ])?;
//!
//! let mut transcript = Transcript::new();
//! for event in store.events(ListEventsRequest::new("session-1")) {
//!     transcript.push(&event?);
//! }
//! let [turn] = transcript.turns() else { panic!("one prompt, one turn") };
//! let [answer] = &turn.entries[..] else { panic!("three chunks, one message") };
//! assert!(matches!(&answer.kind, EntryKind::AgentMessage(message) if message.text() == "Hello to you 😀"));
//! assert_eq!((answer.first_index, answer.last_index), (2, 4));
//! assert_eq!(turn.outcome, Some(TurnOutcome::Stopped { reason: "end_turn".to_owned() }));
//! # Ok::<(), agent_session_store::Error>(())
//! ```
//!
//! Live, the events come from [`follow`](crate::SessionStore::follow), and what changes is the last turn, or an entry of an
//! earlier one that was still open:
//!
//! ```
//! # use agent_session_store::transcript::Transcript;
//! # use agent_session_store::{Json, ListEventsRequest, NewEvent, Sender, SessionStore};
//! # use chrono::DateTime;
//! # use std::time::Duration;
//! # let store = SessionStore::open_in_memory()?;
//! # let prompt = Json::parse(r#"{"id":1,"method":"session/prompt","params":{"prompt":[]}}"#)?;
//! # store.append_events("session-1", &[NewEvent::new("a", DateTime::UNIX_EPOCH, "connection-1", Sender::Client, prompt)])?;
//! # store.close()?;
//! let mut transcript = Transcript::new();
//! for event in store.follow(ListEventsRequest::new("session-1")) {
//! #     let Ok(event) = event else { break };
//! #     let event = Ok::<_, agent_session_store::Error>(event);
//!     transcript.push(&event?);
//!     for turn in transcript.take_finished() {
//!         println!("{}", serde_json::to_string(&turn).unwrap());
//!     }
//! }
//! # Ok::<(), agent_session_store::Error>(())
//! ```
//!
//! The module `render` (features `render` and `html`) makes text, Markdown and pages of it:
//! [the guide](crate::guide::transcripts).
//!
//! [`take_finished`](Transcript::take_finished) also keeps memory small where sessions are long.
//!
//! # What is understood
//!
//! The messages of the [Agent Client Protocol](https://agentclientprotocol.com): prompts, updates of the session,
//! permissions, cancellation, and the agent's requests for files and terminals; and the messages of OpenCode as the
//! reference server stores them. All else is kept as it was sent: [`EntryKind::Request`], [`Notification`], [`Response`],
//! [`Update`] and [`Other`]. So is what is known by name but not of the form that the protocol gives it. Nothing is an
//! error. Of what is understood, the fields that the types here lack are left out (`_meta`, annotations); they are in the
//! events.
//!
//! Each event is part of one entry, or is the response to a prompt ([`Turn::answer_index`]).
//!
//! The types are this crate's own, not those of `agent-client-protocol-schema`. Those are for peers that talk: an enum of
//! all updates refuses the kinds that it does not know, a number out of range refuses the whole message, and each version
//! brings other types. A store holds what agents of any version have said, and has to show all of it. For the same
//! reason kinds and states that others may add to are texts here. And the payloads are read where they stand, without a
//! tree of values, because such a tree cannot hold half of a surrogate pair, which is what is left where an agent splits its
//! text in UTF-16, and may not be nested deep.
//!
//! # JSON
//!
//! Everything is [`Serialize`](serde::Serialize), with names in camel case and times in Unix milliseconds. Enums have a tag:
//! `type` for what an entry or a block is, `state` for what became of something. Fields and variants may be added; those that
//! exist keep their names.
//!
//! [`Notification`]: EntryKind::Notification
//! [`Response`]: EntryKind::Response
//! [`Update`]: EntryKind::Update
//! [`Other`]: EntryKind::Other

mod assembly;
mod content_block;
mod entry;
mod envelope;
mod json_node;
mod lossy_text;
mod peer_request;
#[cfg(feature = "render")]
pub mod render;
mod reported;
mod session_update;
pub(crate) mod summary;
mod tool_call;
mod turn;

pub use assembly::Transcript;
pub use content_block::ContentBlock;
pub use entry::{ChatMessage, Entry, EntryKind};
pub use peer_request::{Answer, PeerRequest, PeerResponse, Permission, PermissionOption, PermissionOutcome};
pub use reported::{AvailableCommand, PlanEntry, TokenUsage, UsageCost, UsageReport};
pub use tool_call::{ToolCall, ToolContent, ToolLocation};
pub use turn::{Turn, TurnOutcome};

//! What a list shows of a session.

use agent_session_store::transcript::{EntryKind, Transcript};
use agent_session_store::{ListEventsRequest, SessionRecord, SessionStore};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::failure::Result;

/// How many of the first events are read for the title.
const FIRST: u32 = 20;
/// In characters.
const TITLE: usize = 100;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    #[serde(flatten)]
    pub record: SessionRecord,
    /// What the agent called it, else how the first prompt begins.
    pub title: Option<String>,
    /// Where the agent works.
    pub folder: Option<String>,
    /// The greatest index of its events.
    pub last_index: Option<i64>,
    /// When the last event was sent, in Unix milliseconds.
    #[serde(serialize_with = "millis")]
    pub last_activity: Option<DateTime<Utc>>,
    /// The size of its payloads, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_bytes: Option<i64>,
    pub state: &'static str,
}

fn millis<S: serde::Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.timestamp_millis()).serialize(serializer)
}

/// The part of a session's settings that says where it works.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    cwd: Option<String>,
}

impl Summary {
    pub fn of(store: &SessionStore, record: SessionRecord) -> Result<Self> {
        let mut transcript = Transcript::new();
        // A row that cannot be decoded has no title; `check` lists it.
        let first = store.list_events(&ListEventsRequest::new(&record.id).limit(FIRST));
        for event in first.iter().flat_map(|page| &page.items) {
            transcript.push(event);
        }
        let last = store.latest_events(&record.id, 1, None).ok().and_then(|events| events.into_iter().next());
        let settings: Option<Settings> = record.session_init.as_ref().and_then(|init| init.decode().ok());
        Ok(Self {
            title: transcript
                .title()
                .map(str::to_owned)
                .or_else(|| first_prompt(&transcript))
                .map(|title| shortened(&title)),
            folder: settings.and_then(|settings| settings.cwd),
            last_index: last.as_ref().map(|event| event.event_index),
            last_activity: last.map(|event| event.created_at),
            payload_bytes: None,
            state: if record.destroyed_at.is_some() { "ended" } else { "live" },
            record,
        })
    }
}

fn first_prompt(transcript: &Transcript) -> Option<String> {
    let prompt = transcript.turns().iter().find_map(|turn| turn.prompt.as_ref())?;
    match &prompt.kind {
        EntryKind::UserMessage(message) => Some(message.text()).filter(|text| !text.trim().is_empty()),
        _ => None,
    }
}

/// In one line, and no longer than a title.
fn shortened(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let text = words.join(" ");
    match text.char_indices().nth(TITLE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

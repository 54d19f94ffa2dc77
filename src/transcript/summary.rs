//! Summaries: what the record and a few events of each end tell of a session, for a list of many.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::assembly::{Transcript, opencode_status};
use super::entry::{ChatMessage, Entry, EntryKind};
use super::json_node::JsonNode;
use super::peer_request::{Answer, PeerRequest, PeerResponse};
use super::reported::{TokenUsage, UsageReport};
use super::turn::Turn;
use crate::model::event::{Sender, SessionEvent};
use crate::model::json::Json;
use crate::model::session::SessionRecord;

/// What a list of sessions shows of one, from its record, its first [`FIRST_EVENTS`](Self::FIRST_EVENTS) events and its last
/// [`LAST_EVENTS`](Self::LAST_EVENTS); of these, payloads of up to [`MAX_PAYLOAD_BYTES`](Self::MAX_PAYLOAD_BYTES). However
/// long the session is, nothing else is read. [The guide](crate::guide::beyond#summaries) says what follows from that.
///
/// Events that cannot be decoded hide nothing but what they say. As JSON it has names in camel case and the time in Unix
/// milliseconds, and what is not known is left out.
///
/// ```
/// use agent_session_store::{Json, ListSessionsRequest, NewEvent, Sender, SessionRecord, SessionStore};
/// # use chrono::DateTime;
///
/// let store = SessionStore::open_in_memory()?;
/// let mut session = SessionRecord::new("session-1", "claude", "3f0c", "connection-1", DateTime::UNIX_EPOCH);
/// session.session_init = Some(Json::parse(r#"{"cwd":"/srv/app","mcpServers":[]}"#)?);
/// store.update_session(&session)?;
/// let prompt = r#"{"id":1,"method":"session/prompt","params":{"prompt":[{"type":"text","text":"Why is it slow?"}]}}"#;
/// let event = NewEvent::new("event-1", DateTime::UNIX_EPOCH, "connection-1", Sender::Client, Json::parse(prompt)?);
/// store.append_events("session-1", &[event])?;
///
/// let page = store.list_session_summaries(&ListSessionsRequest::new().descending())?;
/// let summary = &page.items[0];
/// assert_eq!(summary.title.as_deref(), Some("Why is it slow?"));
/// assert_eq!(summary.cwd.as_deref(), Some("/srv/app"));
/// assert_eq!((summary.last_index, summary.is_running), (Some(1), Some(true)));
/// # Ok::<(), agent_session_store::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionSummary {
    /// The record.
    pub session: SessionRecord,
    /// The title that the agent gave the session (`session_info_update`), as it was sent: the last one among the events that
    /// are read. If there is none, or it is blank, the text of the first prompt that has any, among the first events: on one
    /// line, without control characters, and if it is longer than [`TITLE_CHARS`](Self::TITLE_CHARS) characters, cut to
    /// that, the last of them being `…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The working folder: what the record was started with (`cwd` in
    /// [`session_init`](SessionRecord::session_init)), or else the last that a client's `session/new`, `session/load`,
    /// `session/resume` or `session/fork` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The index of the last event; as [`last_event_index`](crate::SessionPersistDriver::last_event_index).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_index: Option<i64>,
    /// The time of the last event, in milliseconds.
    #[serde(default, with = "crate::model::time::optional_millis", skip_serializing_if = "Option::is_none")]
    pub last_activity: Option<DateTime<Utc>>,
    /// Whether the agent is at work on a prompt, as far as the events tell: nothing answered it. `None` if the last events
    /// do not tell. A session that has ended is not at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_running: Option<bool>,
    /// The context and the cost of the session so far, if one of the last events reports it (`usage_update`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageReport>,
    /// The tokens that the last answer to a prompt reports, if that is among the last events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenUsage>,
}

impl SessionSummary {
    /// How many of a session's first events are read.
    pub const FIRST_EVENTS: usize = 16;
    /// How many of a session's last events are read.
    pub const LAST_EVENTS: usize = 16;
    /// The longest payload that is looked into, in bytes. Only the prompt that the session begins with may be longer.
    pub const MAX_PAYLOAD_BYTES: usize = 16 * 1024;
    /// The most characters (Unicode scalar values) that a title is given of a prompt.
    pub const TITLE_CHARS: usize = 80;

    /// The summary that a session's record and events make, for your own implementation of
    /// [`SessionPersistDriver`](crate::SessionPersistDriver). `first` are the session's first events in order, `last` its
    /// last ones in order; the two may overlap. If they do not, and `first` is not shorter than
    /// [`FIRST_EVENTS`](Self::FIRST_EVENTS), events between them are presumed.
    ///
    /// ```
    /// use agent_session_store::{SessionRecord, SessionSummary};
    ///
    /// let session = SessionRecord::new("session-1", "claude", "3f0c", "connection-1", chrono::DateTime::UNIX_EPOCH);
    /// let summary = SessionSummary::new(session, &[], &[]);
    /// assert_eq!((summary.title, summary.is_running), (None, Some(false)));
    /// ```
    pub fn new(session: SessionRecord, first: &[SessionEvent], last: &[SessionEvent]) -> Self {
        let place = |event: &SessionEvent| (event.event_index, event.id.clone());
        let begun = first.last().map(place);
        let overlap =
            last.iter().take_while(|event| begun.as_ref().is_some_and(|begun| place(event) <= *begun)).count();
        let mut digest = Digest::default();
        first.iter().for_each(|event| digest.add(event));
        if overlap == 0 && first.len() >= Self::FIRST_EVENTS {
            digest.skip_middle();
        }
        last[overlap..].iter().for_each(|event| digest.add(event));
        if let Some(id) = digest.opening().map(str::to_owned)
            && let Some(event) = first.iter().chain(last).find(|event| event.id == id)
        {
            digest.open_with(event);
        }
        digest.finish(session)
    }

    /// When something happened last: the time of the last event or, without events, when the session began.
    ///
    /// ```
    /// # use agent_session_store::{SessionRecord, SessionSummary};
    /// # let session = SessionRecord::new("session-1", "claude", "3f0c", "connection-1", chrono::DateTime::UNIX_EPOCH);
    /// let summary = SessionSummary::new(session, &[], &[]);
    /// assert_eq!(summary.updated_at(), summary.session.created_at);
    /// ```
    pub fn updated_at(&self) -> DateTime<Utc> {
        self.last_activity.unwrap_or(self.session.created_at)
    }
}

/// What is known so far of a session of which only the ends are read.
///
/// Events without a gap between them are one transcript. After a gap another one begins: in a transcript with a gap, a
/// response could find the request of another, since the ids of requests begin anew with each connection.
#[derive(Debug)]
pub(crate) struct Digest {
    runs: Vec<Transcript>,
    /// How many of the transcripts are before the middle of the session, if that is not read.
    before_the_middle: Option<usize>,
    /// The number of events added.
    added: i64,
    last_index: Option<i64>,
    last_activity: Option<DateTime<Utc>>,
    opening: OpeningPrompt,
}

/// What the session may begin with: an event of the client that is too long to be read with the others.
#[derive(Debug)]
enum OpeningPrompt {
    NotSeen,
    /// The event's id.
    TooLong(String),
    /// The text of the prompt, if it was one.
    Read(Option<String>),
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            runs: vec![Transcript::new()],
            before_the_middle: None,
            added: 0,
            last_index: None,
            last_activity: None,
            opening: OpeningPrompt::NotSeen,
        }
    }
}

impl Digest {
    fn add(&mut self, event: &SessionEvent) {
        self.reach(Some(event.event_index), Some(event.created_at));
        if event.payload.get().len() > SessionSummary::MAX_PAYLOAD_BYTES {
            self.add_too_long(Some(event.sender), Some(&event.id));
        } else {
            self.add_payload(event.sender, event.payload.clone());
        }
    }

    /// Where and when the next event is, as far as that can be read.
    pub(crate) fn reach(&mut self, index: Option<i64>, time: Option<DateTime<Utc>>) {
        self.last_index = index.or(self.last_index);
        self.last_activity = time.or(self.last_activity);
    }

    /// What the next event says.
    pub(crate) fn add_payload(&mut self, sender: Sender, payload: Json) {
        // All that matters of its place is the order.
        self.added += 1;
        let event = SessionEvent::new("", self.added, "", DateTime::UNIX_EPOCH, "", sender, payload);
        if let Some(run) = self.runs.last_mut() {
            run.push(&event);
        }
    }

    /// What the next event says cannot be read.
    pub(crate) fn add_unreadable(&mut self) {
        self.runs.push(Transcript::new());
    }

    /// What the next event says is too long.
    pub(crate) fn add_too_long(&mut self, sender: Option<Sender>, id: Option<&str>) {
        if let (OpeningPrompt::NotSeen, Some(Sender::Client), Some(id)) = (&self.opening, sender, id)
            && self.before_the_middle.is_none()
            && self.prompt().is_none()
        {
            self.opening = OpeningPrompt::TooLong(id.to_owned());
        }
        self.add_unreadable();
    }

    /// Further events may lie between the last one and the next.
    pub(crate) fn skip_middle(&mut self) {
        self.before_the_middle = Some(self.runs.len());
        self.runs.push(Transcript::new());
    }

    /// The id of an event that was too long, but may be the prompt that is the session's title.
    pub(crate) fn opening(&self) -> Option<&str> {
        match &self.opening {
            OpeningPrompt::TooLong(id) if self.given_title().is_none() => Some(id),
            _ => None,
        }
    }

    pub(crate) fn open_with(&mut self, event: &SessionEvent) {
        let mut transcript = Transcript::new();
        transcript.push(event);
        self.opening = OpeningPrompt::Read(first_prompt(&transcript));
    }

    pub(crate) fn finish(self, session: SessionRecord) -> SessionSummary {
        let opening = match &self.opening {
            OpeningPrompt::Read(text) => text.clone(),
            _ => None,
        };
        SessionSummary {
            title: self.given_title().or(opening).or_else(|| self.prompt()),
            cwd: session.session_init.as_ref().and_then(cwd).or_else(|| self.requested_cwd()),
            last_index: self.last_index,
            last_activity: self.last_activity,
            is_running: if session.destroyed_at.is_some() { Some(false) } else { self.is_running() },
            usage: self.usage(),
            tokens: self.tokens(),
            session,
        }
    }

    /// The transcripts of the first events.
    fn first(&self) -> &[Transcript] {
        &self.runs[..self.before_the_middle.unwrap_or(self.runs.len())]
    }

    /// The transcripts of the last events.
    fn last(&self) -> &[Transcript] {
        &self.runs[self.before_the_middle.unwrap_or(0)..]
    }

    /// The title that the agent gave last, unless it took it away again.
    fn given_title(&self) -> Option<String> {
        let last = newest_first(&self.runs).find_map(|entry| match &entry.kind {
            EntryKind::SessionInfo { title: Some(title), .. } => Some(Some(title)),
            EntryKind::SessionInfo { title: None, update } => {
                JsonNode::new(update.get()).member("title").filter(|title| title.is_null()).map(|_| None)
            }
            _ => None,
        });
        last.flatten().filter(|title| !title.trim().is_empty()).cloned()
    }

    fn prompt(&self) -> Option<String> {
        // What comes later than the first events is not the first prompt.
        self.first().iter().find_map(first_prompt)
    }

    fn requested_cwd(&self) -> Option<String> {
        newest_first(&self.runs).find_map(|entry| match &entry.kind {
            EntryKind::Request(PeerRequest { sender: Sender::Client, method, params: Some(params), .. })
                if ["session/new", "session/load", "session/resume", "session/fork"].contains(&&**method) =>
            {
                cwd(params)
            }
            _ => None,
        })
    }

    /// Whether a turn is running, as the transcript of all events would say.
    fn is_running(&self) -> Option<bool> {
        let run = self.runs.last()?;
        if let Some(place) = run.turns().iter().rposition(|turn| turn.prompt.is_some()) {
            let since = &run.turns()[place..];
            return Some(since[0].is_running() && !says_idle(since));
        }
        if says_idle(run.turns()) {
            return Some(false);
        }
        if self.runs.len() == 1 {
            return Some(false);
        }
        // The prompt is out of sight. While the agent is at work on it, it says so; but an answer may be the one to the
        // prompt, and a session that is loaded repeats what was said before.
        let (mut at_work, mut perhaps_over) = (0, 0);
        for entry in run.turns().iter().flat_map(|turn| &turn.entries) {
            match &entry.kind {
                EntryKind::Response(response) if stop_of(response).is_some() => return Some(false),
                EntryKind::Response(PeerResponse { sender: Sender::Agent, .. }) => {
                    perhaps_over = perhaps_over.max(entry.last_index);
                }
                EntryKind::UserMessage(_) => return None,
                EntryKind::Request(PeerRequest { sender: Sender::Client, method, .. }) if method == "session/load" => {
                    return None;
                }
                EntryKind::AgentMessage(_)
                | EntryKind::AgentThought(_)
                | EntryKind::ToolCall(_)
                | EntryKind::Plan { .. }
                | EntryKind::Permission(_)
                | EntryKind::File(_)
                | EntryKind::Terminal(_)
                | EntryKind::Request(PeerRequest { sender: Sender::Agent, .. }) => {
                    at_work = at_work.max(entry.last_index);
                }
                _ => {}
            }
        }
        (at_work > perhaps_over).then_some(true)
    }

    fn usage(&self) -> Option<UsageReport> {
        let reports = newest_first(self.last()).filter_map(|entry| match &entry.kind {
            EntryKind::Usage(report) => Some((entry.last_index, report)),
            _ => None,
        });
        reports.max_by_key(|(index, _)| *index).map(|(_, report)| report.clone())
    }

    fn tokens(&self) -> Option<TokenUsage> {
        let turns = self.last().iter().flat_map(|run| run.turns());
        let of_turns = turns.filter_map(|turn| Some((turn.answer_index?, turn.usage.clone()?)));
        // The answers to prompts that are out of sight.
        let of_others = newest_first(self.last()).filter_map(|entry| match &entry.kind {
            EntryKind::Response(response) => Some((entry.last_index, TokenUsage::read(stop_of(response)?)?)),
            _ => None,
        });
        of_turns.chain(of_others).max_by_key(|(index, _)| *index).map(|(_, usage)| usage)
    }
}

/// The entries, those that began last first.
fn newest_first(runs: &[Transcript]) -> impl Iterator<Item = &Entry> {
    runs.iter().rev().flat_map(|run| run.turns().iter().rev().flat_map(|turn| turn.entries.iter().rev()))
}

/// Whether the agent says that it does nothing now.
fn says_idle(turns: &[Turn]) -> bool {
    let entries = turns.iter().rev().flat_map(|turn| turn.entries.iter().rev());
    let mut states = entries.filter_map(|entry| match &entry.kind {
        EntryKind::Notification { sender: Sender::Agent, method, params: Some(params) } => {
            opencode_status(method, JsonNode::new(params.get()))
        }
        _ => None,
    });
    states.next().as_deref() == Some("idle")
}

/// The result by which the agent says why it stopped: the answer to a prompt.
fn stop_of(response: &PeerResponse) -> Option<JsonNode<'_>> {
    match response {
        PeerResponse { sender: Sender::Agent, answer: Answer::Result { result }, .. } => {
            let result = JsonNode::new(result.get());
            result.member("stopReason").filter(|reason| reason.is_string()).map(|_| result)
        }
        _ => None,
    }
}

fn cwd(parameters: &Json) -> Option<String> {
    JsonNode::new(parameters.get()).member("cwd").and_then(JsonNode::string)
}

/// The first words of a person.
fn first_prompt(transcript: &Transcript) -> Option<String> {
    let entries = transcript.turns().iter().flat_map(|turn| turn.prompt.iter().chain(&turn.entries));
    let messages = entries.filter_map(|entry| match &entry.kind {
        EntryKind::UserMessage(message) => Some(message),
        _ => None,
    });
    messages.map(ChatMessage::text).find_map(|text| shortened(&text))
}

/// A text on one line, cut to the length of a title; `None` if it is blank.
fn shortened(text: &str) -> Option<String> {
    let is_space = |sign: char| sign.is_whitespace() || sign.is_control();
    let mut line = String::new();
    let mut length = 0;
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        for sign in (length > 0).then_some(' ').into_iter().chain(word.chars()) {
            if length == SessionSummary::TITLE_CHARS {
                line.pop();
                line.truncate(line.trim_end().len());
                line.push('…');
                return Some(line);
            }
            line.push(sign);
            length += 1;
        }
    }
    (length > 0).then_some(line)
}

//! The transcript: where the next event belongs.

use std::collections::HashMap;

use serde::Serialize;

use super::content_block::ContentBlock;
use super::entry::{ChatMessage, Entry, EntryKind};
use super::envelope::{Envelope, RequestKey, other_side};
use super::json_node::JsonNode;
use super::peer_request::{Answer, PeerRequest, PeerResponse, Permission, PermissionOutcome};
use super::turn::{Turn, TurnOutcome};
use crate::model::event::{Sender, SessionEvent};

/// Turns out of events, one event after the other. See the [module](super) for examples.
///
/// In JSON it has the `title` and the `turns`. `Debug` prints all that was said: keep it out of logs.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transcript {
    pub(super) title: Option<String>,
    pub(super) turns: Vec<Turn>,
    /// How many turns were taken.
    #[serde(skip)]
    pub(super) taken: usize,
    #[serde(skip)]
    has_begun: bool,
    /// How many prompts there were, if all were seen.
    #[serde(skip)]
    prompts: Option<u64>,
    /// The requests that have no response yet: all of the turns at hand, and [some](Self::forget_requests) of those taken.
    #[serde(skip)]
    pending: HashMap<RequestKey, PendingRequest>,
    /// How many requests there were.
    #[serde(skip)]
    requests: u64,
    /// Where each tool call is, the last one of each id.
    #[serde(skip)]
    pub(super) tool_calls: HashMap<String, EntryPlace>,
    #[serde(skip)]
    pub(super) current: CurrentTurn,
}

/// Which entry of which turn; turns that were taken count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EntryPlace {
    pub(super) turn: usize,
    pub(super) entry: usize,
}

#[derive(Clone, Debug)]
struct PendingRequest {
    method: String,
    /// How many requests there were before it.
    order: u64,
    turn: usize,
    /// `None` if it is the turn's prompt.
    entry: Option<usize>,
}

/// Which entries of the last turn may go on.
#[derive(Clone, Debug, Default)]
pub(super) struct CurrentTurn {
    /// The plans by their ids; one has none.
    pub(super) plans: HashMap<Option<String>, usize>,
    pub(super) usage: Option<usize>,
    pub(super) message: Option<OpenMessage>,
}

/// A message that further chunks may continue.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenMessage {
    pub(super) entry: usize,
    /// The high half of a surrogate pair that its text ends with.
    pub(super) half: Option<u16>,
}

/// How many requests of taken turns are remembered, for responses that come late.
const REMEMBERED_REQUESTS: usize = 1024;

/// How long the id and the method of such a request may be together.
const REMEMBERED_BYTES: usize = 256;

/// What the reference server reports of OpenCode, whose prompts it does not answer: whether it is `busy` or `idle`.
pub(super) fn opencode_status(method: &str, parameters: JsonNode<'_>) -> Option<String> {
    if method != "_sandboxagent/opencode/status" {
        return None;
    }
    parameters.member("status").and_then(JsonNode::string)
}

impl Transcript {
    /// A transcript of nothing.
    ///
    /// ```
    /// use agent_session_store::transcript::Transcript;
    ///
    /// assert!(Transcript::new().turns().is_empty());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next event of the session. Events belong in their order; what arrives in another order is entered as it
    /// arrives. Whatever the payload is, it is entered somewhere.
    ///
    /// ```
    /// use agent_session_store::transcript::Transcript;
    /// use agent_session_store::{Json, Sender, SessionEvent};
    ///
    /// let payload = Json::parse(r#"["whatever", "this", "is"]"#)?;
    /// let at = chrono::DateTime::UNIX_EPOCH;
    /// let mut transcript = Transcript::new();
    /// transcript.push(&SessionEvent::new("event-7", 7, "session-1", at, "connection-1", Sender::Agent, payload));
    /// assert_eq!(transcript.turns()[0].entries[0].first_index, 7);
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn push(&mut self, event: &SessionEvent) {
        if !self.has_begun {
            self.has_begun = true;
            self.prompts = (event.event_index <= 1).then_some(0);
        }
        let payload = JsonNode::new(event.payload.get());
        match (Envelope::read(payload), event.sender) {
            (Envelope::Request { id, method, params }, _) => self.push_request(event, id, method, params),
            (Envelope::Response { id, result }, _) => self.push_response(event, id, result),
            (Envelope::Notification { method, params: Some(params) }, Sender::Agent)
                if method == "session/update" && self.push_update(event, params) => {}
            (Envelope::Notification { method, params: Some(params) }, Sender::Agent)
                if method == "_sandboxagent/opencode/message" && self.push_opencode_message(event, params) => {}
            (Envelope::Notification { method, .. }, Sender::Client) if method == "session/cancel" => {
                self.add(event, EntryKind::Cancel);
                if let Some(turn) = self.turns.last_mut() {
                    turn.cancelled |= turn.is_running();
                }
            }
            (Envelope::Notification { method, params: Some(params) }, Sender::Agent)
                if opencode_status(&method, params).as_deref() == Some("idle") =>
            {
                self.add(event, EntryKind::Notification { sender: Sender::Agent, method, params: Some(params.json()) });
                if let Some(turn) = self.turns.last_mut().filter(|turn| turn.is_running()) {
                    turn.outcome = Some(TurnOutcome::Idle);
                }
            }
            (Envelope::Notification { method, params }, sender) => {
                self.add(event, EntryKind::Notification { sender, method, params: params.map(JsonNode::json) });
            }
            (Envelope::Unknown, sender) => {
                self.add(event, EntryKind::Other { sender, payload: event.payload.clone() });
            }
        }
    }

    /// The turns so far that were not taken. The last one goes on, unless its prompt was answered or the agent is idle.
    ///
    /// ```
    /// use agent_session_store::transcript::Transcript;
    ///
    /// let transcript = Transcript::new();
    /// let running = transcript.turns().last().is_some_and(|turn| turn.is_running());
    /// assert!(!running);
    /// ```
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// The title that the agent gave the session last, if it did.
    ///
    /// ```
    /// use agent_session_store::transcript::Transcript;
    ///
    /// assert_eq!(Transcript::new().title(), None);
    /// ```
    pub fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }

    /// Removes the turns that are over and returns them, for sessions that are too long for memory: those that another
    /// turn followed, and the last one if its prompt was answered or the agent is idle. What is left is a turn at most, and
    /// the ids and methods of the last 1,024 requests that have no response, unless these are longer than 256 bytes.
    ///
    /// What comes late for a turn that was taken (an update of a tool call, a response) becomes an entry of its own in the
    /// current turn: a tool call that has not [begun](super::ToolCall::begun), a [`Response`](EntryKind::Response). It
    /// names the method of its request if that is one of those 1,024.
    ///
    /// ```
    /// use agent_session_store::transcript::Transcript;
    /// use agent_session_store::{ListEventsRequest, SessionStore};
    ///
    /// let store = SessionStore::open_in_memory()?;
    /// let mut transcript = Transcript::new();
    /// let mut prompts = 0;
    /// for event in store.events(ListEventsRequest::new("session-1")) {
    ///     transcript.push(&event?);
    ///     prompts += transcript.take_finished().iter().filter(|turn| turn.prompt.is_some()).count();
    /// }
    /// prompts += transcript.turns().iter().filter(|turn| turn.prompt.is_some()).count();
    /// # assert_eq!(prompts, 0);
    /// # Ok::<(), agent_session_store::Error>(())
    /// ```
    pub fn take_finished(&mut self) -> Vec<Turn> {
        let current = self.turns.last().is_some_and(|turn| !turn.is_over());
        let over = self.turns.len() - usize::from(current);
        if over == 0 {
            return Vec::new();
        }
        self.taken += over;
        self.tool_calls.retain(|_, place| place.turn >= self.taken);
        self.forget_requests();
        self.turns.drain(..over).collect()
    }

    /// Bounds what is remembered of requests whose turns were taken: most of them will never be answered.
    fn forget_requests(&mut self) {
        let taken = self.taken;
        self.pending
            .retain(|key, request| request.turn >= taken || key.len() + request.method.len() <= REMEMBERED_BYTES);
        let mut old: Vec<u64> =
            self.pending.values().filter(|request| request.turn < taken).map(|request| request.order).collect();
        if let Some(too_many) = old.len().checked_sub(REMEMBERED_REQUESTS).filter(|too_many| *too_many > 0) {
            let (_, first, _) = old.select_nth_unstable(too_many);
            let first = *first;
            self.pending.retain(|_, request| request.turn >= taken || request.order >= first);
        }
    }

    fn push_request(&mut self, event: &SessionEvent, id: JsonNode<'_>, method: String, params: Option<JsonNode<'_>>) {
        let sender = event.sender;
        let entry = if sender == Sender::Client && method == "session/prompt" {
            self.begin_turn(event, params);
            None
        } else {
            let permission = params
                .filter(|_| sender == Sender::Agent && method == "session/request_permission")
                .and_then(|params| Permission::read(id, params));
            let kind = match permission {
                Some(permission) => EntryKind::Permission(permission),
                None => {
                    let kind = match method.split_once('/') {
                        Some(("fs", _)) if sender == Sender::Agent => EntryKind::File,
                        Some(("terminal", _)) if sender == Sender::Agent => EntryKind::Terminal,
                        _ => EntryKind::Request,
                    };
                    let (id, method, params) = (id.json(), method.clone(), params.map(JsonNode::json));
                    kind(PeerRequest { sender, id, method, params, answer: Answer::Pending })
                }
            };
            Some(self.add(event, kind).entry)
        };
        let turn = self.taken + self.turns.len() - 1;
        let order = self.requests;
        self.requests += 1;
        self.pending.insert(RequestKey::new(sender, id), PendingRequest { method, order, turn, entry });
    }

    fn begin_turn(&mut self, event: &SessionEvent, params: Option<JsonNode<'_>>) {
        if let Some(last) = self.turns.last_mut().filter(|turn| turn.is_running()) {
            last.outcome = Some(TurnOutcome::Unanswered);
        }
        self.prompts = self.prompts.map(|prompts| prompts + 1);
        let prompt = params.and_then(|params| params.member("prompt"));
        let content = match (prompt, params) {
            (Some(prompt), _) => ContentBlock::read_all(prompt),
            // Without a prompt in it, all of the parameters are kept.
            (None, Some(params)) => vec![ContentBlock::Unknown { block: params.json() }],
            (None, None) => Vec::new(),
        };
        let message = EntryKind::UserMessage(ChatMessage { message_id: None, content });
        let mut turn = Turn::new(event);
        turn.number = self.prompts;
        turn.prompt = Some(Entry::new(event, message));
        turn.outcome = Some(TurnOutcome::Running);
        self.open(turn);
    }

    fn push_response(&mut self, event: &SessionEvent, id: JsonNode<'_>, result: Result<JsonNode<'_>, JsonNode<'_>>) {
        let request = self.pending.remove(&RequestKey::new(other_side(event.sender), id));
        if let Some(PendingRequest { turn, entry, .. }) = request {
            let Some(entry) = entry else {
                if let Some(turn) = turn.checked_sub(self.taken).and_then(|place| self.turns.get_mut(place)) {
                    return turn.answer(event, result);
                }
                return self.add_response(event, id, result, request);
            };
            match self.reach(EntryPlace { turn, entry }, event) {
                Some(EntryKind::Permission(permission)) => {
                    return permission.outcome = PermissionOutcome::read(result);
                }
                Some(EntryKind::File(request) | EntryKind::Terminal(request) | EntryKind::Request(request)) => {
                    return request.answer = Answer::read(result);
                }
                _ => {}
            }
        }
        self.add_response(event, id, result, request);
    }

    fn add_response(
        &mut self,
        event: &SessionEvent,
        id: JsonNode<'_>,
        result: Result<JsonNode<'_>, JsonNode<'_>>,
        request: Option<PendingRequest>,
    ) {
        let (method, answer) = (request.map(|request| request.method), Answer::read(result));
        self.add(event, EntryKind::Response(PeerResponse { sender: event.sender, id: id.json(), method, answer }));
    }

    /// The entry, if its turn is at hand; the event becomes part of it.
    pub(super) fn reach(&mut self, place: EntryPlace, event: &SessionEvent) -> Option<&mut EntryKind> {
        let turn = self.turns.get_mut(place.turn.checked_sub(self.taken)?)?;
        turn.reach(event);
        let entry = turn.entries.get_mut(place.entry)?;
        entry.reach(event);
        Some(&mut entry.kind)
    }

    /// A new entry in the current turn.
    pub(super) fn add(&mut self, event: &SessionEvent, kind: EntryKind) -> EntryPlace {
        self.go_on(event);
        let turn = self.taken + self.turns.len() - 1;
        let mut entry = 0;
        if let Some(last) = self.turns.last_mut() {
            last.reach(event);
            entry = last.entries.len();
            last.entries.push(Entry::new(event, kind));
        }
        EntryPlace { turn, entry }
    }

    /// Sees to it that there is a current turn: after one that is over, one without a prompt begins. Returns the place of the
    /// turn.
    pub(super) fn go_on(&mut self, event: &SessionEvent) -> usize {
        if self.turns.last().is_none_or(Turn::is_over) {
            self.open(Turn::new(event));
        }
        self.taken + self.turns.len() - 1
    }

    fn open(&mut self, turn: Turn) {
        self.turns.push(turn);
        self.current = CurrentTurn::default();
    }
}

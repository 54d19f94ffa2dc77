//! Tells a turn in parts. Every text passes through [`RenderOptions::redacted`] here, so no renderer sees another.

use super::agent_markdown::language;
use super::diff_lines::FileDiff;
use super::json_layout::laid_out;
use super::part::{Fact, Opening, PartBlock, PartMark, PartStep, Role, TurnEnd, TurnFrame, TurnPart};
use super::render_options::RenderOptions;
use super::renderer::TranscriptHead;
use super::visible::{visible, visible_line};
use crate::model::event::Sender;
use crate::model::json::Json;
use crate::transcript::content_block::ContentBlock;
use crate::transcript::entry::{ChatMessage, Entry, EntryKind};
use crate::transcript::json_node::JsonNode;
use crate::transcript::peer_request::{Answer, PeerRequest, PeerResponse, Permission, PermissionOutcome};
use crate::transcript::reported::{AvailableCommand, PlanEntry, TokenUsage, UsageReport};
use crate::transcript::tool_call::{ToolCall, ToolContent, ToolLocation};
use crate::transcript::turn::{Turn, TurnOutcome};

/// What there is to tell about an entry: a title, a state, and the rest.
type Told = (Role, Option<String>, Option<(PartMark, String)>, Vec<PartBlock>);

impl RenderOptions {
    pub(super) fn opening(&self, head: &TranscriptHead<'_>) -> Opening {
        let mut facts = Vec::new();
        if let Some(session) = head.session {
            let folder = session.session_init.as_ref();
            let folder = folder.and_then(|init| JsonNode::new(init.get()).member("cwd")?.string());
            facts.push(("agent", Fact::Text(self.line(&session.agent))));
            facts.push(("session", Fact::Text(self.line(&session.id))));
            facts.extend(folder.map(|folder| ("folder", Fact::Text(self.line(&folder)))));
            facts.push(("began", Fact::Time(session.created_at)));
            facts.extend(session.destroyed_at.map(|time| ("ended", Fact::Time(time))));
        }
        let title = head.title.map(|title| self.line(title)).filter(|title| !title.is_empty());
        let title = title.or_else(|| head.session.map(|session| format!("Session {}", self.line(&session.id))));
        Opening { title: title.unwrap_or_else(|| "Transcript".to_owned()), facts }
    }

    pub(super) fn frame(&self, turn: &Turn) -> TurnFrame {
        let title = match (turn.number, &turn.prompt) {
            (Some(number), _) => format!("Turn {number}"),
            (None, Some(_)) => "Turn".to_owned(),
            (None, None) => "Outside of a turn".to_owned(),
        };
        let end = turn.outcome.as_ref().map(|outcome| self.end(turn, outcome));
        TurnFrame { title, is_prompted: turn.prompt.is_some(), begin: turn.first_time, end }
    }

    /// The parts of a turn, one after the other.
    pub(super) fn parts<'a>(&'a self, turn: &'a Turn) -> impl Iterator<Item = TurnPart> + 'a {
        turn.prompt.iter().chain(&turn.entries).filter_map(|entry| self.part(entry))
    }

    /// Whether there is anything to tell of a turn.
    pub(super) fn tells_of(&self, turn: &Turn) -> bool {
        turn.prompt.is_some() || self.parts(turn).next().is_some()
    }

    fn text(&self, text: &str) -> String {
        visible(&self.redacted(text)).into_owned()
    }

    fn line(&self, text: &str) -> String {
        visible_line(&self.redacted(text))
    }

    fn json(&self, json: &Json) -> String {
        visible(&laid_out(json.get(), &|text| self.redacted(text).into_owned())).into_owned()
    }

    fn end(&self, turn: &Turn, outcome: &TurnOutcome) -> TurnEnd {
        let mut blocks = Vec::new();
        let (mark, mut text) = match outcome {
            TurnOutcome::Running => (PartMark::Running, "Running".to_owned()),
            TurnOutcome::Unanswered => (PartMark::Unknown, "Not answered".to_owned()),
            TurnOutcome::Idle => (PartMark::Done, "Ended: the agent is idle".to_owned()),
            TurnOutcome::Stopped { reason } => {
                let mark = if reason == "end_turn" { PartMark::Done } else { PartMark::Failed };
                (mark, format!("Ended: {}", self.line(reason)))
            }
            TurnOutcome::Failed { code, message, error } => {
                blocks.push(self.json_block("Error", error));
                (PartMark::Failed, format!("Failed: {}", self.error(*code, message.as_deref())))
            }
            TurnOutcome::Answered { result } => {
                blocks.push(self.json_block("Result", result));
                (PartMark::Unknown, "Ended".to_owned())
            }
        };
        let says_so = matches!(outcome, TurnOutcome::Stopped { reason } if reason == "cancelled");
        if turn.cancelled && says_so {
            text.push_str(" by the client");
        } else if turn.cancelled {
            text.push_str(", cancelled by the client");
        }
        text.extend(duration(turn).map(|spent| format!(", after {spent}")));
        text.extend(turn.usage.as_ref().map(|usage| format!(", {}", self.tokens(usage))));
        TurnEnd { mark, text, blocks }
    }

    fn tokens(&self, usage: &TokenUsage) -> String {
        let parts = [
            (usage.input_tokens, "in"),
            (usage.output_tokens, "out"),
            (usage.thought_tokens, "thought"),
            (usage.cached_read_tokens, "read from the cache"),
            (usage.cached_write_tokens, "written to the cache"),
        ];
        let parts: Vec<_> =
            parts.iter().filter_map(|(count, what)| Some(format!("{} {what}", self.number((*count)?)))).collect();
        let parts = parts.join(", ");
        match usage.total_tokens {
            Some(total) if parts.is_empty() => format!("{} tokens", self.number(total)),
            Some(total) => format!("{} tokens ({parts})", self.number(total)),
            None => format!("tokens: {parts}"),
        }
    }

    fn number(&self, number: u64) -> String {
        let digits = number.to_string();
        let shown = self.line(&digits);
        if shown == digits { grouped(&digits) } else { shown }
    }

    fn error(&self, code: Option<i64>, message: Option<&str>) -> String {
        let message = message.map_or_else(|| "an error".to_owned(), |message| self.line(message));
        code.map_or(message.clone(), |code| format!("{message} ({})", self.line(&code.to_string())))
    }

    pub(super) fn part(&self, entry: &Entry) -> Option<TurnPart> {
        let (role, title, state, blocks) = match &entry.kind {
            EntryKind::UserMessage(message) => self.message(Role::User, message),
            EntryKind::AgentMessage(message) => self.message(Role::Agent, message),
            EntryKind::AgentThought(message) => self.message(Role::Thought, message),
            EntryKind::ToolCall(call) => self.tool_call(call),
            EntryKind::Plan { entries, markdown, .. } => self.plan(entries, markdown.as_deref()),
            EntryKind::ModeChange { mode_id } => (Role::Note("Mode"), Some(self.line(mode_id)), None, Vec::new()),
            EntryKind::ConfigChange { options } => {
                (Role::Message("Settings"), None, None, vec![self.json_block("Settings", options)])
            }
            EntryKind::AvailableCommands { commands } => self.commands(commands),
            EntryKind::Permission(permission) => self.permission(permission),
            EntryKind::File(request) => self.request(Role::File, request),
            EntryKind::Terminal(request) => self.request(Role::Terminal, request),
            EntryKind::Request(request) => self.request(Role::Message("Request"), request),
            EntryKind::Response(response) => self.response(response),
            EntryKind::Usage(usage) => (Role::Note("Usage"), Some(self.usage(usage)), None, Vec::new()),
            EntryKind::SessionInfo { title: Some(title), .. } => {
                (Role::Note("Title"), Some(self.line(title)), None, Vec::new())
            }
            EntryKind::SessionInfo { title: None, update } => {
                (Role::Message("Session"), None, None, vec![self.json_block("Update", update)])
            }
            EntryKind::Cancel => (Role::Note("Cancelled"), Some("by the client".to_owned()), None, Vec::new()),
            EntryKind::Update { name, update } => {
                let name = name.as_ref().map(|name| self.line(name));
                (Role::Message("Update"), name, None, vec![self.json_block("Update", update)])
            }
            EntryKind::Notification { sender, method, params } => {
                let params = params.iter().map(|params| self.json_block("Parameters", params)).collect();
                (Role::Message("Notification"), Some(self.by(*sender, method)), None, params)
            }
            EntryKind::Other { sender, payload } => {
                let title = format!("of another kind, by {}", side(*sender));
                (Role::Message("Message"), Some(title), None, vec![self.json_block("Message", payload)])
            }
        };
        let shown = match role {
            Role::Thought => self.thoughts,
            Role::Message(_) => self.protocol,
            _ => true,
        };
        shown.then_some(TurnPart { role, title, state, time: entry.first_time, blocks })
    }

    fn message(&self, role: Role, message: &ChatMessage) -> Told {
        let mut blocks = Vec::new();
        message.content.iter().for_each(|block| self.content(&mut blocks, block));
        (role, None, None, blocks)
    }

    fn content(&self, blocks: &mut Vec<PartBlock>, block: &ContentBlock) {
        match block {
            ContentBlock::Text { text } => blocks.push(PartBlock::Markdown(self.text(text))),
            ContentBlock::Image { data, mime_type, uri } => {
                blocks.push(self.media("Picture", mime_type, data, uri.as_deref()));
            }
            ContentBlock::Audio { data, mime_type } => blocks.push(self.media("Sound", mime_type, data, None)),
            ContentBlock::ResourceLink { uri, name, title, description, mime_type, size } => {
                let mut said = vec![self.line(title.as_deref().unwrap_or(name)), self.line(uri)];
                said.extend(mime_type.as_ref().map(|mime_type| self.line(mime_type)));
                said.extend(size.map(|size| format!("{} bytes", self.number(size))));
                blocks.push(PartBlock::Field("Link", said.join(", ")));
                blocks.extend(description.as_ref().map(|text| PartBlock::Field("About", self.line(text))));
            }
            ContentBlock::Resource { uri, mime_type, text, blob } => {
                match blob {
                    Some(blob) => {
                        let mime_type = mime_type.as_deref().unwrap_or("of an unknown type");
                        blocks.push(self.media("Resource", mime_type, blob, Some(uri)));
                    }
                    None => blocks.push(PartBlock::Field("Resource", self.line(uri))),
                }
                blocks.extend(text.as_ref().map(|text| {
                    let language = mime_type.as_ref().and_then(|mime_type| language_of(&self.line(mime_type)));
                    PartBlock::Code { name: "Text", language, text: self.text(text) }
                }));
            }
            ContentBlock::Unknown { block } => blocks.push(self.json_block("Content", block)),
        }
    }

    /// Data is never rendered: a hook cannot tell what is in it.
    fn media(&self, name: &'static str, mime_type: &str, data: &str, uri: Option<&str>) -> PartBlock {
        let size = grouped(&(data.len() / 4 * 3).to_string());
        let from = uri.map(|uri| format!(", from {}", self.line(uri))).unwrap_or_default();
        PartBlock::Field(name, format!("{}, about {size} bytes{from}", self.line(mime_type)))
    }

    fn json_block(&self, name: &'static str, json: &Json) -> PartBlock {
        let node = JsonNode::new(json.get());
        match node.string() {
            // Mostly the output of a command.
            Some(text) => PartBlock::Code { name, language: None, text: self.text(&text) },
            None => PartBlock::Code { name, language: Some("json".to_owned()), text: self.json(json) },
        }
    }

    fn tool_call(&self, call: &ToolCall) -> Told {
        let named = call.title.as_deref().or(call.name.as_deref()).unwrap_or(&call.tool_call_id);
        let state = call.status.as_deref().map(|status| (PartMark::of(status), self.line(status)));
        let mut blocks = Vec::new();
        let name = call.name.as_ref().filter(|_| call.title.is_some()).map(|name| self.line(name));
        let kind = call.kind.as_ref().map(|kind| self.line(kind));
        let kind: Vec<_> = kind.into_iter().chain(name).collect();
        if !kind.is_empty() {
            blocks.push(PartBlock::Field("Kind", kind.join(", ")));
        }
        blocks.extend(call.locations.iter().map(|location| PartBlock::Field("File", self.location(location))));
        if self.tool_details {
            blocks.push(PartBlock::Field("Id", self.line(&call.tool_call_id)));
            blocks.extend(call.raw_input.as_ref().map(|input| self.json_block("Input", input)));
            call.content.iter().for_each(|content| self.tool_content(&mut blocks, content));
            blocks.extend(call.raw_output.as_ref().map(|output| self.json_block("Output", output)));
        }
        (Role::Tool, Some(self.line(named)), state, blocks)
    }

    fn location(&self, location: &ToolLocation) -> String {
        let path = self.line(&location.path);
        location.line.map_or(path.clone(), |line| format!("{path}:{}", self.line(&line.to_string())))
    }

    fn tool_content(&self, blocks: &mut Vec<PartBlock>, content: &ToolContent) {
        match content {
            ToolContent::Content { content } => self.content(blocks, content),
            ToolContent::Diff { path, old_text, new_text } => {
                let (old, new) = (old_text.as_ref().map(|text| self.text(text)), self.text(new_text));
                blocks.push(PartBlock::Diff { path: self.line(path), diff: FileDiff::new(old.as_deref(), &new) });
            }
            ToolContent::Terminal { terminal_id } => {
                blocks.push(PartBlock::Field("Terminal", self.line(terminal_id)));
            }
            ToolContent::Unknown { content } => blocks.push(self.json_block("Content", content)),
        }
    }

    fn plan(&self, entries: &[PlanEntry], markdown: Option<&str>) -> Told {
        let step = |entry: &PlanEntry| {
            let priority = entry.priority.as_deref().filter(|priority| *priority != "medium");
            let notes: Vec<_> =
                entry.status.as_deref().into_iter().chain(priority).map(|note| self.line(note)).collect();
            let mark = entry.status.as_deref().map_or(PartMark::Unknown, PartMark::of);
            let notes = (!notes.is_empty()).then(|| notes.join(", "));
            PartStep { mark, text: self.line(&entry.content), notes }
        };
        let mut blocks = Vec::new();
        if !entries.is_empty() {
            blocks.push(PartBlock::Steps(entries.iter().map(step).collect()));
        }
        blocks.extend(markdown.map(|text| PartBlock::Markdown(self.text(text))));
        (Role::Plan, None, None, blocks)
    }

    fn commands(&self, commands: &[AvailableCommand]) -> Told {
        let command = |command: &AvailableCommand| {
            let about = command.description.as_ref().map(|about| format!(": {}", self.line(about)));
            let input = command.input.as_ref().map(|input| visible_line(&self.json(input)));
            let text = format!("/{}{}", self.line(&command.name), about.unwrap_or_default());
            PartStep { mark: PartMark::Unknown, text, notes: input }
        };
        let steps = commands.iter().map(command).collect();
        (Role::Message("Commands"), Some("offered from now on".to_owned()), None, vec![PartBlock::Steps(steps)])
    }

    fn permission(&self, permission: &Permission) -> Told {
        let (.., mut blocks) = self.tool_call(&permission.tool_call);
        let call = &permission.tool_call;
        let title = call.title.as_deref().or(call.name.as_deref()).unwrap_or(&call.tool_call_id);
        let chosen = match &permission.outcome {
            PermissionOutcome::Selected { option_id } => Some(option_id),
            _ => None,
        };
        let steps = permission.options.iter().map(|option| {
            let mark = if Some(&option.option_id) == chosen { PartMark::Done } else { PartMark::Waiting };
            let text = self.line(option.name.as_deref().unwrap_or(&option.option_id));
            PartStep { mark, text, notes: option.kind.as_ref().map(|kind| self.line(kind)) }
        });
        blocks.push(PartBlock::Steps(steps.collect()));
        let state = match &permission.outcome {
            PermissionOutcome::Pending => (PartMark::Waiting, "not decided".to_owned()),
            PermissionOutcome::Cancelled => (PartMark::Failed, "cancelled".to_owned()),
            PermissionOutcome::Selected { option_id } => {
                let option = permission.options.iter().find(|option| option.option_id == *option_id);
                let name = option.and_then(|option| option.name.as_ref()).unwrap_or(option_id);
                let rejected =
                    option.and_then(|option| option.kind.as_ref()).is_some_and(|kind| kind.starts_with("reject"));
                (if rejected { PartMark::Failed } else { PartMark::Done }, self.line(name))
            }
            PermissionOutcome::Other { answer } => {
                let (mark, text, block) = self.answer(answer);
                blocks.extend(block);
                (mark, text)
            }
        };
        (Role::Permission, Some(self.line(title)), Some(state), blocks)
    }

    fn answer(&self, answer: &Answer) -> (PartMark, String, Option<PartBlock>) {
        match answer {
            Answer::Pending => (PartMark::Waiting, "not answered".to_owned(), None),
            Answer::Result { result } => {
                (PartMark::Done, "answered".to_owned(), Some(self.json_block("Result", result)))
            }
            Answer::Error { code, message, error } => {
                (PartMark::Failed, self.error(*code, message.as_deref()), Some(self.json_block("Error", error)))
            }
        }
    }

    fn request(&self, role: Role, request: &PeerRequest) -> Told {
        let (mark, text, result) = self.answer(&request.answer);
        let mut title = match role {
            Role::Message(_) => self.by(request.sender, &request.method),
            _ => self.line(&request.method),
        };
        let params = request.params.as_ref().map(|params| JsonNode::new(params.get()));
        // What is read, written or run.
        for name in ["path", "command"] {
            let named = params.and_then(|params| params.member(name)?.string());
            title.extend(named.map(|named| format!(" {}", self.line(&named))));
        }
        let mut blocks = Vec::new();
        if self.tool_details {
            blocks.push(PartBlock::Field("Id", visible_line(&self.json(&request.id))));
            blocks.extend(request.params.as_ref().map(|params| self.json_block("Parameters", params)));
            blocks.extend(result);
        }
        (role, Some(title), Some((mark, text)), blocks)
    }

    fn response(&self, response: &PeerResponse) -> Told {
        let (mark, text, result) = self.answer(&response.answer);
        let title = match &response.method {
            Some(method) => format!("to {}", self.by_other(response.sender, method)),
            None => format!("to an unknown request, by {}", side(response.sender)),
        };
        let mut blocks = vec![PartBlock::Field("Id", visible_line(&self.json(&response.id)))];
        blocks.extend(result);
        (Role::Message("Response"), Some(title), Some((mark, text)), blocks)
    }

    fn usage(&self, usage: &UsageReport) -> String {
        let tokens = format!("{} of {} tokens", self.number(usage.used), self.number(usage.size));
        match &usage.cost {
            Some(cost) => {
                let amount = format!("{:.4}", cost.amount);
                let amount = amount.strip_suffix("00").unwrap_or(&amount);
                format!("{tokens}, {} {}", self.line(amount), self.line(&cost.currency))
            }
            None => tokens,
        }
    }

    fn by(&self, sender: Sender, method: &str) -> String {
        format!("{} by {}", self.line(method), side(sender))
    }

    fn by_other(&self, sender: Sender, method: &str) -> String {
        format!("{}, by {}", self.line(method), side(sender))
    }
}

fn side(sender: Sender) -> &'static str {
    match sender {
        Sender::Client => "the client",
        Sender::Agent => "the agent",
    }
}

/// The digits of a number in groups of three.
fn grouped(digits: &str) -> String {
    let mut shown = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// How long a turn took, if it is over.
fn duration(turn: &Turn) -> Option<String> {
    let spent = turn.last_time.signed_duration_since(turn.first_time);
    let seconds = spent.num_seconds();
    match (turn.is_running(), seconds) {
        (false, 1..=59) => Some(format!("{seconds} s")),
        (false, 60..=3599) => Some(format!("{} min {} s", seconds / 60, seconds % 60)),
        (false, 3600..) => Some(format!("{} h {} min", grouped(&(seconds / 3600).to_string()), seconds / 60 % 60)),
        _ => None,
    }
}

/// The name that highlighters have for a language, by its media type: `rust` for `text/x-rust`.
fn language_of(mime_type: &str) -> Option<String> {
    let (_, name) = mime_type.split(';').next()?.trim().split_once('/')?;
    language(name.strip_prefix("x-").unwrap_or(name)).filter(|name| name != "plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        assert_eq!(["0", "999", "1000", "12345678"].map(grouped), ["0", "999", "1,000", "12,345,678"]);
    }

    #[test]
    fn a_media_type_names_a_language() {
        assert_eq!(language_of("text/x-rust; charset=utf-8").as_deref(), Some("rust"));
        assert_eq!(language_of("text/plain"), None);
    }
}

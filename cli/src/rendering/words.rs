//! What an entry says, whatever the format.

use agent_session_store::Sender;
use agent_session_store::transcript::{
    Answer, ContentBlock, Entry, EntryKind, PermissionOutcome, ToolCall, ToolContent, Turn, TurnOutcome,
};

use super::Choices;
use crate::units::count;

/// Who says it, and what.
pub struct Said {
    pub who: &'static str,
    pub text: String,
    /// What belongs to it, such as a tool's output: text of which every space counts.
    pub details: Vec<String>,
    pub is_message: bool,
}

fn said(who: &'static str, text: impl Into<String>) -> Option<Said> {
    Some(Said { who, text: text.into(), details: Vec::new(), is_message: false })
}

fn message(who: &'static str, text: String) -> Option<Said> {
    (!text.trim().is_empty()).then_some(Said { who, text, details: Vec::new(), is_message: true })
}

/// What an entry says, or nothing if it is not shown.
pub fn of_entry(entry: &Entry, choices: Choices) -> Option<Said> {
    match &entry.kind {
        EntryKind::UserMessage(chat) => message("you", blocks(&chat.content)),
        EntryKind::AgentMessage(chat) => message("agent", blocks(&chat.content)),
        EntryKind::AgentThought(chat) if choices.thoughts => message("thought", blocks(&chat.content)),
        EntryKind::AgentThought(_) => None,
        EntryKind::ToolCall(call) => Some(tool_call(call, choices)),
        EntryKind::Plan { entries, markdown, .. } => {
            let steps = entries.iter().map(|step| {
                let mark = match step.status.as_deref() {
                    Some("completed") => "[x]",
                    Some("in_progress") => "[~]",
                    _ => "[ ]",
                };
                format!("{mark} {}", step.content)
            });
            said("plan", steps.chain(markdown.clone()).collect::<Vec<_>>().join("\n"))
        }
        EntryKind::ModeChange { mode_id } => said("mode", mode_id),
        EntryKind::Permission(permission) => {
            let title = permission.tool_call.title.as_deref().unwrap_or("a tool call");
            let outcome = match &permission.outcome {
                PermissionOutcome::Pending => "not answered".to_owned(),
                PermissionOutcome::Selected { option_id } => {
                    let option = permission.options.iter().find(|option| option.option_id == *option_id);
                    option.and_then(|option| option.name.clone()).unwrap_or_else(|| option_id.clone())
                }
                PermissionOutcome::Cancelled => "cancelled".to_owned(),
                _ => "answered".to_owned(),
            };
            said("asks", format!("{title}: {outcome}"))
        }
        EntryKind::Usage(usage) => {
            let cost =
                usage.cost.as_ref().map_or(String::new(), |cost| format!(", {:.2} {}", cost.amount, cost.currency));
            said("usage", format!("{} of {} tokens{cost}", count(usage.used), count(usage.size)))
        }
        EntryKind::SessionInfo { title: Some(title), .. } => said("title", title),
        EntryKind::Cancel => said("you", "(cancelled)"),
        // What does not make it easier to see what happened: settings, commands, files, what is not known.
        EntryKind::File(request) | EntryKind::Terminal(request) | EntryKind::Request(request) if choices.tools => {
            let answer = match &request.answer {
                Answer::Pending => ", not answered".to_owned(),
                Answer::Error { message, .. } => {
                    format!(", failed: {}", message.as_deref().unwrap_or("no reason given"))
                }
                _ => String::new(),
            };
            said(side(request.sender), format!("({}{answer})", request.method))
        }
        EntryKind::Request(request) => match &request.answer {
            Answer::Error { message, .. } => {
                said("error", format!("{}: {}", request.method, message.as_deref().unwrap_or("no reason given")))
            }
            _ => None,
        },
        EntryKind::Notification { sender, method, .. } if choices.tools => said(side(*sender), format!("({method})")),
        EntryKind::Update { name, .. } if choices.tools => {
            said("agent", format!("({})", name.as_deref().unwrap_or("an update")))
        }
        EntryKind::Other { sender, payload } => {
            let mut other = said(side(*sender), "(not a message that is known)")?;
            other.details.push(payload.get().to_owned());
            Some(other)
        }
        _ => None,
    }
}

fn side(sender: Sender) -> &'static str {
    match sender {
        Sender::Client => "you",
        Sender::Agent => "agent",
    }
}

fn tool_call(call: &ToolCall, choices: Choices) -> Said {
    let title = call.title.as_deref().unwrap_or(&call.tool_call_id);
    let status = call.status.as_deref().unwrap_or("status unknown");
    let mut details = Vec::new();
    if choices.tools {
        details.extend(call.locations.iter().map(|location| match location.line {
            Some(line) => format!("{}:{line}", location.path),
            None => location.path.clone(),
        }));
        details.extend(call.raw_input.iter().map(|input| format!("in   {}", input.get())));
        details.extend(call.content.iter().map(tool_content));
        details.extend(call.raw_output.iter().map(|output| format!("out  {}", output.get())));
    }
    Said { who: "tool", text: format!("{title} ({status})"), details, is_message: false }
}

fn tool_content(content: &ToolContent) -> String {
    match content {
        ToolContent::Content { content } => block(content),
        ToolContent::Diff { path, old_text, new_text } => {
            let old = old_text.iter().flat_map(|text| text.lines()).map(|line| format!("- {line}"));
            let new = new_text.lines().map(|line| format!("+ {line}"));
            std::iter::once(path.clone()).chain(old).chain(new).collect::<Vec<_>>().join("\n")
        }
        ToolContent::Terminal { terminal_id } => format!("(terminal {terminal_id})"),
        _ => "(content that is not known)".to_owned(),
    }
}

fn blocks(content: &[ContentBlock]) -> String {
    content.iter().map(block).collect::<Vec<_>>().join("\n")
}

fn block(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text { text } => text.clone(),
        ContentBlock::Image { mime_type, .. } => format!("[image, {mime_type}]"),
        ContentBlock::Audio { mime_type, .. } => format!("[audio, {mime_type}]"),
        ContentBlock::ResourceLink { uri, name, .. } => format!("[{name}: {uri}]"),
        ContentBlock::Resource { uri, text, .. } => match text {
            Some(text) => format!("[{uri}]\n{text}"),
            None => format!("[{uri}]"),
        },
        _ => "[content that is not known]".to_owned(),
    }
}

/// Whether there is anything to show of a turn: a prompt, or an entry that is not left out.
pub fn is_shown(turn: &Turn, choices: Choices) -> bool {
    turn.prompt.is_some() || turn.entries.iter().any(|entry| of_entry(entry, choices).is_some())
}

/// How a turn ended, where that is worth a word.
pub fn outcome(turn: &Turn) -> Option<String> {
    match turn.outcome.as_ref()? {
        TurnOutcome::Running => Some("still running".to_owned()),
        TurnOutcome::Unanswered => Some("no answer".to_owned()),
        TurnOutcome::Stopped { reason } if reason == "end_turn" => None,
        TurnOutcome::Stopped { reason } => Some(reason.clone()),
        TurnOutcome::Failed { message, .. } => {
            Some(format!("failed: {}", message.as_deref().unwrap_or("no reason given")))
        }
        _ => None,
    }
}

/// What a turn is called.
pub fn name(turn: &Turn) -> String {
    match (turn.number, &turn.prompt) {
        (Some(number), _) => format!("Turn {number}"),
        (None, Some(_)) => "Turn".to_owned(),
        (None, None) => "Outside of turns".to_owned(),
    }
}

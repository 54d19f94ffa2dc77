//! A transcript as a few lines of text, to pin and to compare.

use std::fmt::Write;

use agent_session_store::transcript::{
    Answer, ChatMessage, ContentBlock, Entry, EntryKind, PeerRequest, Transcript, Turn,
};

pub fn compact(transcript: &Transcript) -> String {
    let mut text = String::new();
    if let Some(title) = transcript.title() {
        writeln!(text, "title {title:?}").unwrap();
    }
    transcript.turns().iter().for_each(|turn| compact_turn(&mut text, turn));
    text
}

fn compact_turn(text: &mut String, turn: &Turn) {
    write!(text, "turn {:?} [{}..{}]", turn.number, turn.first_index, turn.last_index).unwrap();
    if let Some(outcome) = &turn.outcome {
        write!(text, " {outcome:?}").unwrap();
    }
    if let Some(index) = turn.answer_index {
        write!(text, " at {index}").unwrap();
    }
    if turn.cancelled {
        write!(text, " cancelled").unwrap();
    }
    writeln!(text).unwrap();
    turn.prompt.iter().chain(&turn.entries).for_each(|entry| compact_entry(text, entry));
}

fn compact_entry(text: &mut String, entry: &Entry) {
    write!(text, "  [{}..{}: {}] ", entry.first_index, entry.last_index, entry.events).unwrap();
    match &entry.kind {
        EntryKind::UserMessage(message) => compact_message(text, "user", message),
        EntryKind::AgentMessage(message) => compact_message(text, "agent", message),
        EntryKind::AgentThought(message) => compact_message(text, "thought", message),
        EntryKind::ToolCall(call) => {
            write!(text, "tool {} {:?} {:?} {:?}", call.tool_call_id, call.title, call.kind, call.status).unwrap();
            write!(text, " {:?} {:?}", call.locations, call.content).unwrap();
        }
        EntryKind::Request(request) | EntryKind::File(request) | EntryKind::Terminal(request) => {
            compact_request(text, request);
        }
        other => write!(text, "{other:?}").unwrap(),
    }
    writeln!(text).unwrap();
}

fn compact_message(text: &mut String, speaker: &str, message: &ChatMessage) {
    write!(text, "{speaker} {:?}", message.message_id).unwrap();
    for block in &message.content {
        match block {
            ContentBlock::Text { text: said } => write!(text, " {said:?}").unwrap(),
            other => write!(text, " {other:?}").unwrap(),
        }
    }
}

fn compact_request(text: &mut String, request: &PeerRequest) {
    write!(text, "{} asks {} {}", request.sender, request.method, request.id).unwrap();
    if let Some(params) = &request.params {
        write!(text, " {params}").unwrap();
    }
    match &request.answer {
        Answer::Result { result } => write!(text, " -> {result}").unwrap(),
        other => write!(text, " -> {other:?}").unwrap(),
    }
}

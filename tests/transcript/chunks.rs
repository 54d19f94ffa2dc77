//! Proves that chunks become the text that was cut into them.

use agent_session_store::transcript::{ChatMessage, ContentBlock, EntryKind};
use proptest::prelude::*;

use super::{Said, chunk, entries, only, prompt, transcript, update};

fn text(text: &str) -> ContentBlock {
    ContentBlock::Text { text: text.to_owned() }
}

fn message(kind: EntryKind) -> ChatMessage {
    match kind {
        EntryKind::UserMessage(message) | EntryKind::AgentMessage(message) | EntryKind::AgentThought(message) => {
            message
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_emoji_split_over_two_chunks_is_one_again() {
    let kind = only(&[chunk("agent_message_chunk", r"ok \ud83d"), chunk("agent_message_chunk", r"\ude00!")]);
    assert_eq!(message(kind).content, [text("ok 😀!")]);
}

#[test]
fn an_emoji_split_around_an_empty_chunk_is_one_again() {
    let parts = [r"\ud83d", "", r"\ude00"].map(|part| chunk("agent_thought_chunk", part));
    assert_eq!(message(only(&parts)).content, [text("😀")]);
}

#[test]
fn a_half_that_stays_alone_is_a_replacement_character() {
    let parts = [r"\ud83d", "x", r"\ude00"].map(|part| chunk("agent_message_chunk", part));
    assert_eq!(message(only(&parts)).content, [text("\u{fffd}x\u{fffd}")]);
}

#[test]
fn halves_of_different_speakers_stay_apart() {
    let transcript = transcript(&[chunk("agent_message_chunk", r"\ud83d"), chunk("agent_thought_chunk", r"\ude00")]);
    let found: Vec<_> = entries(&transcript).iter().map(|entry| message(entry.kind.clone()).text()).collect();
    assert_eq!(found, ["\u{fffd}", "\u{fffd}"]);
}

#[test]
fn another_block_stands_between_texts() {
    let image = r#""content":{"type":"image","data":"aGk=","mimeType":"image/png"}"#;
    let kind = only(&[
        chunk("agent_message_chunk", r"a\ud83d"),
        update("agent_message_chunk", image),
        chunk("agent_message_chunk", r"\ude00"),
        chunk("agent_message_chunk", "b"),
    ]);
    let picture = ContentBlock::Image { data: "aGk=".to_owned(), mime_type: "image/png".to_owned(), uri: None };
    assert_eq!(message(kind).content, [text("a\u{fffd}"), picture, text("\u{fffd}b")]);
}

#[test]
fn another_id_is_another_message() {
    let part = |id: &str, text: &str| {
        let content = format!(r#""content":{{"type":"text","text":"{text}"}}"#);
        update("agent_message_chunk", &format!(r#"{content},"messageId":"{id}""#))
    };
    let transcript = transcript(&[part("1", "a"), part("1", "b"), part("2", "c")]);
    let found: Vec<_> = entries(&transcript).iter().map(|entry| message(entry.kind.clone()).text()).collect();
    assert_eq!(found, ["ab", "c"]);
}

#[test]
fn what_else_happens_begins_another_message() {
    let transcript = transcript(&[
        chunk("agent_message_chunk", "before"),
        update("tool_call", r#""toolCallId":"t","title":"Read""#),
        chunk("agent_message_chunk", "after"),
    ]);
    assert_eq!(entries(&transcript).len(), 3);
}

#[test]
fn a_prompt_begins_another_message() {
    let transcript =
        transcript(&[chunk("agent_message_chunk", "before"), prompt("1", "x"), chunk("agent_message_chunk", "after")]);
    assert_eq!(transcript.turns().len(), 2);
    assert_eq!(entries(&transcript).len(), 2);
}

/// The UTF-16 of a text in JSON, every unit as an escape or as itself if it may be.
fn spelled(units: &[u16], escape: bool) -> String {
    let decoded = char::decode_utf16(units.iter().copied());
    decoded
        .map(|unit| match unit {
            Ok(sign) if !escape && !sign.is_control() && sign != '"' && sign != '\\' => sign.to_string(),
            Ok(sign) => sign.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
            Err(lone) => format!("\\u{:04X}", lone.unpaired_surrogate()),
        })
        .collect()
}

proptest! {
    #[test]
    fn a_text_cut_anywhere_is_joined_again(original in "(\\PC|[😀\u{10ffff}\u{0}\"\\\\\n]){1,24}", cuts in prop::collection::vec(any::<(prop::sample::Index, bool)>(), 0..6)) {
        let units: Vec<u16> = original.encode_utf16().collect();
        let mut places: Vec<_> = cuts.iter().map(|(cut, escape)| (cut.index(units.len() + 1), *escape)).collect();
        places.push((units.len(), false));
        places.sort_unstable();
        let mut begin = 0;
        let said: Vec<Said> = places.iter().map(|&(end, escape)| {
            let part = spelled(&units[begin..end], escape);
            begin = end;
            chunk("agent_message_chunk", &part)
        }).collect();
        let ContentBlock::Text { text } = &message(only(&said)).content[0] else { panic!("no text") };
        prop_assert_eq!(text, &original);
    }
}

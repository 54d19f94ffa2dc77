//! Proves that nothing panics and nothing is lost, whatever was stored.

use agent_session_store::transcript::{Transcript, Turn};
use agent_session_store::{Json, Sender};
use proptest::prelude::*;

use super::{Said, event};

/// Any JSON, often with the names that are looked for, and with values of the wrong type.
fn any_json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "session/prompt",
        "session/update",
        "session/cancel",
        "session/request_permission",
        "fs/read_text_file",
        "terminal/create",
        "_sandboxagent/opencode/message",
        "agent_message_chunk",
        "agent_thought_chunk",
        "user_message_chunk",
        "tool_call",
        "tool_call_update",
        "plan",
        "usage_update",
        "session_info_update",
        "current_mode_update",
        "config_option_update",
        "available_commands_update",
        "text",
        "diff",
        "selected",
        "assistant",
        "1",
        r"\ud83d",
        r"\ude00",
        r"\u0000\n",
        "é😀",
    ]);
    let key = prop::sample::select(vec![
        "id",
        "method",
        "params",
        "result",
        "error",
        "update",
        "sessionUpdate",
        "content",
        "type",
        "text",
        "toolCallId",
        "title",
        "status",
        "locations",
        "path",
        "line",
        "entries",
        "used",
        "size",
        "cost",
        "toolCall",
        "options",
        "optionId",
        "outcome",
        "prompt",
        "stopReason",
        "usage",
        "message",
        "info",
        "parts",
        "role",
        "messageId",
        r"m\u0065thod",
        "x",
    ]);
    let leaf = prop_oneof![
        4 => word.prop_map(|word| format!("\"{word}\"")),
        2 => (0..3_u8).prop_map(|number| number.to_string()),
        1 => prop::sample::select(vec!["null", "true", "-0", "1.0", "1e400", "12345678901234567000"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|parts| format!("[{}]", parts.join(" ,"))),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|members| {
                let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\" : {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Messages that are mostly of the protocol's form, with anything in them.
pub fn any_said() -> impl Strategy<Value = Said> {
    let id = prop::sample::select(vec!["1", "2", "\"1\"", "null"]);
    let update = (
        prop::sample::select(vec![
            "agent_message_chunk",
            "agent_thought_chunk",
            "tool_call",
            "tool_call_update",
            "plan",
            "?",
        ]),
        prop::sample::select(vec!["a", r"\ud83d", r"\ude00", ""]),
        prop::sample::select(vec!["t", "u"]),
        any_json(),
    );
    let payload = prop_oneof![
        2 => any_json(),
        6 => update.prop_map(|(kind, text, call, more)| {
            let content = if kind.ends_with("chunk") { format!(r#"{{"type":"text","text":"{text}"}}"#) } else { "[]".to_owned() };
            format!(r#"{{"method":"session/update","params":{{"update":{{"sessionUpdate":"{kind}","toolCallId":"{call}","entries":[],"content":{content},"more":{more}}}}}}}"#)
        }),
        2 => id.clone().prop_map(|id| format!(r#"{{"id":{id},"method":"session/prompt","params":{{"prompt":[]}}}}"#)),
        2 => (id.clone(), any_json()).prop_map(|(id, params)| format!(r#"{{"id":{id},"method":"fs/read_text_file","params":{params}}}"#)),
        3 => id.prop_map(|id| format!(r#"{{"id":{id},"result":{{"stopReason":"end_turn"}}}}"#)),
        1 => Just(r#"{"method":"session/cancel"}"#.to_owned()),
    ];
    (any::<bool>(), payload)
        .prop_map(|(by_client, payload)| (if by_client { Sender::Client } else { Sender::Agent }, payload))
}

/// Each event is counted in one entry or is the answer to a prompt, and its index is in that entry's range.
fn assert_all_are_entered(turns: &[Turn], pushed: u64) {
    let entries = || turns.iter().flat_map(|turn| turn.prompt.iter().chain(&turn.entries));
    let answers: Vec<i64> = turns.iter().filter_map(|turn| turn.answer_index).collect();
    assert_eq!(entries().map(|entry| entry.events).sum::<u64>() + answers.len() as u64, pushed);
    for index in 1..=pushed as i64 {
        let is_in = entries().any(|entry| (entry.first_index..=entry.last_index).contains(&index));
        assert!(is_in || answers.contains(&index), "{index} is nowhere");
    }
    for turn in turns {
        assert!(turn.prompt.is_some() || !turn.entries.is_empty(), "an empty turn");
        for entry in turn.prompt.iter().chain(&turn.entries) {
            assert!(turn.first_index <= entry.first_index && entry.last_index <= turn.last_index);
            assert!((1..=(entry.last_index - entry.first_index + 1) as u64).contains(&entry.events));
        }
    }
}

proptest! {
    #[test]
    fn whatever_was_said_is_entered(said in prop::collection::vec(any_said(), 0..40), takes in prop::collection::vec(any::<bool>(), 40)) {
        let (mut kept, mut taking, mut taken) = (Transcript::new(), Transcript::new(), Vec::new());
        for ((index, said), take) in (1..).zip(&said).zip(takes) {
            kept.push(&event(index, said));
            taking.push(&event(index, said));
            if take {
                taken.extend(taking.take_finished());
            }
        }
        taken.extend_from_slice(taking.turns());
        assert_all_are_entered(kept.turns(), said.len() as u64);
        assert_all_are_entered(&taken, said.len() as u64);
        prop_assert_eq!(kept.title(), taking.title());
        // What is kept as it was sent is JSON still.
        let json = Json::new(&kept);
        prop_assert!(json.is_ok(), "{:?}", json);
    }

    #[test]
    fn a_single_payload_of_any_form_is_one_event(payload in any_json(), by_client in any::<bool>()) {
        let mut transcript = Transcript::new();
        transcript.push(&event(1, &(if by_client { Sender::Client } else { Sender::Agent }, payload)));
        assert_all_are_entered(transcript.turns(), 1);
    }
}

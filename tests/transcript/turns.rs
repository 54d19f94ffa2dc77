//! Proves where a turn begins and how it ends.

use agent_session_store::transcript::{EntryKind, Transcript, TurnOutcome};

use super::{Said, agent, chunk, client, entries, event, prompt, stop, transcript, update};

fn outcome(answer: &str) -> TurnOutcome {
    transcript(&[prompt("1", "x"), agent(answer)]).turns()[0].outcome.clone().unwrap()
}

#[test]
fn a_turn_ends_as_its_response_says() {
    let refused = outcome(r#"{"id":1,"result":{"stopReason":"refusal"}}"#);
    assert_eq!(refused, TurnOutcome::Stopped { reason: "refusal".to_owned() });
    let failed = outcome(r#"{"id":1,"error":{"code":-32000,"message":"log in first","data":{"a":1}}}"#);
    let TurnOutcome::Failed { code, message, error } = failed else { panic!("{failed:?}") };
    assert_eq!((code, message.as_deref()), (Some(-32000), Some("log in first")));
    assert!(error.get().contains(r#""data":{"a":1}"#));
    let strange = outcome(r#"{"id":1,"result":[]}"#);
    assert!(matches!(strange, TurnOutcome::Answered { .. }), "{strange:?}");
    // Half of the peers that write both mean the one that is not null.
    assert_eq!(outcome(r#"{"id":1,"error":null,"result":{"stopReason":"refusal"}}"#), refused);
}

#[test]
fn a_turn_has_the_indexes_and_times_of_its_events() {
    let transcript = transcript(&[
        client(r#"{"id":0,"method":"initialize"}"#),
        prompt("1", "x"),
        chunk("agent_message_chunk", "a"),
        chunk("agent_message_chunk", "b"),
        stop("1"),
    ]);
    let [before, turn] = transcript.turns() else { panic!("two turns") };
    assert_eq!((before.number, before.outcome.is_none(), before.prompt.is_none()), (None, true, true));
    assert_eq!((turn.number, turn.first_index, turn.last_index, turn.answer_index), (Some(1), 2, 5, Some(5)));
    assert_eq!((turn.first_time.timestamp_millis(), turn.last_time.timestamp_millis()), (2000, 5000));
    let answer = &turn.entries[0];
    assert_eq!((answer.first_index, answer.last_index, answer.events), (3, 4, 2));
    assert_eq!((answer.first_time.timestamp_millis(), answer.last_time.timestamp_millis()), (3000, 4000));
}

#[test]
fn a_cancelled_turn_says_so() {
    let cancel = client(r#"{"method":"session/cancel","params":{"sessionId":"s"}}"#);
    let transcript = transcript(&[prompt("1", "x"), cancel.clone(), stop("1"), cancel]);
    let [turn, after] = transcript.turns() else { panic!("two turns") };
    assert!(turn.cancelled && !after.cancelled);
    assert_eq!(entries(&transcript).iter().filter(|entry| entry.kind == EntryKind::Cancel).count(), 2);
}

#[test]
fn a_prompt_that_was_never_answered_is_told_apart_from_a_running_one() {
    let transcript = transcript(&[prompt("1", "x"), prompt("2", "y")]);
    let [first, second] = transcript.turns() else { panic!("two turns") };
    assert_eq!(first.outcome, Some(TurnOutcome::Unanswered));
    assert!(second.is_running());
}

#[test]
fn turns_have_numbers_only_from_the_beginning() {
    let said = [prompt("1", "x"), stop("1"), prompt("2", "y")];
    let numbers = |first: i64| {
        let mut transcript = Transcript::new();
        (first..).zip(&said).for_each(|(index, said)| transcript.push(&event(index, said)));
        transcript.turns().iter().map(|turn| turn.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(0), [Some(1), Some(2)]);
    assert_eq!(numbers(1), [Some(1), Some(2)]);
    assert_eq!(numbers(2), [None, None]);
}

#[test]
fn a_transcript_begins_anywhere() {
    let transcript = transcript(&[
        chunk("agent_message_chunk", "…end of it"),
        update("tool_call_update", r#""toolCallId":"t","status":"completed""#),
        stop("7"),
        prompt("8", "next"),
    ]);
    let [rest, turn] = transcript.turns() else { panic!("two turns") };
    assert_eq!(rest.entries.len(), 3);
    assert!(matches!(&rest.entries[1].kind, EntryKind::ToolCall(call) if !call.begun));
    assert!(turn.is_running());
}

#[test]
fn a_prompt_of_another_form_is_kept() {
    let transcript = transcript(&[
        client(r#"{"id":1,"method":"session/prompt","params":{"prompt":"just text"}}"#),
        client(r#"{"id":2,"method":"session/prompt","params":[1]}"#),
        client(r#"{"id":3,"method":"session/prompt"}"#),
    ]);
    let prompts: Vec<String> = transcript
        .turns()
        .iter()
        .map(|turn| match &turn.prompt.as_ref().unwrap().kind {
            EntryKind::UserMessage(message) => format!("{:?}", message.content),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(prompts, [r#"[Unknown { block: Json("just text") }]"#, "[Unknown { block: Json([1]) }]", "[]"]);
}

#[test]
fn the_tokens_of_a_response_are_the_turns() {
    let usage = r#"{"totalTokens":12,"inputTokens":10,"outputTokens":2.0,"thoughtTokens":null,"cachedReadTokens":-1}"#;
    for result in [format!(r#""usage":{usage}"#), format!(r#""_meta":{{"usage":{usage}}}"#)] {
        let answer = format!(r#"{{"id":1,"result":{{"stopReason":"end_turn",{result}}}}}"#);
        let transcript = transcript(&[prompt("1", "x"), agent(answer)]);
        let usage = transcript.turns()[0].usage.clone().unwrap();
        assert_eq!((usage.total_tokens, usage.input_tokens, usage.output_tokens), (Some(12), Some(10), Some(2)));
        assert_eq!((usage.thought_tokens, usage.cached_read_tokens), (None, None));
    }
}

/// Three turns in which nothing comes late.
fn orderly() -> Vec<Said> {
    let mut said = vec![client(r#"{"id":0,"method":"session/new"}"#), agent(r#"{"id":0,"result":{}}"#)];
    for turn in ["1", "2", "3"] {
        said.extend([
            prompt(turn, "x"),
            chunk("agent_message_chunk", r"a\ud83d"),
            chunk("agent_message_chunk", r"\ude00"),
            update("tool_call", r#""toolCallId":"t","title":"Read""#),
            update("plan", r#""entries":[]"#),
            update("tool_call_update", r#""toolCallId":"t","status":"completed""#),
            update("plan", r#""entries":[{"content":"c"}]"#),
            stop(turn),
            update("usage_update", r#""used":1,"size":2"#),
        ]);
    }
    said
}

#[test]
fn taking_turns_at_any_place_gives_the_same_turns() {
    let said = orderly();
    let whole = transcript(&said);
    for place in 0..=said.len() {
        let mut halves = transcript(&said[..place]);
        let mut turns = halves.take_finished();
        for (index, said) in (1..).zip(&said).skip(place) {
            halves.push(&event(index, said));
        }
        turns.extend(halves.take_finished());
        turns.extend_from_slice(halves.turns());
        assert_eq!(turns, whole.turns(), "{place}");
    }
}

#[test]
fn taking_after_each_event_keeps_one_turn_at_most() {
    let (said, mut transcript, mut turns) = (orderly(), Transcript::new(), Vec::new());
    for (index, said) in (1..).zip(&said) {
        transcript.push(&event(index, said));
        turns.extend(transcript.take_finished());
        assert!(transcript.turns().len() <= 1);
    }
    turns.extend_from_slice(transcript.turns());
    assert_eq!(turns, super::transcript(&said).turns());
}

#[test]
fn what_is_kept_after_taking_does_not_grow() {
    let (mut transcript, mut index) = (Transcript::new(), 0);
    let mut run = |turns: usize| {
        for turn in 0..turns {
            let call = format!(r#""toolCallId":"call {index} {turn}","title":"Read""#);
            let ask = agent(format!(r#"{{"id":"ask {index}","method":"fs/read_text_file"}}"#));
            let answer = client(format!(r#"{{"id":"ask {index}","result":{{}}}}"#));
            for said in [
                prompt("1", "x"),
                update("tool_call", &call),
                ask,
                answer,
                update("plan", r#""entries":[]"#),
                stop("1"),
            ] {
                index += 1;
                transcript.push(&event(index, &said));
            }
            transcript.take_finished();
        }
        // Debug prints all that is kept.
        format!("{transcript:?}").len()
    };
    let first = run(1);
    assert!(run(300) < first + 100, "what was taken is remembered");
}

#[test]
fn what_comes_late_for_a_taken_turn_is_an_entry_of_its_own() {
    let late = update("tool_call_update", r#""toolCallId":"t","status":"failed""#);
    let said = [prompt("1", "x"), update("tool_call", r#""toolCallId":"t","title":"Read""#), stop("1")];
    let mut transcript = transcript(&said);
    let mut taken = transcript.clone();
    transcript.push(&event(4, &late));
    assert_eq!(transcript.turns().len(), 1, "the turn is at hand");
    assert!(
        matches!(&transcript.turns()[0].entries[0].kind, EntryKind::ToolCall(call) if call.status.as_deref() == Some("failed"))
    );

    taken.take_finished();
    taken.push(&event(4, &late));
    let EntryKind::ToolCall(call) = &taken.turns()[0].entries[0].kind else { panic!("no tool call") };
    assert_eq!((call.tool_call_id.as_str(), call.begun, call.status.as_deref()), ("t", false, Some("failed")));
}

fn status(status: &str) -> Said {
    agent(format!(r#"{{"method":"_sandboxagent/opencode/status","params":{{"status":"{status}"}}}}"#))
}

#[test]
fn an_idle_agent_has_ended_its_turn() {
    let said = [prompt("1", "x"), status("busy"), chunk("agent_message_chunk", "a"), status("idle"), status("idle")];
    let transcript = transcript(&said);
    let [turn, after] = transcript.turns() else { panic!("{:#?}", transcript.turns()) };
    assert_eq!((&turn.outcome, turn.answer_index, turn.last_index), (&Some(TurnOutcome::Idle), None, 4));
    assert_eq!((turn.entries.len(), after.outcome.as_ref(), after.entries.len()), (3, None, 1));
    assert_eq!(transcript.clone().take_finished().len(), 1);
}

#[test]
fn a_busy_agent_goes_on() {
    let transcript = transcript(&[prompt("1", "x"), status("busy"), status("idling")]);
    assert!(transcript.turns()[0].is_running());
    let by_the_client = (agent_session_store::Sender::Client, status("idle").1);
    assert!(super::transcript(&[prompt("1", "x"), by_the_client]).turns()[0].is_running());
}

#[test]
fn a_response_says_how_an_idle_agents_turn_ended() {
    let transcript = transcript(&[prompt("1", "x"), status("idle"), stop("1")]);
    let [turn] = transcript.turns() else { panic!("{:#?}", transcript.turns()) };
    assert_eq!(turn.outcome, Some(TurnOutcome::Stopped { reason: "end_turn".to_owned() }));
}

/// A turn with a request that is never answered.
fn unanswered(index: i64, id: &str) -> [Said; 3] {
    let ask = agent(format!(r#"{{"id":"{id}","method":"fs/read_text_file"}}"#));
    [prompt(&index.to_string(), "x"), ask, stop(&index.to_string())]
}

#[test]
fn requests_without_a_response_do_not_pile_up() {
    let mut transcript = Transcript::new();
    let mut run = |turns: std::ops::Range<i64>, long: bool| {
        for turn in turns {
            let id = if long { "i".repeat(100_000) + &turn.to_string() } else { format!("ask {turn:06}") };
            // All events have one index: the order in which they are pushed counts.
            unanswered(turn, &id).iter().for_each(|said| transcript.push(&event(7, said)));
            transcript.take_finished();
        }
        format!("{transcript:?}").len()
    };
    let full = run(0..1024, false);
    assert!(run(1024..3000, false) < full + 10_000, "requests pile up");
    assert!(run(3000..3020, true) < full + 10_000, "long ids are kept");
}

#[test]
fn the_last_requests_of_taken_turns_are_remembered() {
    let mut transcript = Transcript::new();
    for turn in 0..1030 {
        unanswered(turn, &format!("ask {turn}")).iter().for_each(|said| transcript.push(&event(turn, said)));
        transcript.take_finished();
    }
    let mut method = |id: &str| {
        transcript.push(&event(5000, &client(format!(r#"{{"id":"{id}","result":{{}}}}"#))));
        let EntryKind::Response(response) = &transcript.turns()[0].entries.last().unwrap().kind else { panic!("{id}") };
        response.method.clone()
    };
    assert_eq!(method("ask 1029").as_deref(), Some("fs/read_text_file"));
    assert_eq!(method("ask 6").as_deref(), Some("fs/read_text_file"));
    assert_eq!(method("ask 5"), None, "forgotten");
}

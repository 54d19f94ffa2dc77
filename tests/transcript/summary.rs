//! Proves what a summary tells of a session from its record and a few events of each end: what is there to be told, and
//! where they do not tell, nothing instead of a guess.

use agent_session_store::transcript::Transcript;
use agent_session_store::{SessionRecord, SessionSummary};
use proptest::prelude::*;

use super::common::samples::bare_session;
use super::common::{json, millis};
use super::{Said, agent, chunk, client, event, prompt, stop, transcript, update};

const FIRST: usize = SessionSummary::FIRST_EVENTS;
const LAST: usize = SessionSummary::LAST_EVENTS;

fn summary_of(session: SessionRecord, said: &[Said]) -> SessionSummary {
    let all: Vec<_> = (1..).zip(said).map(|(index, said)| event(index, said)).collect();
    SessionSummary::new(session, &all[..all.len().min(FIRST)], &all[all.len().saturating_sub(LAST)..])
}

fn summary(said: &[Said]) -> SessionSummary {
    summary_of(bare_session("session-1"), said)
}

fn title(said: &[Said]) -> Option<String> {
    summary(said).title
}

fn named(title: &str) -> Said {
    update("session_info_update", &format!(r#""title":{title}"#))
}

fn usage(used: u32) -> Said {
    update("usage_update", &format!(r#""used":{used},"size":200000,"cost":{{"amount":0.25,"currency":"USD"}}"#))
}

/// So many chunks of an answer.
fn chunks(count: usize) -> Vec<Said> {
    vec![chunk("agent_message_chunk", "word "); count]
}

/// A turn that is so long that its beginning is out of sight at its end.
fn long_turn(id: &str) -> Vec<Said> {
    [vec![prompt(id, "Do it")], chunks(FIRST + LAST), vec![stop(id)]].concat()
}

#[test]
fn the_title_is_the_agents_last_one_and_else_the_first_prompt_that_has_a_text() {
    assert_eq!(title(&[]), None);
    assert_eq!(title(&[prompt("1", "Fix it"), prompt("2", "Fix that")]).as_deref(), Some("Fix it"));
    let picture = client(
        r#"{"id":1,"method":"session/prompt","params":{"prompt":[{"type":"image","data":"","mimeType":"image/png"}]}}"#,
    );
    assert_eq!(title(&[picture, prompt("2", "What is it?")]).as_deref(), Some("What is it?"));
    assert_eq!(title(&[prompt("1", " \\n "), prompt("2", "Really")]).as_deref(), Some("Really"));
    // As an agent repeats what it loads.
    assert_eq!(
        title(&[chunk("user_message_chunk", "As be"), chunk("user_message_chunk", "fore")]).as_deref(),
        Some("As before")
    );

    let told = [prompt("1", "Fix it"), named("\"First\""), stop("1"), named("\"A *title*\\n as sent\"")];
    assert_eq!(title(&told).as_deref(), Some("A *title*\n as sent"));
    // An update without a title says nothing of it; null takes it away, and so does a blank.
    let dated = update("session_info_update", r#""updatedAt":"2026-01-01T00:00:00Z""#);
    assert_eq!(title(&[&told[..], std::slice::from_ref(&dated)].concat()).as_deref(), Some("A *title*\n as sent"));
    for gone in ["null", "\"\"", "\" \""] {
        assert_eq!(title(&[&told[..], &[named(gone), dated.clone()]].concat()).as_deref(), Some("Fix it"), "{gone}");
    }
}

#[test]
fn a_title_out_of_a_prompt_is_one_line_of_at_most_eighty_characters() {
    assert_eq!(title(&[prompt("1", " a\\n\\tb\\u0007c\\u001b[31m  d\\u00a0e ")]).as_deref(), Some("a b c [31m d e"));
    let most = SessionSummary::TITLE_CHARS;
    assert_eq!(title(&[prompt("1", &"é".repeat(most))]), Some("é".repeat(most)));
    let cut = title(&[prompt("1", &"😀".repeat(most + 1))]).unwrap();
    assert_eq!(cut, "😀".repeat(most - 1) + "…");
    // No space before the ellipsis.
    let words = format!("{} {}", "x".repeat(most - 2), "y".repeat(9));
    assert_eq!(title(&[prompt("1", &words)]), Some("x".repeat(most - 2) + "…"));
}

#[test]
fn a_title_in_the_middle_of_a_long_session_is_not_seen() {
    let begun = [prompt("1", "Fix it")];
    let told = [&begun[..], &chunks(FIRST), &[named("\"In the middle\"")], &chunks(LAST)].concat();
    assert_eq!(title(&told).as_deref(), Some("Fix it"));
    // At either end it is, and the last one counts.
    let told = [&begun[..], &[named("\"At first\"")], &chunks(FIRST + LAST)].concat();
    assert_eq!(title(&told).as_deref(), Some("At first"));
    let told = [&told[..], &[named("\"At last\"")]].concat();
    assert_eq!(title(&told).as_deref(), Some("At last"));
    // What is said later is no first prompt.
    let told = [&chunks(FIRST + LAST)[..], &[prompt("9", "Go on")]].concat();
    assert_eq!(title(&told), None);
}

#[test]
fn the_prompt_that_begins_a_session_may_be_long() {
    let long = "long ".repeat(SessionSummary::MAX_PAYLOAD_BYTES);
    let told = [prompt("1", &long), stop("1"), prompt("2", "short"), stop("2")];
    assert!(title(&told).unwrap().starts_with("long long"));
    // It is looked for among the first events alone, and only if nothing else is the title.
    assert_eq!(title(&[&[prompt("1", "short")], &told[..]].concat()).as_deref(), Some("short"));
    assert_eq!(title(&[&told[..], &[named("\"Named\"")]].concat()).as_deref(), Some("Named"));
    assert_eq!(title(&[&chunks(FIRST + LAST)[..], &told[..1]].concat()), None);
    // Another message of the client that is long.
    let file = client(format!(r#"{{"id":1,"result":{{"content":"{long}"}}}}"#));
    assert_eq!(title(&[file, prompt("2", "short")]).as_deref(), Some("short"));
}

#[test]
fn the_working_folder_is_the_records_and_else_the_one_asked_for_last() {
    let ask = |method: &str, cwd: &str| client(format!(r#"{{"id":1,"method":"{method}","params":{{"cwd":"{cwd}"}}}}"#));
    let told = [ask("session/new", "/one"), ask("session/load", "/two"), ask("session/list", "/three")];
    assert_eq!(summary(&told).cwd.as_deref(), Some("/two"));
    assert_eq!(summary(&told[2..]).cwd, None);
    let record = with!(bare_session("session-1"), session_init: Some(json(r#"{"cwd":"/zero"}"#)));
    assert_eq!(summary_of(record, &told).cwd.as_deref(), Some("/zero"));
    for init in ["null", "[]", r#"{"cwd":7}"#, r#"{"mcpServers":[]}"#] {
        let record = with!(bare_session("session-1"), session_init: Some(json(init)));
        assert_eq!(summary_of(record, &told).cwd.as_deref(), Some("/two"), "{init}");
    }
}

#[test]
fn the_last_event_is_where_and_when_it_is() {
    let told = summary(&chunks(40));
    assert_eq!((told.last_index, told.last_activity), (Some(40), Some(millis(40_000))));
    assert_eq!(told.updated_at(), millis(40_000));
    let none = summary(&[]);
    assert_eq!((none.last_index, none.last_activity, none.updated_at()), (None, None, none.session.created_at));
}

#[test]
fn a_turn_is_running_until_its_prompt_is_answered() {
    let running = |said: &[Said]| summary(said).is_running;
    assert_eq!(running(&[]), Some(false));
    assert_eq!(running(&[client(r#"{"id":1,"method":"session/new","params":{}}"#)]), Some(false));
    assert_eq!(running(&[prompt("1", "a")]), Some(true));
    assert_eq!(running(&[prompt("1", "a"), stop("1")]), Some(false));
    assert_eq!(running(&[prompt("1", "a"), stop("2")]), Some(true));
    assert_eq!(running(&[prompt("1", "a"), agent(r#"{"id":1,"error":{"code":-1,"message":""}}"#)]), Some(false));
    assert_eq!(running(&[prompt("1", "a"), stop("1"), prompt("2", "b")]), Some(true));
    // In a session that has ended, nothing is.
    let ended = with!(bare_session("session-1"), destroyed_at: Some(millis(1)));
    assert_eq!(summary_of(ended, &[prompt("1", "a")]).is_running, Some(false));
}

#[test]
fn where_the_prompt_is_out_of_sight_the_last_events_tell_or_nothing_does() {
    let after = |end: &[Said]| summary(&[&long_turn("1")[..FIRST + LAST], end].concat()).is_running;
    let neither = update("available_commands_update", r#""availableCommands":[]"#);
    let set_mode = agent(r#"{"id":7,"result":{}}"#);
    let failed = agent(r#"{"id":7,"error":{"code":-32000,"message":"overloaded"}}"#);
    let asked = agent(r#"{"id":0,"method":"fs/read_text_file","params":{"path":"/a"}}"#);
    assert_eq!(after(&[]), Some(true));
    assert_eq!(after(&vec![neither.clone(); LAST]), None);
    assert_eq!(after(&[stop("1")]), Some(false));
    assert_eq!(after(&[&[stop("1")], &vec![neither.clone(); LAST - 1][..]].concat()), Some(false));
    assert_eq!(after(&[stop("1"), prompt("2", "b")]), Some(true));
    // It may be the answer to the prompt, or to another request.
    for response in [set_mode, failed] {
        assert_eq!(after(std::slice::from_ref(&response)), None);
        assert_eq!(after(&[response.clone(), neither.clone()]), None);
        assert_eq!(after(&[response.clone(), chunk("agent_thought_chunk", "hm")]), Some(true));
        assert_eq!(after(&[response, asked.clone()]), Some(true));
    }
    // A session that is loaded repeats what was said.
    let load = client(r#"{"id":3,"method":"session/load","params":{"cwd":"/"}}"#);
    assert_eq!(after(&[&[load], &chunks(3)[..]].concat()), None);
    assert_eq!(after(&[chunk("user_message_chunk", "a"), chunk("agent_message_chunk", "b")]), None);
    // What cannot be read may be anything.
    let long = chunk("agent_message_chunk", &"x".repeat(SessionSummary::MAX_PAYLOAD_BYTES));
    assert_eq!(after(&[stop("1"), long.clone()]), None);
    assert_eq!(after(&[stop("1"), long, chunk("agent_message_chunk", "x")]), Some(true));
}

/// The reference server stores no answers of OpenCode, but what it does.
#[test]
fn opencode_says_that_it_is_idle() {
    let status =
        |state: &str| agent(format!(r#"{{"method":"_sandboxagent/opencode/status","params":{{"status":"{state}"}}}}"#));
    let running = |said: &[Said]| summary(said).is_running;
    let turn = [prompt("1", "a"), status("busy")];
    assert_eq!(running(&turn), Some(true));
    assert_eq!(running(&[&turn[..], &[status("idle")]].concat()), Some(false));
    assert_eq!(running(&[&turn[..], &[status("idle"), prompt("2", "b")]].concat()), Some(true));
    assert_eq!(running(&[&turn[..], &chunks(FIRST + LAST), &[status("idle")]].concat()), Some(false));
}

#[test]
fn tokens_and_cost_are_the_last_that_were_reported_lately() {
    let counted = |id: u32, tokens: u32| {
        agent(format!(r#"{{"id":{id},"result":{{"stopReason":"end_turn","usage":{{"totalTokens":{tokens}}}}}}}"#))
    };
    let told = [prompt("1", "a"), usage(1), counted(1, 10), prompt("2", "b"), usage(2), usage(3), counted(2, 20)];
    let both = |said: &[Said]| {
        let told = summary(said);
        (told.usage.map(|usage| usage.used), told.tokens.and_then(|tokens| tokens.total_tokens))
    };
    assert_eq!(both(&told), (Some(3), Some(20)));
    assert_eq!(summary(&told).usage.unwrap().cost.unwrap().amount, 0.25);
    assert_eq!(both(&told[..4]), (Some(1), Some(10)));
    assert_eq!(both(&[stop("1")]), (None, None));
    // Also of a prompt that is out of sight.
    assert_eq!(both(&[&long_turn("1")[..FIRST + LAST], &told[4..]].concat()), (Some(3), Some(20)));
    // What was reported long ago is not what is.
    assert_eq!(both(&[&told[..], &chunks(FIRST + LAST)].concat()), (None, None));
}

#[test]
fn a_summary_goes_through_json() {
    let said = [prompt("1", "a"), usage(7), stop("1")];
    let told = summary(&said);
    let value = serde_json::to_value(&told).unwrap();
    let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["isRunning", "lastActivity", "lastIndex", "session", "title", "usage"]);
    assert_eq!((&value["lastActivity"], &value["session"]["id"]), (&3_000.into(), &"session-1".into()));
    assert_eq!(serde_json::from_value::<SessionSummary>(value).unwrap(), told);
}

/// A turn as the protocol has it, which may go on; the session's id is in no message.
fn any_turn() -> impl Strategy<Value = (Vec<u8>, bool)> {
    (prop::collection::vec(0..6_u8, 0..30), any::<bool>())
}

fn talk(turns: &[(Vec<u8>, bool)]) -> Vec<Said> {
    let mut said = Vec::new();
    for (number, (kinds, ends)) in turns.iter().enumerate() {
        let id = number.to_string();
        said.push(prompt(&id, &format!("prompt {number}")));
        for kind in kinds {
            said.push(match kind {
                0 => chunk("agent_message_chunk", "a"),
                1 => chunk("agent_thought_chunk", "b"),
                2 => named(&format!("\"title {}\"", said.len())),
                3 => update("tool_call", r#""toolCallId":"t","title":"t""#),
                4 => usage(said.len() as u32),
                _ => client(r#"{"method":"other"}"#),
            });
        }
        if *ends || number + 1 < turns.len() {
            said.push(stop(&id));
            said.push(agent(r#"{"method":"session/update","params":{"update":{"sessionUpdate":"other"}}}"#));
        }
    }
    said
}

proptest! {
    /// Whatever the whole transcript says, the summary says nothing else, and all of it where the session is short.
    #[test]
    fn a_summary_agrees_with_the_transcript(turns in prop::collection::vec(any_turn(), 0..5)) {
        let said = talk(&turns);
        let whole: Transcript = transcript(&said);
        let told = summary(&said);
        let running = whole.turns().iter().any(|turn| turn.is_running());
        let title = whole.title().or((!said.is_empty()).then_some("prompt 0"));
        prop_assert_eq!(told.last_index, (!said.is_empty()).then_some(said.len() as i64));
        if said.len() < FIRST + LAST {
            prop_assert_eq!((told.title.as_deref(), told.is_running), (title, Some(running)));
        } else {
            prop_assert!(told.is_running.is_none_or(|is_running| is_running == running), "{:?}", told.is_running);
            // A title that was given, or what the session began with.
            let told = told.title.unwrap();
            let given = format!("\"{told}\"");
            let is_given = said.iter().any(|(_, payload)| payload.contains(&given));
            prop_assert!(told == "prompt 0" || is_given, "{}", told);
        }
    }
}

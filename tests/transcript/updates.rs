//! Proves for each kind of update what becomes of it.

use agent_session_store::transcript::{ContentBlock, EntryKind, ToolCall, ToolContent};

use super::{Said, agent, chunk, client, entries, only, prompt, stop, transcript, update};

fn tool(said: &[Said]) -> ToolCall {
    match only(said) {
        EntryKind::ToolCall(call) => call,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_speaker_has_its_kind_of_message() {
    assert!(matches!(only(&[chunk("user_message_chunk", "x")]), EntryKind::UserMessage(_)));
    assert!(matches!(only(&[chunk("agent_message_chunk", "x")]), EntryKind::AgentMessage(_)));
    assert!(matches!(only(&[chunk("agent_thought_chunk", "x")]), EntryKind::AgentThought(_)));
}

#[test]
fn a_tool_call_has_what_was_said_last() {
    let call = tool(&[
        update(
            "tool_call",
            r#""toolCallId":"t","title":"Edit","name":"edit","kind":"edit","rawInput":{"b":1,"a":1.0},
            "locations":[{"path":"/a","line":3},{"path":"/b"}],
            "content":[{"type":"content","content":{"type":"text","text":"soon"}}]"#,
        ),
        update("tool_call_update", r#""toolCallId":"t","status":"in_progress","title":null,"content":null"#),
        update(
            "tool_call_update",
            r#""toolCallId":"t","status":"completed","rawOutput":[],"locations":[],"content":[
            {"type":"diff","path":"/a","oldText":"x\ud83d","newText":"y"},{"type":"diff","path":"/new","newText":"z"},
            {"type":"terminal","terminalId":"term"},{"type":"hologram"}]"#,
        ),
    ]);
    assert!(call.begun);
    assert_eq!((call.title.as_deref(), call.name.as_deref()), (Some("Edit"), Some("edit")));
    assert_eq!((call.kind.as_deref(), call.status.as_deref()), (Some("edit"), Some("completed")));
    assert!(call.locations.is_empty());
    assert_eq!(call.raw_input.unwrap().get(), r#"{"b":1,"a":1.0}"#);
    assert_eq!(call.raw_output.unwrap().get(), "[]");
    let [changed, new, terminal, unknown] = &call.content[..] else { panic!("{:?}", call.content) };
    assert!(matches!(changed, ToolContent::Diff { old_text: Some(old), .. } if old == "x\u{fffd}"));
    assert!(matches!(new, ToolContent::Diff { old_text: None, new_text, .. } if new_text == "z"));
    assert!(matches!(terminal, ToolContent::Terminal { terminal_id } if terminal_id == "term"));
    assert!(matches!(unknown, ToolContent::Unknown { content } if content.get() == r#"{"type":"hologram"}"#));
}

#[test]
fn a_tool_call_is_pending_and_of_other_kind_unless_it_says_more() {
    let call = tool(&[update("tool_call", r#""toolCallId":"t","title":"Read""#)]);
    assert_eq!((call.kind.as_deref(), call.status.as_deref()), (Some("other"), Some("pending")));
    let unseen = tool(&[update("tool_call_update", r#""toolCallId":"t","title":"Read""#)]);
    assert_eq!((unseen.begun, unseen.kind, unseen.status), (false, None, None));
}

#[test]
fn a_tool_call_that_begins_after_its_update_is_one_entry() {
    let call = tool(&[
        update("tool_call_update", r#""toolCallId":"t","status":"in_progress""#),
        update("tool_call", r#""toolCallId":"t","title":"Read""#),
    ]);
    assert_eq!((call.begun, call.status.as_deref(), call.title.as_deref()), (true, Some("in_progress"), Some("Read")));
}

#[test]
fn an_id_in_another_turn_is_another_tool_call() {
    let call = || update("tool_call", r#""toolCallId":"t","title":"Read""#);
    let transcript = transcript(&[prompt("1", "x"), call(), stop("1"), prompt("2", "y"), call(), stop("2")]);
    assert_eq!(entries(&transcript).len(), 2);
    assert_eq!(entries(&transcript).iter().map(|entry| entry.events).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_plan_has_its_last_state_where_it_was_first() {
    let transcript = transcript(&[
        update("plan", r#""entries":[{"content":"a","priority":"high","status":"pending"}]"#),
        chunk("agent_message_chunk", "x"),
        update("plan", r#""entries":[{"content":"a","priority":"high","status":"completed"},{"content":"b"}]"#),
        chunk("agent_message_chunk", "y"),
    ]);
    let [plan, message] = entries(&transcript)[..] else { panic!("{:#?}", transcript.turns()) };
    assert_eq!((plan.first_index, plan.last_index, plan.events), (1, 3, 2));
    let EntryKind::Plan { entries, plan_id: None, markdown: None } = &plan.kind else { panic!("no plan") };
    assert_eq!((entries.len(), entries[0].status.as_deref(), &entries[1].status), (2, Some("completed"), &None));
    assert!(matches!(&message.kind, EntryKind::AgentMessage(message) if message.text() == "xy"));
}

#[test]
fn each_turn_has_its_own_plan() {
    let plan = || update("plan", r#""entries":[]"#);
    let transcript = transcript(&[plan(), prompt("1", "x"), plan(), plan(), stop("1"), plan()]);
    assert_eq!(entries(&transcript).iter().map(|entry| entry.events).collect::<Vec<_>>(), [1, 2, 1]);
}

#[test]
fn plans_with_ids_stand_beside_each_other() {
    let plan = |fields: &str| update("plan_update", &format!(r#""plan":{{{fields}}}"#));
    let transcript = transcript(&[
        plan(r#""type":"items","planId":"a","entries":[{"content":"x","status":"pending"}]"#),
        plan(r##""type":"markdown","planId":"b","content":"# y""##),
        plan(r#""type":"items","planId":"a","entries":[]"#),
        plan(r#""type":"file","planId":"a","uri":"file:///plan""#),
        update("plan_removed", r#""planId":"a""#),
    ]);
    let [a, b, file, removed] = entries(&transcript)[..] else { panic!("{:#?}", transcript.turns()) };
    assert!(matches!(&a.kind, EntryKind::Plan { plan_id: Some(id), entries, .. } if id == "a" && entries.is_empty()));
    assert!(matches!(&b.kind, EntryKind::Plan { markdown: Some(text), .. } if text == "# y"));
    assert!(matches!((&file.kind, &removed.kind), (EntryKind::Update { .. }, EntryKind::Update { .. })));
}

#[test]
fn usage_has_the_last_numbers() {
    let EntryKind::Usage(usage) = only(&[
        update("usage_update", r#""used":1,"size":2"#),
        update("usage_update", r#""used":12345678901234567000,"size":2e5,"cost":{"amount":0.5,"currency":"EUR"}"#),
    ]) else {
        panic!("no usage")
    };
    assert_eq!((usage.used, usage.size), (12_345_678_901_234_567_000, 200_000));
    let cost = usage.cost.unwrap();
    assert_eq!((cost.amount, cost.currency.as_str()), (0.5, "EUR"));
}

#[test]
fn modes_settings_and_commands_are_entries() {
    let mode = only(&[update("current_mode_update", r#""currentModeId":"plan""#)]);
    assert!(matches!(&mode, EntryKind::ModeChange { mode_id } if mode_id == "plan"));
    let config = only(&[update("config_option_update", r#""configOptions":[{"id":"model"}]"#)]);
    assert!(matches!(&config, EntryKind::ConfigChange { options } if options.get() == r#"[{"id":"model"}]"#));
    let offered =
        r#""availableCommands":[{"name":"web","description":"Search","input":{"hint":"words"}},{"name":"x"}]"#;
    let EntryKind::AvailableCommands { commands } = only(&[update("available_commands_update", offered)]) else {
        panic!("no commands")
    };
    assert_eq!((commands[0].name.as_str(), commands[0].description.as_deref()), ("web", Some("Search")));
    assert_eq!((commands.len(), commands[0].input.as_ref().unwrap().get()), (2, r#"{"hint":"words"}"#));
}

#[test]
fn the_title_is_the_last_one_given() {
    let info = |fields: &str| update("session_info_update", fields);
    let title = |said: &[Said]| transcript(said).title().map(str::to_owned);
    let (named, dated) = (info(r#""title":"Fix it""#), info(r#""updatedAt":"2026-01-01T00:00:00Z""#));
    assert_eq!(title(&[named.clone(), dated.clone()]).as_deref(), Some("Fix it"));
    assert_eq!(title(&[named.clone(), info(r#""title":null"#)]), None);
    assert!(matches!(only(&[dated]), EntryKind::SessionInfo { title: None, .. }));
    assert!(matches!(only(&[named]), EntryKind::SessionInfo { title: Some(_), .. }));
}

#[test]
fn every_kind_of_content_is_kept() {
    let content = r#"[{"type":"text","text":"t"},{"type":"image","data":"d","mimeType":"m","uri":"u"},
        {"type":"audio","data":"d","mimeType":"m"},
        {"type":"resource_link","uri":"u","name":"n","size":3},
        {"type":"resource","resource":{"uri":"u","text":"t"}},{"type":"resource","resource":{"uri":"u","blob":"b"}},
        {"type":"video"},{"type":"image"},7]"#;
    let transcript =
        transcript(&[client(format!(r#"{{"id":1,"method":"session/prompt","params":{{"prompt":{content}}}}}"#))]);
    let EntryKind::UserMessage(message) = &transcript.turns()[0].prompt.as_ref().unwrap().kind else {
        panic!("no prompt")
    };
    let [text, image, audio, link, inner, blob, rest @ ..] = &message.content[..] else { panic!("{message:?}") };
    assert!(matches!(text, ContentBlock::Text { text } if text == "t"));
    assert!(matches!(image, ContentBlock::Image { uri: Some(uri), .. } if uri == "u"));
    assert!(matches!(audio, ContentBlock::Audio { .. }));
    assert!(matches!(link, ContentBlock::ResourceLink { size: Some(3), title: None, .. }));
    assert!(matches!(inner, ContentBlock::Resource { text: Some(_), blob: None, .. }));
    assert!(matches!(blob, ContentBlock::Resource { text: None, blob: Some(_), .. }));
    let unknown: Vec<_> = rest
        .iter()
        .map(|block| match block {
            ContentBlock::Unknown { block } => block.get(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(unknown, [r#"{"type":"video"}"#, r#"{"type":"image"}"#, "7"]);
}

#[test]
fn an_update_that_is_unknown_or_of_another_form_is_kept_whole() {
    for said in [
        update("telepathy", r#""thought":1"#),
        update("tool_call", r#""title":"without an id""#),
        update("tool_call_update", r#""toolCallId":"t","title":7"#),
        update("tool_call_update", r#""toolCallId":"t","locations":[{}]"#),
        update("plan", r#""entries":[{"status":"pending"}]"#),
        update("usage_update", r#""used":-1,"size":2"#),
        update("usage_update", r#""used":1,"size":"big""#),
        update("current_mode_update", r#""mode":"x""#),
        update("available_commands_update", r#""availableCommands":{}"#),
        update("agent_message_chunk", r#""text":"no content""#),
    ] {
        let EntryKind::Update { name, update } = only(std::slice::from_ref(&said)) else { panic!("{said:?}") };
        assert!(said.1.contains(&format!(r#""sessionUpdate":"{}""#, name.unwrap())));
        assert!(said.1.contains(update.get()));
    }
}

#[test]
fn what_is_no_update_is_a_notification() {
    for payload in [
        r#"{"method":"session/update"}"#,
        r#"{"method":"session/update","params":{"update":[]}}"#,
        r#"{"method":"_mine/progress","params":{"a":1}}"#,
        r#"{"method":"_sandboxagent/opencode/message","params":{"message":{"info":{"role":"ghost"},"parts":[]}}}"#,
    ] {
        assert!(matches!(only(&[agent(payload)]), EntryKind::Notification { .. }), "{payload}");
    }
    let by_the_client = client(chunk("agent_message_chunk", "x").1);
    assert!(matches!(only(&[by_the_client]), EntryKind::Notification { .. }));
}

#[test]
fn what_is_no_message_is_kept_whole() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for payload in
        ["null", "7", r#""\ud83d""#, "[]", r#"[{"method":"a"}]"#, "{}", r#"{"id":1}"#, r#"{"method":7}"#, &deep]
    {
        let EntryKind::Other { payload: kept, .. } = only(&[agent(payload)]) else { panic!("another kind") };
        assert_eq!(kept.get(), payload);
    }
}

#[test]
fn depth_is_no_obstacle() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let call = tool(&[update("tool_call", &format!(r#""rawInput":{deep},"toolCallId":"t","title":"Read""#))]);
    assert_eq!(call.raw_input.unwrap().get(), deep);
}

#[test]
fn the_last_of_two_keys_counts() {
    let payload = r#"{"method":"first","method":"sec\u006fnd","params":{}}"#;
    assert!(matches!(only(&[agent(payload)]), EntryKind::Notification { method, .. } if method == "second"));
}

#[test]
fn a_message_of_opencode_is_a_message() {
    let payload = r#"{"method":"_sandboxagent/opencode/message","params":{"message":{
        "info":{"id":"m","role":"assistant"},"parts":[{"type":"text","text":"done"},{"type":"step-finish"}]}}}"#;
    let EntryKind::AgentMessage(message) = only(&[agent(payload)]) else { panic!("no message") };
    assert_eq!((message.message_id.as_deref(), message.text().as_str(), message.content.len()), (Some("m"), "done", 2));
}

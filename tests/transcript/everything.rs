//! A session in which everything happens, with any texts.

use agent_session_store::SessionRecord;
use agent_session_store::transcript::Transcript;
use serde_json::{Value, json};

use super::{Said, agent, client, common, transcript};

fn notification(update: Value) -> Said {
    agent(json!({"method": "session/update", "params": {"sessionId": "s", "update": update}}).to_string())
}

/// Every kind of entry, block and outcome, where `text` says what each text is.
pub fn everything(text: &dyn Fn(&str) -> String) -> Vec<Said> {
    let block = |name: &str| json!({"type": "text", "text": text(name)});
    let chunk = |kind: &str| {
        notification(json!({"sessionUpdate": kind, "content": block(kind), "messageId": text("message id")}))
    };
    let request = |sender: fn(String) -> Said, id: Value, method: String, params: Value| {
        sender(json!({"id": id, "method": method, "params": params}).to_string())
    };
    let prompt = |id: u64| {
        let blocks = json!([
            block("prompt"),
            {"type": "image", "data": "aGk=", "mimeType": text("image type"), "uri": text("image uri")},
            {"type": "audio", "data": "aGk=", "mimeType": text("audio type")},
            {"type": "resource_link", "uri": text("link uri"), "name": text("link name"), "title": text("link title"),
             "description": text("link description"), "mimeType": text("link type"), "size": 987_654_321},
            {"type": "resource", "resource": {"uri": text("resource uri"), "mimeType": text("resource type"), "text": text("resource")}},
            {"type": "resource", "resource": {"uri": text("blob uri"), "blob": "aGk="}},
            {"type": text("block type"), "value": [text("block"), 987_654_321.5, {text("block key"): null}]},
        ]);
        request(client, json!(id), "session/prompt".to_owned(), json!({"prompt": blocks}))
    };
    let call = json!({
        "sessionUpdate": "tool_call", "toolCallId": text("call"), "title": text("call title"), "name": text("call name"),
        "kind": text("call kind"), "status": text("call status"),
        "locations": [{"path": text("path"), "line": 987_654_321}],
        "rawInput": {text("input key"): text("input"), "number": 987_654_321}, "rawOutput": text("output"),
        "content": [
            {"type": "content", "content": block("call content")},
            {"type": "diff", "path": text("diff path"), "oldText": text("old") + "\nsame\n", "newText": text("new") + "\nsame\n"},
            {"type": "diff", "path": text("new path"), "newText": text("new file")},
            {"type": "terminal", "terminalId": text("terminal")},
            {"type": text("content type"), "value": text("content")},
        ],
    });
    let plan = json!([{"content": text("step"), "status": text("step status"), "priority": text("priority")}]);
    let permission = json!({
        "toolCall": {"toolCallId": text("asked"), "title": text("asked title")},
        "options": [{"optionId": "yes", "name": text("option"), "kind": text("option kind")}],
    });
    vec![
        request(client, json!(text("request id")), text("method"), json!({text("param key"): text("param")})),
        agent(json!({"id": text("request id"), "error": {"code": 987_654_321, "message": text("error"), "data": text("data")}}).to_string()),
        notification(json!({"sessionUpdate": "session_info_update", "title": text("title")})),
        prompt(1),
        chunk("agent_thought_chunk"),
        chunk("user_message_chunk"),
        chunk("agent_message_chunk"),
        notification(call.clone()),
        notification(json!({"sessionUpdate": "tool_call_update", "toolCallId": "failed", "status": "failed", "title": text("failed")})),
        notification(json!({"sessionUpdate": "plan", "entries": plan})),
        notification(json!({"sessionUpdate": "plan_update", "plan": {"type": "markdown", "planId": text("plan id"), "content": text("plan")}})),
        notification(json!({"sessionUpdate": "current_mode_update", "currentModeId": text("mode")})),
        notification(json!({"sessionUpdate": "config_option_update", "configOptions": [text("setting")]})),
        notification(json!({"sessionUpdate": "available_commands_update", "availableCommands":
            [{"name": text("command"), "description": text("command about"), "input": {"hint": text("hint")}}]})),
        notification(json!({"sessionUpdate": "usage_update", "used": 987_654_321, "size": 987_654_322,
            "cost": {"amount": 987_654.25, "currency": text("currency")}})),
        notification(json!({"sessionUpdate": "session_info_update", "updatedAt": text("updated")})),
        request(agent, json!("p1"), "session/request_permission".to_owned(), permission.clone()),
        client(json!({"id": "p1", "result": {"outcome": {"outcome": "selected", "optionId": "yes"}}}).to_string()),
        request(agent, json!("p2"), "session/request_permission".to_owned(), permission.clone()),
        client(json!({"id": "p2", "result": {"outcome": {"outcome": "cancelled"}}}).to_string()),
        request(agent, json!("p3"), "session/request_permission".to_owned(), permission.clone()),
        client(json!({"id": "p3", "result": {"outcome": {"outcome": "selected", "optionId": text("option id")}}}).to_string()),
        request(agent, json!("p4"), "session/request_permission".to_owned(), permission.clone()),
        client(json!({"id": "p4", "error": {"code": 1, "message": text("permission error")}}).to_string()),
        request(agent, json!("p5"), "session/request_permission".to_owned(), permission),
        request(agent, json!("f"), format!("fs/{}", text("file method")), json!({"path": text("file path")})),
        client(json!({"id": "f", "result": {"content": text("file content")}}).to_string()),
        request(agent, json!("t"), format!("terminal/{}", text("terminal method")), json!({"command": text("terminal command")})),
        client(json!({"id": text("unknown id"), "result": text("unknown result")}).to_string()),
        notification(json!({"sessionUpdate": text("update name"), "value": text("update")})),
        agent(json!({"method": text("notification"), "params": [text("notification params")]}).to_string()),
        agent(json!([text("batch")]).to_string()),
        client(json!({"method": "session/cancel"}).to_string()),
        agent(json!({"id": 1, "result": {"stopReason": text("reason"), "usage": {"totalTokens": 987_654_321, "inputTokens": 987_654_321}}}).to_string()),
        prompt(2),
        agent(json!({"id": 2, "error": {"code": 987_654_321, "message": text("turn error")}}).to_string()),
        prompt(3),
        agent(json!({"id": 3, "result": [text("answer")]}).to_string()),
        prompt(4),
        notification(call),
        prompt(5),
    ]
}

/// The transcript and the record of such a session.
pub fn session(text: &dyn Fn(&str) -> String) -> (Transcript, SessionRecord) {
    let time = common::millis(0);
    let mut record =
        SessionRecord::new(text("session"), text("agent"), text("agent session"), text("connection"), time);
    record.destroyed_at = Some(time);
    record.session_init = agent_session_store::Json::new(&json!({"cwd": text("folder")})).ok();
    (transcript(&everything(text)), record)
}

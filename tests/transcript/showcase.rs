//! A session as they are: a page of it is what people look at.

use agent_session_store::SessionRecord;
use agent_session_store::transcript::Transcript;
use serde_json::{Value, json};

use super::{Said, agent, client, common, event};

fn update(update: Value) -> Said {
    agent(json!({"method": "session/update", "params": {"sessionId": "s", "update": update}}).to_string())
}

fn said(kind: &str, text: &str) -> Said {
    update(json!({"sessionUpdate": kind, "content": {"type": "text", "text": text}}))
}

fn prompt(id: u64, text: &str) -> Said {
    client(
        json!({"id": id, "method": "session/prompt", "params": {"prompt": [{"type": "text", "text": text}]}})
            .to_string(),
    )
}

const ANSWER: &str =
    "The tests pass again. The cause was the **time zone of the machine**: `parse_date` read dates without a zone \
as local ones.

## What changed

1. `parse_date` takes UTC where a date has no zone.
2. A test for both sides of midnight, `reads_a_date_without_a_zone`.

```rust
pub fn parse_date(text: &str) -> Result<DateTime<Utc>, DateError> {
    let date = NaiveDate::parse_from_str(text, \"%Y-%m-%d\")?;
    Ok(date.and_time(NaiveTime::MIN).and_utc())
}
```

### Before and after

| zone | before | after |
|---|---|---|
| UTC | 12 passed | 13 passed |
| Pacific/Auckland | 9 passed, *3 failed* | 13 passed |

> Dates with a zone are read as before.

- [x] tests pass
- [ ] release notes, see [the guide](https://example.org/guide)
";

const OLD: &str = "use chrono::{DateTime, Local, NaiveDate, NaiveTime, Utc};

/// Reads a date.
pub fn parse_date(text: &str) -> Result<DateTime<Utc>, DateError> {
    let date = NaiveDate::parse_from_str(text, \"%Y-%m-%d\")?;
    let time = date.and_time(NaiveTime::MIN);
    Ok(time.and_local_timezone(Local).unwrap().to_utc())
}
";

const NEW: &str = "use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

/// Reads a date; without a zone it is one of UTC.
pub fn parse_date(text: &str) -> Result<DateTime<Utc>, DateError> {
    let date = NaiveDate::parse_from_str(text, \"%Y-%m-%d\")?;
    Ok(date.and_time(NaiveTime::MIN).and_utc())
}
";

/// What is said, with the seconds that pass before.
fn events() -> Vec<(i64, Said)> {
    let steps = |states: [&str; 3]| {
        let names = ["Find out why the tests fail", "Mend parse_date", "Run the tests in two zones"];
        let entries: Vec<_> = names
            .iter()
            .zip(states)
            .map(|(name, state)| json!({"content": name, "status": state, "priority": "medium"}))
            .collect();
        update(json!({"sessionUpdate": "plan", "entries": entries}))
    };
    let permission = json!({
        "toolCall": {"toolCallId": "c4", "title": "TZ=Pacific/Auckland cargo test dates", "kind": "execute"},
        "options": [
            {"optionId": "once", "name": "Allow once", "kind": "allow_once"},
            {"optionId": "always", "name": "Always allow", "kind": "allow_always"},
            {"optionId": "no", "name": "Reject", "kind": "reject_once"},
        ],
    });
    vec![
        (0, client(json!({"id": 0, "method": "session/new", "params": {"cwd": "/home/ada/calendar", "mcpServers": []}}).to_string())),
        (1, agent(json!({"id": 0, "result": {"sessionId": "s", "modes": {"currentModeId": "code"}}}).to_string())),
        (30, prompt(1, "Three tests in `tests/dates.rs` fail on my machine but not in CI. Please find out why and mend it 🙏")),
        (0, update(json!({"sessionUpdate": "session_info_update", "title": "Mend dates without a zone"}))),
        (4, said("agent_thought_chunk", "They pass in CI, which runs in UTC. The tests that fail are about dates without a time, so I suspect a time zone. Let me look at the code first.")),
        (1, steps(["in_progress", "pending", "pending"])),
        (2, update(json!({"sessionUpdate": "tool_call", "toolCallId": "c1", "title": "Search for parse_date", "kind": "search", "status": "completed",
            "rawInput": {"pattern": "parse_date", "path": "/home/ada/calendar"},
            "content": [{"type": "content", "content": {"type": "text", "text": "```\nsrc/date.rs:4:pub fn parse_date\ntests/dates.rs:9:    let date = parse_date(\"2026-03-01\")\n```"}}]}))),
        (2, update(json!({"sessionUpdate": "tool_call", "toolCallId": "c2", "title": "Read src/date.rs", "kind": "read", "status": "completed",
            "locations": [{"path": "/home/ada/calendar/src/date.rs", "line": 4}]}))),
        (8, said("agent_message_chunk", "`parse_date` takes the machine's zone where a date has none. East of Greenwich midnight is then on the day before.")),
        (1, update(json!({"sessionUpdate": "tool_call", "toolCallId": "c3", "title": "Edit src/date.rs", "kind": "edit", "status": "completed",
            "locations": [{"path": "/home/ada/calendar/src/date.rs"}],
            "content": [{"type": "diff", "path": "/home/ada/calendar/src/date.rs", "oldText": OLD, "newText": NEW}]}))),
        (1, steps(["completed", "completed", "in_progress"])),
        (1, agent(json!({"id": "p", "method": "session/request_permission", "params": permission}).to_string())),
        (9, client(json!({"id": "p", "result": {"outcome": {"outcome": "selected", "optionId": "once"}}}).to_string())),
        (1, update(json!({"sessionUpdate": "tool_call", "toolCallId": "c4", "title": "TZ=Pacific/Auckland cargo test dates", "kind": "execute", "status": "in_progress",
            "rawInput": {"command": "cargo test dates", "env": {"TZ": "Pacific/Auckland"}}}))),
        (41, update(json!({"sessionUpdate": "tool_call_update", "toolCallId": "c4", "status": "completed",
            "rawOutput": "running 13 tests\n.............\ntest result: ok. 13 passed; 0 failed; finished in 0.03s\n"}))),
        (1, steps(["completed", "completed", "completed"])),
        (6, said("agent_message_chunk", ANSWER)),
        (1, update(json!({"sessionUpdate": "usage_update", "used": 18_412, "size": 200_000, "cost": {"amount": 0.1432, "currency": "USD"}}))),
        (0, agent(json!({"id": 1, "result": {"stopReason": "end_turn", "usage": {"totalTokens": 21_950, "inputTokens": 20_110, "outputTokens": 1_840}}}).to_string())),
        (95, client(json!({"id": 2, "method": "session/set_mode", "params": {"modeId": "ask"}}).to_string())),
        (0, agent(json!({"id": 2, "result": {}}).to_string())),
        (20, prompt(3, "Thank you! Can you also push it?")),
        (3, update(json!({"sessionUpdate": "tool_call", "toolCallId": "c5", "title": "git push origin main", "kind": "execute", "status": "failed",
            "rawInput": {"command": "git push origin main"}, "rawOutput": "error: failed to push some refs to 'origin'\n"}))),
        (5, said("agent_message_chunk", "The push was refused: `origin/main` has commits that are not here. Shall I rebase?")),
        (2, client(json!({"method": "session/cancel"}).to_string())),
        (0, agent(json!({"id": 3, "result": {"stopReason": "cancelled"}}).to_string())),
    ]
}

pub fn showcase() -> (Transcript, SessionRecord) {
    let mut transcript = Transcript::new();
    let (mut time, mut index) = (1_772_357_640_000, 0);
    for (seconds, said) in events() {
        (time, index) = (time + seconds * 1000, index + 1);
        let mut event = event(index, &said);
        event.created_at = common::millis(time);
        transcript.push(&event);
    }
    let mut record = SessionRecord::new("7c9e6679", "claude", "s", "connection-1", common::millis(1_772_357_640_000));
    record.session_init = agent_session_store::Json::new(&json!({"cwd": "/home/ada/calendar"})).ok();
    (transcript, record)
}

//! A session as they are: a page of it is what people look at.

use std::path::Path;

use agent_session_store::transcript::Transcript;
use agent_session_store::{
    JournalMode, ListEventsRequest, ListSessionsRequest, SessionEvent, SessionRecord, SessionStore,
};
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

/// A session that goes on, and one that has ended.
fn running() -> Vec<(i64, Said)> {
    vec![
        (
            0,
            client(
                json!({"id": 0, "method": "session/new", "params": {"cwd": "/home/ada/calendar", "mcpServers": []}})
                    .to_string(),
            ),
        ),
        (1, agent(json!({"id": 0, "result": {"sessionId": "t"}}).to_string())),
        (12, prompt(1, "Why does `make release` take nine minutes?")),
        (5, said("agent_message_chunk", "I build it once with timings.")),
        (
            1,
            update(
                json!({"sessionUpdate": "tool_call", "toolCallId": "c1", "title": "cargo build --release --timings", "kind": "execute",
            "status": "in_progress", "rawInput": {"command": "cargo build --release --timings"}}),
            ),
        ),
    ]
}

fn ended() -> Vec<(i64, Said)> {
    vec![
        (
            0,
            client(
                json!({"id": 0, "method": "session/new", "params": {"cwd": "/home/ada/ledger", "mcpServers": []}})
                    .to_string(),
            ),
        ),
        (1, agent(json!({"id": 0, "result": {"sessionId": "u"}}).to_string())),
        (20, prompt(1, "Rename `Item` to `Entry` everywhere, also in the documentation.")),
        (
            40,
            update(
                json!({"sessionUpdate": "tool_call", "toolCallId": "c1", "title": "Edit 14 files", "kind": "edit", "status": "completed"}),
            ),
        ),
        (3, said("agent_message_chunk", "Done: 14 files, and the tests pass.")),
        (0, agent(json!({"id": 1, "result": {"stopReason": "end_turn"}}).to_string())),
    ]
}

/// When the first session begins, in milliseconds.
const BEGIN: i64 = 1_772_357_640_000;

/// A session's record and events.
fn session(id: &str, name: &str, cwd: &str, began: i64, told: Vec<(i64, Said)>) -> (SessionRecord, Vec<SessionEvent>) {
    let mut time = began;
    let events = told.iter().zip(1..).map(|((seconds, said), index)| {
        time += seconds * 1000;
        let mut event = event(index, said);
        event.created_at = common::millis(time);
        event
    });
    let events = events.collect();
    let mut record = SessionRecord::new(id, name, "s", "connection-1", common::millis(began));
    record.session_init = agent_session_store::Json::new(&json!({"cwd": cwd})).ok();
    (record, events)
}

pub fn showcase() -> (Transcript, SessionRecord) {
    let mut transcript = Transcript::new();
    let (record, told) = session("7c9e6679", "claude", "/home/ada/calendar", BEGIN, events());
    told.iter().for_each(|event| transcript.push(event));
    (transcript, record)
}

/// The database that comes with the command has these sessions. `UPDATE_SNAPSHOTS=1` writes it anew.
#[test]
fn the_sample_database_has_them() {
    let mut sessions = vec![
        session("02f9c1d3", "codex", "/home/ada/ledger", BEGIN - 86_400_000, ended()),
        session("7c9e6679", "claude", "/home/ada/calendar", BEGIN, events()),
        session("b41d02aa", "claude", "/home/ada/calendar", BEGIN + 3_600_000, running()),
    ];
    sessions[0].0.destroyed_at = Some(common::millis(BEGIN - 80_000_000));
    for (record, events) in &mut sessions {
        for event in events {
            (event.id, event.session_id) = (format!("{}-{:02}", record.id, event.event_index), record.id.clone());
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sessions.db");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        let _ = std::fs::remove_file(&path);
        // Without a log, it can be read in a folder that cannot be written to.
        let store = SessionStore::builder().journal_mode(JournalMode::Rollback).open(&path).unwrap();
        for (record, events) in &sessions {
            store.update_session(record).unwrap();
            store.insert_events(events).unwrap();
        }
        store.reclaim_space().unwrap();
        store.close().unwrap();
    }
    let store = SessionStore::builder().read_only(true).open(&path).unwrap();
    let stored: Vec<_> = store.sessions(ListSessionsRequest::new()).map(Result::unwrap).collect();
    assert_eq!(stored, sessions.iter().map(|(record, _)| record.clone()).collect::<Vec<_>>());
    for (record, events) in &sessions {
        assert_eq!(&store.list_events(&ListEventsRequest::new(&record.id)).unwrap().items, events);
    }
}

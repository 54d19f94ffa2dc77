//! Proves that what agents say does not reach a terminal as control characters, wherever it stands.

#[cfg(unix)]
use crate::terminal::Terminal;
use agent_session_store::{Json, Sender};

use crate::common::{Db, SDK, event, millis, prompt, session};

/// Colours, a title, the clipboard, a cleared screen; C1, which some terminals obey; and text that reads backwards.
const HOSTILE: &str = "a\u{1b}[31mred\u{1b}]0;title\u{7}\u{1b}]52;c;aGk=\u{7}\u{9b}2J\u{85}\u{7f}\u{202e}desrever\u{2066}\u{200f}\u{2028}z\rb\tc\u{8}\u{0}";

/// Tabs belong to code, and marks of direction to the text of some languages: they act on nothing beyond their line.
fn is_harmful(sign: char) -> bool {
    (sign.is_control() && !matches!(sign, '\n' | '\r' | '\t'))
        || matches!(sign, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A database in which every text is hostile.
fn database() -> Db {
    let db = Db::none();
    let store = db.store();
    let mut record = session(&format!("id {HOSTILE}"), 1);
    (record.agent, record.sandbox_id) = (HOSTILE.to_owned(), Some(HOSTILE.to_owned()));
    record.session_init = Some(Json::new(&serde_json::json!({ "cwd": HOSTILE })).unwrap());
    record.destroyed_at = Some(millis(5));
    store.update_session(&record).unwrap();
    let update = |name: &str, update: serde_json::Value| {
        let payload = serde_json::json!({ "method": "session/update", "params": { "update": update } });
        event(name, Sender::Agent, &payload.to_string())
    };
    let text = serde_json::json!({ "type": "text", "text": HOSTILE });
    let events = [
        prompt("a", 1, HOSTILE),
        update("b", serde_json::json!({ "sessionUpdate": "agent_thought_chunk", "content": text })),
        update("c", serde_json::json!({ "sessionUpdate": "agent_message_chunk", "content": text })),
        update(
            "d",
            serde_json::json!({ "sessionUpdate": "plan", "entries": [{ "content": HOSTILE, "status": HOSTILE }] }),
        ),
        update(
            "e",
            serde_json::json!({
                "sessionUpdate": "tool_call", "toolCallId": HOSTILE, "title": HOSTILE, "status": HOSTILE, "kind": HOSTILE,
                "locations": [{ "path": HOSTILE }], "rawInput": { HOSTILE: HOSTILE }, "rawOutput": HOSTILE,
                "content": [{ "type": "content", "content": text }, { "type": "diff", "path": HOSTILE, "oldText": HOSTILE, "newText": HOSTILE }],
            }),
        ),
        update("f", serde_json::json!({ "sessionUpdate": "current_mode_update", "currentModeId": HOSTILE })),
        update("g", serde_json::json!({ "sessionUpdate": HOSTILE })),
        update("h", serde_json::json!({ "sessionUpdate": "session_info_update", "title": HOSTILE })),
        event("i", Sender::Agent, &serde_json::json!({ "id": 7, "method": HOSTILE, "params": [HOSTILE] }).to_string()),
        event("j", Sender::Client, &serde_json::json!({ "id": 7, "error": { "message": HOSTILE } }).to_string()),
        // Raw in the JSON, where it may be.
        event("k", Sender::Agent, "[\"\u{9b}2J\u{7f}\u{202e}\"]"),
        event("l", Sender::Agent, &serde_json::json!({ "id": 1, "error": { "message": HOSTILE } }).to_string()),
    ];
    store.append_events(&record.id, &events).unwrap();
    // Events without a record, and a row that cannot be decoded.
    store.append_events(&format!("orphan {HOSTILE}"), &[event("m", Sender::Agent, "{}")]).unwrap();
    store.close().unwrap();
    let conn = rusqlite::Connection::open(db.path()).unwrap();
    conn.execute("INSERT INTO events VALUES (?1, 99, 'other', 0, 'c', ?1, '{}')", [HOSTILE]).unwrap();
    db
}

const COMMANDS: [&[&str]; 16] = [
    &["list"],
    &["list", "--json"],
    &["show", "@1", "--no-pager"],
    &["show", "@1", "--no-pager", "--tools", "--thoughts"],
    &["show", "@1", "--no-pager", "--tools", "--thoughts", "--format", "markdown"],
    &["show", "@1", "--no-pager", "--tools", "--thoughts", "--format", "html"],
    &["show", "@1", "--json"],
    &["events", "@1"],
    &["events", "@1", "--json"],
    &["events", "other"],
    &["stats", "--sessions"],
    &["stats", "--sessions", "--json"],
    &["check"],
    &["check", "--json"],
    &["show", "i", "--no-pager"],
    &["export", "all.jsonl"],
];

#[test]
#[cfg(unix)]
fn no_control_character_reaches_a_terminal() {
    let db = database();
    for arguments in COMMANDS {
        let shown = Terminal::start(&db, arguments, &[("NO_COLOR", "1")]).rest();
        // The bar of an export, which is ours, clears its line.
        let shown = shown.replace("\r\u{1b}[2K", "");
        let harmful: Vec<_> = shown.chars().filter(|sign| is_harmful(*sign)).collect();
        assert!(harmful.is_empty(), "{arguments:?}: {harmful:?} in {shown:?}");
        assert!(!shown.contains("\rb"), "{arguments:?}");
        assert!(!shown.is_empty(), "{arguments:?}");
    }
}

/// For people, also in a pipe: it may end on a terminal.
#[test]
fn no_control_character_is_in_text_for_people() {
    let db = database();
    for arguments in COMMANDS.iter().filter(|arguments| !arguments.contains(&"--json") && arguments[0] != "events") {
        let output = db.run(arguments);
        for text in [output.stdout, output.stderr] {
            let text = String::from_utf8(text).unwrap();
            assert!(!text.contains(|sign| is_harmful(sign) || sign == '\r'), "{arguments:?}: {text:?}");
        }
    }
}

/// What is escaped on a terminal is the same JSON.
#[test]
#[cfg(unix)]
fn escaped_payloads_have_the_same_value() {
    let db = database();
    let values = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let in_pipe = db.stdout(&["events", "@1"]);
    assert!(in_pipe.contains("[\"\u{9b}2J\u{7f}\u{202e}\"]"), "verbatim");
    assert_eq!(values(&Terminal::start(&db, &["events", "@1"], &[]).rest()), values(&in_pipe));
}

/// A name that was typed is repeated in a message.
#[test]
fn names_in_messages_are_escaped() {
    let db = Db::fixture(SDK);
    let (_, line) = db.refusal(&["show", "x\u{1b}[31m\u{202e}"]);
    assert!(!line.trim_end().contains(is_harmful), "{line:?}");
    let (_, line) = db.refusal(&["list", "--db", "x\u{1b}[31m\u{202e}"]);
    assert!(!line.trim_end().contains(is_harmful), "{line:?}");
}

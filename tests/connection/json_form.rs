//! Proves that records, events and pages have the reference driver's form as JSON: its field names, times as numbers
//! of milliseconds, absent fields left out, and the JSON that they hold untouched.

use agent_session_store::{ListPage, Sender, SessionEvent, SessionRecord};

use crate::common::samples::bare_session;
use crate::common::{event, json, millis, session};

const FULL: &str = concat!(
    r#"{"id":"one","agent":"claude","agentSessionId":"agent-one","lastConnectionId":"connection-1","#,
    r#""createdAt":1700000000000,"destroyedAt":1700000000999,"sandboxId":"sandbox-1","#,
    r#""sessionInit":{"cwd":"/srv/app","mcpServers":[]},"configOptions":[],"modes":{"currentModeId":"plan"}}"#
);

const BARE: &str =
    r#"{"id":"one","agent":"claude","agentSessionId":"agent-one","lastConnectionId":"connection-1","createdAt":0}"#;

const EVENT: &str = concat!(
    r#"{"id":"e1","eventIndex":1,"sessionId":"one","createdAt":1700000000001,"connectionId":"connection-1","#,
    r#""sender":"client","payload":{"jsonrpc":"2.0","id":1,"method":"session/prompt"}}"#
);

fn bare() -> SessionRecord {
    with!(bare_session("one"), created_at: millis(0))
}

fn read(text: &str) -> SessionRecord {
    serde_json::from_str(text).unwrap()
}

/// `BARE` with one more field.
fn bare_with(field: &str) -> String {
    format!("{},{field}}}", BARE.strip_suffix('}').unwrap())
}

#[test]
fn a_record_has_the_reference_drivers_fields() {
    assert_eq!(serde_json::to_string(&session("one")).unwrap(), FULL);
    assert_eq!(read(FULL), session("one"));
}

#[test]
fn absent_fields_are_left_out() {
    assert_eq!(serde_json::to_string(&bare()).unwrap(), BARE);
    assert_eq!(read(BARE), bare());
}

#[test]
fn an_event_has_the_reference_drivers_fields() {
    assert_eq!(serde_json::to_string(&event("e1", "one", 1)).unwrap(), EVENT);
    assert_eq!(serde_json::from_str::<SessionEvent>(EVENT).unwrap(), event("e1", "one", 1));
    let agent = with!(event("e1", "one", 1), sender: Sender::Agent);
    assert_eq!(serde_json::to_string(&agent).unwrap(), EVENT.replace("\"client\"", "\"agent\""));
}

#[test]
fn modes_null_is_not_modes_absent() {
    let null = with!(bare(), modes: Some(json("null")));
    let text = bare_with(r#""modes":null"#);
    assert_eq!(serde_json::to_string(&null).unwrap(), text);
    assert_eq!(read(&text), null);
    assert_ne!(read(&text), bare());
}

#[test]
fn other_nulls_are_absent() {
    for field in [r#""destroyedAt":null"#, r#""sandboxId":null"#] {
        assert_eq!(read(&bare_with(field)), bare(), "{field}");
    }
}

#[test]
fn empty_values_stay() {
    let text = bare_with(r#""sessionInit":{},"configOptions":[]"#);
    assert_eq!(serde_json::to_string(&read(&text)).unwrap(), text);
}

/// JavaScript has one type of number, and clocks that give fractions of a millisecond.
#[test]
fn a_fraction_of_a_millisecond_is_accepted_and_floored() {
    for (number, whole) in [
        ("1700000000000.75", 1_700_000_000_000),
        ("1.7e12", 1_700_000_000_000),
        ("-0.5", -1),
        ("5.0", 5),
        ("0", 0),
        ("-1", -1),
    ] {
        let text = BARE.replace("\"createdAt\":0", &format!("\"createdAt\":{number}"));
        assert_eq!(read(&text).created_at, millis(whole), "{number}");
        let text = bare_with(&format!("\"destroyedAt\":{number}"));
        assert_eq!(read(&text).destroyed_at, Some(millis(whole)), "{number}");
        let text = EVENT.replace("1700000000001", number);
        assert_eq!(serde_json::from_str::<SessionEvent>(&text).unwrap().created_at, millis(whole), "{number}");
    }
    for number in ["1e300", "9223372036854775807", "\"0\"", "null"] {
        let text = BARE.replace("\"createdAt\":0", &format!("\"createdAt\":{number}"));
        assert!(serde_json::from_str::<SessionRecord>(&text).is_err(), "{number}");
    }
}

#[test]
fn json_inside_is_not_touched() {
    for inside in [r#"{"b":1,"a":2,"b":3}"#, "1.0", "1e+21", "12345678901234567000", r#""\ud83d\u2028""#, "[1 , 2]"] {
        let record = with!(bare(), session_init: Some(json(inside)), config_options: Some(json(inside)), modes: Some(json(inside)));
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(text.matches(inside).count(), 3, "{inside}");
        assert_eq!(read(&text), record);
        let event = with!(event("e1", "one", 1), payload: json(inside));
        let text = serde_json::to_string(&event).unwrap();
        assert!(text.ends_with(&format!("\"payload\":{inside}}}")), "{text}");
        assert_eq!(serde_json::from_str::<SessionEvent>(&text).unwrap(), event);
    }
}

#[test]
fn fields_that_a_later_release_adds_are_no_error() {
    assert_eq!(read(&bare_with(r#""someday":{"deep":[1]}"#)), bare());
}

#[test]
fn a_page_has_items_and_a_cursor_where_a_row_follows() {
    let last = ListPage { items: vec![event("e1", "one", 1)], next_cursor: None };
    let text = serde_json::to_string(&last).unwrap();
    assert_eq!(text, format!("{{\"items\":[{EVENT}]}}"));
    assert_eq!(serde_json::from_str::<ListPage<SessionEvent>>(&text).unwrap(), last);
}

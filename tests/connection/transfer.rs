//! Proves that what is exported comes back byte for byte, session by session or not at all, and that an export and a
//! backup are each the database of one moment while others write.

use agent_session_store::diesel::Connection;
use agent_session_store::{
    Error, Export, Import, Json, ListSessionsRequest, Progress, Selection, Sender, SessionEvent, SessionPersistDriver,
    SessionRecord,
};
use proptest::prelude::*;

use crate::common::samples::HEADER;
use crate::common::{TempDb, event, json, millis, rows, session};

pub(super) fn exported(db: &TempDb, selection: &Selection) -> String {
    let mut lines = Vec::new();
    db.connect().export(&mut lines, selection).unwrap();
    String::from_utf8(lines).unwrap()
}

pub(super) fn imported(lines: &str) -> TempDb {
    let db = TempDb::ours();
    db.connect().import(lines.as_bytes()).unwrap();
    db
}

/// Two sessions on record and one that is not, with two events each.
pub(super) fn filled() -> TempDb {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for (place, id) in ["one", "two"].into_iter().enumerate() {
        let created_at = millis(place as i64);
        conn.update_session(&with!(session(id), created_at: created_at, agent: id.to_owned())).unwrap();
    }
    for id in ["one", "two", "nobody"] {
        for index in 1..=2 {
            conn.insert_event(&event(&format!("{id}-{index}"), id, index)).unwrap();
        }
    }
    db
}

#[test]
fn the_lines_are_these() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let (created_at, destroyed_at) = (millis(1), None);
    conn.update_session(
        &with!(session("s"), created_at: created_at, destroyed_at: destroyed_at, modes: Some(json("null"))),
    )
    .unwrap();
    conn.insert_event(&with!(event("e", "s", 1), payload: json("{\n \"a\": \"\\ud83d\" }"))).unwrap();
    assert_eq!(
        exported(&db, &Selection::all()),
        [
            HEADER,
            r#"{"session":{"id":"s","agent":"claude","agentSessionId":"agent-s","lastConnectionId":"connection-1","#,
            r#""createdAt":1,"sandboxId":"sandbox-1","sessionInitJson":"{\"cwd\":\"/srv/app\",\"mcpServers\":[]}","#,
            r#""configOptionsJson":"[]","modesJson":"null","events":1}}"#,
            "\n",
            r#"{"event":{"id":"e","eventIndex":1,"sessionId":"s","createdAt":1700000000001,"#,
            r#""connectionId":"connection-1","sender":"client","payloadJson":"{\n \"a\": \"\\ud83d\" }"}}"#,
            "\n",
        ]
        .concat()
    );
}

/// JSON of every spelling that a tree of values would lose.
fn any_json() -> impl Strategy<Value = Json> {
    let spellings = [
        "null",
        " null",
        "1.0",
        "1e+21",
        "12345678901234567000",
        r#""\ud83d""#,
        r#""\u0000""#,
        "\"\u{2028}\"",
        "[]",
        "{}",
        "{\"b\":1,\r\n\t\"a\":2,\"b\":3}",
        "\n[\n1 ,2\n]\n",
        r#""\/""#,
        "\"\u{7f}é😀\"",
        "-0",
    ];
    prop::sample::select(spellings.to_vec()).prop_map(json)
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[ -~]{1,6}", any::<String>(), Just("a\nb\0\u{feff}\u{2028}\"\\".to_owned())]
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), -2..3_i64, Just(1_700_000_000_000), Just(-8_334_601_228_800_000), Just(8_210_266_876_799_999)]
}

type Texts = (String, String, String, Option<String>);
type Column = Option<Json>;

fn any_session() -> impl Strategy<Value = (Texts, i64, Option<i64>, Column, Column, Column)> {
    let texts = (any_text(), any_text(), any_text(), prop::option::of(any_text()));
    let columns = || prop::option::of(any_json());
    (texts, any_time(), prop::option::of(any_time()), columns(), columns(), columns())
}

fn any_event() -> impl Strategy<Value = (usize, String, i64, i64, bool, Json)> {
    let index = prop_oneof![Just(i64::MIN), -1..4_i64, Just(i64::MAX)];
    (0..6_usize, any_text(), index, any_time(), any::<bool>(), any_json())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_exported_comes_back_byte_for_byte(
        sessions in prop::collection::vec(any_session(), 0..5),
        events in prop::collection::vec(any_event(), 0..20),
        ids in prop::collection::hash_set(any_text(), 6),
    ) {
        let db = TempDb::ours();
        let mut conn = db.connect_fast();
        let ids: Vec<String> = ids.into_iter().collect();
        for (id, (texts, created_at, destroyed_at, session_init, config_options, modes)) in ids.iter().zip(sessions) {
            let (agent, agent_session_id, last_connection_id, sandbox_id) = texts;
            conn.update_session(&with!(SessionRecord::new(id.clone(), agent, agent_session_id, last_connection_id, millis(created_at)), destroyed_at: destroyed_at.map(millis), sandbox_id: sandbox_id, session_init: session_init, config_options: config_options, modes: modes)).unwrap();
        }
        for (place, (session, text, event_index, created_at, is_client, payload)) in events.into_iter().enumerate() {
            conn.insert_event(&SessionEvent::new(format!("{text}{place}"), event_index, ids[session].clone(), millis(created_at), text, if is_client { Sender::Client } else { Sender::Agent }, payload)).unwrap();
        }
        let lines = exported(&db, &Selection::all());
        let copy = imported(&lines);
        prop_assert_eq!(copy.tables(), db.tables());
        prop_assert_eq!(exported(&copy, &Selection::all()), lines.clone());
        // Once more changes nothing.
        copy.connect().import(lines.as_bytes()).unwrap();
        prop_assert_eq!(copy.tables(), db.tables());
    }
}

/// Another program may have stored the text `null` where we store NULL.
#[test]
fn a_stored_null_stays_the_text_it_is() {
    let db = filled();
    let sql = "UPDATE sessions SET session_init_json = 'null', config_options_json = ' null ' WHERE id = 'one'";
    db.plain().execute(sql, []).unwrap();
    assert_eq!(imported(&exported(&db, &Selection::all())).tables(), db.tables());
}

#[test]
fn the_real_databases_come_back() {
    for name in ["sdk-0.4.2.db", "server-0.4.2.db"] {
        let db = TempDb::fixture(name);
        drop(db.migrated());
        let [sessions, events] = db.tables();
        assert!(!sessions.is_empty() && !events.is_empty());
        let lines = exported(&db, &Selection::all());
        assert_eq!(lines.lines().count(), 1 + sessions.len() + events.len());
        assert_eq!(imported(&lines).tables(), [sessions, events], "{name}");
    }
}

#[test]
fn the_selection_says_which_sessions() {
    let db = filled();
    let count = |selection: &Selection| imported(&exported(&db, selection)).counts();
    assert_eq!(count(&Selection::all()), [2, 6]);
    assert_eq!(count(&Selection::session("one")), [1, 2]);
    assert_eq!(count(&Selection::session("nobody")), [0, 2]);
    assert_eq!(count(&Selection::session("never")), [0, 0]);
    assert_eq!(count(&Selection::matching(ListSessionsRequest::new().agent("two"))), [1, 2]);
    assert_eq!(count(&Selection::matching(ListSessionsRequest::new().limit(1).descending())), [2, 4]);
    assert_eq!(count(&Selection::matching(ListSessionsRequest::new().live())), [0, 0]);
    assert_eq!(exported(&db, &Selection::session("never")), HEADER);
}

#[test]
fn an_import_overwrites_its_rows_and_leaves_the_others() {
    let db = filled();
    let lines = exported(&db, &Selection::session("one"));
    let other = TempDb::ours();
    let mut conn = other.connect();
    conn.update_session(&with!(session("one"), agent: "codex".to_owned())).unwrap();
    conn.insert_event(&with!(event("one-1", "one", 9), connection_id: "old".to_owned())).unwrap();
    conn.insert_event(&event("more", "one", 3)).unwrap();
    conn.insert_event(&event("else", "else", 1)).unwrap();
    conn.import(lines.as_bytes()).unwrap();
    let ids = |sql: &str| rows(&other.plain(), sql).concat();
    assert_eq!(ids("SELECT agent FROM sessions"), ["'one'"]);
    assert_eq!(ids("SELECT id FROM events ORDER BY id"), ["'else'", "'more'", "'one-1'", "'one-2'"]);
    assert_eq!(ids("SELECT event_index FROM events WHERE id = 'one-1'"), ["1"]);
}

#[test]
fn an_import_in_a_transaction_is_undone_with_it() {
    let lines = exported(&filled(), &Selection::all());
    let db = TempDb::ours();
    let mut conn = db.connect();
    let result: Result<(), Error> = conn.transaction(|conn| {
        assert_eq!(conn.import(lines.as_bytes())?, Progress { sessions: 3, events: 6 });
        Err(Error::Closed)
    });
    assert!(matches!(result, Err(Error::Closed)));
    assert_eq!(db.tables(), [vec![], vec![]] as [Vec<Vec<String>>; 2]);
}

#[test]
fn progress_is_told_after_every_session_and_every_1000_events() {
    let db = filled();
    let mut conn = db.connect();
    let events: Vec<_> = (3..=2_500).map(|index| event(&format!("one-{index}"), "one", index)).collect();
    conn.insert_events(&events).unwrap();
    let told = |sessions, events| Progress { sessions, events };
    let end = told(3, 2_504);
    let (mut out, mut into) = (Vec::new(), Vec::new());
    let mut lines = Vec::new();
    let done = conn.export(&mut lines, Export::of(Selection::all()).progress(|progress| out.push(progress))).unwrap();
    assert_eq!(done, end);
    assert_eq!(out, [told(0, 1_000), told(0, 2_000), told(1, 2_500), told(2, 2_502), end]);
    let done = TempDb::ours().connect().import(Import::new(&*lines).progress(|progress| into.push(progress))).unwrap();
    assert_eq!(done, end);
    // While a session is being imported it counts as one of them.
    assert_eq!(into, [told(1, 1_000), told(1, 2_000), told(1, 2_500), told(2, 2_502), end]);
}

#[test]
fn a_row_that_cannot_be_decoded_is_an_error_and_not_left_out() {
    for (damage, column) in [
        ("UPDATE events SET payload_json = '{' WHERE id = 'two-2'", "payload_json"),
        ("UPDATE events SET session_id = x'6e6f' WHERE id = 'two-2'", "session_id"),
        ("UPDATE events SET session_id = CAST(x'ff' AS TEXT) WHERE id = 'two-2'", "session_id"),
        ("UPDATE sessions SET modes_json = '{' WHERE id = 'two'", "modes_json"),
    ] {
        let db = filled();
        db.plain().execute(damage, []).unwrap();
        let error = db.connect().export(std::io::sink(), Selection::all()).unwrap_err();
        assert!(matches!(error, Error::Decode { column: found, .. } if found == column), "{damage}: {error}");
    }
}

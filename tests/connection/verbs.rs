//! Proves that the verbs on a Diesel connection store whole rows and return them value for value, JSON byte for
//! byte, inside the caller's own transaction too.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::result::Error as DieselError;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{
    Error, Json, ListEventsRequest, ListSessionsRequest, Sender, SessionEvent, SessionPersistDriver, SessionRecord,
};

use crate::common::samples::bare_session as bare;
use crate::common::{TempDb, event, json, millis, rows, session, value};

/// Texts that a tree of values would change or refuse, and that have to come back as they are.
const JSON_TEXTS: &[&str] = &[
    "{}",
    "[]",
    "\"\"",
    "false",
    "0",
    r#"{"z":1,"a":2,"z":3}"#,
    "1.0",
    "-0",
    "1e+21",
    "1E400",
    "0.1000000000000000055511151231257827",
    "12345678901234567000",
    r#""\ud83d""#,
    r#""\u0000\u2028\u2029\/\u00e9é😀""#,
    "\"\u{2028}\u{7f}\"",
    " \t\r\n{ \"a\" : [ 1 , 2 ] } \n",
    "{\n  \"pretty\": [\n    1.50,\n    null\n  ]\n}\n",
];

/// Ids that a query put together as text, or a C string, would break on.
const IDS: &[&str] =
    &["", " ", "a\0b", "\0", "😀", "'; DROP TABLE sessions; --", "%_", "\u{feff}", "NULL", "1", "01", "é"];

fn stored(conn: &mut SqliteConnection, id: &str) -> SessionRecord {
    conn.get_session(id).unwrap().unwrap()
}

fn events(conn: &mut SqliteConnection, session_id: &str) -> Vec<SessionEvent> {
    conn.list_events(&ListEventsRequest::new(session_id)).unwrap().items
}

/// What a column really holds, with its type.
fn column(db: &TempDb, column: &str, table: &str) -> String {
    let mut rows = rows(&db.plain(), &format!("SELECT {column} FROM {table}"));
    assert_eq!(rows.len(), 1);
    rows.remove(0).remove(0)
}

#[test]
fn a_session_comes_back_as_it_was_stored() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    assert_eq!(conn.get_session("full").unwrap(), None);
    conn.update_session(&session("full")).unwrap();
    conn.update_session(&bare("bare")).unwrap();
    assert_eq!(stored(&mut conn, "full"), session("full"));
    assert_eq!(stored(&mut conn, "bare"), bare("bare"));
    assert_eq!(conn.get_session("FULL").unwrap(), None);
}

#[test]
fn updating_a_session_overwrites_every_column_also_with_null() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let other = with!(bare("one"), agent: "codex".to_owned(), agent_session_id: "other".to_owned(), last_connection_id: "connection-2".to_owned(), created_at: millis(-1));
    for record in [session("one"), other, session("one"), bare("one")] {
        conn.update_session(&record).unwrap();
        assert_eq!(stored(&mut conn, "one"), record);
    }
    for name in ["destroyed_at", "sandbox_id", "session_init_json", "config_options_json", "modes_json"] {
        assert_eq!(column(&db, name, "sessions"), "NULL", "{name}");
    }
}

#[test]
fn json_null_is_absent_for_two_fields_and_a_state_of_its_own_for_modes() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for null in ["null", " null\n"] {
        let record = with!(bare("one"), session_init: Some(json(null)), config_options: Some(json(null)), modes: Some(json(null)));
        conn.update_session(&record).unwrap();
        assert_eq!(column(&db, "session_init_json", "sessions"), "NULL");
        assert_eq!(column(&db, "config_options_json", "sessions"), "NULL");
        assert_eq!(stored(&mut conn, "one"), with!(bare("one"), modes: Some(json(null))));
    }
    for modes in [None, Some(json("null")), Some(json("{}")), Some(json("[]")), Some(json(r#"{"currentModeId":"a"}"#))]
    {
        let record = with!(bare("one"), modes: modes);
        conn.update_session(&record).unwrap();
        assert_eq!(stored(&mut conn, "one"), record);
    }
    let not_null = with!(bare("one"), session_init: Some(json(r#""null""#)), config_options: Some(json("[null]")));
    conn.update_session(&not_null).unwrap();
    assert_eq!(stored(&mut conn, "one"), not_null);
}

#[test]
fn json_comes_back_byte_for_byte() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for text in JSON_TEXTS {
        let record = with!(bare("one"), session_init: Some(json(text)), config_options: Some(json(text)), modes: Some(json(text)));
        conn.update_session(&record).unwrap();
        let event = with!(event("one", "one", 1), payload: json(text));
        conn.insert_event(&event).unwrap();

        let found = stored(&mut conn, "one");
        for found in [found.session_init, found.config_options, found.modes] {
            assert_eq!(found.as_ref().map(Json::get), Some(*text));
        }
        assert_eq!(events(&mut conn, "one")[0].payload.get(), *text);
        // The same bytes lie in the file.
        assert_eq!(value::<String>(&db.plain(), "SELECT payload_json FROM events"), *text);
    }
    let null = with!(event("one", "one", 1), payload: json("null"));
    conn.insert_event(&null).unwrap();
    assert_eq!(events(&mut conn, "one"), [null]);
}

#[test]
fn parts_of_a_millisecond_are_dropped_also_before_1970() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for (micros, whole) in [(1_700_000_000_123_999, 1_700_000_000_123), (1_999, 1), (0, 0), (-1, -1), (-1_001, -2)] {
        let fine = chrono::DateTime::from_timestamp_micros(micros).unwrap();
        conn.update_session(&with!(session("one"), created_at: fine, destroyed_at: Some(fine))).unwrap();
        conn.insert_event(&with!(event("one", "one", 1), created_at: fine)).unwrap();
        let found = stored(&mut conn, "one");
        assert_eq!((found.created_at, found.destroyed_at), (millis(whole), Some(millis(whole))));
        assert_eq!(events(&mut conn, "one")[0].created_at, millis(whole));
        assert_eq!(column(&db, "created_at", "sessions"), whole.to_string());
        assert_eq!(column(&db, "created_at", "events"), whole.to_string());
    }
}

/// INTEGER affinity keeps a fraction that another program wrote.
#[test]
fn a_fraction_of_a_millisecond_in_the_file_is_floored() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.update_session(&session("one")).unwrap();
    conn.insert_event(&event("e1", "one", 1)).unwrap();
    db.plain()
        .execute_batch("UPDATE sessions SET created_at = -0.5, destroyed_at = 7.9; UPDATE events SET created_at = 7.9")
        .unwrap();
    let found = stored(&mut conn, "one");
    assert_eq!((found.created_at, found.destroyed_at), (millis(-1), Some(millis(7))));
    assert_eq!(events(&mut conn, "one")[0].created_at, millis(7));
}

#[test]
fn times_and_indexes_beyond_32_bits_are_kept() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for value in [i64::MIN, i64::from(i32::MAX) + 1, i64::MAX] {
        let event = event("one", "one", 0);
        let event = with!(event, event_index: value);
        conn.insert_event(&event).unwrap();
        assert_eq!(events(&mut conn, "one"), [event]);
    }
    for time in [chrono::DateTime::<chrono::Utc>::MIN_UTC, chrono::DateTime::<chrono::Utc>::MAX_UTC] {
        let time = millis(time.timestamp_millis());
        let record = with!(session("one"), created_at: time, destroyed_at: Some(time));
        conn.update_session(&record).unwrap();
        assert_eq!(stored(&mut conn, "one"), record);
    }
}

#[test]
fn any_text_is_an_id() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for id in IDS {
        let record = with!(session(id), agent: (*id).to_owned(), agent_session_id: (*id).to_owned(), last_connection_id: (*id).to_owned(), sandbox_id: Some((*id).to_owned()));
        conn.update_session(&record).unwrap();
        let event = with!(event(id, id, 1), connection_id: (*id).to_owned());
        conn.insert_event(&event).unwrap();
        assert_eq!(stored(&mut conn, id), record, "{id:?}");
        assert_eq!(events(&mut conn, id), [event], "{id:?}");
    }
    let listed = conn.list_sessions(&ListSessionsRequest::new()).unwrap().items;
    let mut sorted = IDS.to_vec();
    sorted.sort_unstable();
    assert_eq!(listed.iter().map(|session| &*session.id).collect::<Vec<_>>(), sorted);
}

#[test]
fn events_may_come_before_their_session() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.insert_event(&event("e1", "later", 1)).unwrap();
    assert_eq!(conn.get_session("later").unwrap(), None);
    assert_eq!(events(&mut conn, "later"), [event("e1", "later", 1)]);
    conn.update_session(&session("later")).unwrap();
    assert_eq!(events(&mut conn, "later"), [event("e1", "later", 1)]);
}

#[test]
fn inserting_an_event_again_overwrites_every_column() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let changed = with!(event("e1", "one", 1), event_index: -7, session_id: "two".to_owned(), created_at: millis(5), connection_id: "connection-2".to_owned(), sender: Sender::Agent, payload: json("[]"));
    conn.insert_event(&event("e1", "one", 1)).unwrap();
    conn.insert_event(&changed).unwrap();
    assert_eq!(events(&mut conn, "one"), []);
    assert_eq!(events(&mut conn, "two"), [changed]);
}

#[test]
fn a_sender_is_a_word() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for (sender, word) in [(Sender::Client, "client"), (Sender::Agent, "agent")] {
        let event = with!(event("e1", "one", 1), sender: sender);
        conn.insert_event(&event).unwrap();
        assert_eq!(events(&mut conn, "one"), [event]);
        assert_eq!(value::<String>(&db.plain(), "SELECT sender FROM events"), word);
        assert_eq!((sender.as_str(), sender.to_string().as_str(), word.parse()), (word, word, Ok(sender)));
    }
    assert_eq!("Agent".parse::<Sender>().unwrap_err().to_string(), r#""Agent" is neither "client" nor "agent""#);
}

#[test]
fn the_verbs_take_part_in_the_callers_transaction() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.batch_execute("CREATE TABLE host (note TEXT NOT NULL)").unwrap();
    let count = || {
        let plain = db.plain();
        ["host", "sessions", "events"].map(|table| value::<i64>(&plain, &format!("SELECT count(*) FROM {table}")))
    };
    let write = |conn: &mut SqliteConnection| -> Result<(), Error> {
        conn.batch_execute("INSERT INTO host VALUES ('a note')")?;
        conn.update_session(&session("one"))?;
        conn.insert_event(&event("e1", "one", 1))?;
        // Its own writes are there to read, and nobody else's to see.
        assert_eq!(stored(conn, "one"), session("one"));
        assert_eq!(conn.list_sessions(&ListSessionsRequest::new())?.items.len(), 1);
        assert_eq!(events(conn, "one"), [event("e1", "one", 1)]);
        assert_eq!(count(), [0, 0, 0]);
        Ok(())
    };

    let rolled_back = conn.transaction(|conn| {
        write(conn)?;
        Err::<(), Error>(DieselError::RollbackTransaction.into())
    });
    assert!(matches!(rolled_back, Err(Error::Database { source: DieselError::RollbackTransaction })));
    assert_eq!(count(), [0, 0, 0]);

    conn.immediate_transaction(write).unwrap();
    assert_eq!(count(), [1, 1, 1]);
}

#[test]
fn a_savepoint_takes_the_verbs_back_alone() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    conn.transaction::<_, Error, _>(|conn| {
        conn.insert_event(&event("kept", "one", 1))?;
        let undone: Result<(), Error> = conn.transaction(|conn| {
            conn.insert_event(&event("undone", "one", 2))?;
            Err(DieselError::RollbackTransaction.into())
        });
        assert!(undone.is_err());
        Ok(())
    })
    .unwrap();
    assert_eq!(events(&mut conn, "one"), [event("kept", "one", 1)]);
}

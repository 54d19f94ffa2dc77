//! JSON, stored values and cursors that cannot be used.

use agent_session_store::{Cursor, Error, Json, ListEventsRequest, ListSessionsRequest, SessionPersistDriver};

use super::{Case, filled, list_events, nothing};
use crate::common::{TempDb, event, json, session};

fn get(db: &TempDb) -> Result<(), Error> {
    db.connect().get_session("one").map(drop)
}

fn list(db: &TempDb) -> Result<(), Error> {
    db.connect().list_sessions(&ListSessionsRequest::new()).map(drop)
}

/// Whether the error is about this column.
macro_rules! decode {
    ($table:literal, $column:literal) => {
        |error| matches!(error, Error::Decode { table: $table, column: $column, .. })
    };
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "text that is not JSON",
        given: filled,
        when: |db| {
            let mut conn = db.connect();
            let payload = Json::parse("{\"method\": session/prompt}")?;
            conn.insert_event(&with!(event("e2", "one", 2), payload: payload))
        },
        is: |error| matches!(error, Error::InvalidJson { .. }),
        says: "the text is not JSON: expected value at line 1 column 12",
        because: &["expected value at line 1 column 12"],
    },
    Case {
        name: "text that stops in the middle",
        given: nothing,
        when: |_| Json::parse("[1, 2").map(drop),
        is: |error| matches!(error, Error::InvalidJson { .. }),
        says: "the text is not JSON: EOF while parsing a list at line 1 column 5",
        because: &["EOF while parsing a list at line 1 column 5"],
    },
    Case {
        name: "a value that JSON has no form for",
        given: nothing,
        when: |_| Json::new(&std::collections::HashMap::from([(vec![1_u8], 1)])).map(drop),
        is: |error| matches!(error, Error::InvalidJson { .. }),
        says: "the value cannot be written as JSON: key must be a string",
        because: &["key must be a string"],
    },
    Case {
        name: "JSON of another shape than asked for",
        given: nothing,
        when: |_| json("{}").decode::<Vec<String>>().map(drop),
        is: |error| matches!(error, Error::InvalidJson { .. }),
        says: "the JSON does not match the requested type: invalid type: map, expected a sequence at line 1 column 0",
        because: &["invalid type: map, expected a sequence at line 1 column 0"],
    },
    Case {
        name: "JSON of another type than asked for, with something to hide",
        given: nothing,
        when: |_| json(r#"{"key":"sk-secret"}"#).decode::<std::collections::HashMap<String, u8>>().map(drop),
        is: |error| matches!(error, Error::InvalidJson { .. }),
        says: "the JSON does not match the requested type: invalid type: string, expected u8 at line 1 column 18",
        because: &["invalid type: string, expected u8 at line 1 column 18"],
    },
    Case {
        name: "JSON that is too deep to be decoded",
        given: nothing,
        when: |_| json(&("[".repeat(128) + &"]".repeat(128))).decode::<serde_json::Value>().map(drop),
        is: |error| matches!(error, Error::InvalidJson { .. }),
        says: "the JSON is nested too deeply to be decoded: recursion limit exceeded at line 1 column 128",
        because: &["recursion limit exceeded at line 1 column 128"],
    },
    Case {
        name: "a sender that nobody knows",
        given: filled_then!("UPDATE events SET sender = 'server'"),
        when: list_events,
        is: decode!("events", "sender"),
        says: "cannot decode column sender of the events row with id \"e1\": neither \"client\" nor \"agent\"",
        because: &["neither \"client\" nor \"agent\""],
    },
    Case {
        name: "text in an integer column",
        given: filled_then!("UPDATE events SET event_index = 'first'"),
        when: list_events,
        is: decode!("events", "event_index"),
        says: "cannot decode column event_index of the events row with id \"e1\": found TEXT, expected INTEGER",
        because: &["found TEXT, expected INTEGER"],
    },
    Case {
        name: "text in a time column",
        given: filled_then!("UPDATE sessions SET created_at = '2024-01-01'"),
        when: list,
        is: |error| matches!(error, Error::Decode { .. }),
        says: "cannot decode column created_at of the sessions row with id \"one\": found TEXT, expected INTEGER",
        because: &["found TEXT, expected INTEGER"],
    },
    Case {
        name: "a BLOB in an integer column that may be NULL",
        given: filled_then!("UPDATE sessions SET destroyed_at = x'00'"),
        when: get,
        is: decode!("sessions", "destroyed_at"),
        says: "cannot decode column destroyed_at of the sessions row with id \"one\": found BLOB, expected INTEGER",
        because: &["found BLOB, expected INTEGER"],
    },
    Case {
        name: "a time that no calendar has",
        given: filled_then!("UPDATE sessions SET created_at = 9223372036854775807"),
        when: get,
        is: decode!("sessions", "created_at"),
        says: "cannot decode column created_at of the sessions row with id \"one\": \
               the milliseconds are out of range for a time",
        because: &["the milliseconds are out of range for a time"],
    },
    Case {
        name: "an event index with a fraction",
        given: filled_then!("UPDATE events SET event_index = 1.5"),
        when: list_events,
        is: decode!("events", "event_index"),
        says: "cannot decode column event_index of the events row with id \"e1\": \
               REAL where a whole number belongs",
        because: &["REAL where a whole number belongs"],
    },
    Case {
        name: "text that is not UTF-8",
        given: filled_then!("UPDATE sessions SET agent = CAST(x'61ff62' AS TEXT)"),
        when: get,
        is: decode!("sessions", "agent"),
        says: "cannot decode column agent of the sessions row with id \"one\": invalid UTF-8",
        because: &["invalid UTF-8"],
    },
    Case {
        name: "JSON that is not UTF-8",
        given: filled_then!("UPDATE events SET payload_json = CAST(x'22ff22' AS TEXT)"),
        when: list_events,
        is: decode!("events", "payload_json"),
        says: "cannot decode column payload_json of the events row with id \"e1\": invalid UTF-8",
        because: &["invalid UTF-8"],
    },
    Case {
        name: "an id that is not UTF-8",
        given: filled_then!("UPDATE events SET id = CAST(x'65ff' AS TEXT)"),
        when: list_events,
        is: decode!("events", "id"),
        says: "cannot decode column id of the events row with id \"e\u{fffd}\": invalid UTF-8",
        because: &["invalid UTF-8"],
    },
    Case {
        name: "an id that is NULL",
        given: |db| {
            filled(db);
            let sql = "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'id TEXT NOT NULL PRIMARY', 'id TEXT PRIMARY'); \
                       PRAGMA writable_schema = RESET; UPDATE events SET id = NULL";
            db.plain().execute_batch(sql).unwrap();
        },
        when: list_events,
        is: decode!("events", "id"),
        says: "cannot decode column id of the events row with id \"NULL (rowid 1)\": Unexpected null for non-null column",
        because: &["Unexpected null for non-null column"],
    },
    Case {
        name: "an id that is a long BLOB",
        given: filled_then!("UPDATE events SET id = CAST(printf('%0100d', 0) AS BLOB)"),
        when: list_events,
        is: decode!("events", "id"),
        says: "cannot decode column id of the events row with id \"00000000000000000000000000000000…\": \
               found BLOB, expected TEXT",
        because: &["found BLOB, expected TEXT"],
    },
    Case {
        name: "a BLOB in a text column",
        given: filled_then!("UPDATE events SET connection_id = x'6162'"),
        when: list_events,
        is: decode!("events", "connection_id"),
        says: "cannot decode column connection_id of the events row with id \"e1\": found BLOB, expected TEXT",
        because: &["found BLOB, expected TEXT"],
    },
    Case {
        name: "broken JSON in an event",
        given: filled_then!("UPDATE events SET payload_json = '{\"method\":'"),
        when: list_events,
        is: decode!("events", "payload_json"),
        says: "cannot decode column payload_json of the events row with id \"e1\": \
               the text is not JSON: EOF while parsing a value at line 1 column 10",
        because: &[
            "the text is not JSON: EOF while parsing a value at line 1 column 10",
            "EOF while parsing a value at line 1 column 10",
        ],
    },
    Case {
        name: "no JSON at all in a session",
        given: filled_then!("UPDATE sessions SET config_options_json = ''"),
        when: list,
        is: decode!("sessions", "config_options_json"),
        says: "cannot decode column config_options_json of the sessions row with id \"one\": \
               the text is not JSON: EOF while parsing a value at line 1 column 0",
        because: &[
            "the text is not JSON: EOF while parsing a value at line 1 column 0",
            "EOF while parsing a value at line 1 column 0",
        ],
    },
    Case {
        name: "a cursor of the reference driver",
        given: nothing,
        when: |_| "100".parse::<Cursor>().map(drop),
        is: |error| matches!(error, Error::InvalidCursor { .. }),
        says: "the cursor cannot be used: it was not made by this crate",
        because: &[],
    },
    Case {
        name: "a cursor of another listing",
        given: |db| {
            filled(db);
            db.connect().update_session(&session("two")).unwrap();
        },
        when: |db| {
            let mut conn = db.connect();
            let cursor = conn.list_sessions(&ListSessionsRequest::new().limit(1))?.next_cursor.unwrap();
            conn.list_events(&ListEventsRequest::new("one").cursor(cursor)).map(drop)
        },
        is: |error| matches!(error, Error::InvalidCursor { .. }),
        says: "the cursor cannot be used: it belongs to another listing, or was changed",
        because: &[],
    },
];

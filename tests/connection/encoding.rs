//! Proves that a database whose texts are in UTF-16 is ordered by the bytes of UTF-8 as any other, page by page, and that
//! what is counted in bytes is counted in UTF-8.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{
    Error, Export, ListEventsRequest, ListSessionsRequest, Selection, SessionPersistDriver, SessionStats, SessionStore,
    contract, migrate,
};
use proptest::prelude::*;

use crate::common::{Statements, TempDb, event, json, millis, session, value, walk_events, walk_sessions};

const ENCODINGS: [&str; 3] = ["UTF-8", "UTF-16le", "UTF-16be"];

fn migrated(db: &TempDb, encoding: &str) -> SqliteConnection {
    let mut conn = db.connect();
    conn.batch_execute(&format!("PRAGMA encoding = '{encoding}'; PRAGMA synchronous = OFF")).unwrap();
    migrate(&mut conn).unwrap();
    assert_eq!(value::<String>(&db.plain(), "PRAGMA encoding"), encoding);
    conn
}

#[test]
fn every_rule_of_the_contract_holds_in_any_encoding() {
    for encoding in ENCODINGS {
        contract::check(|| {
            let mut conn = SqliteConnection::establish(":memory:").unwrap();
            conn.batch_execute(&format!("PRAGMA encoding = '{encoding}'")).unwrap();
            migrate(&mut conn).unwrap();
            conn
        });
    }
}

/// Ids that the encodings order in different ways, or that end in what a collation might leave out.
const IN_ORDER: [&str; 16] =
    ["", "\0", " ", "  ", "10", "A", "a", "a\0", "a\u{1}", "a ", "z", "é", "Ā", "\u{ff5e}", "\u{fffd}", "😀"];

#[test]
fn ids_are_in_the_order_of_utf8() {
    for encoding in ENCODINGS {
        let db = TempDb::new();
        let mut conn = migrated(&db, encoding);
        for id in IN_ORDER.iter().rev() {
            conn.insert_event(&event(id, "é", 1)).unwrap();
            conn.update_session(&session(id)).unwrap();
        }
        conn.insert_event(&event("else", "Ā", 1)).unwrap();
        let mut expected = IN_ORDER.to_vec();
        for is_descending in [false, true] {
            let (mut events, mut sessions) = (ListEventsRequest::new("é"), ListSessionsRequest::new());
            if is_descending {
                (events, sessions) = (events.descending(), sessions.descending());
                expected.reverse();
            }
            for limit in [1, 2, 5, 16, 100] {
                assert_eq!(
                    walk_events(&mut conn, events.clone().limit(limit)).concat(),
                    expected,
                    "{encoding}, {limit}"
                );
                assert_eq!(
                    walk_sessions(&mut conn, sessions.clone().limit(limit)).concat(),
                    expected,
                    "{encoding}, {limit}"
                );
                let agents = sessions.clone().agent("claude").limit(limit);
                assert_eq!(walk_sessions(&mut conn, agents).concat(), expected, "{encoding}, {limit}");
            }
        }
        let latest = conn.latest_events("é", 2, None).unwrap();
        assert_eq!(latest.iter().map(|event| &*event.id).collect::<Vec<_>>(), ["\u{fffd}", "😀"]);
        let ids: Vec<_> = conn.session_stats().unwrap().into_iter().map(|session| session.session_id).collect();
        let mut expected = IN_ORDER.to_vec();
        expected.sort();
        assert!(ids == expected, "{encoding}: {ids:?}");
    }
}

/// What others put between two pages comes where it belongs, also if no row there shared a key before.
#[test]
fn a_row_that_is_added_between_two_pages_is_found() {
    for encoding in ENCODINGS {
        let db = TempDb::new();
        let mut conn = migrated(&db, encoding);
        conn.insert_events(&[event("a", "one", 1), event("b", "one", 2)]).unwrap();
        let request = ListEventsRequest::new("one").limit(1);
        let cursor = conn.list_events(&request).unwrap().next_cursor.unwrap();
        conn.insert_events(&[event("Ā", "one", 1), event("B", "one", 1)]).unwrap();
        assert_eq!(walk_events(&mut conn, request.cursor(cursor)).concat(), ["Ā", "b"], "{encoding}");
    }
}

#[test]
fn bytes_are_counted_in_utf8() {
    for encoding in ENCODINGS {
        let db = TempDb::new();
        let mut conn = migrated(&db, encoding);
        for (id, payload) in [("a", "\"é\""), ("b", "\"😀\""), ("c", "1")] {
            conn.insert_event(&with!(event(id, "one", 1), payload: json(payload))).unwrap();
        }
        conn.update_session(&session("empty")).unwrap();
        conn.insert_event(&event("d", "odd", 1)).unwrap();
        db.plain().execute_batch("UPDATE events SET payload_json = x'00ff00' WHERE id = 'd'").unwrap();
        db.plain().execute_batch("INSERT INTO events SELECT 'e', 1, x'01', 0, 'c', 'agent', '1'").unwrap();
        let time = Some(millis(1_700_000_000_001));
        let of = |id: &str, events, payload_bytes, last_time: Option<_>| SessionStats {
            session_id: id.to_owned(),
            events,
            payload_bytes,
            first_index: last_time.map(|_| 1),
            last_index: last_time.map(|_| 1),
            first_time: last_time,
            last_time,
        };
        let stats = conn.session_stats().unwrap();
        assert_eq!(
            stats,
            [
                of("empty", 0, 0, None),
                of("odd", 1, 3, time),
                of("one", 3, 4 + 6 + 1, time),
                of("\u{1}", 1, 1, Some(millis(0)))
            ],
            "{encoding}"
        );
        for stats in &stats[..3] {
            assert_eq!(conn.get_session_stats(&stats.session_id).unwrap().as_ref(), Some(stats), "{encoding}");
        }
        let page = conn.list_events(&ListEventsRequest::new("one").max_bytes(10)).unwrap();
        assert_eq!((page.items.len(), page.next_cursor.is_some()), (2, true), "{encoding}");
    }
}

/// Only a database in another encoding is asked which one it is.
#[test]
fn a_database_in_utf8_is_not_asked_for_its_encoding() {
    for (encoding, asked) in [("UTF-8", 0), ("UTF-16le", 2)] {
        let db = TempDb::new();
        let mut conn = migrated(&db, encoding);
        conn.insert_events(&[event("a", "one", 1), event("é", "one", 1)]).unwrap();
        let statements = Statements::of(&mut conn);
        conn.list_events(&ListEventsRequest::new("one")).unwrap();
        conn.list_events(&ListEventsRequest::new("nobody")).unwrap();
        let run = statements.take_run();
        assert_eq!(run.iter().filter(|sql| sql.contains("encoding")).count(), asked, "{run:?}");
        assert_eq!(run.len(), 2 + 2 * asked);
    }
}

#[test]
fn an_export_is_the_same_from_any_encoding_and_into_any() {
    let mut exports = Vec::new();
    for encoding in ENCODINGS {
        let db = TempDb::new();
        let mut conn = migrated(&db, encoding);
        for (place, id) in IN_ORDER.iter().rev().enumerate() {
            conn.update_session(&with!(session(id), agent: id.to_string())).unwrap();
            conn.insert_event(&event(&format!("{id}{place}"), id, 1)).unwrap();
        }
        let store = SessionStore::open(db.path()).unwrap();
        let mut lines = Vec::new();
        store.export(&mut lines, Selection::all()).unwrap();
        exports.push(lines);
        for other in ENCODINGS {
            let copy = TempDb::new();
            let mut conn = migrated(&copy, other);
            conn.import(&**exports.last().unwrap()).unwrap();
            let mut again = Vec::new();
            conn.export(&mut again, Export::of(Selection::all()).skip_undecodable(|error| panic!("{error}"))).unwrap();
            assert!(&again == exports.last().unwrap(), "from {encoding} into {other}");
        }
    }
    assert!(exports[0] == exports[1] && exports[0] == exports[2]);
}

/// Key, id as SQL, id as text where it is one.
type Row = (&'static str, String, Option<String>);

fn any_row() -> impl Strategy<Value = Row> {
    let text = "[aé\u{ff5e}😀 ]{0,2}".prop_map(|id| (format!("'{id}'"), Some(id)));
    // Half a surrogate pair, and a BLOB.
    let odd = prop::sample::select(vec!["(x'' || x'd83d')", "(x'' || x'3dd8')", "x'd83d'", "x''"]);
    let id = prop_oneof![4 => text, 1 => odd.prop_map(|id| (id.to_owned(), None))];
    (prop::sample::select(vec!["1", "1", "2", "'x'", "x'00'"]), id).prop_map(|(key, (sql, text))| (key, sql, text))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_that_cannot_be_decoded_hide_none_in_any_encoding(
        given in prop::collection::vec(any_row(), 0..12),
        limit in 1..5_u32,
    ) {
        for encoding in ENCODINGS {
            let db = TempDb::new();
            let mut conn = migrated(&db, encoding);
            let plain = db.plain();
            plain.execute_batch("PRAGMA synchronous = OFF").unwrap();
            for (key, id, _) in &given {
                let row = format!("INSERT OR IGNORE INTO events VALUES ({id}, {key}, 'one', 0, 'c', 'agent', '1')");
                plain.execute_batch(&row).unwrap();
            }
            let stored: i64 = value(&plain, "SELECT count(*) FROM events");
            for request in [ListEventsRequest::new("one"), ListEventsRequest::new("one").descending()] {
                let mut good = Vec::new();
                let mut broken = 0;
                for event in conn.events(request.clone().limit(limit)) {
                    match event {
                        Ok(event) => good.push((event.event_index, event.id)),
                        Err(Error::Decode { .. }) => broken += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
                prop_assert_eq!((good.len() + broken) as i64, stored, "{}", encoding);
                let mut sorted = good.clone();
                sorted.sort();
                if format!("{request:?}").contains("descending: true") {
                    sorted.reverse();
                }
                prop_assert_eq!(&good, &sorted, "{}", encoding);
                sorted.dedup();
                prop_assert_eq!(good.len(), sorted.len(), "{}", encoding);
            }
            prop_assert_eq!(conn.check().unwrap().undecodable.len(), conn.events(ListEventsRequest::new("one")).filter(Result::is_err).count());
        }
    }
}

/// Times in sessions are ordered as ever.
#[test]
fn sessions_of_several_times_are_walked_in_any_encoding() {
    for encoding in ENCODINGS {
        let db = TempDb::new();
        let mut conn = migrated(&db, encoding);
        for (place, id) in ["b", "Ā", "a", "é", "z"].into_iter().enumerate() {
            conn.update_session(&with!(session(id), created_at: millis(place as i64 / 2))).unwrap();
        }
        db.plain().execute_batch("UPDATE sessions SET created_at = 0.5 WHERE id IN ('b', 'z')").unwrap();
        for limit in 1..6 {
            let request = ListSessionsRequest::new().limit(limit);
            assert_eq!(walk_sessions(&mut conn, request.clone()).concat(), ["Ā", "b", "z", "a", "é"], "{encoding}");
            assert_eq!(
                walk_sessions(&mut conn, request.descending()).concat(),
                ["é", "a", "z", "b", "Ā"],
                "{encoding}"
            );
        }
    }
}

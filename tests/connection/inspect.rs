//! Proves that looking at a database counts what is there, finds each kind of damage, and changes nothing.

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::{
    CheckReport, DuplicateIndex, Error, PruneRequest, SessionPersistDriver, SessionStats, SessionStore, Stats,
};

use crate::common::{TempDb, event, json, millis, session, value};

/// Two sessions and three events, all of them sound.
fn filled() -> (TempDb, SqliteConnection) {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for id in ["one", "two"] {
        conn.update_session(&session(id)).unwrap();
    }
    for (id, session, index) in [("e1", "one", 1), ("e2", "one", 2), ("e3", "two", 1)] {
        let event = event(id, session, index);
        conn.insert_event(&with!(event, payload: json("\"é\""))).unwrap();
    }
    (db, conn)
}

fn check_after(damage: &str) -> CheckReport {
    let (db, mut conn) = filled();
    db.plain().execute_batch(damage).unwrap();
    let before = db.bytes();
    let report = conn.check().unwrap();
    assert_eq!(db.bytes(), before, "{damage}");
    report
}

#[test]
fn stats_count_rows_and_bytes() {
    let (db, mut conn) = filled();
    conn.insert_event(&event("e4", "nobody", 1)).unwrap();
    conn.delete_session("two").unwrap();
    let stats = conn.stats().unwrap();
    assert_eq!((stats.sessions, stats.events), (1, 3));
    assert_eq!(stats.bytes, std::fs::metadata(db.path()).unwrap().len());
    let plain = db.plain();
    let pragma = |name: &str| value::<i64>(&plain, &format!("PRAGMA {name}"));
    assert_eq!(stats.unused_bytes as i64, pragma("freelist_count") * pragma("page_size"));

    let payload = event("e4", "nobody", 1).payload.get().len() as i64;
    let of = |id: &str, payload_bytes, ends: Option<[i64; 2]>| SessionStats {
        session_id: id.to_owned(),
        events: ends.map_or(0, |[first, last]| last - first + 1),
        payload_bytes,
        first_index: ends.map(|[first, _]| first),
        last_index: ends.map(|[_, last]| last),
        first_time: ends.map(|[first, _]| millis(1_700_000_000_000 + first)),
        last_time: ends.map(|[_, last]| millis(1_700_000_000_000 + last)),
    };
    conn.update_session(&session("empty")).unwrap();
    // `"é"` is four bytes.
    let all = [of("empty", 0, None), of("nobody", payload, Some([1, 1])), of("one", 8, Some([1, 2]))];
    assert_eq!(conn.session_stats().unwrap(), all);
    for stats in all {
        assert_eq!(conn.get_session_stats(&stats.session_id).unwrap(), Some(stats));
    }
    assert_eq!(conn.get_session_stats("two").unwrap(), None);

    let json = serde_json::to_value(&stats).unwrap();
    assert_eq!(json["unusedBytes"], stats.unused_bytes);
    assert_eq!(serde_json::from_value::<Stats>(json).unwrap(), stats);
}

#[test]
fn the_store_counts_the_same() {
    let (db, mut conn) = filled();
    let store = SessionStore::open(db.path()).unwrap();
    assert_eq!(store.session_stats().unwrap(), conn.session_stats().unwrap());
    assert_eq!(store.stats().unwrap().events, 3);
    assert_eq!(store.check().unwrap(), CheckReport::default());
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let report = check_after("SELECT 1");
    assert_eq!(report, CheckReport::default());
    assert!(report.is_sound());
    let empty = TempDb::ours();
    assert_eq!(empty.connect().check().unwrap(), CheckReport::default());
}

#[test]
fn a_database_without_the_tables_is_an_error() {
    let db = TempDb::new();
    let mut conn = db.connect();
    assert!(matches!(conn.check(), Err(Error::NotMigrated { .. })));
    assert!(matches!(conn.stats(), Err(Error::NotMigrated { .. })));
    assert!(matches!(conn.session_stats(), Err(Error::NotMigrated { .. })));
}

#[test]
fn every_row_that_cannot_be_decoded_is_named() {
    for (damage, says) in [
        (
            "UPDATE events SET payload_json = '{' WHERE id = 'e2'",
            "column payload_json of the events row with id \"e2\"",
        ),
        ("UPDATE events SET sender = 'nobody' WHERE id = 'e2'", "column sender of the events row with id \"e2\""),
        ("UPDATE events SET event_index = 'x' WHERE id = 'e2'", "column event_index of the events row with id \"e2\""),
        ("UPDATE events SET event_index = 1.5 WHERE id = 'e2'", "column event_index of the events row with id \"e2\""),
        ("UPDATE events SET created_at = 1e30 WHERE id = 'e2'", "column created_at of the events row with id \"e2\""),
        ("UPDATE events SET connection_id = CAST(x'ff' AS TEXT) WHERE id = 'e2'", "column connection_id of the events"),
        ("UPDATE events SET id = x'6532' WHERE id = 'e2'", "column id of the events row with id \"e2\""),
        (
            "UPDATE sessions SET modes_json = 'x' WHERE id = 'two'",
            "column modes_json of the sessions row with id \"two\"",
        ),
        ("UPDATE sessions SET agent = x'00' WHERE id = 'two'", "column agent of the sessions row with id \"two\""),
        ("UPDATE sessions SET destroyed_at = 'x' WHERE id = 'two'", "column destroyed_at of the sessions row"),
    ] {
        let report = check_after(damage);
        assert!(!report.is_sound());
        assert_eq!(report.undecodable.len(), 1, "{damage}: {report:?}");
        assert!(report.undecodable[0].contains(says), "{damage}: {report:?}");
    }
    // Each of them, and the sound rows between them are no obstacle.
    let report = check_after(
        "UPDATE events SET payload_json = '{' WHERE id <> 'e2'; UPDATE sessions SET modes_json = '['; \
         UPDATE sessions SET config_options_json = '[' WHERE id = 'one'",
    );
    assert_eq!(report.undecodable.len(), 4, "{report:?}");
    assert!(report.integrity.is_empty());
}

#[test]
fn a_list_ends_at_a_hundred() {
    let report = check_after(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250) \
         INSERT INTO events SELECT 'x' || i, i / 2, 'x' || (i / 2), 0, 'c', 'agent', '{' FROM n",
    );
    assert_eq!(
        (report.undecodable.len(), report.without_record.len(), report.duplicate_indexes.len()),
        (100, 100, 100)
    );
}

#[test]
fn events_without_a_session_and_shared_indexes_are_told_and_are_sound() {
    let report = check_after(
        "INSERT INTO events SELECT 'x' || id, 1, session_id, 0, 'c', 'agent', '1' FROM events; \
         INSERT INTO events SELECT 'y' || id, event_index, 'nobody', 0, 'c', 'agent', '1' FROM events WHERE id = 'e2'",
    );
    assert!(report.is_sound());
    assert_eq!(report.without_record, ["nobody"]);
    let shared = |id: &str, events| DuplicateIndex { session_id: id.to_owned(), event_index: 1, events };
    assert_eq!(report.duplicate_indexes, [shared("one", 3), shared("two", 2)]);
}

#[test]
fn a_stranded_events_legacy_is_told() {
    for name in ["events_legacy", "Events_Legacy"] {
        let report = check_after(&format!("CREATE TABLE {name} (id TEXT)"));
        assert!(report.has_events_legacy && !report.is_sound(), "{name}");
    }
}

/// An index that lacks an entry: what it would answer is wrong, and every page of the file is well formed.
#[test]
fn an_index_that_does_not_match_its_table_is_found() {
    let report = check_after(
        "PRAGMA writable_schema = ON; \
         UPDATE sqlite_master SET sql = sql || ' WHERE event_index > 1' WHERE name = 'idx_events_session_order'; \
         PRAGMA writable_schema = RESET; INSERT INTO events VALUES ('e9', -1, 'one', 0, 'c', 'agent', '1'); \
         PRAGMA writable_schema = ON; \
         UPDATE sqlite_master SET sql = replace(sql, ' WHERE event_index > 1', '') \
             WHERE name = 'idx_events_session_order'; \
         PRAGMA writable_schema = RESET",
    );
    assert!(!report.is_sound());
    assert!(report.integrity.iter().any(|line| line.contains("idx_events_session_order")), "{report:?}");
}

/// Bytes of the file are overwritten, page by page: it is told, and no page makes the check itself fail.
#[test]
fn pages_of_other_bytes_are_found_whichever_they_are() {
    let db = TempDb::ours();
    let mut conn = db.connect_fast();
    for place in 0..300 {
        conn.update_session(&session(&format!("session-{place}"))).unwrap();
        conn.insert_event(&event(&format!("event-{place}"), &format!("session-{place}"), 1)).unwrap();
    }
    drop(conn);
    let sound = std::fs::read(db.path()).unwrap();
    let page_size = 4096;
    let pages = sound.len() / page_size;
    assert!(pages > 20);
    // The first page is the schema: without it there is no database to check.
    for page in 1..pages {
        for bytes in [0x00, 0xff, 0x05] {
            let mut damaged = sound.clone();
            damaged[page * page_size..(page + 1) * page_size].fill(bytes);
            std::fs::write(db.path(), &damaged).unwrap();
            let report =
                db.connect().check().unwrap_or_else(|error| panic!("page {page} filled with {bytes:#x}: {error:?}"));
            assert!(!report.is_sound(), "page {page} filled with {bytes:#x}");
            assert!(std::fs::read(db.path()).unwrap() == damaged);
        }
    }
}

#[test]
fn a_session_id_that_is_no_text_is_a_finding_and_hides_nothing() {
    for value in ["CAST(x'ff' AS TEXT)", "x'ff'"] {
        let db = TempDb::ours();
        let mut conn = db.connect();
        conn.insert_events(&[event("a", "one", 1), event("b", "one", 2), event("c", "one", 3)]).unwrap();
        let plain = db.plain();
        plain.execute_batch(&format!("UPDATE events SET session_id = {value} WHERE id = 'b'")).unwrap();
        plain.execute_batch("UPDATE events SET event_index = 'x' WHERE id IN ('a', 'c')").unwrap();

        let report = conn.check().unwrap();
        assert_eq!(report.undecodable.len(), 3, "{report:?}");
        assert_eq!(report.without_record.len(), 2, "{report:?}");
        // An index that is no number is none that could be shared.
        assert_eq!(report.duplicate_indexes, [], "{report:?}");
        let stats = conn.session_stats().unwrap();
        assert_eq!(stats.iter().map(|session| session.events).sum::<i64>(), 3);

        // What no session can be named for stays where it is.
        let everything = PruneRequest::new().max_events_per_session(0).orphans_before(millis(i64::from(i32::MAX)));
        assert_eq!(conn.prune(&everything).unwrap().events, 2);
        assert_eq!(conn.stats().unwrap().events, 1);
    }
}

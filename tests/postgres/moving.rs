//! Proves that what is exported from one kind of database and imported into the other keeps every byte, in the same order
//! whatever the server's collation.

use agent_session_store::diesel::PgConnection;
use agent_session_store::{
    ListEventsRequest, ListSessionsRequest, NewEvent, Progress, Selection, SessionPersistDriver, SessionRecord,
    SessionStore, migrate,
};

use crate::common::samples::bare_session;
use crate::common::{PgDb, TempDb, event, json, new_event, session};

fn exported(driver: &mut impl SessionPersistDriver) -> String {
    let mut lines = Vec::new();
    driver.export(&mut lines, Selection::all()).unwrap();
    String::from_utf8(lines).unwrap()
}

const FIXTURES: [(&str, u64); 2] = [("sdk-0.4.2.db", 114), ("server-0.4.2.db", 0)];

#[test]
fn both_fixtures_go_there_and_back_byte_for_byte() {
    for (fixture, events) in FIXTURES {
        let file = TempDb::fixture(fixture);
        let lines = exported(&mut file.migrated());
        let Some(db) = PgDb::ours() else { return };
        let mut conn = db.connect();
        let done = conn.import(lines.as_bytes()).unwrap();
        assert!(if events > 0 { done.events == events } else { done.events > 50 }, "{done:?}");
        assert!(exported(&mut conn) == lines, "{fixture}: as it was in the file");
        // And back, and once more by way of the stores.
        let back = TempDb::ours();
        back.connect().import(exported(&mut conn).as_bytes()).unwrap();
        assert!(exported(&mut back.connect()) == lines, "{fixture}: as it was in the first file");
        assert_eq!(back.tables(), migrated_tables(fixture));

        let Some(other) = PgDb::new() else { return };
        let mut store = SessionStore::connect(&other.url()).unwrap();
        assert_eq!(store.import(std::io::Cursor::new(exported(&mut conn))).unwrap(), done);
        assert!(exported(&mut store) == lines);
        assert!(store.check().unwrap().undecodable.is_empty());
        // Importing again changes nothing.
        assert_eq!(conn.import(lines.as_bytes()).unwrap(), done);
        assert!(exported(&mut conn) == lines);
    }
}

fn migrated_tables(fixture: &str) -> [Vec<Vec<String>>; 2] {
    let file = TempDb::fixture(fixture);
    drop(file.migrated());
    file.tables()
}

#[test]
fn every_record_and_event_of_the_sdks_is_kept_byte_for_byte() {
    let file = TempDb::fixture("sdk-0.4.2.db");
    let mut from = file.migrated();
    let Some(db) = PgDb::ours() else { return };
    let mut to = db.connect();
    let sessions = from.list_sessions(&ListSessionsRequest::new()).unwrap().items;
    let mut count = 0;
    for stats in from.session_stats().unwrap() {
        let events: Result<Vec<_>, _> = from.events(ListEventsRequest::new(&stats.session_id)).collect();
        let events = events.unwrap();
        to.insert_events(&events).unwrap();
        let found: Result<Vec<_>, _> = to.events(ListEventsRequest::new(&stats.session_id).limit(3)).collect();
        assert!(found.unwrap() == events);
        count += events.len();
    }
    assert_eq!(count, 114);
    sessions.iter().for_each(|session| to.update_session(session).unwrap());
    assert!(to.list_sessions(&ListSessionsRequest::new()).unwrap().items == sessions);
    assert!(exported(&mut to) == exported(&mut from));
}

/// Moving on to a database of the reference driver's keeps what JSONB can hold.
#[test]
fn the_dumps_go_to_a_file_and_back() {
    for fixture in ["postgres-0.2", "postgres-0.4"] {
        let Some(db) = PgDb::fixture(&format!("{fixture}.sql")) else { return };
        let mut conn = db.connect();
        migrate(&mut conn).unwrap();
        let lines = exported(&mut conn);
        let file = TempDb::ours();
        let moved = file.connect().import(lines.as_bytes()).unwrap();
        assert_eq!(moved, Progress { sessions: moved.sessions, events: 102 });
        super::looking::assert_holds(&mut file.connect(), fixture);
        assert!(exported(&mut file.connect()) == lines);
        let Some(again) = PgDb::ours() else { return };
        again.connect().import(exported(&mut file.connect()).as_bytes()).unwrap();
        assert!(exported(&mut again.connect()) == lines);
    }
}

/// Ids that languages sort otherwise than bytes do.
const IDS: [&str; 14] = ["B", "a", "á", "Z", "A", "z", "😀", "-a", "a-", " a", "_", "10", "9", "é"];

fn fill(driver: &mut impl SessionPersistDriver) {
    for id in IDS {
        driver.update_session(&session(id)).unwrap();
        driver.insert_event(&event(id, "tied", 1)).unwrap();
        driver.insert_event(&event(&format!("{id}1"), id, 1)).unwrap();
    }
}

/// The ids in the order of both listings, forwards, by pages of 3.
fn listed(driver: &mut impl SessionPersistDriver) -> [Vec<String>; 2] {
    let (mut sessions, mut request) = (Vec::new(), ListSessionsRequest::new().limit(3));
    loop {
        let page = driver.list_sessions(&request).unwrap();
        sessions.extend(page.items.into_iter().map(|session| session.id));
        let Some(cursor) = page.next_cursor else { break };
        request = request.cursor(cursor);
    }
    let events = driver.events(ListEventsRequest::new("tied").limit(3)).map(|event| event.unwrap().id).collect();
    [sessions, events]
}

/// Tables of ours, and those of the reference driver's, whose index has the order of the database.
#[test]
fn ids_are_in_the_order_of_their_bytes_whatever_the_collation() {
    let (file, mut by_bytes) = (TempDb::ours(), IDS.map(str::to_owned).to_vec());
    by_bytes.sort();
    let mut sqlite = file.connect();
    fill(&mut sqlite);
    assert_eq!(listed(&mut sqlite), [by_bytes.clone(), by_bytes.clone()]);
    for is_theirs in [false, true] {
        let Some(db) = PgDb::in_english() else { return };
        let mut client = db.other();
        let sql = "SELECT string_agg(id, '' ORDER BY id) FROM unnest(ARRAY['B', 'a', 'Z']) AS u (id)";
        assert_eq!(super::looking::line(&mut client, sql), "aBZ", "the database's own order is another");
        if is_theirs {
            super::reference::Reference::start(client, "public", super::reference::Version::Overwrites);
        }
        let mut conn = db.connect();
        migrate(&mut conn).unwrap();
        fill(&mut conn);
        assert_eq!(listed(&mut conn), [by_bytes.clone(), by_bytes.clone()]);
        let latest: Vec<_> = conn.latest_events("tied", 3, None).unwrap().into_iter().map(|event| event.id).collect();
        assert_eq!(latest, by_bytes[11..]);
        if !is_theirs {
            assert!(exported(&mut conn) == exported(&mut sqlite));
            let other = TempDb::ours();
            other.connect().import(exported(&mut conn).as_bytes()).unwrap();
            assert!(exported(&mut other.connect()) == exported(&mut sqlite));
        }
        // A fork keeps the order.
        conn.fork_session("tied", None, &bare_session("fork")).unwrap();
        let forked: Vec<_> = conn.events(ListEventsRequest::new("fork")).map(|event| event.unwrap().id).collect();
        assert_eq!(forked, by_bytes.iter().map(|id| format!("fork:{id}")).collect::<Vec<_>>());
        assert_eq!(conn.append_events("tied", &[new_event("next")]).unwrap(), [2]);
    }
}

/// Old tables are numbered by their ids' bytes there too.
#[test]
fn old_events_are_numbered_in_the_order_of_their_bytes() {
    let Some(db) = PgDb::in_english() else { return };
    db.other()
        .batch_execute(
            "CREATE TABLE events (id TEXT PRIMARY KEY, session_id TEXT NOT NULL, created_at BIGINT NOT NULL,
                 connection_id TEXT NOT NULL, sender TEXT NOT NULL, payload_json JSONB NOT NULL);
             INSERT INTO events SELECT id, 'one', 1, 'c', 'agent', '1' FROM unnest(ARRAY['a', 'B', 'á', 'Z']) AS u (id)",
        )
        .unwrap();
    let mut conn = db.connect();
    migrate(&mut conn).unwrap();
    let events: Vec<_> = conn.events(ListEventsRequest::new("one")).map(Result::unwrap).collect();
    let events: Vec<_> = events.iter().map(|event| (event.event_index, &*event.id)).collect();
    assert_eq!(events, [(1, "B"), (2, "Z"), (3, "a"), (4, "á")]);
}

/// JSON of every spelling that a tree of values would lose, in each of the columns.
#[test]
fn every_spelling_is_kept() {
    let Some(db) = PgDb::ours() else { return };
    let (file, mut conn) = (TempDb::ours(), db.connect());
    let fill = |driver: &mut dyn FnMut(&SessionRecord, &[NewEvent])| {
        for (place, spelling) in [
            "null",
            " null",
            "1.0",
            "1e+21",
            "1e400",
            "-0",
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
            "\t\"\"",
            "1E5",
        ]
        .into_iter()
        .enumerate()
        {
            let id = format!("s{place}");
            let text = Some(json(spelling));
            let not_null = text.clone().filter(|text| text.get().trim() != "null");
            let record = with!(session(&id), session_init: not_null.clone(), config_options: not_null, modes: text);
            driver(&record, &[with!(new_event(&id), payload: json(spelling))]);
        }
    };
    let mut sqlite = file.connect();
    fill(&mut |record, events| {
        sqlite.update_session(record).unwrap();
        sqlite.append_events(&record.id, events).unwrap();
    });
    fill(&mut |record, events| {
        PgConnection::update_session(&mut conn, record).unwrap();
        assert_eq!(conn.get_session(&record.id).unwrap().as_ref(), Some(record));
        conn.append_events(&record.id, events).unwrap();
    });
    let lines = exported(&mut sqlite);
    assert!(exported(&mut conn) == lines);
    let Some(other) = PgDb::ours() else { return };
    other.connect().import(lines.as_bytes()).unwrap();
    assert!(exported(&mut other.connect()) == lines);
}

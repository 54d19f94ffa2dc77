//! Proves that a row which cannot be decoded hides no other: every listing has a way past it, in both directions. What can
//! be wrong with one on PostgreSQL is less than in a file: a sender, a time, and JSON in a column of text.

use agent_session_store::diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use agent_session_store::diesel::{Connection, PgConnection};
use agent_session_store::{
    Cursor, Error, Export, ListEventsRequest, ListPage, ListSessionsRequest, Selection, SessionPersistDriver,
    SessionStore,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::common::{PgDb, event, millis, session};

/// Tables whose JSON columns are texts, as a host's may be.
const TEXT_COLUMNS: &str =
    "ALTER TABLE sessions ALTER session_init_json TYPE TEXT, ALTER config_options_json TYPE TEXT,
        ALTER modes_json TYPE TEXT;
    ALTER TABLE events ALTER payload_json TYPE TEXT";

/// What can be wrong with a row: the change, and the column that is named.
const OF_EVENTS: [(&str, &str); 6] = [
    ("sender = 'nobody'", "sender"),
    ("sender = ''", "sender"),
    ("created_at = 9223372036854775807", "created_at"),
    ("created_at = -9223372036854775808", "created_at"),
    ("payload_json = '{'", "payload_json"),
    ("payload_json = ''", "payload_json"),
];
const OF_SESSIONS: [(&str, &str); 5] = [
    ("destroyed_at = 9223372036854775807", "destroyed_at"),
    ("created_at = created_at + 9223372036854775000", "created_at"),
    ("session_init_json = 'x'", "session_init_json"),
    ("config_options_json = '{'", "config_options_json"),
    ("modes_json = 'nul'", "modes_json"),
];

/// Ten events of one session and four sessions, with columns of text.
fn filled() -> Option<(PgDb, PgConnection)> {
    let db = PgDb::ours()?;
    let mut conn = db.connect();
    conn.batch_execute(TEXT_COLUMNS).unwrap();
    fill(&mut conn);
    Some((db, conn))
}

fn fill(conn: &mut PgConnection) {
    let all: Vec<_> = (0..10).map(|place| event(&format!("e{place}"), "one", place)).collect();
    conn.insert_events(&all).unwrap();
    for (place, id) in ["one", "two", "three", "four"].into_iter().enumerate() {
        conn.update_session(&with!(session(id), created_at: millis(place as i64))).unwrap();
    }
}

#[test]
fn an_error_names_the_row_and_the_column_and_says_where_the_listing_goes_on() {
    let Some((db, mut conn)) = filled() else { return };
    for (change, expected) in OF_EVENTS {
        conn.begin_test_transaction().unwrap();
        conn.batch_execute(&format!("UPDATE events SET {change} WHERE id = 'e3'")).unwrap();
        let request = ListEventsRequest::new("one");
        let Err(Error::Decode { table: "events", id, column, after: Some(after), .. }) = conn.list_events(&request)
        else {
            panic!("{change}")
        };
        assert_eq!((&*id, column), ("e3", expected), "{change}");
        // It is a cursor like any other, of this listing and of no other.
        let after: Cursor = after.to_string().parse().unwrap();
        assert!(conn.list_events(&ListEventsRequest::new("two").cursor(after.clone())).is_err());
        let page = conn.list_events(&request.clone().cursor(after)).unwrap();
        assert_eq!(page.items.first().map(|event| &*event.id), Some("e4"), "{change}");
        // The rows before it are on a shorter page.
        assert_eq!(conn.list_events(&request.clone().limit(3)).unwrap().items.len(), 3);
        // The newest events are the beginning of a descending listing.
        let Err(Error::Decode { id, after: Some(after), .. }) = conn.latest_events("one", 8, None) else { panic!() };
        assert_eq!(id, "e3");
        let page = conn.list_events(&request.clone().descending().cursor(after)).unwrap();
        assert_eq!(page.items.first().map(|event| &*event.id), Some("e2"));
        for request in [request.clone(), request.descending()] {
            let found: Vec<_> = conn.events(request.limit(4)).map(|event| event.is_ok()).collect();
            assert_eq!((found.len(), found.iter().filter(|is_ok| !**is_ok).count()), (10, 1), "{change}");
        }
        AnsiTransactionManager::rollback_transaction(&mut conn).unwrap();
    }
    for (change, expected) in OF_SESSIONS {
        conn.begin_test_transaction().unwrap();
        conn.batch_execute(&format!("UPDATE sessions SET {change} WHERE id = 'two'")).unwrap();
        let request = ListSessionsRequest::new();
        let Err(Error::Decode { table: "sessions", id, column, after: Some(after), .. }) = conn.list_sessions(&request)
        else {
            panic!("{change}")
        };
        assert_eq!((&*id, column), ("two", expected), "{change}");
        let rest = conn
            .list_sessions(&request.cursor(after.to_string().parse::<agent_session_store::Cursor>().unwrap()))
            .unwrap();
        assert_eq!(rest.items.len(), if expected == "created_at" { 0 } else { 2 }, "{change}");
        // Only a listing goes on.
        assert!(matches!(conn.get_session("two"), Err(Error::Decode { after: None, .. })));
        AnsiTransactionManager::rollback_transaction(&mut conn).unwrap();
    }
    let store = SessionStore::connect(&db.url()).unwrap();
    conn.batch_execute("UPDATE events SET sender = 'nobody' WHERE id IN ('e3', 'e4')").unwrap();
    let found: Vec<_> = store.events(ListEventsRequest::new("one").limit(4)).map(|event| event.is_ok()).collect();
    assert_eq!(found, [true, true, true, false, false, true, true, true, true, true]);
}

/// No error quotes what is stored.
#[test]
fn an_error_does_not_show_the_value() {
    let Some((_db, mut conn)) = filled() else { return };
    for column in ["sender", "payload_json"] {
        conn.batch_execute(&format!("UPDATE events SET {column} = 'hunter2' WHERE id = 'e3'")).unwrap();
        let error = conn.list_events(&ListEventsRequest::new("one")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        assert!(!conn.check().unwrap().undecodable.concat().contains("hunter2"));
        conn.insert_event(&event("e3", "one", 3)).unwrap();
    }
}

#[test]
fn the_other_verbs_do_not_mind_or_say_so() {
    let Some((_db, mut conn)) = filled() else { return };
    conn.batch_execute("UPDATE events SET payload_json = '{', sender = 'nobody' WHERE id = 'e3'").unwrap();
    assert_eq!(conn.last_event_index("one").unwrap(), Some(9));
    assert_eq!(conn.session_stats().unwrap().iter().map(|stats| stats.events).sum::<i64>(), 10);
    // A copy is as broken as the row.
    assert_eq!(conn.fork_session("one", Some(5), &session("copy")).unwrap(), 6);
    assert_eq!(conn.check().unwrap().undecodable.len(), 2);
    // A retry that meets it cannot tell whether it is the same, and says why.
    let same = with!(crate::common::new_event("e3"), id: "e3".to_owned());
    assert!(matches!(conn.append_events("one", &[same]), Err(Error::Decode { .. })));
    // Overwritten, it is sound.
    conn.insert_event(&event("e3", "one", 3)).unwrap();
    assert!(conn.delete_session("copy").unwrap());
    assert!(conn.check().unwrap().is_sound());
}

/// All rows of a listing, by pages of this size, as the documentation says how.
fn walk<T>(
    limit: u32,
    mut list: impl FnMut(u32, Option<Cursor>) -> Result<ListPage<T>, Error>,
    id: impl Fn(&T) -> String,
) -> Vec<String> {
    let (mut names, mut rows, mut cursor) = (Vec::new(), limit, None::<Cursor>);
    loop {
        match list(rows, cursor.clone()) {
            Ok(page) => {
                names.extend(page.items.iter().map(&id));
                let Some(next) = page.next_cursor else { return names };
                cursor = Some(next);
            }
            Err(Error::Decode { after: Some(_), .. }) if rows > 1 => rows = 1,
            Err(Error::Decode { id, after: Some(after), .. }) => {
                assert_ne!(cursor, Some(after.clone()), "it goes on");
                names.push(id);
                (rows, cursor) = (limit, Some(after));
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn every_row_of_every_listing_is_found_once_and_in_order() {
    let Some((_db, conn)) = filled() else { return };
    let conn = std::cell::RefCell::new(conn);
    let broken = prop::collection::vec((0..10_usize, prop::sample::select(OF_EVENTS.to_vec())), 0..8);
    let of_sessions = prop::collection::vec((0..4_usize, prop::sample::select(OF_SESSIONS.to_vec())), 0..4);
    let config = ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&(broken, of_sessions, 1..7_u32), |(events, sessions, limit)| {
        let conn = &mut *conn.borrow_mut();
        conn.batch_execute("TRUNCATE events, sessions, event_heads").unwrap();
        fill(conn);
        for (place, (change, _)) in events {
            conn.batch_execute(&format!("UPDATE events SET {change} WHERE id = 'e{place}'")).unwrap();
        }
        for (place, (change, _)) in sessions {
            // Where it is broken in this way already, the time would be out of the column's range too.
            let once = format!("UPDATE sessions SET {change} WHERE created_at = {place}");
            conn.batch_execute(&once).unwrap();
        }
        let expected: Vec<_> = (0..10).map(|place| format!("e{place}")).collect();
        for is_descending in [false, true] {
            let request = |rows, cursor: Option<Cursor>| {
                let request = ListEventsRequest::new("one").limit(rows);
                let request = if is_descending { request.descending() } else { request };
                match cursor {
                    Some(cursor) => request.cursor(cursor),
                    None => request,
                }
            };
            let mut walked =
                walk(limit, |rows, cursor| conn.list_events(&request(rows, cursor)), |event| event.id.clone());
            if is_descending {
                walked.reverse();
            }
            prop_assert_eq!(&walked, &expected);
            let sessions = |rows, cursor: Option<Cursor>| {
                let request = ListSessionsRequest::new().limit(rows);
                let request = if is_descending { request.descending() } else { request };
                match cursor {
                    Some(cursor) => request.cursor(cursor),
                    None => request,
                }
            };
            let mut walked =
                walk(limit, |rows, cursor| conn.list_sessions(&sessions(rows, cursor)), |found| found.id.clone());
            walked.sort();
            prop_assert_eq!(&walked, &["four", "one", "three", "two"]);
        }
        // Each of them is found by a check, by the same name; what can be exported can be imported, and the rest is told.
        let report = conn.check().unwrap();
        let broken = conn.events(ListEventsRequest::new("one")).filter(Result::is_err).count();
        let named = report.undecodable.iter().filter(|line| line.contains("of the events row")).count();
        prop_assert_eq!(broken, named);
        let (mut lines, mut left_out) = (Vec::new(), 0);
        let done = conn.export(&mut lines, Export::of(Selection::all()).skip_undecodable(|_| left_out += 1)).unwrap();
        prop_assert_eq!(left_out, report.undecodable.len());
        prop_assert_eq!(done.events, 10 - broken as u64);
        let mut file = crate::common::in_memory();
        prop_assert_eq!(file.import(&*lines).unwrap(), done);
        if left_out > 0 {
            let is_told = matches!(conn.export(std::io::sink(), Selection::all()), Err(Error::Decode { .. }));
            prop_assert!(is_told);
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

//! Proves that a row which cannot be decoded hides no other: every listing has a way past it, in both directions,
//! whatever is wrong with it.

use agent_session_store::diesel::prelude::*;
use agent_session_store::schema::{events, sessions};
use agent_session_store::{
    Cursor, Error, Export, ListEventsRequest, ListPage, ListSessionsRequest, Selection, SessionEvent,
    SessionPersistDriver, SessionRecord,
};
use proptest::prelude::*;
use rusqlite::types::ValueRef;

use crate::common::rows::printed;
use crate::common::{Statements, TempDb, event, millis, session};

/// Values of every type, as SQL spells them: few numbers, so that many rows share one, and everything that is none.
fn any_key() -> impl Strategy<Value = String> {
    let keys = ["1", "1", "1", "2", "-9223372036854775808", "NULL", "1.5", "'x'", "'5'", "''", "x''", "x'31'"];
    prop::sample::select(keys.to_vec()).prop_map(str::to_owned)
}

/// Any number of rows may be without an id.
fn any_id() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("NULL".to_owned()),
        4 => "[a-cé😀]{1,2}".prop_map(|id| format!("'{id}'")),
        1 => (0..9_u8).prop_map(|id| id.to_string()),
        2 => (0..9).prop_map(|id| format!("CAST(x'6{id}ff' AS TEXT)")),
        2 => (0..9).prop_map(|id| format!("x'6{id}'")),
    ]
}

/// A row: its key, its id, and whether something else is wrong with it.
type Row = (String, String, bool);

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    prop::collection::vec((any_key(), any_id(), prop::bool::weighted(0.2)), 0..16)
}

/// A database whose tables hold these rows and, like a damaged one, whatever they hold, declare their columns as ever.
/// With the names of the rows, in the order of SQLite's values: of the events of the session `one` and of the sessions.
fn database(given: &[Row]) -> (TempDb, Vec<String>) {
    let db = TempDb::ours();
    let plain = db.plain();
    let declared = rows_of(&plain, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid");
    plain
        .execute_batch(
            "PRAGMA synchronous = OFF; DROP TABLE events; DROP TABLE sessions; \
             CREATE TABLE sessions (id PRIMARY KEY, agent, agent_session_id, last_connection_id, created_at, \
                 destroyed_at, sandbox_id, session_init_json, config_options_json, modes_json); \
             CREATE TABLE events (id PRIMARY KEY, event_index, session_id, created_at, connection_id, sender, \
                 payload_json)",
        )
        .unwrap();
    for sql in declared.iter().filter(|sql| sql.starts_with("CREATE INDEX")) {
        plain.execute_batch(sql).unwrap();
    }
    for (key, id, is_broken) in given {
        let json = if *is_broken { "'{'" } else { "'{}'" };
        // An id that is there already stays the only one.
        plain
            .execute_batch(&format!(
                "INSERT OR IGNORE INTO events VALUES ({id}, {key}, 'one', 0, 'c', 'agent', {json}); \
                 INSERT OR IGNORE INTO sessions VALUES ({id}, 'a', 'a', 'c', {key}, NULL, NULL, {json}, NULL, NULL)"
            ))
            .unwrap();
    }
    let in_order = rows_of(
        &plain,
        "SELECT CASE typeof(id) WHEN 'null' THEN 'NULL (rowid ' || rowid || ')' ELSE CAST(id AS BLOB) END \
         FROM events ORDER BY event_index, id, rowid",
    );
    plain.execute_batch("PRAGMA writable_schema = ON").unwrap();
    for name in ["sessions", "events"] {
        let sql = declared.iter().find(|sql| sql.starts_with("CREATE TABLE") && sql.contains(name)).unwrap();
        plain.execute("UPDATE sqlite_master SET sql = ?1 WHERE name = ?2", [sql.as_str(), name]).unwrap();
    }
    plain.execute_batch("PRAGMA writable_schema = RESET").unwrap();
    (db, in_order)
}

/// One column, where BLOBs are shown as errors show them.
fn rows_of(plain: &rusqlite::Connection, sql: &str) -> Vec<String> {
    let shown = |value: ValueRef<'_>| match value {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    };
    printed(plain, sql, shown).concat()
}

/// The id of a row that was listed, or the name of one that could not be.
fn name<T>(item: Result<T, Error>, id: impl Fn(&T) -> String) -> String {
    match item {
        Ok(row) => id(&row),
        Err(Error::Decode { id, after: Some(_), .. }) => id,
        Err(error) => panic!("{error:?}"),
    }
}

/// All rows of a listing, by pages of this size, as the documentation says how.
fn walk<T>(
    limit: u32,
    mut list: impl FnMut(u32, Option<Cursor>) -> Result<ListPage<T>, Error>,
    id: impl Fn(&T) -> String,
) -> Vec<String> {
    let (mut names, mut rows, mut cursor) = (Vec::new(), limit, None::<Cursor>);
    loop {
        // Every cursor goes the way a client would send it.
        cursor = cursor.map(|cursor| cursor.to_string().parse().unwrap());
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

/// SQLite takes TRUE for a column's name where there is one.
#[test]
fn a_column_that_is_named_true_hides_no_row() {
    let db = TempDb::ours();
    let mut conn = db.connect();
    for index in 1..=3 {
        conn.insert_event(&event(&format!("e{index}"), "one", index)).unwrap();
    }
    let plain = db.plain();
    plain.execute_batch("ALTER TABLE events ADD COLUMN \"true\" INTEGER DEFAULT 0").unwrap();
    plain.execute_batch("UPDATE events SET payload_json = '{' WHERE id = 'e1'").unwrap();
    let found: Vec<_> = conn.events(ListEventsRequest::new("one")).map(|event| event.is_ok()).collect();
    assert_eq!(found, [false, true, true]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_row_of_every_listing_is_found_once_and_in_order(given in any_rows(), limit in 1..7_u32) {
        let (db, mut expected) = database(&given);
        let mut conn = db.connect();
        for is_descending in [false, true] {
            let events = || {
                let request = ListEventsRequest::new("one");
                if is_descending { request.descending() } else { request }
            };
            let sessions = || {
                let request = ListSessionsRequest::new();
                if is_descending { request.descending() } else { request }
            };
            let of_event = |event: &SessionEvent| event.id.clone();
            let iterated: Vec<_> = conn.events(events().limit(limit)).map(|event| name(event, of_event)).collect();
            prop_assert_eq!(&iterated, &expected, "iterated, descending: {}", is_descending);
            let walked = walk(limit, |rows, cursor| {
                let request = events().limit(rows);
                conn.list_events(&match cursor { Some(cursor) => request.cursor(cursor), None => request })
            }, of_event);
            prop_assert_eq!(&walked, &expected, "events, descending: {}", is_descending);
            let walked = walk(limit, |rows, cursor| {
                let request = sessions().limit(rows);
                conn.list_sessions(&match cursor { Some(cursor) => request.cursor(cursor), None => request })
            }, |session: &SessionRecord| session.id.clone());
            prop_assert_eq!(&walked, &expected, "sessions, descending: {}", is_descending);
            expected.reverse();
        }
        // Each of them is found by a check, by the same name.
        let report = conn.check().unwrap();
        for table in ["events", "sessions"] {
            let found = report.undecodable.iter().filter(|line| line.contains(&format!("of the {table} row"))).count();
            let listed = if table == "events" {
                conn.events(ListEventsRequest::new("one")).filter(Result::is_err).count()
            } else {
                found
            };
            prop_assert_eq!(found, listed);
        }
        // What can be exported can be imported, and the rest was told.
        let (mut lines, mut left_out) = (Vec::new(), 0);
        let done = conn.export(&mut lines, Export::of(Selection::all()).skip_undecodable(|_| left_out += 1)).unwrap();
        prop_assert_eq!(left_out, report.undecodable.len());
        prop_assert_eq!(TempDb::ours().connect().import(&*lines).unwrap(), done);
    }
}

/// Ten events of one session, of which these cannot be decoded, and four sessions.
pub(super) fn ten(broken: &str) -> (TempDb, SqliteConnection) {
    let db = TempDb::ours();
    let mut conn = db.connect();
    let all: Vec<_> = (0..10).map(|place| event(&format!("e{place}"), "one", place)).collect();
    conn.insert_events(&all).unwrap();
    for (place, id) in ["one", "two", "three", "four"].into_iter().enumerate() {
        conn.update_session(&with!(session(id), created_at: millis(place as i64))).unwrap();
    }
    db.plain().execute_batch(&format!("UPDATE events SET sender = 'nobody' WHERE id IN ({broken})")).unwrap();
    (db, conn)
}

#[test]
fn a_page_fails_and_its_error_says_where_the_listing_goes_on() {
    let (db, mut conn) = ten("'e3', 'e4'");
    let after = |result: Result<ListPage<SessionEvent>, Error>| match result {
        Err(Error::Decode { table: "events", id, column: "sender", after: Some(after), .. }) => (id, after),
        other => panic!("{other:?}"),
    };
    let request = ListEventsRequest::new("one");
    let (id, cursor) = after(conn.list_events(&request));
    assert_eq!(id, "e3");
    // It is a cursor like any other, of this listing and of no other.
    assert!(conn.list_events(&ListEventsRequest::new("two").cursor(cursor.clone())).is_err());
    let (id, cursor) = after(conn.list_events(&request.clone().cursor(cursor)));
    assert_eq!(id, "e4");
    let page = conn
        .list_events(&request.clone().cursor(cursor.to_string().parse::<agent_session_store::Cursor>().unwrap()))
        .unwrap();
    assert_eq!(page.items.first().map(|event| &*event.id), Some("e5"));
    // The rows before it are on a shorter page.
    assert_eq!(conn.list_events(&request.limit(3)).unwrap().items.len(), 3);

    // The newest events are the beginning of a descending listing.
    let Err(Error::Decode { id, after: Some(cursor), .. }) = conn.latest_events("one", 7, None) else { panic!() };
    assert_eq!(id, "e4");
    let (id, _) = after(conn.list_events(&ListEventsRequest::new("one").descending().cursor(cursor)));
    assert_eq!(id, "e3");

    db.plain().execute_batch("UPDATE sessions SET created_at = 'x', modes_json = '{' WHERE id = 'two'").unwrap();
    let Err(Error::Decode { table: "sessions", id, after: Some(cursor), .. }) =
        conn.list_sessions(&ListSessionsRequest::new())
    else {
        panic!()
    };
    assert_eq!(id, "two");
    assert!(conn.list_sessions(&ListSessionsRequest::new().cursor(cursor)).unwrap().items.is_empty());
    // Only a listing goes on.
    assert!(matches!(conn.get_session("two"), Err(Error::Decode { after: None, .. })));
}

/// What a row that cannot be decoded costs does not grow with the session.
#[test]
fn the_way_past_a_row_takes_few_pages() {
    let (db, mut conn) = ten("'e5'");
    let many: Vec<_> = (10..3_000).map(|place| event(&format!("e{place}"), "one", place)).collect();
    conn.insert_events(&many).unwrap();
    db.plain().execute_batch("UPDATE events SET payload_json = '[' WHERE id IN ('e1234', 'e2999')").unwrap();
    let statements = Statements::of(&mut conn);
    let results: Vec<_> = conn.events(ListEventsRequest::new("one").limit(1_000)).map(|event| event.is_ok()).collect();
    assert_eq!(results.iter().filter(|is_ok| !**is_ok).count(), 3);
    assert_eq!(results.len(), 3_000);
    assert_eq!([results[5], results[1234], results[2999]], [false; 3]);
    // A thousand rows are halved ten times; a page that fails takes the plain statement and the exact one.
    let run = statements.take_run();
    assert!(run.len() < 150, "{}", run.len());
}

/// The future of the next event may be dropped at any time, also where the walk is on its way past a row.
#[cfg(feature = "async")]
#[test]
fn a_task_that_gives_up_waiting_loses_no_event() {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use agent_session_store::{AsyncSessionStore, SessionStore};

    use crate::common::tasks::block_on;

    let (db, _) = ten("'e0', 'e3', 'e4', 'e9'");
    let store = AsyncSessionStore::from(SessionStore::open(db.path()).unwrap());
    for dropped in 0..4 {
        let mut events = store.events(ListEventsRequest::new("one").limit(4));
        let mut found = Vec::new();
        'all: loop {
            for _ in 0..dropped {
                let polled = pin!(events.next()).poll(&mut Context::from_waker(Waker::noop()));
                if let std::task::Poll::Ready(item) = polled {
                    match item.transpose() {
                        Some(item) => found.push(name(item, |event| event.id.clone())),
                        None => break 'all,
                    }
                }
            }
            match block_on(events.next()).transpose() {
                Some(item) => found.push(name(item, |event| event.id.clone())),
                None => break,
            }
        }
        assert_eq!(found, (0..10).map(|place| format!("e{place}")).collect::<Vec<_>>(), "{dropped}");
    }
}

/// Whether a session exists, is asked by an outer join; a row of NULLs is no row there, and one for a check.
#[test]
fn a_row_of_nulls_is_found_by_a_check_and_is_none_in_an_outer_join() {
    let (db, mut conn) = ten("''");
    db.plain()
        .execute_batch(
            "PRAGMA writable_schema = ON; \
             UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE name IN ('sessions', 'events'); \
             PRAGMA writable_schema = RESET; INSERT INTO sessions (id) VALUES (NULL), (NULL); \
             INSERT INTO events (id) VALUES (NULL); INSERT INTO events SELECT 'x', 1, 'gone', 0, 'c', 'agent', '1'",
        )
        .unwrap();
    let report = conn.check().unwrap();
    assert_eq!(report.undecodable.len(), 3, "{report:?}");
    for (line, row) in
        report.undecodable.iter().zip(["sessions row with id \"NULL (rowid 5)\"", "sessions", "events row"])
    {
        assert!(line.contains(row), "{line}");
    }
    let mut listed = Vec::new();
    let mut request = ListSessionsRequest::new();
    while let Err(Error::Decode { id, after, .. }) = conn.list_sessions(&request) {
        listed.push(id);
        request = request.cursor(after.unwrap());
    }
    assert_eq!(listed, ["NULL (rowid 5)", "NULL (rowid 6)"]);
    assert_eq!(conn.list_sessions(&request).unwrap().items.len(), 4);
    assert_eq!(conn.session_stats().unwrap().iter().map(|session| session.events).sum::<i64>(), 12);

    let joined: Vec<(String, Option<SessionRecord>)> = events::table
        .left_join(sessions::table.on(sessions::id.eq(events::session_id)))
        .filter(events::id.eq_any(["x", "e1"]))
        .order(events::id)
        .select((events::id, Option::<SessionRecord>::as_select()))
        .load(&mut conn)
        .unwrap();
    let joined: Vec<_> = joined.iter().map(|(id, session)| (&**id, session.is_some())).collect();
    assert_eq!(joined, [("e1", true), ("x", false)]);
}

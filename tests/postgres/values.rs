//! Values at the edge: what PostgreSQL cannot hold is refused with an error that says so, and everything else is kept.

use agent_session_store::diesel::prelude::*;
use agent_session_store::{Error, ListEventsRequest, ListSessionsRequest, SessionPersistDriver, SessionStore};

use super::looking::dump;
use crate::common::{PgDb, Random, event, json, millis, new_event, session};

fn assert_not_storable<T: std::fmt::Debug>(result: Result<T, Error>, words: &str) {
    match result {
        Err(error @ Error::NotStorable { .. }) => assert!(error.to_string().contains(words), "{error}"),
        other => panic!("{other:?}, not {words}"),
    }
}

/// A text that does not compress.
fn noise(length: usize) -> String {
    let mut random = Random::new(7);
    (0..length).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
}

/// JSON that is nested so deeply.
fn nested(depth: usize, open: &str, close: &str) -> String {
    [open.repeat(depth), "1".to_owned(), close.repeat(depth)].concat()
}

/// Each verb that writes, with a text in each of the places that it has.
fn refuse_everywhere(driver: &mut impl SessionPersistDriver, text: &str, words: &str) {
    let text = || text.to_owned();
    for record in [
        with!(session("x"), id: text()),
        with!(session("x"), agent: text()),
        with!(session("x"), agent_session_id: text()),
        with!(session("x"), last_connection_id: text()),
        with!(session("x"), sandbox_id: Some(text())),
    ] {
        assert_not_storable(driver.update_session(&record), words);
    }
    for odd in [
        with!(event("x", "x", 1), id: text()),
        with!(event("x", "x", 1), session_id: text()),
        with!(event("x", "x", 1), connection_id: text()),
    ] {
        assert_not_storable(driver.insert_event(&odd), words);
        assert_not_storable(driver.insert_events(&[event("before", "x", 1), odd]), words);
    }
    for new in [with!(new_event("x"), id: text()), with!(new_event("x"), connection_id: text())] {
        assert_not_storable(driver.append_events("x", &[new_event("before"), new]), words);
    }
    assert_not_storable(driver.append_events(&text(), &[new_event("x")]), words);
}

#[test]
fn a_nul_in_a_text_is_refused() {
    let Some(db) = PgDb::ours() else { return };
    let (mut conn, mut store) = (db.connect(), SessionStore::connect(&db.url()).unwrap());
    let before = dump(&mut db.other(), "public");
    for text in ["\0", "a\0b", "a\0"] {
        refuse_everywhere(&mut conn, text, "PostgreSQL stores no NUL character in a text");
        refuse_everywhere(&mut store, text, "PostgreSQL stores no NUL character in a text");
    }
    assert_eq!(dump(&mut db.other(), "public"), before);
    // Nothing is there by such a name, so asking for it is an error of the same kind and no other.
    assert_not_storable(conn.get_session("a\0b"), "NUL");
    assert_not_storable(conn.list_events(&ListEventsRequest::new("a\0b")), "NUL");
    // In the caller's transaction it ends only itself.
    conn.transaction::<_, Error, _>(|conn| {
        conn.append_events("one", &[new_event("a")])?;
        assert_not_storable(conn.append_events("one", &[with!(new_event("x"), id: "\0".to_owned())]), "NUL");
        assert_eq!(conn.append_events("one", &[new_event("b")])?, [2]);
        Ok(())
    })
    .unwrap();
    // As JSON's escape it is a value like any other.
    let escaped = with!(new_event("c"), payload: json(r#""\u0000""#));
    assert_eq!(store.append_events("one", &[escaped]).unwrap(), [3]);
}

#[test]
fn json_that_is_nested_too_deeply_is_refused_and_what_is_less_deep_kept() {
    let Some(db) = PgDb::ours() else { return };
    let (mut conn, store) = (db.connect(), SessionStore::connect(&db.url()).unwrap());
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let payload = |depth| with!(new_event(&format!("{open}{depth}")), payload: json(&nested(depth, open, close)));
        let deep = payload(100_000);
        let record = with!(session("deep"), modes: Some(deep.payload.clone()));
        assert_not_storable(conn.append_events("deep", std::slice::from_ref(&deep)), "nested more deeply");
        assert_not_storable(store.append_events("deep", std::slice::from_ref(&deep)), "nested more deeply");
        assert_not_storable(conn.update_session(&record), "nested more deeply");
        let kept = payload(5_000);
        conn.append_events("deep", std::slice::from_ref(&kept)).unwrap();
        let found = store.latest_events("deep", 1, None).unwrap();
        assert!(found[0].payload == kept.payload);
    }
    assert_eq!(store.last_event_index("deep").unwrap(), Some(2));
}

#[test]
fn an_id_that_no_index_can_hold_is_refused() {
    let Some(db) = PgDb::ours() else { return };
    let (mut conn, store) = (db.connect(), SessionStore::connect(&db.url()).unwrap());
    let before = dump(&mut db.other(), "public");
    let long = noise(12_000);
    let words = "longer than PostgreSQL's indexes can hold";
    assert_not_storable(conn.update_session(&session(&long)), words);
    assert_not_storable(conn.update_session(&with!(session("one"), agent: long.clone())), "agent's name");
    assert_not_storable(store.update_session(&with!(session("one"), sandbox_id: Some(long.clone()))), words);
    assert_not_storable(conn.insert_event(&event(&long, "one", 1)), words);
    assert_not_storable(conn.append_events("one", &[new_event("before"), new_event(&long)]), words);
    assert_not_storable(conn.append_events(&long, &[new_event("x")]), words);
    assert_not_storable(store.append_events("one", &[new_event("before"), new_event(&long)]), words);
    assert_not_storable(store.insert_event(&event(&long, "one", 1)), words);
    assert_eq!(dump(&mut db.other(), "public"), before);
    // What fits is kept, also where two of them are in one index.
    let fits = noise(1_200);
    store.update_session(&session(&fits)).unwrap();
    store.insert_event(&event(&fits, &fits, 1)).unwrap();
    assert_eq!(store.list_sessions(&ListSessionsRequest::new()).unwrap().items, [session(&fits)]);
    assert_eq!(store.list_events(&ListEventsRequest::new(&fits)).unwrap().items, [event(&fits, &fits, 1)]);
    // Of 3,000 bytes, only one that compresses: PostgreSQL's index keeps it shorter.
    let even = "ab".repeat(1_500);
    conn.insert_event(&event(&even, "two", 1)).unwrap();
    assert_not_storable(conn.insert_event(&event(&noise(3_000), "two", 1)), words);
    assert_eq!(conn.list_events(&ListEventsRequest::new("two")).unwrap().items, [event(&even, "two", 1)]);
}

#[test]
fn a_large_payload_is_kept() {
    let Some(db) = PgDb::ours() else { return };
    let (mut conn, store) = (db.connect(), SessionStore::connect(&db.url()).unwrap());
    let payload = json(&format!("\"{}\"", noise(10 << 20)));
    let large = with!(new_event("large"), payload: payload.clone());
    assert_eq!(conn.append_events("one", std::slice::from_ref(&large)).unwrap(), [1]);
    assert_eq!(store.append_events("one", &[large, new_event("small")]).unwrap(), [1, 2]);
    let page = store.list_events(&ListEventsRequest::new("one").max_bytes(1 << 20)).unwrap();
    assert!(page.items.len() == 1 && page.items[0].payload == payload);
    let mut lines = Vec::new();
    store.export(&mut lines, agent_session_store::Selection::all()).unwrap();
    let Some(other) = PgDb::ours() else { return };
    other.connect().import(&*lines).unwrap();
    assert!(other.connect().latest_events("one", 2, None).unwrap()[0].payload == payload);
}

#[test]
fn extreme_indexes_and_times_are_kept_and_ordered() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    let times = [-8_334_601_228_800_000, -1, 0, 1_700_000_000_000, 8_210_266_876_799_999].map(millis);
    let indexes = [i64::MIN, -1, 0, 1, i64::MAX];
    let mut events = Vec::new();
    for (place, (index, created_at)) in indexes.into_iter().zip(times).enumerate() {
        events.push(with!(event(&format!("e{place}"), "one", 1), created_at: created_at, event_index: index));
        let destroyed_at = Some(created_at);
        conn.update_session(&with!(session(&format!("s{place}")), created_at: created_at, destroyed_at: destroyed_at))
            .unwrap();
    }
    conn.insert_events(&events).unwrap();
    for limit in 1..=5 {
        let found: Result<Vec<_>, _> = conn.events(ListEventsRequest::new("one").limit(limit)).collect();
        assert_eq!(found.unwrap(), events);
        let (mut found, mut request) = (Vec::new(), ListSessionsRequest::new().limit(limit));
        while let Some(cursor) = {
            let page = conn.list_sessions(&request).unwrap();
            found.extend(page.items.into_iter().map(|session| session.created_at));
            page.next_cursor
        } {
            request = request.cursor(cursor);
        }
        assert_eq!(found, times);
    }
    assert_eq!(conn.last_event_index("one").unwrap(), Some(i64::MAX));
    assert!(matches!(conn.append_events("one", &[new_event("x")]), Err(Error::IndexesExhausted { .. })));
    let store = SessionStore::connect(&db.url()).unwrap();
    assert!(matches!(store.append_events("one", &[new_event("x")]), Err(Error::IndexesExhausted { .. })));
    // Below zero it goes on as well.
    conn.insert_event(&with!(event("low", "two", 1), event_index: i64::MIN)).unwrap();
    assert_eq!(store.append_events("two", &[new_event("next")]).unwrap(), [i64::MIN + 1]);
    conn.insert_event(&with!(event("near", "three", 1), event_index: i64::MAX - 2)).unwrap();
    let three = ["a", "b", "c"].map(new_event);
    assert!(matches!(store.append_events("three", &three), Err(Error::IndexesExhausted { .. })));
    assert_eq!(store.append_events("three", &three[..2]).unwrap(), [i64::MAX - 1, i64::MAX]);
}

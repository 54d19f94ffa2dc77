//! JSONB columns, which a database of the reference driver's has: what they cannot hold is a clear error, what they change
//! is no other event, and they can be turned into JSON, also while a store is open.

use agent_session_store::diesel::PgConnection;
use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{
    Error, ListEventsRequest, ListSessionsRequest, SessionEvent, SessionPersistDriver, SessionRecord, SessionStore,
    convert_jsonb, migrate,
};

use super::looking::{assert_holds, columns, dump, line, lines};
use crate::common::{PgDb, TempDb, event, json, new_event, session};

/// A database that the reference driver made.
fn theirs() -> Option<(PgDb, PgConnection)> {
    let db = PgDb::fixture("postgres-0.4.sql")?;
    let mut conn = db.connect();
    migrate(&mut conn).unwrap();
    Some((db, conn))
}

/// JSON that JSONB refuses, and the words that say so.
const REFUSED: [(&str, &str); 5] = [
    (r#""\u0000""#, "JSONB, which cannot hold \\u0000"),
    (r#"{"a":["b\u0000c"]}"#, "JSONB, which cannot hold \\u0000"),
    (r#"{"half":"\ud83d"}"#, "JSONB, which cannot hold half a surrogate pair"),
    (r#""\ude00\ud83d""#, "JSONB, which cannot hold half a surrogate pair"),
    ("[1e131072]", "JSONB, which cannot hold so large a number"),
];

fn assert_not_storable<T: std::fmt::Debug>(result: Result<T, Error>, words: &str) {
    match result {
        Err(error @ Error::NotStorable { .. }) => {
            let said = error.to_string();
            assert!(said.contains(words) && said.contains("JSON can"), "{said}");
        }
        other => panic!("{other:?}, not {words}"),
    }
}

#[test]
fn what_jsonb_cannot_hold_is_refused_in_so_many_words() {
    let Some((db, mut conn)) = theirs() else { return };
    let store = SessionStore::connect(&db.url()).unwrap();
    let before = dump(&mut db.other(), "public");
    for (payload, words) in REFUSED {
        let new = with!(new_event("new"), payload: json(payload));
        let stored = with!(event("new", "plain", 1), payload: json(payload));
        let record = with!(session("plain"), modes: Some(json(payload)));
        assert_not_storable(conn.append_events("plain", &[new_event("before"), new.clone()]), words);
        assert_not_storable(conn.insert_event(&stored), words);
        assert_not_storable(conn.insert_events(&[event("before", "plain", 1), stored.clone()]), words);
        assert_not_storable(conn.update_session(&record), words);
        assert_not_storable(store.append_events("plain", &[new_event("before"), new.clone()]), words);
        assert_not_storable(store.insert_event(&stored), words);
        assert_not_storable(store.update_session(&record), words);
        // Nothing was written.
        assert_eq!(dump(&mut db.other(), "public"), before);
    }
    // A call that waits beside a refused one is not refused with it.
    std::thread::scope(|scope| {
        for place in 0..16 {
            let store = &store;
            scope.spawn(move || {
                let id = format!("beside-{place}");
                if place % 2 == 0 {
                    store.append_events("beside", &[new_event(&id)]).unwrap();
                } else {
                    let refused = with!(new_event(&id), payload: json(REFUSED[0].0));
                    assert_not_storable(store.append_events("beside", &[refused]), REFUSED[0].1);
                }
            });
        }
    });
    assert_eq!(store.last_event_index("beside").unwrap(), Some(8));
}

#[test]
fn a_refusal_inside_the_callers_transaction_ends_only_itself() {
    use agent_session_store::diesel::Connection;

    let Some((_db, mut conn)) = theirs() else { return };
    conn.transaction::<_, Error, _>(|conn| {
        conn.append_events("tx", &[new_event("a")])?;
        let refused = with!(new_event("b"), payload: json(REFUSED[0].0));
        assert_not_storable(conn.append_events("tx", &[refused]), REFUSED[0].1);
        assert_eq!(conn.append_events("tx", &[new_event("c")])?, [2]);
        Ok(())
    })
    .unwrap();
    assert_eq!(conn.last_event_index("tx").unwrap(), Some(2));
}

/// The same payload in another spelling, as JSONB gives it back or as the client had it.
#[test]
fn a_retry_finds_its_event_in_whatever_spelling() {
    let spellings = [
        r#"{"method":"x","id":1,"params":{"b":[1,2],"a":"é"}}"#,
        r#"{"id": 1, "method": "x", "params": {"a": "é", "b": [1, 2]}}"#,
        "{ \"params\":{\"a\":\"\\u00e9\",\"b\":[1 ,2]},\n\"id\":1,\"method\":\"x\" }",
        r#"{"id":2,"id":1,"method":"x","params":{"a":"é","b":[1,2]}}"#,
    ];
    let Some((db, mut conn)) = theirs() else { return };
    let store = SessionStore::connect(&db.url()).unwrap();
    let with = |payload: &str| with!(new_event("retried"), payload: json(payload));
    assert_eq!(conn.append_events("retry", &[new_event("first"), with(spellings[0])]).unwrap(), [1, 2]);
    for payload in spellings {
        assert_eq!(conn.append_events("retry", &[with(payload)]).unwrap(), [2], "{payload}");
        assert_eq!(store.append_events("retry", &[with(payload), new_event("first")]).unwrap(), [2, 1], "{payload}");
        assert_eq!(store.append_events_after("retry", 0, &[with(payload)]).unwrap(), [2]);
    }
    for other in [r#"{"id":1}"#, r#"{"method":"x","id":"1","params":{"b":[1,2],"a":"é"}}"#, "null"] {
        assert!(matches!(conn.append_events("retry", &[with(other)]), Err(Error::EventIdTaken { .. })), "{other}");
        assert!(matches!(store.append_events("retry", &[with(other)]), Err(Error::EventIdTaken { .. })), "{other}");
    }
    // A payload that JSONB cannot hold is no other event's either.
    assert_not_storable(conn.append_events("retry", &[with(REFUSED[0].0)]), REFUSED[0].1);
}

/// All 114 events of the SDK's database.
fn sdk_events() -> (Vec<SessionRecord>, Vec<SessionEvent>) {
    let db = TempDb::fixture("sdk-0.4.2.db");
    let mut conn = db.migrated();
    let sessions = conn.list_sessions(&ListSessionsRequest::new()).unwrap().items;
    let mut ids: Vec<String> = sessions.iter().map(|session| session.id.clone()).collect();
    ids.extend(conn.session_stats().unwrap().into_iter().map(|stats| stats.session_id));
    ids.sort();
    ids.dedup();
    let events = ids.iter().flat_map(|id| conn.events(ListEventsRequest::new(id)).collect::<Vec<_>>());
    let events: Vec<SessionEvent> = events.map(Result::unwrap).collect();
    assert_eq!(events.len(), 114);
    (sessions, events)
}

#[test]
fn json_takes_all_of_the_sdks_events_and_jsonb_does_not() {
    let (sessions, events) = sdk_events();
    let Some((db, mut conn)) = theirs() else { return };
    conn.batch_execute("TRUNCATE sessions, events, event_heads").unwrap();
    sessions.iter().for_each(|session| conn.update_session(session).unwrap());
    let refused = events.iter().filter(|event| match conn.insert_event(event) {
        Ok(()) => false,
        Err(Error::NotStorable { .. }) => true,
        Err(error) => panic!("{error:?}"),
    });
    // As many as the reference driver refuses.
    assert_eq!(refused.count(), 12);

    convert_jsonb(&mut conn).unwrap();
    drop(conn);
    let mut conn = db.connect();
    events.iter().for_each(|event| conn.insert_event(event).unwrap());
    sessions.iter().for_each(|session| conn.update_session(session).unwrap());
    assert_eq!(conn.list_sessions(&ListSessionsRequest::new()).unwrap().items, sessions);
    for event in &events {
        let found: Vec<_> = conn.events(ListEventsRequest::new(&event.session_id)).collect::<Result<_, _>>().unwrap();
        assert!(found.contains(event), "byte for byte");
    }
    assert_eq!(conn.stats().unwrap().events, 114);
}

#[test]
fn a_conversion_keeps_every_value_and_what_is_declared() {
    let Some((db, mut conn)) = theirs() else { return };
    let mut client = db.other();
    client
        .batch_execute(
            "ALTER TABLE sessions ADD COLUMN server_id TEXT; UPDATE sessions SET server_id = id;
             CREATE TABLE projects (session_id TEXT REFERENCES sessions (id) ON DELETE CASCADE);
             INSERT INTO projects SELECT id FROM sessions",
        )
        .unwrap();
    let texts = "SELECT id, payload_json::text FROM events ORDER BY id";
    let (before, declared) = (lines(&mut client, texts), columns(&mut client, "public"));
    convert_jsonb(&mut conn).unwrap();
    drop(conn);
    assert_eq!(lines(&mut client, texts), before);
    let expected: Vec<_> = declared.iter().map(|line| line.replace(" jsonb ", " json ")).collect();
    assert_eq!(columns(&mut client, "public"), expected);
    assert_eq!(line(&mut client, "SELECT count(server_id), count(*) FROM sessions"), "5 5");
    assert_eq!(line(&mut client, "SELECT count(*) FROM projects"), "5");
    let mut conn = db.connect();
    assert_holds(&mut conn, "postgres-0.4");
    // Once more, and a migration, change nothing.
    let before = dump(&mut client, "public");
    convert_jsonb(&mut conn).unwrap();
    migrate(&mut conn).unwrap();
    assert_eq!(dump(&mut client, "public"), before);
    // From now on nothing is changed on the way.
    let payload = json("{ \"b\":1.0, \"a\":\"\\u0000\", \"a\":\"\\ud83d\" }");
    conn.append_events("new", &[with!(new_event("exact"), payload: payload.clone())]).unwrap();
    assert_eq!(conn.list_events(&ListEventsRequest::new("new")).unwrap().items[0].payload, payload);
}

#[test]
fn a_conversion_that_cannot_be_done_changes_nothing() {
    let Some((db, mut conn)) = theirs() else { return };
    let mut client = db.other();
    for (hindrance, gone) in [
        ("CREATE INDEX by_payload ON events USING gin (payload_json)", "DROP INDEX by_payload"),
        ("CREATE VIEW payloads AS SELECT payload_json FROM events", "DROP VIEW payloads"),
    ] {
        client.batch_execute(hindrance).unwrap();
        let before = dump(&mut client, "public");
        assert!(matches!(convert_jsonb(&mut conn), Err(Error::Database { .. })));
        assert_eq!(dump(&mut client, "public"), before);
        client.batch_execute(gone).unwrap();
    }
    let mut reader = db.other();
    reader.batch_execute("BEGIN; LOCK TABLE events IN ACCESS SHARE MODE").unwrap();
    conn.batch_execute("SET lock_timeout = 1").unwrap();
    let before = dump(&mut client, "public");
    assert!(matches!(convert_jsonb(&mut conn), Err(Error::Busy { .. })));
    assert_eq!(dump(&mut client, "public"), before);
    reader.batch_execute("COMMIT").unwrap();
    conn.batch_execute("SET lock_timeout = 0").unwrap();
    convert_jsonb(&mut conn).unwrap();

    let Some(empty) = PgDb::new() else { return };
    assert!(matches!(convert_jsonb(&mut empty.connect()), Err(Error::NotMigrated { .. })));
}

type Call = fn(&SessionStore) -> Result<(), Error>;

/// Every kind of statement has been prepared on each of the store's connections by then.
#[test]
fn a_store_gets_over_a_conversion() {
    let Some((db, mut conn)) = theirs() else { return };
    let store = SessionStore::builder().readers(1).connect(&db.url()).unwrap();
    let calls: [Call; 8] = [
        |store| store.get_session("plain").map(drop),
        |store| store.list_sessions(&ListSessionsRequest::new()).map(drop),
        |store| store.events(ListEventsRequest::new("converted")).try_for_each(|event| event.map(drop)),
        |store| store.append_events("converted", &[new_event("again")]).map(drop),
        |store| store.insert_event(&event("put", "converted", 9)),
        |store| store.update_session(&session("converted")),
        |store| store.check().map(drop),
        |store| {
            store.delete_session("copy")?;
            store.fork_session("converted", None, &session("copy")).map(drop)
        },
    ];
    calls.iter().for_each(|call| call(&store).unwrap());
    calls.iter().for_each(|call| call(&store).unwrap());
    convert_jsonb(&mut conn).unwrap();
    let mut errors = 0;
    for _ in 0..3 {
        for call in calls {
            errors += u32::from(call(&store).is_err());
        }
    }
    assert!(errors <= 2, "{errors} errors on two connections");
    calls.iter().for_each(|call| call(&store).unwrap());
}

/// So does a connection of a host's, in its own transaction or not.
#[test]
fn a_connection_gets_over_a_conversion() {
    let Some((db, mut conn)) = theirs() else { return };
    let list = |conn: &mut PgConnection| conn.list_events(&ListEventsRequest::new("one")).map(drop);
    let retry = |conn: &mut PgConnection| conn.append_events("one", &[new_event("a")]).map(drop);
    for _ in 0..2 {
        list(&mut conn).unwrap();
        retry(&mut conn).unwrap();
    }
    convert_jsonb(&mut db.connect()).unwrap();
    let stale = list(&mut conn).unwrap_err();
    assert!(stale.to_string().contains("cached plan must not change result type"), "{stale}");
    for _ in 0..2 {
        list(&mut conn).unwrap();
        retry(&mut conn).unwrap();
    }
}

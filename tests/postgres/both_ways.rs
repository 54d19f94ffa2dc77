//! What one of the two programs writes, the other reads, value for value: on tables of ours and on the reference driver's,
//! also while both have them open.

use agent_session_store::diesel::PgConnection;
use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{
    Error, Json, ListEventsRequest, ListSessionsRequest, SessionEvent, SessionPersistDriver, SessionRecord,
    SessionStore, migrate,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use super::looking::{catalog, dump, line, places};
use super::reference::{Reference, Version, columns_of_event, columns_of_session};
use crate::common::model::sort;
use crate::common::records::{some_event, some_session};
use crate::common::{PgDb, event, json, new_event, session};

/// JSON that JavaScript writes, so JSONB changes its spaces and nothing else of its value.
const TEXTS: &[&str] = &[
    r#"{"b":1.5,"a":1e+21,"c":null}"#,
    "[]",
    "{}",
    "0",
    "false",
    r#""""#,
    r#""\"quoted\" \\ \u2028""#,
    "12345678901234567000",
    r#"{"ä":[1,2],"😀":"é"}"#,
];

/// A kind of database, and the text that a value has in it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Ours,
    Theirs,
}

impl Kind {
    fn database(self, version: Version) -> Option<(PgDb, PgConnection, Reference)> {
        let db = if self == Self::Ours { PgDb::ours()? } else { PgDb::new()? };
        let reference = Reference::start(db.other(), "public", version);
        let mut conn = db.connect();
        migrate(&mut conn).unwrap();
        conn.batch_execute("SET synchronous_commit TO off").unwrap();
        Some((db, conn, reference))
    }

    /// The text of a value that was stored. JSONB's is another of the same value.
    fn is_kept(self, stored: &str, given: &Json) -> bool {
        match self {
            Self::Ours => stored == given.get(),
            Self::Theirs => {
                serde_json::from_str::<Value>(stored).unwrap() == serde_json::from_str::<Value>(given.get()).unwrap()
            }
        }
    }
}

/// Compares columns, those with JSON as the kind of database keeps them.
fn assert_same(kind: Kind, found: &[Option<String>], expected: &[Option<String>], json: std::ops::Range<usize>) {
    assert_eq!(found.len(), expected.len());
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        match (found, expected) {
            (Some(found), Some(expected)) if json.contains(&place) => {
                assert!(kind.is_kept(found, &Json::parse(expected.as_str()).unwrap()), "{found} is not {expected}");
            }
            _ => assert_eq!(found, expected, "{kind:?}, column {place}"),
        }
    }
}

/// The events of a session that are left of these, in order.
fn left(events: &[SessionEvent], session: &str, version: Version) -> Vec<SessionEvent> {
    let mut kept: Vec<SessionEvent> = Vec::new();
    for event in events {
        if version == Version::Keeps && kept.iter().any(|other| other.id == event.id) {
            continue;
        }
        kept.retain(|other| other.id != event.id);
        kept.push(event.clone());
    }
    kept.retain(|event| event.session_id == session);
    sort(&mut kept);
    kept
}

type Given = (Vec<SessionRecord>, Vec<SessionEvent>);

/// Runs a test with many records and events.
fn for_any(test: impl Fn(&Given)) {
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    let given = (prop::collection::vec(some_session(TEXTS), 1..6), prop::collection::vec(some_event(TEXTS), 1..20));
    let result = TestRunner::new(config).run(&given, |given| {
        test(&given);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

const EMPTY: &str = "TRUNCATE sessions, events, event_heads";
const ALL_KINDS: [(Kind, Version); 4] = [
    (Kind::Ours, Version::Overwrites),
    (Kind::Ours, Version::Keeps),
    (Kind::Theirs, Version::Overwrites),
    (Kind::Theirs, Version::Keeps),
];

#[test]
fn the_reference_driver_reads_what_is_written_here() {
    for (kind, version) in ALL_KINDS {
        let Some((_db, conn, reference)) = kind.database(version) else { return };
        let both = std::cell::RefCell::new((conn, reference));
        for_any(|(sessions, events)| {
            let (conn, reference) = &mut *both.borrow_mut();
            conn.batch_execute(EMPTY).unwrap();
            for session in sessions {
                conn.update_session(session).unwrap();
                let found = reference.get_session(&session.id).unwrap();
                assert_same(kind, &found, &columns_of_session(session, |json| json.get().to_owned()), 7..10);
            }
            let ids =
                |rows: Vec<Vec<Option<String>>>| rows.into_iter().map(|mut row| row.remove(0)).collect::<Vec<_>>();
            let listed = conn.list_sessions(&ListSessionsRequest::new()).unwrap().items;
            assert_eq!(
                ids(reference.list_sessions()),
                listed.into_iter().map(|found| Some(found.id)).collect::<Vec<_>>()
            );
            events.iter().for_each(|event| conn.insert_event(event).unwrap());
            for session in ["s1", "s2"] {
                let (found, expected) = (reference.list_events(session), left(events, session, Version::Overwrites));
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    assert_same(kind, found, &columns_of_event(expected, |json| json.get().to_owned()), 6..7);
                }
            }
        });
    }
}

#[test]
fn what_the_reference_driver_writes_is_read_here() {
    for (kind, version) in ALL_KINDS {
        let Some((_db, conn, reference)) = kind.database(version) else { return };
        let both = std::cell::RefCell::new((conn, reference));
        for_any(|(sessions, events)| {
            let (conn, reference) = &mut *both.borrow_mut();
            conn.batch_execute(EMPTY).unwrap();
            for session in sessions {
                reference.update_session(session);
                let found = conn.get_session(&session.id).unwrap().unwrap();
                let columns = |record| columns_of_session(record, |json| json.get().to_owned());
                assert_same(kind, &columns(&found), &columns(session), 7..10);
            }
            // Written over from here, nothing of the old row stays.
            let record = with!(sessions[0].clone(), modes: None, destroyed_at: None);
            conn.update_session(&record).unwrap();
            let read = reference.get_session(&record.id).unwrap();
            assert_eq!((&read[5], &read[9]), (&None, &None));

            events.iter().for_each(|event| reference.insert_event(event));
            for session in ["s1", "s2"] {
                let found: Result<Vec<_>, _> = conn.events(ListEventsRequest::new(session).limit(7)).collect();
                let (found, expected) = (found.unwrap(), left(events, session, version));
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    let columns = |event| columns_of_event(event, |json| json.get().to_owned());
                    assert_same(kind, &columns(found), &columns(expected), 6..7);
                }
            }
        });
    }
}

/// Its statements at start, on a database of ours and on its own once we have it: nothing is there to be done, and a store
/// that is open meanwhile goes on.
#[test]
fn its_start_changes_nothing_and_both_go_on() {
    for kind in [Kind::Ours, Kind::Theirs] {
        for schema in ["public", "tenant_7"] {
            let Some(db) = PgDb::new() else { return };
            let mut client = db.other();
            if kind == Kind::Theirs {
                Reference::start(db.other(), schema, Version::Overwrites);
            }
            let store = SessionStore::builder().schema(schema).connect(&db.url()).unwrap();
            store.update_session(&session("one")).unwrap();
            store.append_events("one", &[new_event("a")]).unwrap();
            store.list_events(&ListEventsRequest::new("one")).unwrap();
            let look = |client: &mut postgres::Client| (dump(client, schema), places(client, schema));
            let before = look(&mut client);
            let mut reference = Reference::start(db.other(), schema, Version::Overwrites);
            assert_eq!(look(&mut client), before, "{kind:?}");

            let read = |store: &SessionStore| store.events(ListEventsRequest::new("one")).count();
            assert_eq!(read(&store), 1);
            reference.insert_event(&event("b", "one", 2));
            assert_eq!(store.append_events("one", &[new_event("c")]).unwrap(), [3]);
            assert_eq!(store.append_events("one", &[new_event("a")]).unwrap(), [1]);
            assert_eq!((read(&store), reference.list_events("one").len()), (3, 3));

            // A later version adds a column, which then stays.
            let before = catalog(&mut client, schema);
            let mut later = Reference::start(db.other(), schema, Version::Keeps);
            let after = catalog(&mut client, schema);
            assert_eq!(after.len(), before.len() + 1);
            later.update_session(&session("two"));
            store.update_session(&session("two")).unwrap();
            let server = format!("SELECT server_id FROM {schema}.sessions WHERE id = 'two'");
            assert_eq!(line(&mut client, &server), "server");
            // There the first record wins, here the last.
            later.insert_event(&event("c", "one", 9));
            assert_eq!(store.last_event_index("one").unwrap(), Some(3));
            store.insert_event(&event("c", "one", 9)).unwrap();
            later.insert_event(&event("d", "one", 10));
            assert_eq!(store.append_events("one", &[new_event("e")]).unwrap(), [11]);
            assert_eq!(read(&store), 5);
            drop(SessionStore::builder().schema(schema).connect(&db.url()).unwrap());
            assert_eq!(catalog(&mut client, schema), after);
        }
    }
}

/// Both write to one session at the same time. Each of ours gets an index of its own; the reference's says its own.
#[test]
fn both_append_to_one_session_at_once() {
    for kind in [Kind::Ours, Kind::Theirs] {
        let Some((db, mut conn, mut reference)) = kind.database(Version::Overwrites) else { return };
        let store = SessionStore::connect(&db.url()).unwrap();
        let ours = std::thread::scope(|scope| {
            let ours: Vec<_> = (0..4)
                .map(|thread| {
                    let store = &store;
                    scope.spawn(move || {
                        let append =
                            |place| store.append_events("one", &[new_event(&format!("{thread}-{place}"))]).unwrap()[0];
                        (0..50).map(append).collect::<Vec<_>>()
                    })
                })
                .collect();
            for place in 0..100 {
                reference.insert_event(&event(&format!("theirs-{place}"), "one", 1_000_000 + place));
            }
            ours.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let distinct: std::collections::BTreeSet<_> = ours.iter().collect();
        assert_eq!(distinct.len(), 200);
        assert_eq!(reference.list_events("one").len(), 300);
        // Whoever comes next comes after all of them.
        let last = conn.last_event_index("one").unwrap().unwrap();
        assert_eq!(conn.append_events("one", &[new_event("last")]).unwrap(), [last + 1]);
    }
}

/// What JSONB cannot hold, neither of the two can store; on tables of ours both can.
#[test]
fn on_our_tables_the_reference_driver_stores_everything() {
    for (kind, can) in [(Kind::Ours, true), (Kind::Theirs, false)] {
        let Some((_db, mut conn, mut reference)) = kind.database(Version::Overwrites) else { return };
        for payload in [r#""\u0000""#, r#"{"half":"\ud83d"}"#] {
            let event = with!(event("e", "one", 1), payload: json(payload));
            assert_eq!(reference.try_insert_event(&event).is_ok(), can, "{kind:?}");
            match conn.insert_event(&event) {
                Ok(()) => assert!(can),
                Err(Error::NotStorable { .. }) => assert!(!can),
                Err(error) => panic!("{error:?}"),
            }
        }
    }
}

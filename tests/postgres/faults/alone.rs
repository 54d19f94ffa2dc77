//! Proves that a call that fails in a group of waiting ones fails alone, whatever the server holds against it.

use std::thread;

use agent_session_store::{Error, Json, ListEventsRequest, NewEvent, SessionStore};

use crate::common::own_server::shared_server;
use crate::common::{event, new_event};

/// What a host can do to make a write fail, each by the name of the session that it happens to.
const REFUSALS: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
    CREATE TRIGGER refuses BEFORE INSERT ON events FOR EACH ROW WHEN (new.session_id = 'trigger')
        EXECUTE FUNCTION refuse();
    CREATE CONSTRAINT TRIGGER refuses_late AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (new.session_id = 'deferred') EXECUTE FUNCTION refuse();
    ALTER TABLE events ADD CONSTRAINT has_no_such_session CHECK (session_id <> 'check');";

fn deep() -> NewEvent {
    let depth = 100_000;
    with!(new_event("deep"), payload: Json::parse("[".repeat(depth) + &"]".repeat(depth)).unwrap())
}

/// Writes one event, in one of the ways, into a session.
fn write(store: &SessionStore, way: usize, new: &NewEvent, session: &str, index: i64) -> Result<(), Error> {
    let event = || with!(event(&new.id, session, index), payload: new.payload.clone());
    match way {
        0 => store.append_events(session, std::slice::from_ref(new)).map(drop),
        1 => store.append_events_after(session, index - 1, std::slice::from_ref(new)).map(drop),
        2 => store.insert_event(&event()),
        _ => store.insert_events(&[event()]),
    }
}

#[test]
fn a_write_that_fails_fails_alone() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    let store = SessionStore::connect(&server.url(&database)).unwrap();
    server.run(&database, REFUSALS);
    store.append_events("taken", &[new_event("taken")]).unwrap();
    thread::scope(|scope| {
        for number in 0..32 {
            let store = &store;
            scope.spawn(move || {
                for index in 1..=10 {
                    let name = format!("{number}-{index}");
                    let way = number % 4;
                    let refused = |new: NewEvent, session: &str| {
                        write(store, way, &new, session, 1).expect_err("it was to be refused")
                    };
                    match number {
                        0..4 => drop(refused(new_event(&name), ["trigger", "deferred", "check", "deferred"][way])),
                        4..8 => {
                            let error = refused(with!(new_event("NUL"), id: format!("NUL\0{name}")), "session");
                            assert!(matches!(error, Error::NotStorable { .. }), "{error:?}");
                        }
                        8..10 => {
                            let error = refused(with!(deep(), id: format!("deep-{name}")), "session");
                            assert!(matches!(error, Error::NotStorable { .. }), "{error:?}");
                        }
                        12..14 => {
                            let error = refused(new_event("taken"), "other");
                            assert!(matches!(error, Error::EventIdTaken { .. }), "{error:?}");
                        }
                        _ => write(store, way, &new_event(&name), &format!("session-{number}"), index).unwrap(),
                    }
                }
            });
        }
    });
    for number in 14..32 {
        let page = store.list_events(&ListEventsRequest::new(format!("session-{number}"))).unwrap();
        let found: Vec<_> = page.items.iter().map(|event| (&*event.id, event.event_index)).collect();
        let wanted: Vec<_> = (1..=10).map(|index| (format!("{number}-{index}"), index)).collect();
        assert_eq!(found, wanted.iter().map(|(id, index)| (&**id, *index)).collect::<Vec<_>>());
    }
    for session in ["trigger", "deferred", "check", "session", "other"] {
        assert_eq!(store.last_event_index(session).unwrap(), None);
    }
    assert!(store.check().unwrap().is_sound());
}

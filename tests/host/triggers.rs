//! Proves that a trigger of the host's, however it ends a statement, spoils no answer but its own: not those of the calls
//! that are committed together.

use std::thread;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{Error, ListEventsRequest, Selection, SessionPersistDriver, SessionStore};

use crate::common::model::Model;
use crate::common::samples::placed;
#[cfg(feature = "async")]
use crate::common::tasks::Tasks;
use crate::common::{TempDb, event, millis, new_event, session};

/// Each way in which a trigger can end the statement that set it off, or not.
pub(super) const KINDS: [(&str, &str); 9] = [
    ("or_rollback", "INSERT OR ROLLBACK INTO seen VALUES ('taken')"),
    ("or_abort", "INSERT OR ABORT INTO seen VALUES ('taken')"),
    ("or_fail", "INSERT OR FAIL INTO seen VALUES ('taken')"),
    ("or_ignore", "INSERT OR IGNORE INTO seen VALUES ('taken')"),
    ("or_replace", "INSERT OR REPLACE INTO seen VALUES ('taken')"),
    ("raise_rollback", "SELECT RAISE(ROLLBACK, 'no')"),
    ("raise_abort", "SELECT RAISE(ABORT, 'no')"),
    ("raise_fail", "SELECT RAISE(FAIL, 'no')"),
    ("raise_ignore", "SELECT RAISE(IGNORE)"),
];

/// On the events of sessions named after the kind, and on the sessions whose agent is.
pub(super) fn triggers() -> String {
    let mut sql = "CREATE TABLE seen (key TEXT UNIQUE); INSERT INTO seen VALUES ('taken');".to_owned();
    for (kind, action) in KINDS {
        sql += &format!(
            "CREATE TRIGGER e_{kind} BEFORE INSERT ON events WHEN new.session_id GLOB '{kind}-*' BEGIN {action}; END;
             CREATE TRIGGER d_{kind} BEFORE DELETE ON sessions WHEN old.agent = '{kind}' BEGIN {action}; END;
             CREATE TRIGGER u_{kind} BEFORE UPDATE ON sessions WHEN old.agent = '{kind}' BEGIN {action}; END;"
        );
    }
    sql
}

/// Whether the statement is carried out, left out without a word, or an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Skipped,
    Refused,
}

pub(super) fn fate(kind: &str) -> Fate {
    match kind {
        "or_ignore" | "or_replace" => Fate::Done,
        "raise_ignore" => Fate::Skipped,
        _ => Fate::Refused,
    }
}

/// Makes calls of which one in three meets a trigger, and knows the answer to each.
fn call_all(store: &mut impl SessionPersistDriver, caller: usize, calls: usize) -> Model {
    let mut model = Model::default();
    for call in 0..calls {
        // Every caller in another order, so that all kinds meet in one commit.
        let choice = (call * 7 + caller * 5) % 15;
        let (kind, _) = KINDS[(call / 3 + caller) % KINDS.len()];
        let own = format!("own-{caller}-{}", call % 4);
        let bad = format!("{kind}-{caller}");
        let id = |part: usize| format!("{caller}-{call}-{part}");
        let index = call as i64;
        let context = format!("caller {caller}, call {call}: {choice} with {kind}");
        match choice {
            0 | 1 => {
                let record = session(&own);
                store.update_session(&record).unwrap();
                model.sessions.insert(own, record);
            }
            2 | 3 => {
                let event = event(&id(0), &own, index);
                store.insert_event(&event).unwrap();
                model.put(&[event]);
            }
            4 => {
                let batch = [event(&id(0), &own, index), event(&id(1), &own, index)];
                store.insert_events(&batch).unwrap();
                model.put(&batch);
            }
            5 => {
                let new = [0, 1].map(|part| new_event(&id(part)));
                let last = model.last(&own).unwrap_or(0);
                assert_eq!(store.append_events(&own, &new).unwrap(), [last + 1, last + 2], "{context}");
                model.put(&[placed(&new[0], &own, last + 1), placed(&new[1], &own, last + 2)]);
            }
            6 | 7 => {
                assert_eq!(store.delete_session(&own).unwrap(), model.delete(&own), "{context}");
            }
            8 => {
                let new = session(&format!("fork-{caller}-{call}"));
                let source = model.of_session(&own);
                match store.fork_session(&own, None, &new) {
                    Ok(copies) => assert_eq!(copies, source.len() as u64, "{context}"),
                    Err(Error::SessionNotFound { .. }) => {
                        assert!(source.is_empty() && !model.sessions.contains_key(&own), "{context}");
                        continue;
                    }
                    Err(error) => panic!("{context}: {error}"),
                }
                model.copy(source, &new);
            }
            9 | 10 => {
                let event = event(&id(0), &bad, index);
                assert_eq!(store.insert_event(&event).is_err(), fate(kind) == Fate::Refused, "{context}");
                if fate(kind) == Fate::Done {
                    model.put(&[event]);
                }
            }
            11 => {
                let batch = [event(&id(0), &own, index), event(&id(1), &bad, index), event(&id(2), &own, index)];
                assert_eq!(store.insert_events(&batch).is_err(), fate(kind) == Fate::Refused, "{context}");
                match fate(kind) {
                    Fate::Done => model.put(&batch),
                    Fate::Skipped => model.put(&[batch[0].clone(), batch[2].clone()]),
                    Fate::Refused => {}
                }
            }
            12 => {
                let new = [new_event(&id(0))];
                let last = model.last(&bad).unwrap_or(0);
                let indexes = store.append_events(&bad, &new);
                assert_eq!(indexes.is_ok(), fate(kind) == Fate::Done, "{context}: {indexes:?}");
                if let Ok(indexes) = indexes {
                    assert_eq!(indexes, [last + 1], "{context}");
                    model.put(&[placed(&new[0], &bad, last + 1)]);
                }
            }
            13 => {
                let record = with!(session(&format!("marked-{caller}-{call}")), agent: kind.to_owned());
                store.update_session(&record).unwrap();
                let marked = store.destroy_session(&record.id, millis(5));
                let destroyed_at = (fate(kind) == Fate::Done).then(|| millis(5)).or(record.destroyed_at);
                match fate(kind) {
                    Fate::Refused => assert!(marked.is_err(), "{context}"),
                    fate => assert_eq!(marked.unwrap(), fate == Fate::Done, "{context}"),
                }
                model.sessions.insert(record.id.clone(), with!(record, destroyed_at: destroyed_at));
            }
            _ => {
                let record = with!(session(&format!("kept-{caller}-{call}")), agent: kind.to_owned());
                store.update_session(&record).unwrap();
                let event = event(&id(0), &record.id, index);
                store.insert_event(&event).unwrap();
                let deleted = store.delete_session(&record.id);
                match fate(kind) {
                    Fate::Refused => {
                        assert!(deleted.is_err(), "{context}");
                        model.put(&[event]);
                        model.sessions.insert(record.id.clone(), record);
                    }
                    // The events go, the record stays.
                    Fate::Skipped => {
                        assert!(deleted.unwrap(), "{context}");
                        model.sessions.insert(record.id.clone(), record);
                    }
                    Fate::Done => assert!(deleted.unwrap(), "{context}"),
                }
            }
        }
        // What was answered is there.
        for id in model.sessions.keys().next_back().into_iter().chain(model.sessions.keys().nth(call % 3)) {
            assert_eq!(store.get_session(id).unwrap().as_ref(), model.sessions.get(id), "{context}");
        }
    }
    model
}

const CALLERS: usize = 8;
const CALLS: usize = 300;

fn eight_callers<D: SessionPersistDriver>(driver: impl Fn(&SessionStore) -> D + Sync) {
    let db = TempDb::ours();
    db.connect().batch_execute(&triggers()).unwrap();
    let store = SessionStore::open(db.path()).unwrap();
    let models: Vec<Model> = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (store, driver) = (&store, &driver);
                scope.spawn(move || call_all(&mut driver(store), caller, CALLS))
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    store.close().unwrap();

    let mut conn = db.connect();
    let (mut sessions, mut events) = (0, 0);
    for model in models {
        for (id, record) in &model.sessions {
            assert_eq!(conn.get_session(id).unwrap().as_ref(), Some(record));
        }
        for id in model.sessions_of_events() {
            let stored = conn.list_events(&ListEventsRequest::new(&*id).limit(10_000)).unwrap().items;
            assert_eq!(stored, model.of_session(&id));
        }
        sessions += model.sessions.len() as u64;
        events += model.events.len() as u64;
    }
    let stats = conn.stats().unwrap();
    assert_eq!((stats.sessions, stats.events), (sessions, events));
}

#[test]
fn every_answer_of_eight_threads_is_right() {
    eight_callers(SessionStore::clone);
}

#[cfg(feature = "async")]
#[test]
fn every_answer_of_eight_tasks_is_right() {
    let shared = std::sync::OnceLock::new();
    eight_callers(|store| {
        let store = shared.get_or_init(|| agent_session_store::AsyncSessionStore::from(store.clone()));
        Tasks::of(store.clone())
    });
}

/// An import is several transactions: what it stored before the session that was refused stays, and nothing of that one
/// or of later ones is stored.
#[test]
fn an_import_stops_where_a_trigger_ends_its_transaction() {
    for (kind, _) in KINDS.into_iter().filter(|(kind, _)| fate(kind) == Fate::Refused) {
        let source = TempDb::ours();
        let mut conn = source.connect();
        for (number, id) in ["a", &format!("{kind}-1"), "z"].into_iter().enumerate() {
            let created_at = millis(number as i64);
            conn.update_session(&with!(session(id), created_at: created_at)).unwrap();
            conn.insert_events(&[1, 2].map(|index| event(&format!("{number}-{index}"), id, index))).unwrap();
        }
        let mut lines = Vec::new();
        conn.export(&mut lines, Selection::all()).unwrap();

        let target = TempDb::ours();
        target.connect().batch_execute(&triggers()).unwrap();
        let store = SessionStore::open(target.path()).unwrap();
        store.import(&*lines).unwrap_err();
        assert_eq!(target.event_ids(), ["0-1", "0-2"], "{kind}");
        store.insert_event(&event("after", "own", 1)).unwrap();
        assert_eq!(target.event_ids(), ["0-1", "0-2", "after"], "{kind}");
        store.close().unwrap();
    }
}

/// `FAIL` keeps what its statement did before: so SQLite defines it, and the one who writes such a trigger asks for it.
/// Of several statements that belong together, nothing stays.
#[test]
fn a_trigger_that_fails_afterwards_keeps_its_row_alone_and_in_a_group() {
    let db = TempDb::ours();
    let fails = "CREATE TRIGGER fails AFTER INSERT ON events WHEN new.session_id = 'fail'
        BEGIN SELECT RAISE(FAIL, 'no'); END;";
    db.connect().batch_execute(fails).unwrap();
    let store = SessionStore::open(db.path()).unwrap();
    let mut wanted = Vec::new();
    let mut refuse = |name: String| {
        store.insert_event(&event(&name, "fail", 1)).unwrap_err();
        let batch = [event(&format!("{name}-1"), "own", 1), event(&format!("{name}-2"), "fail", 1)];
        store.insert_events(&batch).unwrap_err();
        wanted.push(name);
    };
    (0..5).for_each(|number| refuse(format!("alone-{number}")));
    thread::scope(|scope| {
        for caller in 0..8 {
            let store = &store;
            wanted.extend((0..20).map(|number| format!("fails-{caller}-{number}")));
            wanted.extend((0..20).map(|number| format!("lasts-{caller}-{number}")));
            scope.spawn(move || {
                for number in 0..20 {
                    store.insert_event(&event(&format!("fails-{caller}-{number}"), "fail", 1)).unwrap_err();
                    store.insert_event(&event(&format!("lasts-{caller}-{number}"), "own", 1)).unwrap();
                }
            });
        }
    });
    store.close().unwrap();
    wanted.sort();
    assert_eq!(db.event_ids(), wanted);
}

//! Proves that a trigger of the host's, however it ends a statement, spoils no answer but its own: not those of the calls
//! that are committed together, and not those on the same connection afterwards.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod common;
#[cfg(feature = "async")]
#[path = "common/tasks.rs"]
mod tasks;

use std::collections::BTreeMap;
use std::thread;

use agent_session_store::diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{
    Error, ListEventsRequest, NewEvent, Selection, SessionEvent, SessionPersistDriver, SessionRecord, SessionStore,
};
use common::{TempDb, event, rows, session};

/// Each way in which a trigger can end the statement that set it off, or not.
const KINDS: [(&str, &str); 9] = [
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
fn triggers() -> String {
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
enum Fate {
    Done,
    Skipped,
    Refused,
}

fn fate(kind: &str) -> Fate {
    match kind {
        "or_ignore" | "or_replace" => Fate::Done,
        "raise_ignore" => Fate::Skipped,
        _ => Fate::Refused,
    }
}

/// What one caller has stored, in sessions that are its alone.
#[derive(Default)]
struct Model {
    sessions: BTreeMap<String, SessionRecord>,
    events: BTreeMap<String, SessionEvent>,
}

impl Model {
    fn of_session(&self, id: &str) -> Vec<SessionEvent> {
        let mut events: Vec<_> = self.events.values().filter(|event| event.session_id == id).cloned().collect();
        events.sort_by(|one, other| (one.event_index, &one.id).cmp(&(other.event_index, &other.id)));
        events
    }

    fn put(&mut self, events: &[SessionEvent]) {
        self.events.extend(events.iter().map(|event| (event.id.clone(), event.clone())));
    }

    fn take_events(&mut self, id: &str) -> bool {
        let before = self.events.len();
        self.events.retain(|_, event| event.session_id != id);
        self.events.len() < before
    }
}

fn new_event(id: String) -> NewEvent {
    let SessionEvent { id, created_at, connection_id, sender, payload, .. } = event(&id, "", 7);
    NewEvent { id, created_at, connection_id, sender, payload }
}

fn appended(new: &NewEvent, session_id: &str, event_index: i64) -> SessionEvent {
    SessionEvent { event_index, ..event(&new.id, session_id, 7) }
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
                let new = [new_event(id(0)), new_event(id(1))];
                let last = model.of_session(&own).last().map_or(0, |event| event.event_index);
                assert_eq!(store.append_events(&own, &new).unwrap(), [last + 1, last + 2], "{context}");
                model.put(&[appended(&new[0], &own, last + 1), appended(&new[1], &own, last + 2)]);
            }
            6 | 7 => {
                let had = model.take_events(&own) | model.sessions.remove(&own).is_some();
                assert_eq!(store.delete_session(&own).unwrap(), had, "{context}");
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
                let copies = source.into_iter().map(|event| SessionEvent {
                    id: format!("{}:{}", new.id, event.id),
                    session_id: new.id.clone(),
                    ..event
                });
                model.put(&copies.collect::<Vec<_>>());
                model.sessions.insert(new.id.clone(), new);
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
                let new = [new_event(id(0))];
                let last = model.of_session(&bad).last().map_or(0, |event| event.event_index);
                let indexes = store.append_events(&bad, &new);
                assert_eq!(indexes.is_ok(), fate(kind) == Fate::Done, "{context}: {indexes:?}");
                if let Ok(indexes) = indexes {
                    assert_eq!(indexes, [last + 1], "{context}");
                    model.put(&[appended(&new[0], &bad, last + 1)]);
                }
            }
            13 => {
                let record = SessionRecord { agent: kind.to_owned(), ..session(&format!("marked-{caller}-{call}")) };
                store.update_session(&record).unwrap();
                let marked = store.destroy_session(&record.id, common::millis(5));
                let destroyed_at = (fate(kind) == Fate::Done).then(|| common::millis(5)).or(record.destroyed_at);
                match fate(kind) {
                    Fate::Refused => assert!(marked.is_err(), "{context}"),
                    fate => assert_eq!(marked.unwrap(), fate == Fate::Done, "{context}"),
                }
                model.sessions.insert(record.id.clone(), SessionRecord { destroyed_at, ..record });
            }
            _ => {
                let record = SessionRecord { agent: kind.to_owned(), ..session(&format!("kept-{caller}-{call}")) };
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
    let db = TempDb::new();
    db.migrated().batch_execute(&triggers()).unwrap();
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
        let ids: std::collections::BTreeSet<_> = model.events.values().map(|event| &event.session_id).collect();
        for id in ids {
            let stored = conn.list_events(&ListEventsRequest::new(id.as_str()).limit(10_000)).unwrap().items;
            assert_eq!(stored, model.of_session(id));
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
        tasks::Tasks::of(store.clone())
    });
}

/// How deep in transactions Diesel believes the connection is.
fn depth(conn: &mut SqliteConnection) -> u32 {
    let status = AnsiTransactionManager::transaction_manager_status_mut(conn);
    status.transaction_depth().unwrap().map_or(0, |depth| depth.get())
}

/// A verb that writes, at something of this kind.
type Verb = fn(&mut SqliteConnection, &str) -> Result<(), Error>;

const VERBS: [Verb; 7] = [
    |conn, kind| conn.insert_event(&event("bad", &format!("{kind}-1"), 1)),
    |conn, kind| {
        let events = [event("b1", "own", 1), event("b2", &format!("{kind}-1"), 1), event("b3", "own", 1)];
        conn.insert_events(&events)
    },
    |conn, kind| conn.append_events(&format!("{kind}-1"), &[new_event("bad".to_owned())]).map(drop),
    |conn, kind| conn.fork_session("source", None, &session(&format!("{kind}-1"))).map(drop),
    |conn, kind| conn.destroy_session(kind, common::millis(1)).map(drop),
    |conn, kind| conn.delete_session(kind).map(drop),
    |conn, kind| {
        let record = SessionRecord { agent: kind.to_owned(), ..session(kind) };
        conn.update_session(&record)
    },
];

/// A database with the triggers, and for every kind a session that has one.
fn prepared() -> (TempDb, Vec<Vec<String>>) {
    let db = TempDb::new();
    let mut conn = db.migrated();
    // No power is lost here, and there are many of these.
    conn.batch_execute("PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL").unwrap();
    conn.batch_execute(&triggers()).unwrap();
    conn.insert_event(&event("s1", "source", 1)).unwrap();
    for (kind, _) in KINDS {
        conn.update_session(&SessionRecord { agent: kind.to_owned(), ..session(kind) }).unwrap();
    }
    let stored = contents(&db);
    (db, stored)
}

fn contents(db: &TempDb) -> Vec<Vec<String>> {
    let plain = db.plain();
    [rows(&plain, "SELECT * FROM sessions ORDER BY id"), rows(&plain, "SELECT * FROM events ORDER BY id")].concat()
}

#[test]
fn a_refused_verb_leaves_the_connection_as_it_was() {
    for (kind, _) in KINDS.into_iter().filter(|(kind, _)| fate(kind) == Fate::Refused) {
        let (db, before) = prepared();
        let mut conn = db.connect();
        for (number, verb) in VERBS.into_iter().enumerate() {
            verb(&mut conn, kind).unwrap_err();
            assert_eq!(depth(&mut conn), 0, "{kind}, verb {number}");
            assert_eq!(contents(&db), before, "{kind}, verb {number}");
            // Nothing is left open: what is written next is there for others at once.
            conn.insert_events(&[event("next", "own", 1)]).unwrap();
            assert_eq!(contents(&db).len(), before.len() + 1, "{kind}, verb {number}");
            assert!(conn.delete_session("own").unwrap());
        }
    }
}

/// Whether the transaction is still there is up to the trigger. If it is, only the verb is undone; if it is not, Diesel
/// knows, and the caller's own commit says so.
#[test]
fn a_refused_verb_tells_the_truth_about_the_callers_transaction() {
    for (kind, _) in KINDS.into_iter().filter(|(kind, _)| fate(kind) == Fate::Refused) {
        for levels in [1, 2] {
            for (number, verb) in VERBS.into_iter().enumerate() {
                // In a trigger that an upsert's UPDATE sets off, SQLite takes every `OR …` for `OR ABORT`.
                let is_upsert = number == VERBS.len() - 1;
                let survives = !kind.ends_with("rollback") || (is_upsert && kind == "or_rollback");
                let (db, before) = prepared();
                let mut conn = db.connect();
                conn.batch_execute("PRAGMA synchronous = OFF").unwrap();
                let context = format!("{kind}, {levels} levels, verb {number}");
                let mut within = 0;
                let result = nested(&mut conn, levels, &mut |conn| {
                    conn.insert_event(&event("before", "own", 1)).unwrap();
                    verb(conn, kind).unwrap_err();
                    within = depth(conn);
                    Ok(())
                });
                assert_eq!(within, if survives { levels } else { 0 }, "{context}");
                assert_eq!(result.is_ok(), survives, "{context}: {result:?}");
                assert_eq!(depth(&mut conn), 0, "{context}");
                assert_eq!(contents(&db).len(), before.len() + usize::from(survives), "{context}");
                // And an error of the caller's own ends it too.
                let result = nested(&mut conn, levels, &mut |conn| {
                    conn.insert_event(&event("undone", "own", 2)).unwrap();
                    verb(conn, kind)
                });
                result.unwrap_err();
                assert_eq!(depth(&mut conn), 0, "{context}");
                conn.insert_events(&[event("after", "own", 3)]).unwrap();
                let stored = db.event_ids();
                assert!(stored.contains(&"after".to_owned()) && !stored.contains(&"undone".to_owned()), "{context}");
            }
        }
    }
}

fn nested(
    conn: &mut SqliteConnection,
    levels: u32,
    work: &mut dyn FnMut(&mut SqliteConnection) -> Result<(), Error>,
) -> Result<(), Error> {
    conn.transaction(|conn| if levels == 1 { work(conn) } else { nested(conn, levels - 1, work) })
}

/// An import is several transactions: what it stored before the session that was refused stays, and nothing of that one
/// or of later ones is stored.
#[test]
fn an_import_stops_where_a_trigger_ends_its_transaction() {
    for (kind, _) in KINDS.into_iter().filter(|(kind, _)| fate(kind) == Fate::Refused) {
        let source = TempDb::new();
        let mut conn = source.migrated();
        for (number, id) in ["a", &format!("{kind}-1"), "z"].into_iter().enumerate() {
            let created_at = common::millis(number as i64);
            conn.update_session(&SessionRecord { created_at, ..session(id) }).unwrap();
            conn.insert_events(&[1, 2].map(|index| event(&format!("{number}-{index}"), id, index))).unwrap();
        }
        let mut lines = Vec::new();
        conn.export(&mut lines, &Selection::all()).unwrap();

        let target = TempDb::new();
        target.migrated().batch_execute(&triggers()).unwrap();
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
    let db = TempDb::new();
    let fails = "CREATE TRIGGER fails AFTER INSERT ON events WHEN new.session_id = 'fail'
        BEGIN SELECT RAISE(FAIL, 'no'); END;";
    db.migrated().batch_execute(fails).unwrap();
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

//! Proves that a trigger which refuses a verb leaves the connection as it was, and tells the truth about the caller's
//! transaction.

use agent_session_store::diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{Error, SessionPersistDriver};

use super::triggers::{Fate, KINDS, fate, triggers};
use crate::common::{TempDb, event, millis, new_event, session};

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
    |conn, kind| conn.append_events(&format!("{kind}-1"), &[new_event("bad")]).map(drop),
    |conn, kind| conn.fork_session("source", None, &session(&format!("{kind}-1"))).map(drop),
    |conn, kind| conn.destroy_session(kind, millis(1)).map(drop),
    |conn, kind| conn.delete_session(kind).map(drop),
    |conn, kind| {
        let record = with!(session(kind), agent: kind.to_owned());
        conn.update_session(&record)
    },
];

/// A database with the triggers, and for every kind a session that has one.
fn prepared() -> (TempDb, Vec<Vec<String>>) {
    let db = TempDb::ours();
    let mut conn = db.connect();
    // No power is lost here, and there are many of these.
    conn.batch_execute("PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL").unwrap();
    conn.batch_execute(&triggers()).unwrap();
    conn.insert_event(&event("s1", "source", 1)).unwrap();
    for (kind, _) in KINDS {
        conn.update_session(&with!(session(kind), agent: kind.to_owned())).unwrap();
    }
    let stored = db.tables().concat();
    (db, stored)
}

#[test]
fn a_refused_verb_leaves_the_connection_as_it_was() {
    for (kind, _) in KINDS.into_iter().filter(|(kind, _)| fate(kind) == Fate::Refused) {
        let (db, before) = prepared();
        let mut conn = db.connect();
        for (number, verb) in VERBS.into_iter().enumerate() {
            verb(&mut conn, kind).unwrap_err();
            assert_eq!(depth(&mut conn), 0, "{kind}, verb {number}");
            assert_eq!(db.tables().concat(), before, "{kind}, verb {number}");
            // Nothing is left open: what is written next is there for others at once.
            conn.insert_events(&[event("next", "own", 1)]).unwrap();
            assert_eq!(db.tables().concat().len(), before.len() + 1, "{kind}, verb {number}");
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
                assert_eq!(db.tables().concat().len(), before.len() + usize::from(survives), "{context}");
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

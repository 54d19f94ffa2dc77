//! Proves that appending hands out indexes without gap or duplicate, whoever else writes, at every isolation level, on
//! each key that the events may have, and that the counters are worth no more than the events.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::prelude::*;
use agent_session_store::diesel::{self, PgConnection, sql_types};
use agent_session_store::{Error, ListEventsRequest, NewEvent, PruneRequest, SessionPersistDriver, SessionStore};

use crate::common::process::{Process, child, say, task};
use crate::common::{PgDb, event, json, millis, new_event, session};

const CLIENTS: usize = 16;

const COMPOSITE_KEY: &str = "ALTER TABLE events DROP CONSTRAINT events_pkey, ADD PRIMARY KEY (session_id, id)";

/// The keys that the tables may have.
fn with_each_key(test: impl Fn(&PgDb)) {
    for change in ["SELECT 1", COMPOSITE_KEY] {
        let Some(db) = PgDb::ours() else { return };
        db.connect().batch_execute(change).unwrap();
        test(&db);
    }
}

/// Tries again while another transaction is in the way.
fn patiently<T>(mut work: impl FnMut() -> Result<T, Error>) -> T {
    loop {
        match work() {
            Err(Error::Busy { .. }) => {}
            result => return result.unwrap(),
        }
    }
}

fn indexes(conn: &mut PgConnection, session_id: &str) -> Vec<i64> {
    conn.events(ListEventsRequest::new(session_id).limit(1_000)).map(|event| event.unwrap().event_index).collect()
}

/// Runs this in as many threads as there are clients, each with its number and a connection, and returns what they did.
fn clients<T: Send>(db: &PgDb, work: impl Fn(usize, &mut PgConnection) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || work(client, &mut db.connect()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn sixteen_clients_append_to_one_session_without_gap_or_duplicate() {
    with_each_key(|db| {
        let given = clients(db, |client, conn| {
            let append = |number| {
                let events: Vec<NewEvent> =
                    (0..=number % 3).map(|part| new_event(&format!("{client}-{number}-{part}"))).collect();
                conn.append_events("one", &events).unwrap()
            };
            (0..40).flat_map(append).collect::<Vec<i64>>()
        });
        for indexes in &given {
            assert!(indexes.is_sorted(), "a client's own appends are in order: {indexes:?}");
        }
        let total = given.iter().map(Vec::len).sum::<usize>() as i64;
        let given: BTreeSet<i64> = given.into_iter().flatten().collect();
        assert_eq!(given.len() as i64, total, "no two got one index");
        assert_eq!(indexes(&mut db.connect(), "one"), (1..=total).collect::<Vec<_>>());
    });
}

/// Nothing is set up before the first append, so each of them may be the one that makes the counter.
#[test]
fn the_first_appends_of_many_sessions_do_not_collide() {
    let Some(db) = PgDb::ours() else { return };
    clients(&db, |client, conn| {
        for number in 0..30 {
            let ids = format!("{client}-{number}");
            conn.append_events(&format!("session-{number}"), &[new_event(&ids)]).unwrap();
        }
    });
    let mut conn = db.connect();
    for number in 0..30 {
        let found = indexes(&mut conn, &format!("session-{number}"));
        assert_eq!(found, (1..=CLIENTS as i64).collect::<Vec<_>>(), "{number}");
    }
}

#[test]
fn in_the_callers_transactions_at_every_isolation_level() {
    with_each_key(|db| {
        let mut last = 0;
        for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
            let given = clients(db, |client, conn| {
                let mut given = Vec::new();
                for number in 0..8 {
                    let events = [0, 1].map(|part| new_event(&format!("{level}-{client}-{number}-{part}")));
                    given.extend(patiently(|| {
                        conn.build_transaction().run::<_, Error, _>(|conn| {
                            conn.batch_execute(&format!("SET TRANSACTION ISOLATION LEVEL {level}"))?;
                            // The snapshot is older than the append.
                            conn.last_event_index("one")?;
                            conn.append_events("one", &events)
                        })
                    }));
                }
                given
            });
            let given: BTreeSet<i64> = given.into_iter().flatten().collect();
            let total = (CLIENTS * 8 * 2) as i64;
            assert_eq!(given, (last + 1..=last + total).collect(), "{level}");
            last += total;
        }
        assert_eq!(indexes(&mut db.connect(), "one"), (1..=last).collect::<Vec<_>>());
    });
}

/// All of them append to the same sessions, in another order each, and none waits for another in a circle.
#[test]
fn stores_that_append_for_many_callers_share_a_database() {
    let Some(db) = PgDb::ours() else { return };
    let stores: Vec<SessionStore> = (0..3).map(|_| SessionStore::connect(&db.url()).unwrap()).collect();
    thread::scope(|scope| {
        for (place, store) in stores.iter().enumerate() {
            for caller in 0..CLIENTS {
                scope.spawn(move || {
                    for number in 0..30 {
                        let session = (caller * (place + 1) + number * 7) % 10;
                        let id = format!("{place}-{caller}-{number}");
                        store.append_events(&format!("session-{session}"), &[new_event(&id)]).unwrap();
                    }
                });
            }
        }
    });
    let mut conn = db.connect();
    let mut total = 0;
    for session in 0..10 {
        let found = indexes(&mut conn, &format!("session-{session}"));
        assert_eq!(found, (1..=found.len() as i64).collect::<Vec<_>>());
        total += found.len();
    }
    assert_eq!(total, 3 * CLIENTS * 30);
}

/// A group of calls takes many locks, and the groups of several stores could wait for each other in a circle. Nobody hears
/// of it: what the server breaks off is done again.
#[test]
fn stores_that_write_the_same_sessions_do_not_fail_for_each_other() {
    let Some(db) = PgDb::ours() else { return };
    let stores: Vec<SessionStore> = (0..4).map(|_| SessionStore::connect(&db.url()).unwrap()).collect();
    thread::scope(|scope| {
        for (place, store) in stores.iter().enumerate() {
            for caller in 0..4 {
                scope.spawn(move || {
                    for number in 0..8 {
                        let id = format!("{place}-{caller}-{number}");
                        let name = |step: usize| format!("session-{}", (number * 5 + place * 7 + caller + step) % 3);
                        store.append_events("one", &[new_event(&id)]).unwrap();
                        store.update_session(&session(&name(0))).unwrap();
                        store.insert_event(&event(&format!("put-{id}"), &name(1), number as i64)).unwrap();
                        store.destroy_session(&name(2), millis(number as i64)).unwrap();
                    }
                });
            }
        }
    });
    assert_eq!(indexes(&mut db.connect(), "one"), (1..=4 * 4 * 8).collect::<Vec<_>>());
}

/// The server breaks a circle where it notices it first: at the one who has waited for longest, which is the store here.
#[test]
fn a_write_that_the_server_gives_up_for_another_is_done_again() {
    let Some(db) = PgDb::ours() else { return };
    let store = SessionStore::connect(&db.url()).unwrap();
    store.update_session(&session("one")).unwrap();
    store.append_events("one", &[new_event("a")]).unwrap();
    let mut other = db.connect();
    other.batch_execute("BEGIN; UPDATE sessions SET agent = 'other' WHERE id = 'one'").unwrap();
    thread::scope(|scope| {
        let deleting = scope.spawn(|| store.delete_session("one"));
        db.wait_until_one_waits();
        // It holds the counter, and waits for the record.
        other.batch_execute("UPDATE event_heads SET last_index = 1 WHERE session_id = 'one'; COMMIT").unwrap();
        assert!(deleting.join().unwrap().unwrap());
    });
    assert_eq!(store.get_session("one").unwrap(), None);
}

/// In a store, calls that wait for the connection are one statement. Each gets its own answer all the same.
#[test]
fn waiting_calls_of_all_kinds_are_answered_each_by_itself() {
    let Some(db) = PgDb::ours() else { return };
    let store = SessionStore::connect(&db.url()).unwrap();
    store.append_events("one", &[new_event("known")]).unwrap();
    store.append_events("other", &[new_event("elsewhere")]).unwrap();
    // Nobody can write until the lock goes, so everything waits.
    let mut locking = db.connect();
    locking.batch_execute("BEGIN; LOCK TABLE events IN SHARE MODE").unwrap();
    thread::scope(|scope| {
        let first = scope.spawn(|| store.append_events("one", &[new_event("first")]));
        let mut appends = Vec::new();
        let mut others = Vec::new();
        for caller in 0..24 {
            let store = &store;
            match caller % 4 {
                0 => others.push(scope.spawn(move || store.append_events("one", &[new_event("known")]).map(|_| ()))),
                1 => others.push(scope.spawn(move || {
                    let result =
                        store.append_events("one", &[new_event(&format!("lost-{caller}")), new_event("elsewhere")]);
                    assert!(matches!(result, Err(Error::EventIdTaken { .. })), "{result:?}");
                    Ok(())
                })),
                2 => others.push(scope.spawn(move || {
                    let result = store.append_events_after("one", 999, &[new_event(&format!("lost-{caller}"))]);
                    assert!(matches!(result, Err(Error::AppendConflict { .. })), "{result:?}");
                    store.insert_event(&event(&format!("put-{caller}"), "put", caller))
                })),
                _ => appends
                    .push(scope.spawn(move || store.append_events("one", &[new_event(&format!("new-{caller}"))]))),
            }
        }
        // Not for their timing: however many of them are waiting by now, the answers are the same.
        thread::sleep(std::time::Duration::from_millis(100));
        locking.batch_execute("COMMIT").unwrap();
        let mut given: BTreeSet<i64> = first.join().unwrap().unwrap().into_iter().collect();
        others.into_iter().for_each(|call| call.join().unwrap().unwrap());
        given.extend(appends.into_iter().flat_map(|call| call.join().unwrap().unwrap()));
        assert_eq!(given, (2..=8).collect());
    });
    let mut conn = db.connect();
    assert_eq!(indexes(&mut conn, "one"), (1..=8).collect::<Vec<_>>());
    assert_eq!(indexes(&mut conn, "put"), [2, 6, 10, 14, 18, 22]);
}

#[test]
fn the_same_append_at_once_is_stored_once() {
    with_each_key(|db| {
        let events: Vec<NewEvent> = (0..5).map(|number| new_event(&format!("same-{number}"))).collect();
        let given = clients(db, |_, conn| patiently(|| conn.append_events("one", &events)));
        assert!(given.iter().all(|indexes| *indexes == [1, 2, 3, 4, 5]), "{given:?}");
        assert_eq!(indexes(&mut db.connect(), "one"), [1, 2, 3, 4, 5]);
    });
}

/// Only one of those who expect the same end gets it.
#[test]
fn one_of_many_appends_after_an_index_wins() {
    let Some(db) = PgDb::ours() else { return };
    for round in 0..10 {
        let won = clients(&db, |client, conn| {
            match conn.append_events_after("one", round, &[new_event(&format!("{round}-{client}"))]) {
                Ok(indexes) => {
                    assert_eq!(indexes, [round + 1]);
                    1
                }
                Err(Error::AppendConflict { expected, last_index, .. }) => {
                    assert_eq!((expected, last_index), (round, Some(round + 1)));
                    0
                }
                Err(error) => panic!("{error}"),
            }
        });
        assert_eq!(won.iter().sum::<i32>(), 1);
    }
}

/// Whether a list of indexes ascends by ones.
fn is_without_gap(indexes: &[i64]) -> bool {
    indexes.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

/// Appends until told to stop, and returns how often.
fn append_until(stop: &AtomicBool, client: usize, conn: &mut PgConnection) -> usize {
    let mut number = 0;
    while number == 0 || !stop.load(Ordering::Relaxed) {
        let events = [0, 1].map(|part| new_event(&format!("{client}-{number}-{part}")));
        patiently(|| conn.append_events("one", &events));
        number += 1;
    }
    number
}

/// Runs 8 appending clients beside this work.
fn beside_appends(db: &PgDb, work: impl FnOnce(&mut PgConnection)) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let threads: Vec<_> =
            (0..8).map(|client| scope.spawn(move || append_until(stop, client, &mut db.connect()))).collect();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&mut db.connect())));
        stop.store(true, Ordering::Relaxed);
        assert!(threads.into_iter().all(|thread| thread.join().unwrap() > 0));
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn beside_deletes_a_session_begins_anew_at_1() {
    with_each_key(|db| {
        beside_appends(db, |conn| {
            for _ in 0..60 {
                patiently(|| conn.delete_session("one"));
                let found = indexes(conn, "one");
                assert!(is_without_gap(&found), "{found:?}");
                assert!(found.first().is_none_or(|first| *first == 1), "{found:?}");
            }
        });
        let found = indexes(&mut db.connect(), "one");
        assert!(is_without_gap(&found) && found.first().is_none_or(|first| *first == 1), "{found:?}");
    });
}

#[test]
fn beside_prunes_what_is_kept_has_no_gap() {
    with_each_key(|db| {
        beside_appends(db, |conn| {
            for most in 0..30 {
                conn.prune(&PruneRequest::new().max_events_per_session(20)).unwrap();
                let found = indexes(conn, "one");
                assert!(is_without_gap(&found), "{found:?}");
                if most % 10 == 0 {
                    conn.prune(&PruneRequest::new().session("one")).unwrap();
                }
            }
        });
        let found = indexes(&mut db.connect(), "one");
        assert!(is_without_gap(&found), "{found:?}");
    });
}

#[test]
fn beside_forks_the_copy_is_the_beginning_of_the_session() {
    let Some(db) = PgDb::ours() else { return };
    beside_appends(&db, |conn| {
        for number in 0..30 {
            let fork = format!("fork-{number}");
            let copied = match conn.fork_session("one", None, &session(&fork)) {
                Err(Error::SessionNotFound { .. }) => continue,
                copied => copied.unwrap() as i64,
            };
            assert_eq!(conn.append_events(&fork, &[new_event(&fork)]).unwrap(), [copied + 1]);
            assert_eq!(indexes(conn, &fork), (1..=copied + 1).collect::<Vec<_>>());
        }
    });
    let found = indexes(&mut db.connect(), "one");
    assert!(is_without_gap(&found) && found[0] == 1, "{found:?}");
}

/// The reference driver, which knows no counter, and `insert_event` say the index themselves. An append continues from
/// whatever they have committed.
#[test]
fn beside_inserts_with_an_index_of_their_own() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    let mut other = db.other();
    for round in 1..=10_i64 {
        let index = round * 100;
        if round % 2 == 0 {
            conn.insert_event(&event(&format!("ours-{round}"), "one", index)).unwrap();
        } else {
            other
                .execute(
                    "INSERT INTO events (id, event_index, session_id, created_at, connection_id, sender, payload_json) \
                     VALUES ($1, $2, 'one', 0, 'c', 'agent', '{}') ON CONFLICT (id) DO NOTHING",
                    &[&format!("theirs-{round}"), &index],
                )
                .unwrap();
        }
        let next = conn.append_events("one", &[new_event(&format!("{round}-a")), new_event(&format!("{round}-b"))]);
        assert_eq!(next.unwrap(), [index + 1, index + 2]);
        // An overwrite takes the last one away, and the next append is where the session ends now.
        conn.insert_event(&event(&format!("{round}-b"), "elsewhere", round)).unwrap();
        assert_eq!(conn.append_events("one", &[new_event(&format!("{round}-c"))]).unwrap(), [index + 2]);
    }
    // So does a host that deletes.
    other.execute("DELETE FROM events WHERE session_id = 'one' AND event_index > 5", &[]).unwrap();
    assert_eq!(conn.append_events("one", &[new_event("again")]).unwrap(), [1]);
}

/// The counters can be emptied or be wrong, and nothing comes of it.
#[test]
fn the_events_are_what_counts() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    conn.append_events("one", &[new_event("a"), new_event("b")]).unwrap();
    for (number, ruin) in
        ["TRUNCATE event_heads", "UPDATE event_heads SET last_index = 0", "UPDATE event_heads SET last_index = 1000"]
            .into_iter()
            .enumerate()
    {
        conn.batch_execute(ruin).unwrap();
        let next = conn.append_events("one", &[new_event(&format!("after-{number}"))]).unwrap();
        assert_eq!(next, [number as i64 + 3], "{ruin}");
    }
    let heads = |conn: &mut PgConnection| {
        diesel::select(diesel::dsl::sql::<sql_types::BigInt>("(SELECT count(*) FROM event_heads)"))
            .get_result::<i64>(conn)
            .unwrap()
    };
    assert_eq!(heads(&mut conn), 1);
    conn.delete_session("one").unwrap();
    assert_eq!(heads(&mut conn), 0, "a session without events needs no counter");
    conn.append_events("one", &[new_event("a")]).unwrap();
    conn.prune(&PruneRequest::new().session("one")).unwrap();
    assert_eq!(heads(&mut conn), 0);
}

#[test]
fn the_greatest_index_is_the_last() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    conn.insert_event(&with!(event("last", "one", 1), event_index: i64::MAX - 1)).unwrap();
    assert_eq!(conn.append_events("one", &[new_event("a")]).unwrap(), [i64::MAX]);
    let full = conn.append_events("one", &[new_event("b")]);
    assert!(matches!(full, Err(Error::IndexesExhausted { .. })), "{full:?}");
    assert_eq!(conn.append_events("one", &[new_event("a")]).unwrap(), [i64::MAX], "what is stored is stored");
}

/// Does nothing by itself; the test below runs it in processes of their own.
#[test]
fn one_of_many_processes() {
    let Some(task) = task() else { return };
    let [url, who] = task.try_into().unwrap();
    let store = SessionStore::connect(&url).unwrap();
    thread::scope(|scope| {
        for number in 0..4 {
            let (store, who) = (&store, &who);
            scope.spawn(move || {
                for event in 0..25 {
                    store.append_events("one", &[new_event(&format!("{who}-{number}-{event}"))]).unwrap();
                }
            });
        }
    });
    say("done");
}

/// The database is empty: they migrate it, too.
#[test]
fn eight_processes_append_to_one_session() {
    let Some(db) = PgDb::new() else { return };
    let processes: Vec<_> =
        (0..8).map(|who| Process::start(child(one_of_many_processes, &format!("{}|{who}", db.url())))).collect();
    processes.into_iter().for_each(|process| drop(process.end()));
    assert_eq!(indexes(&mut db.connect(), "one"), (1..=800).collect::<Vec<_>>());
}

/// An event that differs in nothing but the words of its JSON is the same to a JSONB column.
#[test]
fn a_retry_on_jsonb_is_recognised() {
    let Some(db) = PgDb::fixture("postgres-0.4.sql") else { return };
    let mut conn = db.connect();
    agent_session_store::migrate(&mut conn).unwrap();
    let first = with!(new_event("a"), payload: json(r#"{"b":1, "a": [1.0]}"#));
    assert_eq!(conn.append_events("one", std::slice::from_ref(&first)).unwrap(), [1]);
    assert_eq!(conn.append_events("one", &[first, new_event("b")]).unwrap(), [1, 2]);
    let other = with!(new_event("a"), payload: json(r#"{"b":2,"a":[1.0]}"#));
    assert!(matches!(conn.append_events("one", &[other]), Err(Error::EventIdTaken { .. })));
}

//! Proves that what was acknowledged survives `kill -9`: a process with many writers is killed at random times, again
//! and again. `CRASH_ROUNDS` in the environment asks for more than the 50 times of a normal run.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::thread;
use std::time::Duration;

use agent_session_store::{Durability, JournalMode, SessionStore};

use crate::common::process::{Process, child, say, task};
use crate::common::{Random, TempDb, event};

const BATCH: i64 = 20;

/// Does nothing by itself; the tests below run it in a process of its own.
#[test]
fn a_process_that_writes_until_it_is_killed() {
    let Some(task) = task() else { return };
    let [path, durability, journal_mode, round] = task.try_into().unwrap();
    let store = SessionStore::builder()
        .durability(if durability == "normal" { Durability::Normal } else { Durability::Full })
        .journal_mode(if journal_mode == "rollback" { JournalMode::Rollback } else { JournalMode::Wal })
        .open(path)
        .unwrap();
    thread::scope(|scope| {
        for number in 0..12 {
            let (store, round) = (&store, &round);
            scope.spawn(move || {
                for index in 0.. {
                    let name = format!("{round}/{number:02}/{index:05}");
                    if number % 4 == 0 {
                        let part = |part| event(&format!("batch/{name}/{part:02}"), "batches", part);
                        store.insert_events(&(0..BATCH).map(part).collect::<Vec<_>>()).unwrap();
                        say(&format!("ack batch/{name}"));
                    } else {
                        store.insert_event(&event(&name, &format!("session-{number}"), index)).unwrap();
                        say(&format!("ack {name}"));
                    }
                }
            });
        }
    });
}

/// Starts the writers, kills them after a while, and returns what they said was stored.
fn write_and_be_killed(path: &Path, durability: &str, journal_mode: &str, round: u64, wait: Duration) -> Vec<String> {
    let task = format!("{}|{durability}|{journal_mode}|{round:04}", path.display());
    let writers = Process::start(child(a_process_that_writes_until_it_is_killed, &task));
    let acknowledged = |line: String| Some(line.strip_prefix("ack ")?.to_owned());
    let first = writers.lines().find_map(acknowledged).unwrap();
    thread::sleep(wait);
    std::iter::once(first).chain(writers.kill().into_iter().filter_map(acknowledged)).collect()
}

fn assert_nothing_is_missing(db: &TempDb, acknowledged: &[String]) {
    // As an application would: the store opens the file, and finds what the log still holds.
    SessionStore::open(db.path()).unwrap().insert_event(&event("reopened", "reopened", 1)).unwrap();
    let mut singles = HashSet::new();
    let mut batches = HashMap::new();
    for id in db.event_ids() {
        match id.strip_prefix("batch/").and_then(|name| name.rsplit_once('/')) {
            Some((name, _)) => *batches.entry(format!("batch/{name}")).or_insert(0) += 1,
            None => _ = singles.insert(id),
        }
    }
    for name in acknowledged {
        assert!(singles.contains(name) || batches.contains_key(name), "{name} was acknowledged and is not there");
    }
    for (name, count) in batches {
        assert_eq!(count, BATCH, "half of {name}");
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let rounds = std::env::var("CRASH_ROUNDS").map_or(50, |rounds| rounds.parse().unwrap());
    let mut random = Random::from_clock();
    let (mut db, mut acknowledged) = (TempDb::new(), Vec::new());
    let mut total = 0;
    for round in 0..rounds {
        // A few crashes in a row on one file, then a fresh one, which may be killed right after it was created.
        if round % 5 == 0 {
            (db, acknowledged) = (TempDb::new(), Vec::new());
        }
        let wait = Duration::from_micros(random.below(150_000));
        let durability = if round % 3 == 2 { "normal" } else { "full" };
        let journal_mode = if round / 5 % 4 == 3 { "rollback" } else { "wal" };
        acknowledged.extend(write_and_be_killed(&db.path(), durability, journal_mode, round, wait));
        assert_nothing_is_missing(&db, &acknowledged);
        total += acknowledged.len();
    }
    assert!(total as u64 > rounds);
}

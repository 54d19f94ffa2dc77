//! Proves that two prunes with archives, of which one is killed, lose nothing between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use agent_session_store::{Import, ListEventsRequest, PruneRequest, SessionEvent, SessionPersistDriver, SessionStore};
use tempfile::TempDir;

use crate::common::process::{Process, child, say, task, wait};
use crate::common::{PgDb, Random, new_event, session};

const SESSIONS: usize = 30;
const ROUNDS: usize = 8;

fn name(number: usize) -> String {
    format!("session-{number:02}")
}

fn everything() -> PruneRequest {
    PruneRequest::new().max_total_bytes(0)
}

/// Does nothing by itself; the test below runs it in processes of its own.
#[test]
fn a_process_that_prunes() {
    let Some(task) = task() else { return };
    let [url, path] = task.try_into().unwrap();
    let store = SessionStore::connect(&url).unwrap();
    say("ready");
    wait();
    say(&format!("{:?}", store.prune(&everything().archive_to(path)).unwrap()));
}

fn events(driver: &mut impl SessionPersistDriver) -> BTreeMap<String, SessionEvent> {
    let listed =
        (0..SESSIONS).flat_map(|number| driver.events(ListEventsRequest::new(name(number))).collect::<Vec<_>>());
    listed.map(|event| event.unwrap()).map(|event| (event.id.clone(), event)).collect()
}

/// What the archives have, of which there may be none, or two with the same rows.
fn archived(paths: &[&Path]) -> BTreeMap<String, SessionEvent> {
    let mut restored = SessionStore::open_in_memory().unwrap();
    for path in paths.iter().filter(|path| path.exists()) {
        restored.import(Import::from_path(path).unwrap()).unwrap();
    }
    events(&mut restored)
}

#[test]
fn two_at_once_of_which_one_is_killed_lose_nothing() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    let mut random = Random::new(11);
    let mut archives = 0;
    for round in 0..ROUNDS {
        for number in 0..SESSIONS {
            conn.update_session(&session(&name(number))).unwrap();
            let new: Vec<_> = (0..40).map(|event| new_event(&format!("{round}-{number}-{event:02}"))).collect();
            conn.append_events(&name(number), &new).unwrap();
        }
        let all = events(&mut conn);
        let folder = TempDir::new().unwrap();
        let paths = ["one.jsonl", "two.jsonl"].map(|name| folder.path().join(name));
        let [mut one, mut two] = paths
            .each_ref()
            .map(|path| Process::start(child(a_process_that_prunes, &format!("{}|{}", db.url(), path.display()))));
        for process in [&mut one, &mut two] {
            process.wait_for("ready");
        }
        one.give_sign();
        two.give_sign();
        std::thread::sleep(Duration::from_micros(random.below(120_000)));
        one.kill();
        two.end();

        // The server notices by itself, and rolls back what was not committed.
        std::thread::sleep(Duration::from_millis(20));
        assert!(conn.check().unwrap().is_sound());
        let paths = paths.each_ref().map(|path| path.as_path());
        archives += paths.iter().filter(|path| path.exists()).count();
        let mut found = archived(&paths);
        found.extend(events(&mut conn));
        assert_eq!(found, all, "round {round}");
        conn.prune(&everything()).unwrap();
        assert_eq!(conn.stats().unwrap().events, 0);
    }
    assert!(archives >= ROUNDS, "{archives}");
}

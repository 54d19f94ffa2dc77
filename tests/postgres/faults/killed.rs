//! Proves that every acknowledged event survives, once and in its place, whatever process of the server is killed under
//! processes that write to it.

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use agent_session_store::diesel::sql_types::Integer;
use agent_session_store::diesel::{Connection, PgConnection, QueryableByName, RunQueryDsl, sql_query};
use agent_session_store::{Error, ListEventsRequest, SessionStore};

use crate::common::own_server::OwnServer;
use crate::common::process::{Process, child, say, task};
use crate::common::{Random, new_event};

const PROCESSES: usize = 8;
const SESSIONS: usize = 5;

/// Repeats a call until it succeeds. Whatever fails meanwhile is about the server.
fn until_it_works<T>(mut call: impl FnMut() -> Result<T, Error>) -> T {
    loop {
        match call() {
            Ok(value) => return value,
            Err(Error::Disconnected { .. } | Error::Open { .. }) => {
                say("again");
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Does nothing by itself; the test below runs it in processes of their own.
#[test]
fn a_process_that_writes_whatever_happens() {
    let Some(task) = task() else { return };
    let [url, who] = task.try_into().unwrap();
    let store = SessionStore::connect(&url).unwrap();
    say("begun");
    // The sign to stop is the end of its input.
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..3 {
            let (store, who) = (&store, &who);
            scope.spawn(move || {
                for index in 0.. {
                    let session = format!("session-{}", (number + index) % SESSIONS);
                    let ids = [0, 1].map(|part| format!("{who}-{number}-{index:05}-{part}"));
                    // Repeating it does no harm.
                    let indexes =
                        until_it_works(|| store.append_events(&session, &ids.clone().map(|id| new_event(&id))));
                    say(&format!("ack {session} {} {}", ids[0], indexes[0]));
                    say(&format!("ack {session} {} {}", ids[1], indexes[1]));
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
        }
        std::io::stdin().read_line(&mut String::new()).unwrap();
        is_over.store(true, Ordering::SeqCst);
    });
}

#[derive(QueryableByName)]
struct Backend {
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// Kills one of the server's processes that serve a client. The postmaster then ends all others, and recovers.
fn kill_a_backend(server: &OwnServer, random: &mut Random) {
    // It may still be recovering.
    let Ok(mut admin) = PgConnection::establish(&server.url("postgres")) else { return };
    let query = "SELECT pid FROM pg_stat_activity WHERE datname = 'postgres' AND pid <> pg_backend_pid()";
    let backends: Vec<Backend> = sql_query(query).load(&mut admin).unwrap();
    if !backends.is_empty() {
        let pid = backends[random.index(backends.len())].pid;
        // It may be gone by now.
        let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_whatever_is_killed() {
    let Some(mut server) = OwnServer::new("max_connections = 100") else { return };
    SessionStore::connect(&server.url("postgres")).unwrap();
    let processes: Vec<_> = (0..PROCESSES)
        .map(|who| {
            Process::start(child(a_process_that_writes_whatever_happens, &format!("{}|{who}", server.url("postgres"))))
        })
        .collect();
    processes.iter().for_each(|process| process.wait_for("begun"));
    let mut random = Random::from_clock();
    for round in 0..6 {
        thread::sleep(Duration::from_millis(100 + random.below(300)));
        if round % 3 == 2 {
            server.stop("KILL");
            server.start();
        } else {
            kill_a_backend(&server, &mut random);
        }
    }
    thread::sleep(Duration::from_millis(300));
    let (mut acknowledged, mut repeated) = (HashMap::new(), 0);
    for said in processes.into_iter().flat_map(Process::end) {
        repeated += usize::from(said == "again");
        let Some(line) = said.strip_prefix("ack ") else { continue };
        let [session, id, index] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        acknowledged.insert(id.to_owned(), (session.to_owned(), index.parse::<i64>().unwrap()));
    }
    assert!(acknowledged.len() > 100 * PROCESSES && repeated > PROCESSES, "{} {repeated}", acknowledged.len());

    let store = SessionStore::connect(&server.url("postgres")).unwrap();
    let mut found = HashSet::new();
    for number in 0..SESSIONS {
        let session = format!("session-{number}");
        for (event, index) in store.events(ListEventsRequest::new(&session)).map(Result::unwrap).zip(1..) {
            assert_eq!(event.event_index, index, "a gap or a tie in {session}");
            assert_eq!(acknowledged[&event.id], (session.clone(), index));
            assert!(found.insert(event.id));
        }
    }
    assert_eq!(found.len(), acknowledged.len());
    assert!(store.check().unwrap().is_sound());
}

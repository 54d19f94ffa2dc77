//! Proves that appended events get each index exactly once, whoever appends at the same time.

use agent_session_store::diesel::Connection;
use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{Error, NewEvent, SessionPersistDriver, SessionStore};

use crate::common::{Process, TempDb, child, column, new_event as new, say, task};

/// The indexes handed out, and those stored, must both be 1 to `count`, each once.
fn assert_each_once(db: &TempDb, mut given: Vec<i64>, count: i64) {
    given.sort_unstable();
    assert_eq!(given, (1..=count).collect::<Vec<_>>());
    let indexes = "SELECT event_index FROM events WHERE session_id = 'one' ORDER BY event_index";
    assert_eq!(column::<i64>(&db.plain(), indexes), (1..=count).collect::<Vec<_>>());
}

/// Appends one by one and two by two, from several threads; the indexes that they were given.
fn append_from(name: &str, threads: usize, append: impl Fn(&[NewEvent]) -> Vec<i64> + Sync) -> Vec<i64> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let append = &append;
                scope.spawn(move || {
                    (0..12)
                        .flat_map(|round| {
                            let id = format!("{name}-{thread}-{round}");
                            let given = append(&[new(&id), new(&format!("{id}-next"))]);
                            assert_eq!(given[1], given[0] + 1, "a batch stays together");
                            let single = append(&[new(&format!("{id}-single"))]);
                            given.into_iter().chain(single).collect::<Vec<_>>()
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn sixteen_threads_on_one_store() {
    let db = TempDb::new();
    let store = SessionStore::open(db.path()).unwrap();
    let given = append_from("store", 16, |events| store.append_events("one", events).unwrap());
    assert_each_once(&db, given, 16 * 36);
}

#[test]
fn threads_with_plain_connections() {
    let db = TempDb::ours();
    let connect = || {
        let mut conn = db.connect();
        conn.batch_execute("PRAGMA busy_timeout = 60000; PRAGMA synchronous = OFF").unwrap();
        conn
    };
    let alone = append_from("alone", 4, |events| connect().append_events("one", events).unwrap());
    // A deferred transaction takes the right to write when it appends, and waits for it.
    let inside =
        append_from("inside", 4, |events| connect().transaction(|conn| conn.append_events("one", events)).unwrap());
    assert_each_once(&db, [alone, inside].concat(), 8 * 36);
}

#[test]
fn a_deferred_transaction_that_has_read_is_refused_when_another_wrote_meanwhile() {
    let db = TempDb::new();
    drop(SessionStore::open(db.path()).unwrap());
    let (mut conn, mut other) = (db.connect(), db.connect());
    conn.batch_execute("PRAGMA busy_timeout = 60000").unwrap();
    let result = conn.transaction(|conn| {
        assert_eq!(conn.last_event_index("one")?, None);
        other.append_events("one", &[new("faster")])?;
        conn.append_events("one", &[new("slower")])
    });
    assert!(matches!(result, Err(Error::Busy { .. })), "{result:?}");
    assert_eq!(conn.append_events("one", &[new("slower")]).unwrap(), [2]);
}

/// Does nothing by itself; the test below runs it in processes of their own.
#[test]
fn one_of_eight_processes() {
    let Some(task) = task() else { return };
    let store = SessionStore::open(&task[0]).unwrap();
    let given = append_from(&task[1], 4, |events| store.append_events("one", events).unwrap());
    say(&format!("given {}", given.iter().map(i64::to_string).collect::<Vec<_>>().join(" ")));
}

#[test]
fn eight_processes_of_four_threads_on_one_session() {
    let db = TempDb::new();
    let path = db.path();
    let start = |number| Process::start(child(one_of_eight_processes, &format!("{}|{number}", path.display())));
    let processes: Vec<_> = (0..8).map(start).collect();
    let mut given = Vec::new();
    for process in processes {
        let said = process.end();
        let indexes = said.iter().find_map(|line| line.strip_prefix("given ")).unwrap();
        given.extend(indexes.split(' ').map(|index| index.parse::<i64>().unwrap()));
    }
    assert_each_once(&db, given, 8 * 4 * 36);
}

//! Proves that a client misses nothing and gets nothing twice, and that one which does not read holds nobody up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use agent_session_store::ListEventsRequest;

use crate::client::{Events, post};
use crate::common::{Random, TempDb, event};
use crate::server::Server;

fn ids(from: usize, upto: usize) -> Vec<String> {
    (from..upto).map(|number| format!("e{number:04}")).collect()
}

/// Receives this many events, over connections that each end after a few.
fn receive(servers: &[String], events: usize, random: &mut Random) -> Vec<String> {
    let (mut received, mut last_id) = (Vec::new(), None);
    while received.len() < events {
        let url = &servers[random.below(servers.len() as u64) as usize];
        let Ok(mut connection) = Events::open(url, last_id.clone()) else { continue };
        let most = 1 + random.below(40) as usize;
        let left = events - received.len();
        for event in connection.by_ref().take(most.min(left)) {
            assert_eq!(event.event_index, received.len() as i64 + 1);
            received.push(event.id);
        }
        last_id = connection.last_id.take().or(last_id);
    }
    received
}

#[test]
fn a_client_that_is_cut_off_again_and_again_gets_every_event_once() {
    const EVENTS: usize = 300;
    let db = TempDb::new();
    let server = Server::start(&db.path());
    let url = server.events("s");
    thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|seed| {
                scope.spawn({
                    let url = url.clone();
                    move || receive(&[url], EVENTS, &mut Random::new(seed))
                })
            })
            .collect();
        for from in (0..EVENTS).step_by(10) {
            assert!(post(&url, &ids(from, from + 10), 10));
        }
        for client in clients {
            assert_eq!(client.join().unwrap(), ids(0, EVENTS));
        }
    });
}

#[test]
fn clients_of_two_servers_on_one_file_get_the_same_also_if_one_is_killed() {
    const EVENTS: usize = 200;
    let db = TempDb::new();
    let (doomed, other) = (Server::start(&db.path()), Server::start(&db.path()));
    let urls = [doomed.events("s"), other.events("s")];
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let moving = scope.spawn(|| receive(&urls, EVENTS, &mut Random::new(1)));
        let staying = scope.spawn(|| receive(&urls[1..], EVENTS, &mut Random::new(2)));
        // Both servers write; what one did not acknowledge is sent to the other. An append is known by its ids.
        let posting = scope.spawn(|| {
            for (turn, from) in (0..EVENTS).step_by(5).enumerate() {
                let batch = ids(from, from + 5);
                if !post(&urls[turn % 2], &batch, 10) {
                    assert!(turn % 2 == 0 && is_over.load(Ordering::SeqCst));
                    assert!(post(&urls[1], &batch, 10));
                }
            }
        });
        let watching = Events::open(&urls[0], None).unwrap();
        let seen = watching.take(EVENTS / 4).count();
        assert_eq!(seen, EVENTS / 4);
        is_over.store(true, Ordering::SeqCst);
        doomed.process.kill();
        posting.join().unwrap();
        assert_eq!(moving.join().unwrap(), ids(0, EVENTS));
        assert_eq!(staying.join().unwrap(), ids(0, EVENTS));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_that_does_not_read_holds_up_nobody_and_nothing_is_kept_for_it() {
    const EVENTS: usize = 600;
    const BYTES: usize = 100_000;
    let db = TempDb::new();
    let server = Server::start(&db.path());
    let url = server.events("s");
    let mut slow = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    slow.write_all(b"GET /sessions/s/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let before = server.memory();
    let mut most = before;
    thread::scope(|scope| {
        let reading =
            scope.spawn(|| Events::open(&url, None).unwrap().take(EVENTS).map(|event| event.id).collect::<Vec<_>>());
        for from in (0..EVENTS).step_by(10) {
            assert!(post(&url, &ids(from, from + 10), BYTES));
            most = most.max(server.memory());
        }
        assert_eq!(reading.join().unwrap(), ids(0, EVENTS));
    });
    assert!(most - before < (EVENTS * BYTES) as u64 / 2, "{} MB before, {} MB at most", before >> 20, most >> 20);
    // Now it reads, and everything is there for it.
    let mut found = 0;
    let (mut text, mut piece) = (Vec::new(), vec![0; 1 << 20]);
    while found < EVENTS {
        let read = slow.read(&mut piece).unwrap();
        assert!(read > 0, "it ended after {found} events");
        text.extend_from_slice(&piece[..read]);
        while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            found += String::from_utf8_lossy(&event).matches(&format!("\"id\":\"e{found:04}\"")).count();
        }
    }
}

#[test]
fn a_session_that_does_not_exist_yet_is_waited_for_and_the_stream_ends_with_the_server() {
    let db = TempDb::new();
    let server = Server::start(&db.path());
    let mut events = Events::open(&server.events("later"), None).unwrap();
    assert!(post(&server.events("other"), &ids(0, 1), 10));
    assert!(post(&server.events("later"), &ids(1, 2), 10));
    assert_eq!(events.next().unwrap().id, "e0001");
    let address = server.events("later");
    drop(server.process.end());
    assert_eq!(events.next(), None);
    assert_eq!(Events::open(&address, events.last_id).map(drop).unwrap_err().0, 0);
    assert!(!db.beside("-wal").exists(), "the store was closed");
}

#[test]
fn what_is_not_a_cursor_of_the_session_is_refused_before_the_stream_begins() {
    let db = TempDb::new();
    let server = Server::start(&db.path());
    assert!(post(&server.events("s"), &ids(0, 2), 10));
    let first = ListEventsRequest::new("s").cursor_after(&event("e0000", "s", 1)).to_string();
    let mut rest = Events::open(&format!("{}?cursor={first}", server.events("s")), None).unwrap();
    assert_eq!(rest.next().unwrap().id, "e0001");
    // What the client has received counts, and not where it began.
    let mut again = Events::open(&format!("{}?cursor=", server.events("s")), Some(first.clone())).unwrap();
    assert_eq!(again.next().unwrap().id, "e0001");
    for (session_id, cursor) in [("s", "7"), ("s", "c1.x"), ("t", &*first)] {
        let (status, text) = Events::open(&server.events(session_id), Some(cursor.to_owned())).map(drop).unwrap_err();
        assert_eq!(status, 400, "{text}");
        assert!(text.starts_with("the cursor cannot be used"), "{text}");
    }
    assert!(!post(&server.events("t"), &ids(0, 1), 10), "its id is taken");
}

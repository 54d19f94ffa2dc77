//! Proves that tasks follow as threads do, that a future which is dropped loses nothing, and that waiting takes no thread.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use agent_session_store::{
    AsyncFollow, AsyncSessionStore, ChangeToken, Error, ListEventsRequest, NewEvent, SessionPersistDriver, SessionStore,
};
use futures_core::Stream;

use crate::common::tasks::{block_on, on_one_thread};
use crate::common::{TempDb, event, new_event};

const LONG: Duration = Duration::from_secs(60);

fn request() -> ListEventsRequest {
    ListEventsRequest::new("s")
}

async fn next(follow: &mut AsyncFollow) -> String {
    tokio::time::timeout(LONG, follow.next()).await.expect("an event").unwrap().unwrap().id
}

async fn is_waiting<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_millis(20), poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx))).await.is_err()
}

#[test]
fn what_is_stored_comes_first_and_then_what_is_committed() {
    on_one_thread(async {
        let db = TempDb::new();
        let file = AsyncSessionStore::open(db.path()).await.unwrap();
        for store in [file, AsyncSessionStore::open_in_memory().unwrap()] {
            for index in 1..=7 {
                store.insert_event(&event(&format!("e{index}"), "s", index)).await.unwrap();
            }
            let mut follow = store.follow(request().limit(3));
            for index in 1..=7 {
                assert_eq!(next(&mut follow).await, format!("e{index}"));
            }
            assert!(is_waiting(&mut follow).await);
            let following = tokio::spawn(async move {
                let id = next(&mut follow).await;
                (id, follow)
            });
            tokio::task::yield_now().await;
            store.append_events("s", &[new_event("e8")]).await.unwrap();
            let (id, mut follow) = following.await.unwrap();
            assert_eq!(id, "e8");
            store.append_events("other", &[new_event("x")]).await.unwrap();
            assert!(is_waiting(&mut follow).await);
            let mut late = store.follow(request()).from_end().await.unwrap();
            let mut all = store.follow_all(None).from_end().await.unwrap();
            store.transaction(|tx| tx.append_events("s", &[new_event("e9")])).await.unwrap();
            assert_eq!((next(&mut follow).await, next(&mut late).await), ("e9".to_owned(), "e9".to_owned()));
            assert_eq!(follow.position(), late.position());
            assert_eq!(all.next().await.unwrap().unwrap().event.id, "e9");
            let again = store.follow(request().cursor(follow.position()));
            store.append_events("s", &[new_event("e10")]).await.unwrap();
            assert_eq!(next(&mut { again }).await, "e10");
            store.close().await.unwrap();
            // "e10" is there, and can no longer be read.
            assert!(matches!(follow.next().await, Err(Error::Closed)));
            assert!(matches!(follow.next().await, Ok(None)));
            assert!(matches!(all.next().await, Err(Error::Closed)));
            assert!(matches!(store.follow(request()).from_end().await, Err(Error::Closed)));
        }
    });
}

#[test]
fn a_wrong_request_ends_the_stream() {
    block_on(async {
        let store = AsyncSessionStore::open_in_memory().unwrap();
        let mut follow = store.follow(request().descending());
        assert!(matches!(follow.next().await, Err(Error::Unsupported { .. })));
        assert!(matches!(follow.next().await, Ok(None)));
        let foreign = ListEventsRequest::new("t").cursor_after(&event("a", "t", 1));
        let mut follow = store.follow(request().cursor(foreign.clone()));
        assert!(matches!(follow.next().await, Err(Error::InvalidCursor { .. })));
        assert!(matches!(store.follow_all(foreign).next().await, Err(Error::InvalidCursor { .. })));
    });
}

#[test]
fn a_future_that_is_dropped_loses_no_event() {
    let db = TempDb::new();
    let store = AsyncSessionStore::from(SessionStore::open(db.path()).unwrap());
    let ids: Vec<String> = (0..200).map(|number| format!("e{number:03}")).collect();
    let mut delivered = Vec::new();
    let mut follow = store.follow(request().limit(2));
    let mut written = ids.iter();
    while delivered.len() < ids.len() {
        if let Some(id) = written.next() {
            block_on(store.append_events("s", &[new_event(id)])).unwrap();
        }
        // Given up after any number of polls.
        for polls in 0..4 {
            let mut next = pin!(follow.next());
            for _ in 0..polls {
                if let Poll::Ready(event) = next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    delivered.push(event.unwrap().unwrap().id);
                    break;
                }
                std::thread::yield_now();
            }
        }
    }
    assert_eq!(delivered, ids);
}

#[test]
fn a_thousand_followers_wait_without_a_thread_of_their_own() {
    let db = TempDb::new();
    let store = AsyncSessionStore::from(SessionStore::open(db.path()).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let followers: Vec<_> = (0..1_000)
        .map(|number| {
            let mut follow = store.follow(ListEventsRequest::new(format!("s{}", number % 100)));
            runtime.spawn(async move {
                for round in 0..3 {
                    assert_eq!(next(&mut follow).await, format!("{}-{round}", number % 100));
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for round in 0..3 {
            for session in 0..100 {
                let event = new_event(&format!("{session}-{round}"));
                store.append_events(&format!("s{session}"), &[event]).await.unwrap();
            }
            assert!(threads() < 40, "{} threads", threads());
        }
        for follower in followers {
            follower.await.unwrap();
        }
    });
}

#[cfg(target_os = "linux")]
fn threads() -> usize {
    // Those of other tests in this process have other names.
    let names = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("agent-session-s")).count()
}

#[cfg(not(target_os = "linux"))]
fn threads() -> usize {
    0
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_commit_wakes_those_who_follow_its_session_once_and_nobody_else() {
    // Its writes have woken whom they wake when they return.
    let writing = SessionStore::open_in_memory().unwrap();
    let store = AsyncSessionStore::from(writing.clone());
    let mut followers: Vec<_> = (0..30)
        .map(|number| (store.follow(ListEventsRequest::new(format!("s{}", number % 3))), Waker::noop().clone()))
        .collect();
    let counts: Vec<Arc<Counts>> = followers.iter().map(|_| Arc::default()).collect();
    for ((_, waker), count) in followers.iter_mut().zip(&counts) {
        *waker = Waker::from(Arc::clone(count));
    }
    // Each waits for a commit, and no longer for a page, once none has been woken for a while.
    let mut until_they_wait = || {
        let mut is_quiet = false;
        while !is_quiet {
            for (follow, waker) in &mut followers {
                while Pin::new(&mut *follow).poll_next(&mut Context::from_waker(waker)).is_ready() {}
            }
            std::thread::sleep(Duration::from_millis(500));
            is_quiet = counts.iter().map(|count| count.0.swap(0, Ordering::SeqCst)).sum::<usize>() == 0;
        }
    };
    let woken = || counts.iter().map(|count| count.0.swap(0, Ordering::SeqCst)).collect::<Vec<_>>();
    let those_of = |session: usize| (0..30).map(|number| usize::from(number % 3 == session)).collect::<Vec<_>>();
    let many: Vec<_> = (0..512).map(|number| new_event(&format!("e{number}"))).collect();
    until_they_wait();
    writing.append_events("s1", &many).unwrap();
    assert_eq!(woken(), those_of(1));
    until_they_wait();
    writing.append_events("another", &[new_event("x")]).unwrap();
    writing.update_session(&crate::common::session("s2")).unwrap();
    writing.delete_session("s2").unwrap();
    assert_eq!(woken(), vec![0; 30]);
    writing.insert_events(&[event("y", "s2", 1), event("z", "s0", 1)]).unwrap();
    let expected: Vec<_> = those_of(0).iter().zip(those_of(2)).map(|(one, other)| one + other).collect();
    assert_eq!(woken(), expected);
}

/// A waker that uses the store it waits for.
struct Appends(SessionStore, NewEvent);

impl Wake for Appends {
    fn wake(self: Arc<Self>) {
        self.0.append_events("answers", std::slice::from_ref(&self.1)).unwrap();
    }
}

#[test]
fn a_waker_may_use_the_store() {
    let db = TempDb::new();
    let blocking = SessionStore::open(db.path()).unwrap();
    let store = AsyncSessionStore::from(blocking.clone());
    let mut follow = store.follow(request());
    let mut answers = Vec::new();
    for (round, is_queued) in [false, true].into_iter().enumerate() {
        let (question, answer) = (format!("question-{round}"), format!("answer-{round}"));
        on_one_thread(async { while !is_waiting(&mut follow).await {} });
        let waker = Waker::from(Arc::new(Appends(blocking.clone(), new_event(&answer))));
        assert!(Pin::new(&mut follow).poll_next(&mut Context::from_waker(&waker)).is_pending());
        if is_queued {
            block_on(store.append_events("s", &[new_event(&question)])).unwrap();
        } else {
            blocking.append_events("s", &[new_event(&question)]).unwrap();
        }
        answers.push(answer);
        let mut heard = blocking.follow(ListEventsRequest::new("answers"));
        for id in &answers {
            assert_eq!(heard.next_timeout(LONG).unwrap().unwrap().id, *id);
        }
    }
    block_on(store.append_events("s", &[new_event("last")])).unwrap();
}

#[test]
fn a_task_waits_for_changes() {
    on_one_thread(async {
        let db = TempDb::new();
        let store = AsyncSessionStore::open(db.path()).await.unwrap();
        let token = store.changed_since(ChangeToken::default()).await.unwrap();
        store.append_events("s", &[new_event("a")]).await.unwrap();
        let token = store.changed_since(token).await.unwrap();
        let waiting = store.clone();
        let waiting = tokio::spawn(async move { waiting.changed().await });
        tokio::task::yield_now().await;
        db.connect().append_events("s", &[new_event("b")]).unwrap();
        tokio::time::timeout(LONG, waiting).await.unwrap().unwrap().unwrap();
        tokio::time::timeout(LONG, store.changed_since(token)).await.unwrap().unwrap();
        let waiting = store.clone();
        let waiting = tokio::spawn(async move {
            loop {
                waiting.changed().await?;
            }
        });
        tokio::task::yield_now().await;
        store.close().await.unwrap();
        let ended: Result<(), Error> = waiting.await.unwrap();
        assert!(matches!(ended, Err(Error::Closed)));
        assert!(matches!(store.changed_since(ChangeToken::default()).await, Err(Error::Closed)));
    });
}

#[test]
fn a_stream_does_not_keep_the_store_open() {
    let db = TempDb::new();
    let store = AsyncSessionStore::from(SessionStore::open(db.path()).unwrap());
    let mut follow = store.follow(request());
    on_one_thread(async {
        assert!(is_waiting(&mut follow).await);
        drop(store);
        assert!(!db.beside("-wal").exists());
        assert!(matches!(follow.next().await, Err(Error::Closed)));
    });
}

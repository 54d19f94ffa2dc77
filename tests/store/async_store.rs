//! Proves what the store promises to tasks: the same verbs, no thread held while waiting, and no harm from futures that
//! are dropped, whatever the executor.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use agent_session_store::{
    AsyncSessionStore, Error, ListEventsRequest, ListSessionsRequest, SessionEvent, SessionStore,
};
use tokio::task::JoinSet;

use crate::common::tasks::{block_on, on_one_thread};
use crate::common::{TempDb, event, hush, session};

/// Polls once, and tells whether it is done.
async fn poll_once<T>(work: &mut Pin<Box<impl Future<Output = T>>>) -> bool {
    poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_ready())).await
}

/// Polls once, and drops it.
async fn now<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn numbered(number: usize) -> SessionEvent {
    event(&format!("e{number:06}"), &format!("session-{number}"), number as i64)
}

async fn use_every_verb(store: &AsyncSessionStore) -> Result<(), Error> {
    store.update_session(&session("one")).await?;
    assert_eq!(store.get_session("one").await?, Some(session("one")));
    assert_eq!(store.list_sessions(&ListSessionsRequest::new()).await?.items, [session("one")]);
    store.insert_event(&event("e1", "one", 1)).await?;
    store.insert_events(&[event("e2", "one", 2), event("e3", "one", 3)]).await?;
    let page = store.list_events(&ListEventsRequest::new("one").limit(2)).await?;
    assert_eq!(page.items, [event("e1", "one", 1), event("e2", "one", 2)]);
    let rest = ListEventsRequest::new("one").cursor(page.next_cursor.unwrap());
    assert_eq!(store.list_events(&rest).await?.items, [event("e3", "one", 3)]);
    Ok(())
}

async fn assert_closed(store: &AsyncSessionStore) {
    assert!(matches!(store.get_session("one").await, Err(Error::Closed)));
    assert!(matches!(store.list_events(&ListEventsRequest::new("one")).await, Err(Error::Closed)));
    assert!(matches!(store.insert_event(&event("late", "one", 1)).await, Err(Error::Closed)));
    assert!(matches!(store.insert_events(&[event("late", "one", 1)]).await, Err(Error::Closed)));
    store.close().await.unwrap();
}

#[test]
fn the_verbs_work_on_any_executor() {
    let work = async || {
        let db = TempDb::new();
        let store = AsyncSessionStore::open(db.path()).await.unwrap();
        use_every_verb(&store).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(db.bytes().len(), 1);
        assert_closed(&store).await;

        let store = AsyncSessionStore::open_in_memory().unwrap();
        use_every_verb(&store).await.unwrap();
        store.close().await.unwrap();
        assert_closed(&store).await;

        let missing = SessionStore::builder().create(false).open_async(db.folder().join("missing.db")).await;
        assert!(matches!(missing, Err(Error::Open { .. })));
        let store = AsyncSessionStore::from(SessionStore::open(db.path()).unwrap());
        assert_eq!(store.list_events(&ListEventsRequest::new("one")).await.unwrap().items.len(), 3);
    };
    block_on(work());
    on_one_thread(work());
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap().block_on(work());
}

#[test]
fn futures_can_move_between_threads() {
    fn sent<T: Send>(value: T) -> T {
        value
    }
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let store = AsyncSessionStore::open_in_memory().unwrap();
    shared(&store);
    drop(sent(store.get_session("one")));
    drop(sent(store.list_sessions(&ListSessionsRequest::new())));
    drop(sent(store.update_session(&session("one"))));
    drop(sent(store.list_events(&ListEventsRequest::new("one"))));
    drop(sent(store.insert_event(&numbered(1))));
    drop(sent(store.insert_events(&[])));
    drop(sent(store.close()));
    drop(sent(AsyncSessionStore::open("never polled.db")));
    drop(sent(SessionStore::builder().open_async("never polled.db")));
    assert!(format!("{store:?}").contains("Memory"));
}

/// More tasks than there are threads by far, and more than the queue holds, all of them waiting at the same time.
#[test]
fn thousands_of_tasks_wait_on_one_thread() {
    let db = TempDb::new();
    on_one_thread(async {
        let store = SessionStore::builder().busy_timeout(Duration::from_secs(600)).open_async(db.path()).await.unwrap();
        let other = db.plain();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for number in 0..5_000 {
            let (store, begun) = (store.clone(), Arc::clone(&begun));
            tasks.spawn(async move {
                begun.fetch_add(1, SeqCst);
                let event = numbered(number);
                store.insert_event(&event).await.unwrap();
                assert_eq!(store.list_events(&ListEventsRequest::new(&event.session_id)).await.unwrap().items, [event]);
            });
        }
        // The one thread comes around to all of them although none is done.
        while begun.load(SeqCst) < 5_000 {
            tokio::task::yield_now().await;
        }
        assert!(tasks.try_join_next().is_none());
        assert!(store.list_events(&ListEventsRequest::new("session-1")).await.unwrap().items.is_empty());
        other.execute_batch("COMMIT").unwrap();
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        store.close().await.unwrap();
    });
    assert_eq!(db.event_ids().len(), 5_000);
}

#[test]
fn a_dropped_future_is_carried_out_or_not_and_hurts_nobody() {
    let db = TempDb::new();
    on_one_thread(async {
        let store = AsyncSessionStore::open(db.path()).await.unwrap();
        drop(store.insert_event(&event("never polled", "two", 1)));

        // Polled once, with room in the queue: it is carried out.
        let other = db.plain();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let event = event("polled once", "two", 1);
        let mut polled = Box::pin(store.insert_event(&event));
        assert!(!poll_once(&mut polled).await);
        drop(polled);

        // Reads too: nothing comes of them, and nothing is in the way of the next.
        for _ in 0..1_000 {
            let request = ListEventsRequest::new("one");
            let mut read = Box::pin(store.list_events(&request));
            poll_once(&mut read).await;
        }
        assert!(store.list_events(&ListEventsRequest::new("one")).await.unwrap().items.is_empty());

        // More than the queue holds: those that found no room are not carried out.
        let events: Vec<_> = (0..3_000).map(numbered).collect();
        let mut waiting: Vec<_> = events.iter().map(|event| Box::pin(store.insert_event(event))).collect();
        for future in &mut waiting {
            for _ in 0..2 {
                assert!(!poll_once(future).await);
            }
        }
        drop(waiting);
        other.execute_batch("COMMIT").unwrap();
        use_every_verb(&store).await.unwrap();
        store.close().await.unwrap();
    });
    let stored = db.event_ids();
    assert!(!stored.contains(&"never polled".to_owned()));
    assert!(stored.contains(&"polled once".to_owned()));
    let queued = stored.iter().filter(|id| id.len() == 7).count();
    // One group may have left the queue for the lock before the others came.
    assert!((1_000..=2_048).contains(&queued), "{queued}");
}

#[test]
fn what_is_given_up_in_a_select_loses_nothing_that_was_acknowledged() {
    let db = TempDb::new();
    let acknowledged = on_one_thread(async {
        let store = AsyncSessionStore::open(db.path()).await.unwrap();
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for task in 0..50 {
            let (store, acknowledged) = (store.clone(), Arc::clone(&acknowledged));
            tasks.spawn(async move {
                for step in 0..40 {
                    let event = numbered(task * 40 + step);
                    tokio::select! {
                        result = store.insert_event(&event) => {
                            result.unwrap();
                            acknowledged.lock().unwrap().push(event.id);
                        }
                        () = tokio::time::sleep(Duration::from_micros((step as u64 * 97) % 2_000)) => {}
                    }
                    let request = ListEventsRequest::new("session-1");
                    tokio::select! {
                        page = store.list_events(&request) => drop(page.unwrap()),
                        () = tokio::time::sleep(Duration::from_micros((step as u64 * 31) % 500)) => {}
                    }
                }
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        store.insert_event(&numbered(999_999)).await.unwrap();
        // Dropping the last clone inside a runtime works as well.
        std::mem::take(&mut *acknowledged.lock().unwrap())
    });
    let stored = db.event_ids();
    assert_eq!(db.bytes().len(), 1);
    assert!(stored.contains(&"e999999".to_owned()));
    assert!(acknowledged.iter().all(|id| stored.contains(id)));
}

#[test]
fn closing_answers_the_tasks_that_wait() {
    let db = TempDb::new();
    on_one_thread(async {
        let store = AsyncSessionStore::open(db.path()).await.unwrap();
        let other = db.plain();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for number in 0..3_000 {
            let (store, begun) = (store.clone(), Arc::clone(&begun));
            tasks.spawn(async move {
                begun.fetch_add(1, SeqCst);
                let event = numbered(number);
                store.insert_event(&event).await.map(|()| event.id)
            });
        }
        while begun.load(SeqCst) < 3_000 {
            tokio::task::yield_now().await;
        }
        let mut closing = Box::pin(store.close());
        assert!(!poll_once(&mut closing).await);
        while !matches!(now(store.insert_event(&numbered(9_999))).await, Some(Err(Error::Closed))) {
            tokio::task::yield_now().await;
        }
        // The queue is closed, with what is in it.
        other.execute_batch("COMMIT").unwrap();
        let mut acknowledged = Vec::new();
        while let Some(task) = tasks.join_next().await {
            match task.unwrap() {
                Ok(id) => acknowledged.push(id),
                Err(error) => assert!(matches!(error, Error::Closed), "{error}"),
            }
        }
        drop(closing);
        store.close().await.unwrap();
        acknowledged.sort();
        let mut stored = db.event_ids();
        // Polled once, while the queue was not closed yet.
        stored.retain(|id| *id != numbered(9_999).id);
        assert_eq!(stored, acknowledged);
        assert!((1_000..3_000).contains(&acknowledged.len()), "{}", acknowledged.len());
    });
}

/// A task of a simple executor: its waker holds the future.
struct Task(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        // The executor is gone. Where this is the last reference, the future goes here, on the store's thread.
    }
}

#[test]
fn a_task_may_drop_the_last_clone_while_it_is_woken() {
    let db = TempDb::new();
    for round in 0..20 {
        let store = block_on(AsyncSessionStore::open(db.path())).unwrap();
        let task = Arc::new(Task(Mutex::default()));
        *task.0.lock().unwrap() = Some(Box::pin(async move {
            store.insert_event(&numbered(round)).await.unwrap();
        }));
        let waker = Waker::from(Arc::clone(&task));
        let polled = task.0.lock().unwrap().as_mut().unwrap().as_mut().poll(&mut Context::from_waker(&waker));
        drop((waker, task));
        if polled.is_ready() {
            continue;
        }
        // It is stored, and then it closes on a thread of its own, sooner or later.
        let log = db.beside("-wal");
        while db.event_ids().len() <= round || log.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("on purpose");
    }
}

#[test]
fn a_waker_that_panics_hurts_nobody_else() {
    hush("on purpose");
    let db = TempDb::new();
    on_one_thread(async {
        let store = AsyncSessionStore::open(db.path()).await.unwrap();
        let waker = Waker::from(Arc::new(Panics));
        let events: Vec<_> = (0..2_000).map(numbered).collect();
        let mut bad = Vec::new();
        let other = db.plain();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        for event in &events {
            let mut future = Box::pin(store.insert_event(event));
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            bad.push(future);
        }
        other.execute_batch("COMMIT").unwrap();
        for number in 0..50 {
            store.insert_event(&event(&format!("good-{number}"), "one", number)).await.unwrap();
            let request = ListEventsRequest::new("one");
            let mut read = Box::pin(store.list_events(&request));
            let _ = read.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(!store.list_events(&request).await.unwrap().items.is_empty());
        }
        store.close().await.unwrap();
    });
    assert!(db.event_ids().len() > 1_000);
}

//! Proves that tasks take a bounded number of threads and hold nothing but what they wait with, however many there are
//! and however often they are polled or given up; and that all who go on waiting are served.

use std::future::Future;
use std::io::{BufReader, Write};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use agent_session_store::{AsyncSessionStore, Error, PruneRequest, Selection, SessionEvent, SessionStore};
use tokio::task::JoinSet;

use crate::common::instrumentation::{Moment, Watch};
use crate::common::samples::HEADER;
use crate::common::tasks::{block_on, poll};
use crate::common::{TempDb, child, event, millis, output, session, task};

/// A waker that does nothing. Its references are counted.
struct Counted;

impl Wake for Counted {
    fn wake(self: Arc<Self>) {}
}

/// Keeps everybody who comes until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// A writer before a gate.
struct Gated(Gate, Arc<AtomicUsize>);

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.fetch_add(1, SeqCst);
        self.0.pass();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn numbered(number: usize) -> SessionEvent {
    event(&format!("e{number:06}"), &format!("session-{number}"), number as i64)
}

/// The names of this process's threads that are the store's, as far as the system shows them.
#[cfg(target_os = "linux")]
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // One may end while it is looked at.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("agent-session")).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_calls_of_each_kind_take_a_few_threads() {
    // In a process of its own, where no other test has threads.
    if task().is_none() {
        output(&mut child(a_thousand_calls_of_each_kind_take_a_few_threads, "threads"));
        return;
    }
    const CALLS: usize = 1_000;
    let db = TempDb::new();
    let gate = Gate::default();
    let before = gate.clone();
    let _watch = Watch::with_hook(&db, move |moment, sql| {
        if moment == Moment::Start && ["VACUUM", "DELETE"].iter().any(|word| sql.starts_with(word)) {
            before.pass();
        }
    });
    let store = block_on(AsyncSessionStore::open(db.path())).unwrap();
    block_on(store.update_session(&session("one"))).unwrap();
    let waker = Waker::noop();
    let begun = Arc::new(AtomicUsize::new(0));
    type Call<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;
    let mut calls: Vec<Call> = Vec::new();
    for number in 0..CALLS {
        calls.push(Box::pin(store.backup_to(db.folder().join(format!("copy-{number}.db")))));
        let (store, writer) = (&store, Gated(gate.clone(), Arc::clone(&begun)));
        calls.push(Box::pin(async { store.export(writer, Selection::all()).await.map(drop) }));
        calls.push(Box::pin(async { store.reclaim_space().await }));
        calls.push(Box::pin(async {
            let request = PruneRequest::new().max_events_per_session(1).created_before(millis(0));
            store.prune(&request).await.map(drop)
        }));
        calls.push(Box::pin(async { store.get_session("one").await.map(drop) }));
        calls.push(Box::pin(async { store.import(HEADER.as_bytes()).await.map(drop) }));
        if number % 5 == 0 {
            calls.push(Box::pin(async move {
                let folder = tempfile::tempdir().unwrap();
                AsyncSessionStore::open(folder.path().join("other.db")).await.map(drop)
            }));
        }
    }
    let mut most = 0;
    let mut waiting = Vec::new();
    let last = calls.len() - 1;
    for (number, mut call) in calls.into_iter().enumerate() {
        match poll(&mut call, waker) {
            Poll::Ready(done) => done.unwrap(),
            Poll::Pending => waiting.push((number, call)),
        }
        if number % 50 == 0 {
            most = most.max(threads().len());
        }
    }
    while begun.load(SeqCst) < 16 {
        thread::sleep(Duration::from_millis(1));
    }
    most = most.max(threads().len());
    // 16 that export, 16 that import, 4 that copy, 4 that tidy up, 4 that read, 64 that open, one that writes.
    assert!((24..=109).contains(&most), "{most} threads");
    assert_eq!(begun.load(SeqCst), 16);

    // What has not begun is given up with its future; of what is left, everything is done.
    waiting.retain(|(number, _)| *number < 70 || *number > last - 70);
    gate.open();
    for (_, call) in waiting {
        block_on(call).unwrap();
    }
    let copies = (0..CALLS).filter(|number| db.folder().join(format!("copy-{number}.db")).exists()).count();
    assert!((20..=28).contains(&copies), "{copies} copies");
    block_on(store.close()).unwrap();
}

/// Every future that waits for room in the queue, or for its answer, has one waker there, the latest; and none when it
/// has gone.
#[test]
fn a_future_that_is_polled_again_and_again_leaves_one_waker() {
    let db = TempDb::new();
    let store = SessionStore::builder().busy_timeout(Duration::from_secs(600)).open(db.path()).unwrap();
    let store = AsyncSessionStore::from(store);
    let other = db.plain();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let events: Vec<_> = (0..2_000).map(numbered).collect();
    let mut futures: Vec<_> = events.iter().map(|event| Box::pin(store.insert_event(event))).collect();
    let fill = Waker::noop();
    for future in &mut futures {
        assert!(poll(future, fill).is_pending());
    }
    let (first, last) = (0, futures.len() - 1);
    for place in [first, last] {
        let future = &mut futures[place];
        let counted = Arc::new(Counted);
        let same = Waker::from(Arc::clone(&counted));
        for _ in 0..10_000 {
            assert!(poll(future, &same).is_pending());
        }
        assert_eq!(Arc::strong_count(&counted), 3, "the test's two, and one for the future");
        let others: Vec<_> = (0..1_000).map(|_| Arc::new(Counted)).collect();
        for other in &others {
            assert!(poll(future, &Waker::from(Arc::clone(other))).is_pending());
        }
        assert_eq!(Arc::strong_count(&counted), 2);
        assert!(others.iter().take(999).all(|other| Arc::strong_count(other) == 1));
        assert_eq!(Arc::strong_count(&others[999]), 2);
        drop(futures.remove(place));
        assert_eq!(Arc::strong_count(&others[999]), 1);
        futures.insert(place, Box::pin(store.insert_event(&events[place])));
    }
    drop(futures);
    other.execute_batch("COMMIT").unwrap();
    block_on(store.insert_event(&numbered(9_999))).unwrap();
    block_on(store.close()).unwrap();
}

/// A job that nobody waits for any more does not wait for a thread either: all that it had is gone at once.
#[test]
fn what_is_given_up_before_its_turn_holds_nothing() {
    let db = TempDb::new();
    let store = block_on(AsyncSessionStore::open(db.path())).unwrap();
    let (gate, begun) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let mut running: Vec<_> =
        (0..16).map(|_| Box::pin(store.export(Gated(gate.clone(), Arc::clone(&begun)), Selection::all()))).collect();
    for export in &mut running {
        assert!(poll(export, Waker::noop()).is_pending());
    }
    let held = Arc::strong_count(&begun);
    for _ in 0..1_000 {
        let writer = Gated(gate.clone(), Arc::clone(&begun));
        let mut export = Box::pin(store.export(writer, Selection::all()));
        assert!(poll(&mut export, Waker::noop()).is_pending());
        assert_eq!(Arc::strong_count(&begun), held + 1);
        drop(export);
        assert_eq!(Arc::strong_count(&begun), held);
    }
    gate.open();
    for export in running {
        block_on(export).unwrap();
    }
    assert_eq!(begun.load(SeqCst), 16);
    block_on(store.close()).unwrap();
}

/// The queue is full, and before it are tasks that give up at some time, and futures that were polled once and are never
/// looked at again. Whoever goes on waiting gets in.
#[test]
fn no_wake_up_is_lost() {
    let db = TempDb::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    for round in 0..4 {
        let builder = SessionStore::builder().busy_timeout(Duration::from_secs(600));
        let store = AsyncSessionStore::from(builder.open(db.path()).unwrap());
        let other = db.plain();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let asleep: Vec<_> = (0..3_000).map(|number| numbered(round * 10_000 + number)).collect();
        let mut asleep: Vec<_> = asleep.iter().map(|event| Box::pin(store.insert_event(event))).collect();
        for future in &mut asleep {
            assert!(poll(future, Waker::noop()).is_pending());
        }
        runtime.block_on(async {
            let (mut tasks, begun) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
            for number in 3_000..8_000 {
                let (store, begun) = (store.clone(), Arc::clone(&begun));
                tasks.spawn(async move {
                    begun.fetch_add(1, SeqCst);
                    let event = numbered(round * 10_000 + number);
                    let mut insert = pin!(store.insert_event(&event));
                    if number % 3 == 0 {
                        let patience = Duration::from_micros((number as u64 * 7_919) % 60_000);
                        return tokio::time::timeout(patience, insert).await.is_ok_and(|done| done.is_ok());
                    }
                    // Polled also where nobody has woken it.
                    if number % 3 == 1 {
                        for _ in 0..10 {
                            let polled = tokio::time::timeout(Duration::from_millis(3), &mut insert);
                            if let Ok(done) = polled.await {
                                return done.is_ok();
                            }
                        }
                    }
                    insert.await.unwrap();
                    true
                });
            }
            while begun.load(SeqCst) < 5_000 {
                tokio::task::yield_now().await;
            }
            other.execute_batch("COMMIT").unwrap();
            let mut done = 0;
            while let Some(task) = tasks.join_next().await {
                done += usize::from(task.unwrap());
            }
            assert!(done >= 3_333, "{done}");
        });
        drop(asleep);
        block_on(store.close()).unwrap();
    }
}

/// An export and an import that feeds on it are two kinds of work, so that neither waits for the other's turn.
#[test]
fn imports_read_what_exports_write_through_pipes() {
    let db = TempDb::new();
    let store = block_on(AsyncSessionStore::open(db.path())).unwrap();
    block_on(store.update_session(&session("one"))).unwrap();
    // More than a pipe holds.
    let events: Vec<_> = (0..500).map(|index| event(&format!("e{index}"), "one", index)).collect();
    block_on(store.insert_events(&events)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..40 {
            let (reader, writer) = std::io::pipe().unwrap();
            let store = store.clone();
            tasks.spawn(async move {
                let export = async {
                    let (writer, done) = store.export(writer, Selection::all()).await.unwrap();
                    drop(writer);
                    done
                };
                let import = store.import(BufReader::new(reader));
                let (exported, imported) = tokio::join!(export, import);
                assert_eq!(exported, imported.unwrap());
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        store.close().await.unwrap();
    });
}

/// What waits for its turn does not keep the store from closing, and is answered.
#[test]
fn closing_waits_for_what_runs_and_for_nothing_else() {
    let db = TempDb::new();
    let store = block_on(AsyncSessionStore::open(db.path())).unwrap();
    let (gate, begun) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
    let mut exports: Vec<_> =
        (0..100).map(|_| Box::pin(store.export(Gated(gate.clone(), Arc::clone(&begun)), Selection::all()))).collect();
    for export in &mut exports {
        assert!(poll(export, Waker::noop()).is_pending());
    }
    while begun.load(SeqCst) < 16 {
        thread::sleep(Duration::from_millis(1));
    }
    let mut closing: Vec<_> = (0..100).map(|_| Box::pin(store.close())).collect();
    for closing in &mut closing {
        assert!(poll(closing, Waker::noop()).is_pending());
    }
    while !matches!(block_on(store.get_session("one")), Err(Error::Closed)) {
        thread::sleep(Duration::from_millis(1));
    }
    gate.open();
    for closing in closing {
        block_on(closing).unwrap();
    }
    let (mut done, mut refused) = (0, 0);
    for export in exports {
        match block_on(export) {
            Ok(_) => done += 1,
            Err(Error::Closed) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((done, refused), (16, 84));
    assert_eq!(db.bytes().len(), 1);
}

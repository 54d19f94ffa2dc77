//! An executor, and the async store as a driver: each verb is one task, waited for.

use std::future::Future;
use std::io::{BufRead, Cursor, Write};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use agent_session_store::{
    AsyncSessionStore, CheckReport, CheckpointReport, Error, ListEventsRequest, ListPage, ListSessionsRequest,
    NewEvent, Progress, PruneReport, PruneRequest, Result, Selection, SessionEvent, SessionPersistDriver,
    SessionRecord, SessionStats, Stats,
};
use chrono::{DateTime, Utc};
use tokio::runtime::Runtime;

/// The simplest executor there is: a future, and a thread that parks.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// Polls a future once.
pub fn poll<T>(work: &mut Pin<Box<impl Future<Output = T> + ?Sized>>, waker: &Waker) -> Poll<T> {
    work.as_mut().poll(&mut Context::from_waker(waker))
}

/// One thread of Tokio's, and none to help it.
pub fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    one_thread().block_on(work)
}

fn one_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

pub struct Tasks {
    store: AsyncSessionStore,
    runtime: Runtime,
}

impl Tasks {
    pub fn of(store: AsyncSessionStore) -> Self {
        Self { store, runtime: one_thread() }
    }
}

macro_rules! waited_for {
    ($($verb:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl SessionPersistDriver for Tasks {
            $(
                fn $verb(&mut self, $($argument: $type),*) -> Result<$answer> {
                    self.runtime.block_on(self.store.$verb($($argument),*))
                }
            )*

            fn events(&mut self, request: ListEventsRequest) -> impl Iterator<Item = Result<SessionEvent>> {
                let mut events = self.store.events(request);
                std::iter::from_fn(move || self.runtime.block_on(events.next()).transpose())
            }

            fn export_with_progress<W: Write>(
                &mut self,
                mut writer: W,
                selection: &Selection,
                mut progress: impl FnMut(Progress),
            ) -> Result<Progress> {
                let (told, heard) = std::sync::mpsc::channel();
                let tell = move |progress| told.send(progress).unwrap();
                let (lines, done) = self.runtime.block_on(self.store.export(Vec::new(), selection.clone(), tell))?;
                heard.iter().for_each(&mut progress);
                writer.write_all(&lines)?;
                Ok(done)
            }

            fn export_readable<W: Write>(
                &mut self,
                mut writer: W,
                selection: &Selection,
                _: impl FnMut(Error),
            ) -> Result<Progress> {
                // What is called on another thread cannot borrow; nothing here is to be left out.
                let none = |error: Error| panic!("{error}");
                let (lines, done) =
                    self.runtime.block_on(self.store.export_readable(Vec::new(), selection.clone(), none))?;
                writer.write_all(&lines)?;
                Ok(done)
            }

            fn import_with_progress<R: BufRead>(
                &mut self,
                mut reader: R,
                mut progress: impl FnMut(Progress),
            ) -> Result<Progress> {
                let mut lines = Vec::new();
                reader.read_to_end(&mut lines)?;
                let (told, heard) = std::sync::mpsc::channel();
                let tell = move |progress| told.send(progress).unwrap();
                let done = self.runtime.block_on(self.store.import(Cursor::new(lines), tell));
                heard.iter().for_each(&mut progress);
                done
            }

            fn backup_to(&mut self, path: impl AsRef<Path>) -> Result<()> {
                self.runtime.block_on(self.store.backup_to(path.as_ref()))
            }
        }
    };
}

waited_for! {
    get_session(id: &str) -> Option<SessionRecord>;
    list_sessions(request: &ListSessionsRequest) -> ListPage<SessionRecord>;
    update_session(session: &SessionRecord) -> ();
    list_events(request: &ListEventsRequest) -> ListPage<SessionEvent>;
    insert_event(event: &SessionEvent) -> ();
    insert_events(events: &[SessionEvent]) -> ();
    append_events(session_id: &str, events: &[NewEvent]) -> Vec<i64>;
    append_events_after(session_id: &str, last_index: i64, events: &[NewEvent]) -> Vec<i64>;
    last_event_index(session_id: &str) -> Option<i64>;
    latest_events(session_id: &str, count: u32, max_bytes: Option<usize>) -> Vec<SessionEvent>;
    delete_session(id: &str) -> bool;
    destroy_session(id: &str, at: DateTime<Utc>) -> bool;
    fork_session(from_id: &str, up_to_index: Option<i64>, new: &SessionRecord) -> u64;
    prune(request: &PruneRequest) -> PruneReport;
    reclaim_space() -> ();
    checkpoint() -> CheckpointReport;
    stats() -> Stats;
    session_stats() -> Vec<SessionStats>;
    check() -> CheckReport;
}

//! An executor, and the async store as a driver: each verb is one task, waited for.

use std::future::Future;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use agent_session_store::{
    AppendRequest, AsyncSessionStore, CheckReport, CheckpointReport, Error, Export, FileMaintenance, Import,
    ImportSource, ListEventsRequest, ListPage, ListSessionsRequest, NewEvent, Progress, PruneReport, PruneRequest,
    SessionEvent, SessionPersistDriver, SessionRecord, SessionStats, SessionSummary, Stats,
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

/// A connection of diesel-async as a driver: each verb is waited for.
#[cfg(feature = "diesel-async")]
pub struct Waiting<C> {
    pub store: C,
    pub runtime: Runtime,
}

#[cfg(feature = "diesel-async")]
impl<C> Waiting<C> {
    /// The connection that this makes.
    pub fn on(connect: impl Future<Output = C>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { store: runtime.block_on(connect), runtime }
    }
}

macro_rules! waited_for {
    ($($verbs:tt)*) => {
        waiting! { [impl SessionPersistDriver for Tasks] $($verbs)* }
        #[cfg(feature = "diesel-async")]
        waiting! {
            [impl<C: agent_session_store::AsyncSessionPersistDriver> SessionPersistDriver for Waiting<C>] $($verbs)*
        }
    };
}

macro_rules! waiting {
    ([$($face:tt)*] $($verb:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $($face)* {
            $(
                fn $verb(&mut self, $($argument: $type),*) -> Result<$answer, Error> {
                    self.runtime.block_on(self.store.$verb($($argument),*))
                }
            )*

            fn events(&mut self, request: ListEventsRequest) -> impl Iterator<Item = Result<SessionEvent, Error>> {
                let Self { store, runtime } = self;
                let mut events = store.events(request);
                std::iter::from_fn(move || runtime.block_on(events.next()).transpose())
            }

            fn session_summaries(
                &mut self,
                request: ListSessionsRequest,
            ) -> impl Iterator<Item = Result<SessionSummary, Error>> {
                let Self { store, runtime } = self;
                let mut summaries = store.session_summaries(request);
                std::iter::from_fn(move || runtime.block_on(summaries.next()).transpose())
            }

            fn export<'a, W: Write>(&mut self, mut writer: W, export: impl Into<Export<'a>>) -> Result<Progress, Error> {
                let mut export = export.into();
                // What is called on another thread cannot borrow.
                let (told, heard) = std::sync::mpsc::channel();
                let (progress, left_out) = (told.clone(), told);
                let mut on_a_thread = Export::of(export.selection().clone())
                    .progress(move |done| progress.send(Told::Progress(done)).unwrap());
                if export.skips_undecodable() {
                    on_a_thread = on_a_thread.skip_undecodable(move |row| left_out.send(Told::LeftOut(row)).unwrap());
                } else {
                    drop(left_out);
                }
                let exported = self.runtime.block_on(self.store.export(Vec::new(), on_a_thread));
                for told in heard {
                    match told {
                        Told::Progress(done) => export.report_progress(done),
                        Told::LeftOut(row) => export.report_undecodable(row),
                    }
                }
                let (lines, done) = exported?;
                writer.write_all(&lines)?;
                Ok(done)
            }

            fn import<'a>(&mut self, lines: impl ImportSource<'a>) -> Result<Progress, Error> {
                let mut import = lines.into_import();
                let mut lines = Vec::new();
                import.reader().read_to_end(&mut lines)?;
                let (told, heard) = std::sync::mpsc::channel();
                let mut on_a_thread = Import::new(Cursor::new(lines)).progress(move |done| told.send(done).unwrap());
                if import.keeps_existing() {
                    on_a_thread = on_a_thread.keep_existing();
                }
                let imported = self.runtime.block_on(self.store.import(on_a_thread));
                heard.into_iter().for_each(|done| import.report_progress(done));
                imported
            }
        }
    };
}

enum Told {
    Progress(Progress),
    LeftOut(Error),
}

impl FileMaintenance for Tasks {
    fn reclaim_space(&mut self) -> Result<(), Error> {
        self.runtime.block_on(self.store.reclaim_space())
    }

    fn checkpoint(&mut self) -> Result<CheckpointReport, Error> {
        self.runtime.block_on(self.store.checkpoint())
    }

    fn backup_to(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.runtime.block_on(self.store.backup_to(path.as_ref()))
    }
}

waited_for! {
    get_session(id: &str) -> Option<SessionRecord>;
    get_event(id: &str) -> Option<SessionEvent>;
    list_sessions(request: &ListSessionsRequest) -> ListPage<SessionRecord>;
    list_session_summaries(request: &ListSessionsRequest) -> ListPage<SessionSummary>;
    update_session(session: &SessionRecord) -> ();
    list_events(request: &ListEventsRequest) -> ListPage<SessionEvent>;
    insert_event(event: &SessionEvent) -> ();
    insert_events(events: &[SessionEvent]) -> ();
    append(request: &AppendRequest, events: &[NewEvent]) -> Vec<i64>;
    append_events(session_id: &str, events: &[NewEvent]) -> Vec<i64>;
    append_events_after(session_id: &str, last_index: i64, events: &[NewEvent]) -> Vec<i64>;
    last_event_index(session_id: &str) -> Option<i64>;
    latest_events(session_id: &str, count: u32, max_bytes: Option<usize>) -> Vec<SessionEvent>;
    delete_session(id: &str) -> bool;
    destroy_session(id: &str, at: DateTime<Utc>) -> bool;
    fork_session(from_id: &str, up_to_index: Option<i64>, new: &SessionRecord) -> u64;
    prune(request: &PruneRequest) -> PruneReport;
    stats() -> Stats;
    session_stats() -> Vec<SessionStats>;
    get_session_stats(session_id: &str) -> Option<SessionStats>;
    check() -> CheckReport;
}

//! Who waits for a commit, and how they learn of one.
//!
//! Whoever commits announces what may have changed, while it holds the connection, and wakes those who wait for that
//! once it does not. Commits by others are found by a watcher, of which there is one for all who wait.

pub(super) mod change;
mod watcher;

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use self::change::Change;
pub(super) use self::watcher::Watch;
use self::watcher::Watcher;
use super::reentrance::undisturbed;
use crate::error::{Error, Result};
use crate::model::known::{Awaited, Known};

/// How long to rest after looking whom a commit by others concerns, as a multiple of the time that it took.
const REST_TIMES: u32 = 20;

/// The same at most: it may have been slow for once.
const LONGEST_REST: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Changes {
    state: Mutex<Registry>,
    watcher: Watcher,
}

#[derive(Default)]
struct Registry {
    /// How many commits were announced.
    count: u64,
    /// The last one that may have written events of any session.
    any_session: u64,
    /// The sessions that somebody listens for.
    sessions: HashMap<String, Listened>,
    /// Those who wait for anything at all.
    waiting: Waiting,
    /// Those to be woken.
    due: Vec<Waker>,
    /// Others have committed something, and nobody has looked yet whom that concerns.
    is_unexamined: bool,
    last_number: u64,
    is_closed: bool,
}

#[derive(Default)]
struct Listened {
    listeners: usize,
    /// The last commit that wrote its events.
    changed: u64,
    waiting: Waiting,
}

/// By the listeners' numbers.
type Waiting = BTreeMap<u64, Waits>;

/// Somebody who waits, for what comes after what they know.
struct Waits {
    waker: Waker,
    known: Known,
}

/// What somebody listens for.
#[derive(Clone, Debug)]
pub(super) enum Interest {
    /// Events of this session.
    Session(String),
    Anything,
}

/// Those who wait, who then do not any more.
fn wakers(waiting: &mut Waiting) -> impl Iterator<Item = Waker> + use<> {
    std::mem::take(waiting).into_values().map(|waits| waits.waker)
}

/// How long to rest after a look that took this long.
fn rest_after(took: Duration) -> Duration {
    took.saturating_mul(REST_TIMES).min(LONGEST_REST)
}

impl Registry {
    fn waiting_for(&mut self, interest: &Interest) -> Option<&mut Waiting> {
        match interest {
            Interest::Session(id) => self.sessions.get_mut(id).map(|session| &mut session.waiting),
            Interest::Anything => Some(&mut self.waiting),
        }
    }

    /// The last commit that this listener is interested in.
    fn last_change(&self, interest: &Interest) -> u64 {
        match interest {
            Interest::Session(id) => self.sessions.get(id).map_or(0, |session| session.changed).max(self.any_session),
            Interest::Anything => self.count,
        }
    }

    fn all_are_due(&mut self) {
        let sessions = self.sessions.values_mut().map(|session| &mut session.waiting);
        self.due.extend(sessions.chain([&mut self.waiting]).flat_map(wakers));
    }

    /// At least one event of a session was written, by this commit.
    fn session_is_due(&mut self, id: &str, commit: u64) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.changed = commit;
            self.due.extend(wakers(&mut session.waiting));
        }
    }

    /// Whoever waits for anything at all.
    fn waiting_are_due(&mut self) {
        self.due.extend(wakers(&mut self.waiting));
    }

    /// Begins to look whom it concerns that others have committed something: returns the sessions to ask about. Of the
    /// others, it concerns everybody.
    fn begin_to_examine(&mut self) -> Vec<Awaited> {
        self.count += 1;
        self.waiting_are_due();
        let mut awaited = Vec::new();
        for (id, session) in &mut self.sessions {
            // Those who do not wait, ask when they will. What they have read until now is unknown.
            if session.waiting.len() < session.listeners {
                session.changed = self.count;
            }
            let known = Known::common(session.waiting.values().map(|waits| &waits.known));
            match known.filter(|_| !id.contains('\0')) {
                Some(known) => awaited.push(Awaited { session_id: id.clone(), known: known.clone() }),
                None => {
                    session.changed = self.count;
                    self.due.extend(wakers(&mut session.waiting));
                }
            }
        }
        awaited
    }
}

impl Changes {
    fn state(&self) -> MutexGuard<'_, Registry> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was committed. Whoever waits for it is not woken yet.
    pub(super) fn announce(&self, change: &Change<'_>) {
        let state = &mut *self.state();
        state.count += 1;
        let Some(ids) = change.sessions() else {
            state.any_session = state.count;
            state.all_are_due();
            return;
        };
        // Usually there is nobody.
        if !state.sessions.is_empty() {
            ids.iter().for_each(|id| state.session_is_due(id, state.count));
        }
        if !state.waiting.is_empty() {
            state.waiting_are_due();
        }
    }

    /// Others have committed something. The watcher looks whom it concerns.
    pub(super) fn others_have_committed(&self) {
        self.state().is_unexamined = true;
        self.watcher.stir();
    }

    /// If others have committed something, asks which sessions have events that those who wait do not know, and wakes
    /// them, and everybody who waits for anything at all. Without an answer, it wakes all. Returns how long to rest, so
    /// that many who wait take a small part of the time.
    pub(super) fn examine(&self, have_more: impl FnOnce(&[Awaited]) -> Result<Vec<usize>>) -> Duration {
        let began = Instant::now();
        let mut state = self.state();
        if !std::mem::take(&mut state.is_unexamined) {
            return Duration::ZERO;
        }
        let awaited = state.begin_to_examine();
        let commit = state.count;
        drop(state);
        self.wake();
        if awaited.is_empty() {
            return Duration::ZERO;
        }
        // A panic in the application's instrumentation is no answer either.
        let found = catch_unwind(AssertUnwindSafe(|| have_more(&awaited)));
        let places = found.ok().and_then(Result::ok).unwrap_or_else(|| (0..awaited.len()).collect());
        let mut state = self.state();
        for Awaited { session_id, .. } in places.into_iter().filter_map(|place| awaited.get(place)) {
            state.session_is_due(session_id, commit);
        }
        drop(state);
        self.wake();
        rest_after(began.elapsed())
    }

    /// Wakes those for whom something was announced. What a waker runs may use the store, so nothing of it may be held.
    pub(super) fn wake(&self) {
        let mut state = self.state();
        if !state.due.is_empty() {
            let due = std::mem::take(&mut state.due);
            drop(state);
            due.into_iter().for_each(|waker| undisturbed(|| waker.wake()));
        }
    }

    /// How many commits were announced until now.
    pub(super) fn count(&self) -> u64 {
        self.state().count
    }

    /// Makes sure that commits by others are found too.
    pub(super) fn watch<W: Watch>(&self, make: impl FnOnce() -> W) -> Result<()> {
        self.watcher.start(make)
    }

    /// Ends all waiting, and the watcher.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.all_are_due();
        drop(state);
        self.wake();
        self.watcher.close();
    }
}

/// Somebody who waits, or is about to. Dropping this ends their interest.
pub(super) struct Listener {
    changes: Arc<Changes>,
    interest: Interest,
    number: u64,
}

impl Listener {
    pub(super) fn new(changes: &Arc<Changes>, interest: Interest) -> Result<Self> {
        let mut state = changes.state();
        if state.is_closed {
            return Err(Error::Closed);
        }
        state.last_number += 1;
        let number = state.last_number;
        if let Interest::Session(id) = &interest {
            state.sessions.entry(id.clone()).or_default().listeners += 1;
        }
        drop(state);
        changes.watcher.add_listener();
        Ok(Self { changes: Arc::clone(changes), interest, number })
    }

    /// What to wait from: whatever is committed after this call is announced later.
    pub(super) fn now(&self) -> u64 {
        self.changes.count()
    }

    /// Ready once something of interest was committed since then, when whoever waits knew this much.
    pub(super) fn poll(&self, since: u64, known: impl Fn() -> Known, context: &Context<'_>) -> Poll<Result<()>> {
        let mut new = None;
        loop {
            let mut state = self.changes.state();
            if state.is_closed {
                return Poll::Ready(Err(Error::Closed));
            }
            if state.last_change(&self.interest) > since {
                return Poll::Ready(Ok(()));
            }
            let Some(waiting) = state.waiting_for(&self.interest) else { return Poll::Pending };
            if waiting.get(&self.number).is_some_and(|waits| waits.waker.will_wake(context.waker())) {
                return Poll::Pending;
            }
            // Cloned and dropped without the lock: a waker is foreign code.
            if let Some(new) = new.take() {
                let old = waiting.insert(self.number, new);
                drop(state);
                drop(old);
                return Poll::Pending;
            }
            drop(state);
            new = Some(Waits { waker: context.waker().clone(), known: known() });
        }
    }

    /// Waits on this thread, and returns whether something was committed; without a deadline, until it was.
    pub(super) fn wait(&self, since: u64, known: impl Fn() -> Known, deadline: Option<Instant>) -> Result<bool> {
        let waker = Waker::from(Arc::new(ParkedThread(thread::current())));
        let context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(woken) = self.poll(since, &known, &context) {
                return woken.map(|()| true);
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Ok(false),
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.changes.state();
        // The waker is dropped after the lock.
        let _waker = state.waiting_for(&self.interest).and_then(|waiting| waiting.remove(&self.number));
        if let Interest::Session(id) = &self.interest
            && let Some(session) = state.sessions.get_mut(id)
        {
            session.listeners -= 1;
            if session.listeners == 0 {
                state.sessions.remove(id);
            }
        }
        drop(state);
        self.changes.watcher.remove_listener();
    }
}

/// A thread that waits.
struct ParkedThread(Thread);

impl Wake for ParkedThread {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn events_of(id: &str) -> Change<'_> {
        Change::Events(Cow::Borrowed(id))
    }

    #[test]
    fn a_commit_wakes_those_who_wait_for_it_and_each_once() {
        let changes = Arc::new(Changes::default());
        let interests = [Interest::Session("a".into()), Interest::Session("b".into()), Interest::Anything];
        let listeners = interests.map(|interest| Listener::new(&changes, interest).expect("open"));
        let counters: [Arc<Counter>; 3] = Default::default();
        let wait = |since| {
            listeners.iter().zip(&counters).map(move |(listener, counter)| {
                let waker = Waker::from(Arc::clone(counter));
                let pending = listener.poll(since, || Known::Unsaid, &Context::from_waker(&waker)).is_pending();
                assert!(!pending || listener.poll(since, || Known::Unsaid, &Context::from_waker(&waker)).is_pending());
                pending
            })
        };
        let woken = || counters.each_ref().map(|counter| counter.0.swap(0, Ordering::SeqCst));
        for (change, expected) in [
            (events_of("a"), [1, 0, 1]),
            (Change::EventsOfMany(vec!["b".into(), "a".into(), "b".into(), "c".into()]), [1, 1, 1]),
            (events_of("c"), [0, 0, 1]),
            (Change::NoEvents, [0, 0, 1]),
            (Change::Anything, [1, 1, 1]),
        ] {
            let since = changes.count();
            assert_eq!(wait(since).collect::<Vec<_>>(), [true; 3]);
            changes.announce(&change);
            assert_eq!(woken(), [0; 3], "{change:?}: not yet");
            changes.wake();
            changes.wake();
            assert_eq!(woken(), expected, "{change:?}");
            assert_eq!(wait(since).collect::<Vec<_>>(), expected.map(|times| times == 0), "{change:?}");
        }
        let since = changes.count();
        assert_eq!(wait(since).collect::<Vec<_>>(), [true; 3]);
        changes.close();
        assert_eq!(woken(), [1; 3]);
        assert!(matches!(listeners[0].wait(since, || Known::Unsaid, None), Err(Error::Closed)));
        assert!(matches!(Listener::new(&changes, Interest::Anything), Err(Error::Closed)));
    }

    #[test]
    fn a_commit_by_others_wakes_those_who_may_not_know_it() {
        let changes = Arc::new(Changes::default());
        let ids = ["known", "new", "unsaid", "nul\0"];
        let listeners = ids.map(|id| Listener::new(&changes, Interest::Session(id.into())).expect("open"));
        let knowns = [Known::Nothing, Known::UpTo(1, None), Known::Unsaid, Known::Nothing];
        let counters: [Arc<Counter>; 4] = Default::default();
        let wait = || {
            for ((listener, known), counter) in listeners.iter().zip(&knowns).zip(&counters) {
                let waker = Waker::from(Arc::clone(counter));
                assert!(listener.poll(changes.count(), || known.clone(), &Context::from_waker(&waker)).is_pending());
            }
        };
        let woken = || counters.each_ref().map(|counter| counter.0.swap(0, Ordering::SeqCst));
        wait();
        assert_eq!(changes.examine(|_| panic!("nobody has committed")), Duration::ZERO);
        assert_eq!(woken(), [0; 4]);
        let asked = |awaited: &[Awaited]| {
            let mut ids: Vec<_> = awaited.iter().map(|awaited| awaited.session_id.clone()).collect();
            ids.sort();
            assert_eq!(ids, ["known", "new"]);
        };
        type Answer<'a> = &'a dyn Fn(&[Awaited]) -> Result<Vec<usize>>;
        let answers: [(Answer<'_>, _); 3] = [
            (
                &|awaited| Ok(awaited.iter().position(|awaited| awaited.session_id == "new").into_iter().collect()),
                [0, 1, 1, 1],
            ),
            (&|_| Err(Error::Closed), [1; 4]),
            (&|_| panic!("in the application's instrumentation"), [1; 4]),
        ];
        for (answer, expected) in answers {
            changes.others_have_committed();
            changes.examine(|awaited| {
                asked(awaited);
                answer(awaited)
            });
            assert_eq!(woken(), expected);
            wait();
        }
    }

    #[test]
    fn a_slow_look_is_not_followed_by_a_long_silence() {
        assert_eq!(rest_after(Duration::from_millis(3)), Duration::from_millis(60));
        assert_eq!(rest_after(Duration::from_secs(5)), LONGEST_REST);
    }

    #[test]
    fn nothing_is_kept_of_a_listener_that_is_gone() {
        let changes = Arc::new(Changes::default());
        let counter = Arc::new(Counter::default());
        for interest in [Interest::Session("a".into()), Interest::Anything] {
            let listeners =
                [interest.clone(), interest].map(|interest| Listener::new(&changes, interest).expect("open"));
            for listener in listeners {
                let waker = Waker::from(Arc::clone(&counter));
                assert!(listener.poll(0, || Known::Unsaid, &Context::from_waker(&waker)).is_pending());
            }
        }
        assert_eq!(Arc::strong_count(&counter), 1);
        let state = changes.state();
        assert!(state.sessions.is_empty() && state.waiting.is_empty());
    }

    #[test]
    fn a_thread_waits_until_its_deadline() {
        let changes = Arc::new(Changes::default());
        let listener = Listener::new(&changes, Interest::Anything).expect("open");
        assert!(!listener.wait(0, || Known::Unsaid, Some(Instant::now())).expect("open"));
        assert!(!listener.wait(0, || Known::Unsaid, Some(Instant::now() + Duration::from_millis(5))).expect("open"));
        let announced = Arc::clone(&changes);
        let committing = thread::spawn(move || {
            announced.announce(&Change::NoEvents);
            announced.wake();
        });
        assert!(listener.wait(0, || Known::Unsaid, None).expect("open"));
        committing.join().expect("no panic");
    }
}

//! Followers against a model: whatever is stored in the end was delivered, in order and once, whoever wrote it and
//! however often a follower began anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

#[cfg(feature = "async")]
use agent_session_store::{AsyncFollow, AsyncSessionStore};
use agent_session_store::{
    Cursor, Error, Follow, ListEventsRequest, NewEvent, PruneRequest, Selection, SessionEvent, SessionStore,
    StoreTransaction,
};

use super::following::LONG;
use super::process::{Process, say};
#[cfg(feature = "async")]
use super::tasks::on_one_thread;
use super::{Random, event, millis, new_event, session};

/// The sessions that are appended to, that is imported, that is forked, and whose events get their indexes by hand where
/// those could share one with an append.
const APPENDED: [&str; 3] = ["s0", "s1", "s2"];
const IMPORTED: &str = "imported";
const FORKED: &str = "forked";
const PLACED: &str = "placed";
/// Its oldest events are deleted again and again.
const PRUNED: &str = "pruned";

const LAST: &str = "the end";

/// A round of the model on a database that is there.
pub struct FollowModel<'a> {
    pub url: &'a str,
    pub seed: u64,
    /// Starts a process that calls [`write_until_killed`].
    pub start: &'a (dyn Fn(&str) -> Process + Sync),
    /// Whether there is an order of all commits.
    pub is_ordered: bool,
    /// Appends with a connection of the application's own, which tells nobody.
    pub append_as_host: &'a (dyn Fn(&str, NewEvent) + Sync),
}

/// What the other processes do: each event is acknowledged by a line with its id.
pub fn write_until_killed(url: &str, name: &str) {
    let store = SessionStore::connect(url).unwrap();
    let mut random = Random::from_clock();
    for number in 0.. {
        let id = format!("{name}-{number:05}");
        match store.append_events(APPENDED[random.index(3)], &[at_any_time(&id, &mut random)]) {
            Ok(_) => say(&format!("stored {id}")),
            Err(Error::Busy { .. } | Error::Disconnected { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The clock goes back and forth.
fn at_any_time(id: &str, random: &mut Random) -> NewEvent {
    with!(new_event(id), created_at: millis(random.below(2_000_000_000_000) as i64))
}

impl FollowModel<'_> {
    fn open(&self, random: &mut Random) -> SessionStore {
        let builder = SessionStore::builder().watch_interval(Duration::from_millis(5 + random.below(20)));
        builder.read_only(random.happens(30)).connect(self.url).unwrap()
    }

    pub fn run(&self) {
        println!("seed {}", self.seed);
        let store = SessionStore::connect(self.url).unwrap();
        // Of a session without events, a transaction locks nothing.
        store.append_events(PLACED, &[new_event("first")]).unwrap();
        store.append_events(PRUNED, &[new_event("first of all")]).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let followed: Vec<&str> = APPENDED.into_iter().chain([IMPORTED, FORKED, PLACED]).collect();
            let followers: Vec<_> = followed
                .iter()
                .flat_map(|session_id| (0..3).map(move |number| (*session_id, number)))
                .map(|(session_id, number)| {
                    let store = &store;
                    (session_id, scope.spawn(move || self.follow(store, session_id, self.seed + 10 + number)))
                })
                .collect();
            let beginning_late =
                APPENDED.map(|session_id| (session_id, scope.spawn(|| self.follow_from_end(&store, session_id))));
            let following_pruned = scope.spawn(|| self.follow_by_place(&store, PRUNED));
            let steady = self.is_ordered.then(|| scope.spawn(|| self.follow_all(&store, false)));
            let resuming = self.is_ordered.then(|| scope.spawn(|| self.follow_all(&store, true)));

            let killing = scope.spawn(|| self.kill_writers(&is_over));
            let writers: Vec<_> = (0..4)
                .map(|number| {
                    scope.spawn({
                        let store = &store;
                        move || self.write(store, number)
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            is_over.store(true, Ordering::SeqCst);
            let acknowledged = killing.join().unwrap();
            for session_id in followed.iter().chain([&PRUNED]) {
                store.append_events(session_id, &[new_event(&format!("{session_id} {LAST}"))]).unwrap();
            }

            let mut stored = BTreeSet::new();
            for (session_id, follower) in followers {
                let mut expected: Vec<String> =
                    store.events(ListEventsRequest::new(session_id)).map(|event| event.unwrap().id).collect();
                // A server may finish what a killed process had sent.
                let end = expected.iter().position(|id| id.ends_with(LAST)).unwrap();
                expected.truncate(end + 1);
                assert_eq!(follower.join().unwrap(), expected, "{session_id}, seed {}", self.seed);
                stored.extend(expected);
            }
            for (session_id, follower) in beginning_late {
                let all: Vec<_> =
                    store.events(ListEventsRequest::new(session_id)).map(|event| event.unwrap().id).collect();
                let delivered = follower.join().unwrap();
                assert!(
                    all.iter()
                        .take_while(|id| !id.ends_with(LAST))
                        .collect::<Vec<_>>()
                        .ends_with(&delivered.iter().take_while(|id| !id.ends_with(LAST)).collect::<Vec<_>>()),
                    "{session_id}, seed {}: {delivered:?} of {all:?}",
                    self.seed
                );
            }
            let places = following_pruned.join().unwrap();
            assert!(places.is_sorted_by(|a, b| a < b), "seed {}: {places:?}", self.seed);
            for event in store.events(ListEventsRequest::new(PRUNED)).map(Result::unwrap) {
                let place = (event.event_index, event.id);
                assert!(place > *places.last().unwrap() || places.contains(&place), "{place:?}, seed {}", self.seed);
            }
            assert!(acknowledged.iter().all(|id| stored.contains(id)), "seed {}", self.seed);
            if let (Some(steady), Some(resuming)) = (steady, resuming) {
                let (steady, resuming) = (steady.join().unwrap(), resuming.join().unwrap());
                let once: BTreeSet<String> = steady.iter().cloned().collect();
                assert_eq!(once.len(), steady.len(), "seed {}: something came twice", self.seed);
                assert_in_order_of_commit(&steady);
                assert!(once.is_superset(&stored), "seed {}", self.seed);
                assert!(resuming.into_iter().collect::<BTreeSet<_>>().is_superset(&stored), "seed {}", self.seed);
            }
        });
    }

    /// Writes in every way, and deletes what nobody follows.
    fn write(&self, store: &SessionStore, number: u64) {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut random = Random::new(self.seed + 100 + number);
        let other = SessionStore::connect(self.url).unwrap();
        let mut imported = Vec::new();
        for step in 0..25 {
            let (store, session_id) = (if random.happens(50) { store } else { &other }, APPENDED[random.index(3)]);
            let id = |part: u64| format!("w{number}-{step:02}-{part}");
            match random.below(8) {
                0 if random.happens(30) => (self.append_as_host)(session_id, at_any_time(&id(0), &mut random)),
                0 | 1 => {
                    let events: Vec<_> =
                        (0..=random.below(3)).map(|part| at_any_time(&id(part), &mut random)).collect();
                    store.append_events(session_id, &events).unwrap();
                }
                2 => {
                    let last = store.last_event_index(session_id).unwrap().unwrap_or(0);
                    match store.append_events_after(session_id, last, &[at_any_time(&id(0), &mut random)]) {
                        Ok(_) | Err(Error::AppendConflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                // At the index of the last event, behind it; or with a gap.
                3 => store
                    .transaction(|tx| {
                        // On a server, an append that waits for this transaction may get the same index.
                        let session_id = if self.is_ordered { session_id } else { PLACED };
                        let last = tx.last_event_index(session_id)?.unwrap_or(0);
                        let id = format!("z{:08}", NUMBER.fetch_add(1, Ordering::SeqCst));
                        tx.insert_event(&event(&id, session_id, last + random.below(3) as i64))
                    })
                    .unwrap(),
                4 if number == 0 => {
                    imported.push(event(&id(0), IMPORTED, imported.len() as i64 + 1));
                    let elsewhere = SessionStore::open_in_memory().unwrap();
                    elsewhere.insert_events(&imported).unwrap();
                    let mut lines = Vec::new();
                    elsewhere.export(&mut lines, Selection::all()).unwrap();
                    store.import(&*lines).unwrap();
                }
                4 if number == 1 => match store.fork_session(APPENDED[0], None, &session(FORKED)) {
                    Ok(_) | Err(Error::SessionExists { .. } | Error::SessionNotFound { .. }) => {}
                    Err(error) => panic!("{error}"),
                },
                5 | 6 => {
                    let events = [at_any_time(&id(0), &mut random), at_any_time(&id(1), &mut random)];
                    store.append_events(PRUNED, &events).unwrap();
                    if random.happens(40) {
                        store.transaction(|tx| delete_oldest(tx, random.below(4))).unwrap();
                    }
                }
                _ => {
                    let doomed = format!("doomed-{number}");
                    store
                        .append_events(&doomed, &[at_any_time(&id(0), &mut random), at_any_time(&id(1), &mut random)])
                        .unwrap();
                    if random.happens(50) {
                        store.delete_session(&doomed).unwrap();
                    } else {
                        store.prune(&PruneRequest::new().session(&doomed)).unwrap();
                    }
                }
            }
            thread::sleep(Duration::from_millis(random.below(4)));
        }
    }

    /// Kills other processes while they write, and returns what they had acknowledged.
    fn kill_writers(&self, is_over: &AtomicBool) -> Vec<String> {
        let mut random = Random::new(self.seed + 200);
        let mut acknowledged = Vec::new();
        for number in 0.. {
            if is_over.load(Ordering::SeqCst) {
                break;
            }
            let process = (self.start)(&format!("p{number}"));
            let first = process.lines().find(|line| line.starts_with("stored ")).expect("it writes");
            thread::sleep(Duration::from_millis(random.below(60)));
            let said = std::iter::once(first).chain(process.kill());
            acknowledged.extend(said.filter_map(|line| Some(line.strip_prefix("stored ")?.to_owned())));
        }
        acknowledged
    }

    /// Follows a session to its last event. Now and then it begins anew where it was, with another store.
    fn follow(&self, store: &SessionStore, session_id: &str, seed: u64) -> Vec<String> {
        let mut random = Random::new(seed);
        let mut delivered: Vec<String> = Vec::new();
        let mut position: Option<Cursor> = None;
        loop {
            let own = self.open(&mut random);
            let is_own = random.happens(50);
            let store = if is_own { &own } else { store };
            let request = ListEventsRequest::new(session_id).limit(1 + random.below(20) as u32);
            let mut follow = Following::new(store, request.clone().cursor(position.clone()), &mut random);
            let most = 1 + random.below(40);
            for number in 0.. {
                if number == most {
                    if !is_own || random.happens(50) {
                        break;
                    }
                    // What it has read comes first.
                    own.close().unwrap();
                }
                let event = match follow.next() {
                    Ok(event) => event.unwrap_or_else(|| panic!("seed {}", self.seed)),
                    Err(Error::Closed) if number >= most => break,
                    Err(error) => panic!("seed {}: {error}", self.seed),
                };
                position = Some(request.cursor_after(&event).to_string().parse().unwrap());
                assert_eq!(follow.position(), position);
                let is_last = event.id.ends_with(LAST);
                delivered.push(event.id);
                if is_last {
                    return delivered;
                }
            }
        }
    }

    /// Follows a session from some moment on.
    fn follow_from_end(&self, store: &SessionStore, session_id: &str) -> Vec<String> {
        thread::sleep(Duration::from_millis(self.seed % 50));
        let follow = store.follow(ListEventsRequest::new(session_id)).from_end().unwrap();
        self.until_the_last(follow, |event| event.id)
    }

    /// Follows a session from the beginning, and says where its events were.
    fn follow_by_place(&self, store: &SessionStore, session_id: &str) -> Vec<(i64, String)> {
        self.until_the_last(store.follow(ListEventsRequest::new(session_id)), |event| (event.event_index, event.id))
    }

    fn until_the_last<T>(&self, mut follow: Follow, what: impl Fn(SessionEvent) -> T) -> Vec<T> {
        let mut delivered = Vec::new();
        loop {
            let event = follow.next_timeout(LONG).unwrap().unwrap_or_else(|| panic!("seed {}", self.seed));
            let is_last = event.id.ends_with(LAST);
            delivered.push(what(event));
            if is_last {
                return delivered;
            }
        }
    }

    /// Follows all sessions until the last event of each has come.
    fn follow_all(&self, store: &SessionStore, resumes: bool) -> Vec<String> {
        let mut random = Random::new(self.seed + 300);
        let (mut delivered, mut last, mut position) = (Vec::new(), BTreeSet::new(), None);
        while last.len() < APPENDED.len() + 4 {
            let mut follow = store.follow_all(position.clone());
            let most = if resumes { random.below(60) } else { u64::MAX };
            for _ in 0..=most {
                match follow.next_timeout(LONG) {
                    Ok(Some(committed)) => {
                        position = Some(committed.cursor.to_string().parse().unwrap());
                        let id = committed.event.id;
                        if id.ends_with(LAST) {
                            last.insert(id.clone());
                        }
                        delivered.push(id);
                    }
                    // Nothing is left of what came before.
                    Err(Error::InvalidCursor { .. }) => {
                        position = None;
                        break;
                    }
                    other => panic!("seed {}: {other:?}", self.seed),
                }
                if last.len() == APPENDED.len() + 4 {
                    break;
                }
            }
        }
        delivered
    }
}

/// Leaves at least the last event, so that indexes go on from there.
fn delete_oldest(tx: &mut StoreTransaction<'_>, leave: u64) -> Result<(), Error> {
    tx.connection().batch_execute(&format!(
        "DELETE FROM events WHERE session_id = '{PRUNED}' \
         AND event_index < (SELECT max(event_index) FROM events WHERE session_id = '{PRUNED}') - {leave}"
    ))
}

/// A follower on this thread, or in a task.
enum Following {
    Blocking(Box<Follow>),
    #[cfg(feature = "async")]
    Async(Box<AsyncFollow>),
}

impl Following {
    fn new(store: &SessionStore, request: ListEventsRequest, random: &mut Random) -> Self {
        let _ = &random;
        #[cfg(feature = "async")]
        if random.happens(50) {
            return Self::Async(Box::new(AsyncSessionStore::from(store.clone()).follow(request)));
        }
        Self::Blocking(Box::new(store.follow(request)))
    }

    fn next(&mut self) -> Result<Option<SessionEvent>, Error> {
        match self {
            Self::Blocking(follow) => follow.next_timeout(LONG),
            #[cfg(feature = "async")]
            Self::Async(follow) => {
                on_one_thread(async { tokio::time::timeout(LONG, follow.next()).await.unwrap_or(Ok(None)) })
            }
        }
    }

    fn position(&self) -> Option<Cursor> {
        match self {
            Self::Blocking(follow) => (**follow).position(),
            #[cfg(feature = "async")]
            Self::Async(follow) => follow.position(),
        }
    }
}

/// Whoever writes does one thing after the other, and names their events so that they sort in that order.
fn assert_in_order_of_commit(delivered: &[String]) {
    let mut last = BTreeMap::new();
    for id in delivered {
        // A fork's ids are those of what was copied, after its own name; the last ones have no writer.
        if id.contains(':') || id.ends_with(LAST) || id.starts_with("first") {
            continue;
        }
        let writer = if id.starts_with('z') { "z" } else { id.split_once('-').expect("a writer").0 };
        if let Some(before) = last.insert(writer, id) {
            assert!(before < id, "{before} before {id}");
        }
    }
    assert!(last.len() > 4, "{last:?}");
}

/// How many rounds are asked for.
pub fn rounds() -> u64 {
    std::env::var("FOLLOW_ROUNDS").map_or(2, |rounds| rounds.parse().unwrap())
}

/// A seed for each.
pub fn seeds() -> impl Iterator<Item = u64> {
    let first = Random::from_clock().below(1 << 40);
    (0..rounds()).map(move |round| first + 1_000 * round)
}

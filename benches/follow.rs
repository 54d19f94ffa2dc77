//! Following: how soon an event is delivered, what waiting costs, and what followers cost a writer, beside polling by
//! hand: `cargo bench --bench follow --features async`, or with `-- idle` one part of it: latency, idle, writing,
//! reading.
//!
//! With the feature `postgres`, the same on the server at 127.0.0.1:5432, or the one that `AGENT_SESSIONS_TEST_POSTGRES`
//! names.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use agent_session_store::{AsyncSessionStore, Json, ListEventsRequest, NewEvent, Sender, SessionStore};
use chrono::DateTime;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);

fn main() {
    type Part = fn(&Place);
    let parts: [(&str, Part); 4] = [("latency", latency), ("idle", idle), ("writing", writing), ("reading", reading)];
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for place in Place::all() {
        println!("\n{}:\n", place.name);
        for (name, part) in parts {
            if asked.is_empty() || asked.iter().any(|asked| asked == name) {
                part(&place);
            }
        }
    }
}

/// A database that stores can be opened on, for each measurement a new one.
struct Place {
    name: &'static str,
    make: Box<dyn Fn() -> String>,
    is_file: bool,
    _folder: Option<TempDir>,
}

impl Place {
    fn all() -> Vec<Self> {
        let folder = TempDir::new().unwrap();
        let (path, number) = (folder.path().to_owned(), AtomicU64::new(0));
        let make = move || path.join(format!("{}.db", number.fetch_add(1, Relaxed))).display().to_string();
        let file = Self { name: "A file", make: Box::new(make), is_file: true, _folder: Some(folder) };
        let server: Option<Self> = Self::server();
        [Some(file), server].into_iter().flatten().collect()
    }

    #[cfg(not(feature = "postgres"))]
    fn server() -> Option<Self> {
        None
    }

    #[cfg(feature = "postgres")]
    fn server() -> Option<Self> {
        let url = std::env::var("AGENT_SESSIONS_TEST_POSTGRES");
        let url = url.unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432".to_owned());
        let Ok(mut admin) = postgres::Client::connect(&format!("{url}/postgres"), postgres::NoTls) else {
            println!("There is no server at {url}.");
            return None;
        };
        admin.batch_execute("DROP DATABASE IF EXISTS agent_sessions_follow WITH (FORCE)").unwrap();
        admin.batch_execute("CREATE DATABASE agent_sessions_follow").unwrap();
        let url = format!("{url}/agent_sessions_follow");
        let number = AtomicU64::new(0);
        // A schema for each.
        let make = move || {
            let schema = format!("n{}", number.fetch_add(1, Relaxed));
            let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
            client.batch_execute(&format!("CREATE SCHEMA {schema}")).unwrap();
            format!("{url}?options=-csearch_path%3D{schema}")
        };
        Some(Self { name: "PostgreSQL", make: Box::new(make), is_file: false, _folder: None })
    }

    fn url_of_new(&self) -> String {
        (self.make)()
    }
}

fn event(id: String) -> NewEvent {
    let payload = format!(r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"text":"{}"}}}}"#, "x".repeat(200));
    NewEvent::new(id, DateTime::UNIX_EPOCH, "connection-1", Sender::Agent, Json::parse(payload).unwrap())
}

// ---- how soon an event is delivered ----

/// From the acknowledgement of an append to its delivery.
fn latency(place: &Place) {
    println!("| delivered to | median | 90 % | 99 % | within 1 ms |");
    println!("|---|---|---|---|---|");
    let url = place.url_of_new();
    let store = SessionStore::connect(&url).unwrap();
    let other = SessionStore::connect(&url).unwrap();
    let often = SessionStore::builder().watch_interval(Duration::from_millis(1)).connect(&url).unwrap();
    let blocking = |follower: &SessionStore| {
        let mut follow = follower.follow(ListEventsRequest::new("s")).from_end().unwrap();
        move || {
            follow.next_timeout(LONG).unwrap().unwrap();
        }
    };
    line("a thread of the same store", 500, &store, blocking(&store));
    let tasks = AsyncSessionStore::from(store.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut follow = runtime.block_on(tasks.follow(ListEventsRequest::new("s")).from_end()).unwrap();
    line("a task of the same store", 500, &store, move || drop(runtime.block_on(follow.next()).unwrap().unwrap()));
    line("another store", 100, &store, blocking(&other));
    line("another store that looks every millisecond", 200, &store, blocking(&often));
    for pause in [50, 1] {
        let polling = SessionStore::connect(&url).unwrap();
        let mut last = polling.last_event_index("s").unwrap().unwrap_or(0);
        let poll = move || {
            loop {
                let page = polling.list_events(&ListEventsRequest::new("s").after(last)).unwrap().items;
                if let Some(event) = page.last() {
                    last = event.event_index;
                    return;
                }
                thread::sleep(Duration::from_millis(pause));
            }
        };
        line(&format!("a thread that polls by hand, every {pause} ms"), 100, &store, poll);
    }
    println!();
}

fn line(name: &str, events: usize, store: &SessionStore, mut next: impl FnMut() + Send + 'static) {
    let (deliver, delivered) = channel();
    let receiving = thread::spawn(move || {
        for _ in 0..events {
            next();
            deliver.send(Instant::now()).unwrap();
        }
    });
    let mut waits: Vec<Duration> = (0..events)
        .map(|number| {
            // It waits by now, as after a pause in a conversation.
            thread::sleep(Duration::from_micros(3_000 + 137 * (number as u64 % 20)));
            store.append_events("s", &[event(format!("{name}-{number}"))]).unwrap();
            let acknowledged = Instant::now();
            delivered.recv().unwrap().saturating_duration_since(acknowledged)
        })
        .collect();
    receiving.join().unwrap();
    waits.sort_unstable();
    let at = |share: usize| shown(waits[(waits.len() - 1) * share / 100]);
    let soon = waits.iter().filter(|wait| **wait <= Duration::from_millis(1)).count() * 100 / waits.len();
    println!("| {name} | {} | {} | {} | {soon} % |", at(50), at(90), at(99));
}

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

// ---- what waiting costs ----

/// A thousand followers with nothing to do, and with somebody who writes what does not concern them.
fn idle(place: &Place) {
    const FOLLOWERS: usize = 1_000;
    const TIME: Duration = Duration::from_secs(5);
    println!("| 1,000 tasks that follow | share of a core | memory each | threads of the store |");
    println!("|---|---|---|---|");
    for sessions in [FOLLOWERS, 1] {
        let store = AsyncSessionStore::from(SessionStore::connect(&place.url_of_new()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let before = memory();
            wait_for(&store, FOLLOWERS, sessions).await;
            let each = memory().saturating_sub(before) / FOLLOWERS as u64;
            let began = processor_time();
            tokio::time::sleep(TIME).await;
            let share = (processor_time() - began).as_secs_f64() / TIME.as_secs_f64();
            println!(
                "| of {sessions} sessions, idle | {:.2} % | {:.1} kB | {} |",
                share * 100.0,
                each as f64 / 1e3,
                threads()
            );
        });
    }
    // What commits by another store cost that concern none of them, as a share, without those that write.
    let mut shares = Vec::new();
    for followers in [0, FOLLOWERS] {
        let url = place.url_of_new();
        let store = AsyncSessionStore::from(SessionStore::connect(&url).unwrap());
        let other = SessionStore::connect(&url).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            wait_for(&store, followers, followers).await;
            let (began, start) = (processor_time(), Instant::now());
            for number in 0..100 {
                other.append_events("other", &[event(format!("e{number}"))]).unwrap();
                tokio::time::sleep(TIME / 100).await;
            }
            shares.push((processor_time() - began).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0);
        });
    }
    println!(
        "\n20 commits a second by another store to another session: {:.1} % of a core without followers, {:.1} % with \
         1,000.",
        shares[0], shares[1]
    );
    // The cost of a commit that concerns none of them.
    let mut costs = Vec::new();
    for followers in [0, FOLLOWERS] {
        let store = AsyncSessionStore::from(SessionStore::connect(&place.url_of_new()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            wait_for(&store, followers, followers).await;
            let began = processor_time();
            for number in 0..1_000 {
                store.append_events("other", &[event(format!("e{number}"))]).await.unwrap();
            }
            costs.push((processor_time() - began).as_secs_f64() * 1e3);
        });
    }
    println!(
        "\nProcessor time of 1,000 appends to another session: {:.0} ms without followers, {:.0} ms with 1,000.\n",
        costs[0], costs[1]
    );
}

/// Tasks that follow sessions, once all of them wait.
async fn wait_for(store: &AsyncSessionStore, followers: usize, sessions: usize) {
    for number in 0..followers {
        let mut follow = store.follow(ListEventsRequest::new(format!("s{}", number % sessions)));
        tokio::spawn(async move { while let Ok(Some(_)) = follow.next().await {} });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
}

fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time, in hundredths of a second.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    Duration::from_millis(fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10)
}

fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    resident.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10
}

fn threads() -> usize {
    let names = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let names = names.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("agent-session-s")).count()
}

// ---- what followers cost a writer ----

/// Sixteen threads that append, each to its session.
fn writing(place: &Place) {
    println!("| 16 threads append to 16 sessions, followed by | ratio to nobody following |");
    println!("|---|---|");
    let mut rounds: [Vec<f64>; 3] = Default::default();
    for _ in 0..5 {
        let rates = [0, 1, 2].map(|kind| appended(place, kind));
        for (ratios, rate) in rounds.iter_mut().zip(rates) {
            ratios.push(rate / rates[0]);
        }
    }
    for (name, ratios) in
        ["a thread each, of the same store", "a thread each, of another store"].iter().zip(&mut rounds[1..])
    {
        ratios.sort_by(f64::total_cmp);
        println!("| {name} | {:.2} |", ratios[ratios.len() / 2]);
    }
    println!();
}

/// Events appended in a second, with nobody who follows, with the store's own followers, and with another store's.
fn appended(place: &Place, kind: usize) -> f64 {
    const WRITERS: usize = 16;
    let url = place.url_of_new();
    let store = SessionStore::connect(&url).unwrap();
    let other = SessionStore::connect(&url).unwrap();
    let is_over = AtomicBool::new(false);
    let written = AtomicU64::new(0);
    let time = Duration::from_secs(2);
    thread::scope(|scope| {
        let follower = if kind == 1 { &store } else { &other };
        for number in 0..WRITERS {
            if kind > 0 {
                let mut follow = follower.follow(ListEventsRequest::new(format!("s{number}")));
                let is_over = &is_over;
                scope.spawn(move || {
                    while !is_over.load(Relaxed) {
                        drop(follow.next_timeout(Duration::from_millis(50)))
                    }
                });
            }
        }
        thread::sleep(Duration::from_millis(200));
        for number in 0..WRITERS {
            let (store, is_over, written) = (&store, &is_over, &written);
            scope.spawn(move || {
                for step in 0.. {
                    if is_over.load(Relaxed) {
                        break;
                    }
                    store.append_events(&format!("s{number}"), &[event(format!("{number}-{step}"))]).unwrap();
                    written.fetch_add(1, Relaxed);
                }
            });
        }
        thread::sleep(time);
        is_over.store(true, Relaxed);
    });
    written.into_inner() as f64 / time.as_secs_f64()
}

// ---- what a delivered event costs ----

fn reading(place: &Place) {
    const EVENTS: usize = 50_000;
    let store = SessionStore::connect(&place.url_of_new()).unwrap();
    for batch in 0..EVENTS / 1_000 {
        let events: Vec<_> = (0..1_000).map(|number| event(format!("{batch:03}-{number:03}"))).collect();
        store.append_events("s", &events).unwrap();
    }
    let best = Mutex::new([Duration::MAX; 3]);
    let timed = |place: usize, work: &dyn Fn() -> usize| {
        let began = Instant::now();
        assert_eq!(work(), EVENTS);
        let mut best = best.lock().unwrap();
        best[place] = best[place].min(began.elapsed());
    };
    for _ in 0..5 {
        timed(0, &|| store.events(ListEventsRequest::new("s")).map(Result::unwrap).count());
        timed(1, &|| store.follow(ListEventsRequest::new("s")).take(EVENTS).map(Result::unwrap).count());
        if place.is_file {
            timed(2, &|| store.follow_all(None).take(EVENTS).map(Result::unwrap).count());
        }
    }
    let [listed, followed, all] = best.into_inner().unwrap().map(|time| time.as_secs_f64());
    println!("Reading {EVENTS} stored events, ratio to `events`: `follow` {:.2}", listed / followed);
    if place.is_file {
        println!("and `follow_all` {:.2}", listed / all);
    }
    println!();
}

//! Proves that what was acknowledged survives power loss. A process is recorded while it writes, migrates or copies;
//! then the disk is put together as it may be found if the power goes at some point (see [`power::disk`] for what the
//! model assumes), and the store has to open it and miss nothing.
//!
//! Each scenario runs through 120 points. `POWER_LOSS_ROUNDS` in the environment asks for another number; a number
//! beyond the points that a recording has tries each of them with several outcomes.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod common;
mod legacy;
mod power;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;

use agent_session_store::{
    Durability, JournalMode, Json, ListEventsRequest, NewEvent, PruneRequest, SessionEvent, SessionRecord, SessionStore,
};
use common::{TempDb, child, event, millis, session, task};
use legacy::legacy_file;
use power::disk::Disk;
use power::record::{is_possible, record};
use power::{Op, Random, Recording};
use tempfile::TempDir;

const BATCH: i64 = 12;

/// The event with this id and index, whichever run wrote it. Some payloads are longer than a page of the database.
fn sample(session: &str, index: i64) -> SessionEvent {
    let length = match index % 11 {
        3 => 9_000,
        7 => 40_000,
        other => other as usize * 90,
    };
    let text = format!("{session} {index} ").repeat(length / 10 + 1);
    let payload = Json::parse(format!("{{\"text\":\"{text}\"}}")).unwrap();
    SessionEvent { payload, ..event(&format!("{session}/{index:04}"), session, index) }
}

fn versioned(id: &str, version: i64) -> SessionRecord {
    SessionRecord { agent: format!("version {version}"), created_at: millis(1_000 + version), ..session(id) }
}

/// One line, in one piece, gone from this process before the next call.
fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn open(path: &str, journal_mode: &str, durability: &str) -> SessionStore {
    SessionStore::builder()
        .durability(if durability == "normal" { Durability::Normal } else { Durability::Full })
        .journal_mode(if journal_mode == "rollback" { JournalMode::Rollback } else { JournalMode::Wal })
        .open(path)
        .unwrap()
}

/// Does nothing by itself; the tests below run it in a process of its own.
#[test]
fn a_process_that_is_recorded() {
    let Some(task) = task() else { return };
    let [what, folder, journal_mode, durability] = task.try_into().unwrap();
    let path = format!("{folder}/sessions.db");
    match &*what {
        "write" => {
            // The second time it finds a file that a store has closed.
            for run in 0..2 {
                let store = open(&path, &journal_mode, &durability);
                write(&store, &path, run);
                store.close().unwrap();
            }
            write(&open(&path, &journal_mode, &durability), &path, 2);
        }
        "write without syncs" => {
            let conn = rusqlite::Connection::open(&path).unwrap();
            conn.execute_batch("PRAGMA synchronous = OFF").unwrap();
            for index in 0..20 {
                let SessionEvent { id, session_id, payload, .. } = sample("single-0-0", index);
                conn.execute(
                    "INSERT INTO events VALUES (?, ?, ?, 0, '', 'agent', ?)",
                    (&id, index, session_id, payload.get()),
                )
                .unwrap();
                say(&format!("ack event single-0-0 {index}"));
            }
        }
        "migrate" => {
            let store = open(&path, &journal_mode, &durability);
            say("ack migrated");
            insert(&store, "single-0-0", 0..5);
        }
        "back up" => {
            let store = open(&path, &journal_mode, &durability);
            insert(&store, "single-0-0", 0..20);
            for (number, target) in ["beside.db", "copies/one.db", "copies/two.db"].into_iter().enumerate() {
                say(&format!("begin copy {target} {}", 20 + number));
                store.backup_to(format!("{folder}/{target}")).unwrap();
                say(&format!("ack copy {target}"));
                insert(&store, "single-0-0", 20 + number as i64..21 + number as i64);
            }
        }
        other => panic!("unknown task {other}"),
    }
}

fn insert(store: &SessionStore, session: &str, indexes: std::ops::Range<i64>) {
    for index in indexes {
        store.insert_event(&sample(session, index)).unwrap();
        say(&format!("ack event {session} {index}"));
    }
}

/// Every way to write, from several threads, so that there are groups of commits.
fn write(store: &SessionStore, path: &str, run: i64) {
    thread::scope(|scope| {
        for number in 0..3 {
            scope.spawn(move || insert(store, &format!("single-{run}-{number}"), 0..12));
        }
        scope.spawn(move || {
            for batch in 0..3 {
                let session = format!("batch-{run}-{batch}");
                store.insert_events(&(0..BATCH).map(|index| sample(&session, index)).collect::<Vec<_>>()).unwrap();
                say(&format!("ack batch {session}"));
            }
        });
        scope.spawn(move || {
            let session = format!("append-{run}");
            for number in 1..10 {
                let SessionEvent { id, created_at, connection_id, sender, payload, .. } = sample(&session, number);
                let event = NewEvent { id, created_at, connection_id, sender, payload };
                assert_eq!(store.append_events(&session, &[event]).unwrap(), [number]);
                say(&format!("ack event {session} {number}"));
            }
        });
        scope.spawn(move || {
            for version in 0..8 {
                let version = run * 100 + version;
                say(&format!("begin record {version}"));
                store.update_session(&versioned("record", version)).unwrap();
                say(&format!("ack record {version}"));
            }
        });
    });
    // The log starts again from its beginning after that.
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    drop(conn);
    insert(store, &format!("later-{run}"), 0..8);
    // What takes away: a long session, then its space.
    let session = format!("deleted-{run}");
    store.insert_events(&(0..60).map(|index| sample(&session, index)).collect::<Vec<_>>()).unwrap();
    say(&format!("begin delete {session}"));
    assert!(store.delete_session(&session).unwrap());
    say(&format!("ack delete {session}"));
    let old = SessionRecord { destroyed_at: Some(millis(1)), ..session_of_age(run) };
    store.update_session(&old).unwrap();
    store.insert_event(&sample(&old.id, 1)).unwrap();
    let pruned = PruneRequest::new().destroyed_before(millis(10)).reclaim_space();
    say(&format!("begin delete {}", old.id));
    assert_eq!(store.prune(&pruned).unwrap().sessions, 1);
    say(&format!("ack delete {}", old.id));
    insert(store, &format!("after-{run}"), 0..4);
}

fn session_of_age(run: i64) -> SessionRecord {
    session(&format!("deleted-old-{run}"))
}

/// What must be there after a cut, out of what was said before it.
#[derive(Clone, Debug, Default)]
struct Promises {
    events: BTreeSet<(String, i64)>,
    begun_deletes: BTreeSet<String>,
    deleted: BTreeSet<String>,
    record: Option<i64>,
    newest_record: Option<i64>,
    is_migrated: bool,
    /// How many events each copy has at least.
    begun_copies: BTreeMap<String, i64>,
    copies: BTreeSet<String>,
}

impl Promises {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |text: &str| text.parse::<i64>().unwrap();
        match *words {
            ["ack", "event", session, index] => _ = self.events.insert((session.to_owned(), number(index))),
            ["ack", "batch", session] => {
                self.events.extend((0..BATCH).map(|index| (session.to_owned(), index)));
            }
            ["begin", "delete", session] => _ = self.begun_deletes.insert(session.to_owned()),
            ["ack", "delete", session] => _ = self.deleted.insert(session.to_owned()),
            ["begin", "record", version] => self.newest_record = Some(number(version)),
            ["ack", "record", version] => self.record = Some(number(version)),
            ["ack", "migrated"] => self.is_migrated = true,
            ["begin", "copy", target, events] => {
                _ = self.begun_copies.insert(target.to_owned(), number(events));
            }
            ["ack", "copy", target] => _ = self.copies.insert(target.to_owned()),
            // The test harness has a word to say, too.
            _ => {}
        }
    }

    /// Whether the events in the file are those, each as it was written.
    fn check(&self, store: &SessionStore) {
        let mut by_session: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for stats in store.session_stats().unwrap() {
            for found in store.events(ListEventsRequest::new(stats.session_id)) {
                let found = found.unwrap();
                if found.session_id == "reopened" {
                    continue;
                }
                assert_eq!(found, sample(&found.session_id, found.event_index));
                by_session.entry(found.session_id).or_default().insert(found.event_index);
            }
        }
        for (session, index) in &self.events {
            let is_there = by_session.get(session).is_some_and(|indexes| indexes.contains(index));
            assert!(is_there, "event {index} of {session} was acknowledged, and is lost");
        }
        for (session, indexes) in &by_session {
            if session.starts_with("batch-") {
                assert_eq!(indexes.len() as i64, BATCH, "half of {session}");
            }
        }
        for session in &self.deleted {
            assert!(!by_session.contains_key(session), "{session} is back");
        }
        if let Some(acknowledged) = self.record {
            let found = store.get_session("record").unwrap().unwrap();
            let newest = self.newest_record.unwrap();
            let known = (acknowledged..=newest).map(|version| versioned("record", version));
            assert!(known.into_iter().any(|known| known == found), "{acknowledged} to {newest}, not {found:?}");
        }
    }
}

/// A folder, found after the power went at some point.
struct Found {
    folder: TempDir,
    promises: Promises,
    /// Which outcome.
    round: usize,
}

impl Found {
    fn path(&self) -> PathBuf {
        self.folder.path().join("sessions.db")
    }
}

fn rounds() -> usize {
    std::env::var("POWER_LOSS_ROUNDS").map_or(120, |rounds| rounds.parse().unwrap())
}

/// Loses the power again and again, at points spread over the whole recording, and looks at what is left.
fn lose_power(name: &str, recording: &Recording, rounds: usize, mut look: impl FnMut(&Found)) {
    let points = recording.ops.len();
    // Each point in turn if there are more rounds than points. In the order of the points: the disk only goes forward.
    let mut cuts: Vec<(usize, usize)> = (0..rounds)
        .map(|round| match rounds <= points {
            true => (round * points / rounds + points / rounds, round),
            false => (1 + round % points, round),
        })
        .collect();
    cuts.sort_unstable();
    let distinct = cuts.iter().map(|(cut, _)| cut).collect::<BTreeSet<_>>().len();
    let mut disk = Disk::new(recording);
    let mut promises = Promises::default();
    let mut heard = 0;
    for (cut, round) in cuts {
        disk.advance_to(cut);
        for op in &recording.ops[heard..cut] {
            if let Op::Said(line) = op {
                promises.hear(line.rsplit("... ").next().unwrap());
            }
        }
        heard = cut;
        let folder = TempDir::new().unwrap();
        disk.crash(&mut Random::new(round as u64), folder.path());
        let found = Found { folder, promises: promises.clone(), round };
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(&found)));
        if let Err(panic) = looked {
            // Once more, since looking changed it.
            let kept = TempDir::new().unwrap().keep();
            disk.crash(&mut Random::new(round as u64), &kept);
            println!(
                "{name}: power lost at point {cut} of {points}, outcome {round}; what is left: {}",
                kept.display()
            );
            std::panic::resume_unwind(panic);
        }
    }
    println!("{name}: {rounds} losses of power at {distinct} of {points} points");
}

/// The file must be sound, for SQLite alone and for the store, and must keep what was promised; then it is written to.
fn assert_nothing_is_missing(found: &Found, promises: &Promises, journal_mode: &str) {
    // Whoever comes first brings the file in order, and leaves it to the other.
    let plainly = || {
        let conn = rusqlite::Connection::open(found.path()).unwrap();
        legacy::is_sound(&conn);
    };
    if found.round.is_multiple_of(2) {
        plainly();
    }
    let store = open(found.path().to_str().unwrap(), journal_mode, "normal");
    let report = store.check().unwrap();
    assert!(report.is_sound(), "{report:?}");
    promises.check(&store);
    store.insert_event(&event("reopened", "reopened", 1)).unwrap();
    drop(store);
    plainly();
}

fn recorded(what: &str, folder: &Path, journal_mode: &str, durability: &str) -> Recording {
    let task = format!("{what}|{}|{journal_mode}|{durability}", folder.display());
    record(&child("a_process_that_is_recorded", &task), folder)
}

fn new_folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().canonicalize().unwrap();
    (folder, path)
}

#[test]
fn acknowledged_writes_survive() {
    if task().is_some() || !is_possible() {
        return;
    }
    for journal_mode in ["wal", "rollback"] {
        let (_folder, path) = new_folder();
        let recording = recorded("write", &path, journal_mode, "full");
        lose_power(&format!("writes, {journal_mode}"), &recording, rounds(), |found| {
            assert_nothing_is_missing(found, &found.promises, journal_mode);
        });
    }
}

/// With `Durability::Normal` the last writes may be lost, and nothing else.
#[test]
fn normal_durability_keeps_the_file_intact() {
    if task().is_some() || !is_possible() {
        return;
    }
    for journal_mode in ["wal", "rollback"] {
        let (_folder, path) = new_folder();
        let recording = recorded("write", &path, journal_mode, "normal");
        let mut lost = 0;
        lose_power(&format!("normal durability, {journal_mode}"), &recording, rounds(), |found| {
            assert_nothing_is_missing(found, &Promises::default(), journal_mode);
            lost += usize::from(loses(found));
        });
        println!("normal durability, {journal_mode}: {lost} times something acknowledged was lost");
    }
}

/// Whether an event is not there that was acknowledged.
fn loses(found: &Found) -> bool {
    let ids = || -> rusqlite::Result<BTreeSet<String>> {
        let conn = rusqlite::Connection::open(found.path())?;
        let mut statement = conn.prepare("SELECT id FROM events")?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    let ids = ids().unwrap_or_default();
    let gone = |session: &String| found.promises.begun_deletes.contains(session);
    let mut promised = found.promises.events.iter().filter(|(session, _)| !gone(session));
    promised.any(|(session, index)| !ids.contains(&sample(session, *index).id))
}

/// What the tests above could not show if the model were too kind.
#[test]
fn without_syncs_something_is_lost() {
    if task().is_some() || !is_possible() {
        return;
    }
    for (what, journal_mode) in [("write", "wal"), ("write", "rollback"), ("write without syncs", "wal")] {
        let (_folder, path) = new_folder();
        if what == "write without syncs" {
            open(path.join("sessions.db").to_str().unwrap(), journal_mode, "full").close().unwrap();
        }
        let mut recording = recorded(what, &path, journal_mode, "full");
        if what == "write" {
            recording = recording.without_syncs();
        }
        let mut lost = 0;
        lose_power(&format!("{what}, {journal_mode}, no syncs"), &recording, 40, |found| {
            lost += usize::from(loses(found));
        });
        assert!(lost > 0, "{what}, {journal_mode}");
    }
}

const SHAPES: [&str; 6] = [
    "ids_integer_autoincrement",
    "interrupted_half",
    "interrupted_alone",
    "null_index_ids_text",
    "sessions_oldest",
    "current",
];

/// A migration is all or nothing, and what was stored after it is there.
#[test]
fn migrated_files_survive() {
    if task().is_some() || !is_possible() {
        return;
    }
    let fixtures = ["server-0.4.2.db", "sdk-0.4.2.db"];
    for journal_mode in ["wal", "rollback"] {
        for (place, shape) in fixtures.iter().chain(&SHAPES).enumerate() {
            let (_folder, path) = new_folder();
            let file = path.join("sessions.db");
            let db = if fixtures.contains(shape) { TempDb::fixture(shape) } else { legacy_file(shape) };
            if place % 3 == 2 {
                db.plain().execute_batch("PRAGMA journal_mode = WAL").unwrap();
            }
            std::fs::copy(db.path(), &file).unwrap();
            let old = legacy::dump(&db.plain());
            let recording = recorded("migrate", &path, journal_mode, "full");

            SessionStore::open(db.path()).unwrap().close().unwrap();
            let (new_schema, new_rows) = (legacy::schema(&db.plain()), legacy::rows(&db.plain()));
            let is_new = |path: &Path| {
                let conn = rusqlite::Connection::open(path).unwrap();
                legacy::is_sound(&conn);
                let rows = legacy::rows(&conn);
                assert!(new_rows.iter().all(|row| rows.contains(row)), "rows are missing or changed");
                let added = rows.iter().filter(|row| !new_rows.contains(row));
                assert!(added.into_iter().all(|row| row.starts_with("event single-0-0 ")), "there are other rows");
                assert_eq!(legacy::schema(&conn), new_schema);
            };
            let name = format!("migration of {shape}, {journal_mode}");
            lose_power(&name, &recording, rounds().div_ceil(8), |found| {
                if found.round.is_multiple_of(2) {
                    let conn = rusqlite::Connection::open(found.path()).unwrap();
                    if legacy::dump(&conn) == old {
                        assert!(!found.promises.is_migrated);
                        legacy::is_sound(&conn);
                    } else {
                        is_new(&found.path());
                    }
                }
                let store = open(found.path().to_str().unwrap(), journal_mode, "normal");
                assert!(store.check().unwrap().is_sound());
                for (session, index) in &found.promises.events {
                    let events = store.events(ListEventsRequest::new(session).after(index - 1).before(index + 1));
                    assert_eq!(events.map(Result::unwrap).collect::<Vec<_>>(), [sample(session, *index)]);
                }
                drop(store);
                is_new(&found.path());
            });
        }
    }
}

/// A copy is there as a whole or not at all, and does not stand in its own way the next time.
#[test]
fn copies_survive() {
    if task().is_some() || !is_possible() {
        return;
    }
    for journal_mode in ["wal", "rollback"] {
        let (_folder, path) = new_folder();
        std::fs::create_dir(path.join("copies")).unwrap();
        let recording = recorded("back up", &path, journal_mode, "full");
        lose_power(&format!("backup, {journal_mode}"), &recording, rounds(), |found| {
            assert_nothing_is_missing(found, &found.promises, journal_mode);
            for (target, events) in &found.promises.begun_copies {
                let copy = found.folder.path().join(target);
                if copy.exists() {
                    assert_holds(&copy, *events);
                    continue;
                }
                assert!(!found.promises.copies.contains(target), "the copy {target} was acknowledged, and is lost");
                open(found.path().to_str().unwrap(), journal_mode, "normal").backup_to(&copy).unwrap();
                assert_holds(&copy, 0);
            }
        });
    }
}

/// A copy is a sound database of at least so many events, from the first on.
fn assert_holds(copy: &Path, events: i64) {
    let found = common::event_ids(copy);
    let found: Vec<_> = found.into_iter().filter(|id| id != "reopened").collect();
    let expected: Vec<_> = (0..found.len() as i64).map(|index| sample("single-0-0", index).id).collect();
    assert_eq!(found, expected);
    assert!(found.len() as i64 >= events, "{} of {events} events", found.len());
    let store = SessionStore::builder().create(false).open(copy).unwrap();
    for found in store.events(ListEventsRequest::new("single-0-0")) {
        let found = found.unwrap();
        assert_eq!(found, sample("single-0-0", found.event_index));
    }
}

/// A disk with one file of two sectors, of which something was written over.
fn small_disk(ops: Vec<Op>) -> BTreeSet<Option<Vec<u8>>> {
    let recording = Recording {
        folders: vec![String::new()],
        files: vec![(0, "file".to_owned(), vec![b'a'; 1024])],
        ops: [
            vec![
                Op::Write { inode: 0, offset: 0, bytes: vec![b'b'; 1024] },
                Op::Names { folder: 0, changes: vec![("file".to_owned(), None), ("renamed".to_owned(), Some(0))] },
            ],
            ops,
        ]
        .concat(),
    };
    let mut disk = Disk::new(&recording);
    disk.advance_to(recording.ops.len());
    let outcomes = (0..400).map(|seed| {
        let folder = TempDir::new().unwrap();
        disk.crash(&mut Random::new(seed), folder.path());
        let mut left = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
        let file = left.next().unwrap();
        assert!(left.next().is_none(), "a rename is one step");
        let content = std::fs::read(file.path()).unwrap();
        (file.file_name() == "renamed").then(|| vec![content[0], content[511], content[512], content[1023]])
    });
    outcomes.collect()
}

#[test]
fn the_model_loses_what_is_not_synced_and_nothing_else() {
    let outcomes = |outcomes: &[&str]| outcomes.iter().map(|text| text.as_bytes().to_vec()).collect::<BTreeSet<_>>();
    let every = outcomes(&["aaaa", "aabb", "bbaa", "bbbb"]);
    let nothing = small_disk(vec![]);
    assert!(nothing.contains(&None));
    assert_eq!(nothing.into_iter().flatten().collect::<BTreeSet<_>>(), every);
    let name = small_disk(vec![Op::SyncFolder { folder: 0, upto: 2 }]);
    assert!(!name.contains(&None));
    assert_eq!(name.into_iter().flatten().collect::<BTreeSet<_>>(), every);
    let content = small_disk(vec![Op::Sync { inode: 0, upto: 1 }]);
    assert_eq!(content, BTreeSet::from([None, Some(b"bbbb".to_vec())]));
    // A sync that began before the write.
    let early = small_disk(vec![Op::SyncFolder { folder: 0, upto: 2 }, Op::Sync { inode: 0, upto: 0 }]);
    assert_eq!(early.into_iter().flatten().collect::<BTreeSet<_>>(), every);
}

//! Proves that what was acknowledged survives power loss. A process is recorded while it writes, migrates or copies;
//! then the disk is put together as it may be found if the power goes at some point (see [`disk`] for what the
//! model assumes), and the store has to open it and miss nothing.
//!
//! Each scenario runs through 120 points. `POWER_LOSS_ROUNDS` in the environment asks for another number; a number
//! beyond the points that a recording has tries each of them with several outcomes.

mod disk;
mod process;
mod promises;
mod record;
mod recording;
mod trace;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use agent_session_store::{ListEventsRequest, SessionStore};
use tempfile::TempDir;

use crate::common::faults::strace;
use crate::common::legacy::{self, legacy_file};
use crate::common::{Random, TempDb, event, event_ids, is_sound};
use disk::Disk;
use process::{new_folder, open, recorded, sample};
use promises::Promises;
use recording::{Op, Recording};

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
                line.lines().for_each(|line| promises.hear(line));
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
        is_sound(&rusqlite::Connection::open(found.path()).unwrap());
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

#[test]
fn acknowledged_writes_survive() {
    if strace().is_none() {
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
    if strace().is_none() {
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
    if strace().is_none() {
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
    if strace().is_none() {
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
            let (new_schema, new_rows) = (legacy::schema(&db.plain()), legacy::listed(&db.plain()));
            let is_new = |path: &Path| {
                let conn = rusqlite::Connection::open(path).unwrap();
                is_sound(&conn);
                let rows = legacy::listed(&conn);
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
                        is_sound(&conn);
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
    if strace().is_none() {
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
    let found = event_ids(copy);
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

//! Proves that a prune with an archive deletes nothing that is not in a complete file, and says why if there is none.

use std::io::ErrorKind;

use agent_session_store::diesel::Connection;
use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{
    Error, Import, ListEventsRequest, PruneReport, PruneRequest, SessionPersistDriver, SessionStore,
};

use crate::common::{TempDb, event, millis, new_event, session};

fn report(sessions: u64, events: u64) -> PruneReport {
    PruneReport { sessions, events }
}

/// A session on record with three events, and one without a record with two.
fn filled() -> TempDb {
    let db = TempDb::ours();
    let mut conn = db.connect_fast();
    conn.update_session(&session("one")).unwrap();
    conn.append_events("one", &["a", "b", "c"].map(new_event)).unwrap();
    conn.append_events("two", &["x", "y"].map(new_event)).unwrap();
    db
}

fn everything() -> PruneRequest {
    PruneRequest::new().max_total_bytes(0)
}

#[test]
fn a_file_that_exists_is_left_alone_and_so_is_everything_else() {
    let db = filled();
    let (mut conn, path) = (db.connect_fast(), db.folder().join("archive.jsonl"));
    std::fs::write(&path, "mine").unwrap();
    let before = db.bytes();
    for request in [everything().archive_to(&path), everything().archive_to(db.folder()), everything().archive_to("/")]
    {
        let result = conn.prune(&request);
        let is_refused = |kind| [ErrorKind::AlreadyExists, ErrorKind::InvalidInput].contains(&kind);
        assert!(matches!(&result, Err(Error::Io { source }) if is_refused(source.kind())), "{result:?}");
    }
    let result = conn.prune(&everything().archive_to(db.folder().join("no/such/folder.jsonl")));
    assert!(matches!(&result, Err(Error::Io { source }) if source.kind() == ErrorKind::NotFound), "{result:?}");
    // A dry run has no use for the file.
    assert_eq!(conn.prune(&everything().archive_to(&path).dry_run()).unwrap(), report(1, 5));
    assert_eq!(conn.prune(&everything().archive_to(db.folder().join("new")).dry_run()).unwrap(), report(1, 5));
    assert_eq!(db.bytes(), before);
}

#[test]
fn the_archive_is_private_complete_and_alone() {
    let db = filled();
    let (mut conn, path) = (db.connect_fast(), db.folder().join("archive.jsonl"));
    let before = db.tables();
    assert_eq!(conn.prune(&everything().archive_to(&path)).unwrap(), report(1, 5));
    assert_eq!(db.files(), ["archive.jsonl", "sessions.db"]);
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }
    let lines = std::fs::read_to_string(&path).unwrap();
    assert_eq!(lines.lines().count(), 1 + 1 + 5);
    assert_eq!(db.counts(), [0, 0]);
    conn.import(Import::from_path(&path).unwrap()).unwrap();
    assert_eq!(db.tables(), before);
    // Where nothing is selected, there is no file.
    let none = db.folder().join("none.jsonl");
    assert_eq!(conn.prune(&PruneRequest::new().session("no such").archive_to(&none)).unwrap(), report(0, 0));
    assert_eq!(conn.prune(&PruneRequest::new().archive_to(&none)).unwrap(), report(0, 0));
    assert!(!none.exists());
}

/// The record is not in the archive, which must not take back what happens to it later.
#[test]
fn of_a_session_that_stays_only_the_events_are_archived() {
    let db = filled();
    let (mut conn, path) = (db.connect_fast(), db.folder().join("archive.jsonl"));
    let before = db.tables();
    let request = PruneRequest::new().max_events_per_session(1).archive_to(&path);
    assert_eq!(conn.prune(&request).unwrap(), report(0, 3));
    assert!(!std::fs::read_to_string(&path).unwrap().contains("{\"session\""));
    let later = with!(session("one"), destroyed_at: Some(millis(9)));
    conn.update_session(&later).unwrap();
    conn.import(Import::from_path(&path).unwrap()).unwrap();
    assert_eq!(conn.get_session("one").unwrap(), Some(later));
    assert_eq!(db.tables()[1], before[1]);
}

/// Also for a session of many events, which is not restored in one piece.
#[test]
fn a_restore_can_leave_alone_what_is_there() {
    let db = filled();
    let (mut conn, path) = (db.connect_fast(), db.folder().join("archive.jsonl"));
    conn.insert_events(&(1..=700).map(|index| event(&format!("e{index}"), "long", index)).collect::<Vec<_>>()).unwrap();
    conn.update_session(&session("long")).unwrap();
    conn.prune(&everything().archive_to(&path)).unwrap();
    let newer = [event("b", "one", 7), event("e5", "long", 9)];
    conn.insert_events(&newer).unwrap();
    let records = ["one", "long"].map(|id| with!(session(id), agent: "other".to_owned()));
    records.iter().for_each(|record| conn.update_session(record).unwrap());
    let import = || Import::from_path(&path).unwrap();
    assert_eq!(conn.import(import().keep_existing()).unwrap().events, 705);
    for (record, event) in records.into_iter().zip(newer) {
        assert_eq!(conn.get_session(&record.id).unwrap(), Some(record));
        let events = conn.list_events(&ListEventsRequest::new(&event.session_id).limit(1_000)).unwrap().items;
        assert!(events.contains(&event));
    }
    assert_eq!(db.counts(), [2, 705]);
    conn.import(import()).unwrap();
    assert_eq!(conn.get_session("one").unwrap(), Some(session("one")));
    // An event of another session is in the way, as always.
    conn.delete_session("one").unwrap();
    conn.insert_event(&event("b", "other", 1)).unwrap();
    assert!(matches!(conn.import(import().keep_existing()), Err(Error::Import { .. })));
}

/// The last event of the session is selected by another rule than the rest of it.
#[test]
fn what_two_rules_select_is_deleted_too() {
    let db = TempDb::ours();
    let mut conn = db.connect_fast();
    for (id, index, at) in [("a", 1, 9), ("b", 2, 1)] {
        conn.insert_event(&with!(event(id, "orphaned", index), created_at: millis(at))).unwrap();
    }
    let path = db.folder().join("archive.jsonl");
    let request = everything().orphans_before(millis(5)).archive_to(&path);
    assert_eq!(conn.prune(&request).unwrap(), report(0, 2));
    assert_eq!(db.counts(), [0, 0]);
}

#[test]
fn a_row_that_cannot_be_read_keeps_everything_in_place() {
    let db = filled();
    db.plain().execute("UPDATE events SET payload_json = '{oops' WHERE id = 'y'", []).unwrap();
    let (mut conn, before) = (db.connect_fast(), db.bytes());
    for face in 0..2 {
        let request = everything().archive_to(db.folder().join("archive.jsonl"));
        let result =
            if face == 0 { conn.prune(&request) } else { SessionStore::open(db.path()).unwrap().prune(&request) };
        assert!(matches!(&result, Err(Error::Decode { id, .. }) if id == "y"), "{result:?}");
        assert!(!db.folder().join("archive.jsonl").exists());
    }
    drop(conn);
    assert_eq!(db.files(), ["sessions.db"]);
    assert_eq!(db.counts(), [1, 5]);
    assert_eq!(before.len(), 1);
    // Not selected, it is in nobody's way.
    let request = PruneRequest::new().session("one").archive_to(db.folder().join("archive.jsonl"));
    assert_eq!(db.connect_fast().prune(&request).unwrap(), report(1, 3));
}

#[test]
fn what_is_not_as_it_was_archived_stays() {
    for (change, rest, expected) in [
        ("UPDATE events SET payload_json = '1' WHERE id = 'b'", "b", report(0, 4)),
        ("UPDATE events SET session_id = 'three' WHERE id = 'b'", "b", report(1, 4)),
        ("UPDATE sessions SET agent = 'other'", "", report(0, 5)),
        ("INSERT INTO events VALUES ('late', 9, 'one', 1, 'c', 'agent', '{}')", "late", report(0, 5)),
        ("DELETE FROM events WHERE id = 'b'", "", report(1, 4)),
        (
            "INSERT OR IGNORE INTO sessions VALUES ('two', 'a', 'b', 'c', 1, NULL, NULL, NULL, NULL, NULL)",
            "",
            report(1, 5),
        ),
    ] {
        let db = filled();
        // As soon as the first goes.
        db.plain()
            .execute_batch(&format!(
                "CREATE TRIGGER change AFTER DELETE ON events WHEN OLD.id = 'a' BEGIN {change}; END"
            ))
            .unwrap();
        let path = db.folder().join("archive.jsonl");
        let request = PruneRequest::new().session("one").session("two").archive_to(&path);
        assert_eq!(db.connect_fast().prune(&request).unwrap(), expected, "{change}");
        assert_eq!(db.event_ids().join(" "), rest, "{change}");
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 7, "{change}");
    }
}

#[test]
fn a_prune_in_a_transaction_is_undone_with_it_and_the_archive_stays() {
    let db = filled();
    let (mut conn, path) = (db.connect_fast(), db.folder().join("archive.jsonl"));
    let before = db.tables();
    let result: Result<(), Error> = conn.transaction(|conn| {
        assert_eq!(conn.prune(&everything().archive_to(&path))?, report(1, 5));
        assert!(conn.list_events(&ListEventsRequest::new("one"))?.items.is_empty());
        Err(Error::Closed)
    });
    assert!(matches!(result, Err(Error::Closed)));
    assert_eq!(db.tables(), before);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 7);
}

#[test]
fn a_refused_deletion_says_what_went_and_the_archive_has_it() {
    let db = filled();
    db.plain()
        .execute_batch(
            "CREATE TRIGGER keep BEFORE DELETE ON events WHEN OLD.id = 'y' BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .unwrap();
    let path = db.folder().join("archive.jsonl");
    let result = db.connect_fast().prune(&everything().archive_to(&path));
    let Err(Error::Unfinished { done, .. }) = result else { panic!("{result:?}") };
    assert_eq!(done.to_string(), "1 sessions and 3 events were deleted");
    assert_eq!(db.event_ids(), ["x", "y"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 7);
}

#[cfg(feature = "zstd")]
#[test]
fn a_name_that_ends_in_zst_is_compressed() {
    let db = filled();
    let mut conn = db.connect_fast();
    let events: Vec<_> = (1..=2_000).map(|index| event(&format!("e{index}"), "long", index)).collect();
    conn.insert_events(&events).unwrap();
    let before = db.tables();
    for name in ["archive.jsonl.zst", "archive.ZST"] {
        let path = db.folder().join(name);
        assert_eq!(conn.prune(&everything().archive_to(&path)).unwrap(), report(1, 2_005));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[..4], [0x28, 0xb5, 0x2f, 0xfd]);
        assert!(bytes.len() < 40_000, "{}", bytes.len());
        // Damage is an error, not the end of the file.
        let damaged = db.folder().join("damaged.zst");
        std::fs::write(&damaged, &bytes[..bytes.len() - 9]).unwrap();
        assert!(conn.import(Import::from_path(&damaged).unwrap()).is_err());
        conn.import(Import::from_path(&path).unwrap()).unwrap();
        assert_eq!(db.tables(), before);
    }
}

#[cfg(not(feature = "zstd"))]
#[test]
fn a_name_that_ends_in_zst_needs_the_feature() {
    let db = filled();
    let (mut conn, path) = (db.connect_fast(), db.folder().join("archive.jsonl.zst"));
    for request in [everything().archive_to(&path), everything().archive_to(&path).dry_run()] {
        let error = conn.prune(&request).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains("the feature \"zstd\""), "{error}");
    }
    assert!(matches!(Import::from_path(&path), Err(Error::Unsupported { .. })));
    assert_eq!((db.files().len(), db.counts()), (1, [1, 5]));
}

/// The search for old leftovers is what a killed run's folder waits for.
#[test]
fn what_a_killed_run_left_is_removed() {
    let db = filled();
    let leftover = db.folder().join("old.jsonl.agent-session-store-backup-999999-1.tmp");
    std::fs::create_dir(&leftover).unwrap();
    std::fs::write(leftover.join("lock"), "").unwrap();
    std::fs::write(leftover.join("copy.db"), "half").unwrap();
    let mut conn = db.connect_fast();
    conn.batch_execute("SELECT 1").unwrap();
    conn.prune(&everything().archive_to(db.folder().join("archive.jsonl"))).unwrap();
    assert_eq!(db.files(), ["archive.jsonl", "sessions.db"]);
}

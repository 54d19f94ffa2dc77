//! Proves that exports, imports and backups are complete or absent, and keep everything.

use agent_session_store::{Selection, SessionStore};
use serde_json::Value;

use crate::common::{Db, SDK, SERVER, event, pinned, prompt, said, session};

fn exported(db: &Db) -> Vec<u8> {
    let store = SessionStore::builder().read_only(true).open(db.path()).unwrap();
    let mut lines = Vec::new();
    store.export(&mut lines, Selection::all()).unwrap();
    lines
}

#[test]
fn what_is_exported_is_imported_byte_for_byte() {
    let from = Db::fixture(SDK);
    let lines = exported(&from);
    assert_eq!(from.run(&["export"]).stdout, lines);
    for name in ["all.jsonl", "all.jsonl.zst"] {
        pinned!(format!("export-{}", name.rsplit('.').next().unwrap()), said(&from.run(&["export", name])));
        let file = from.folder().join(name);
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions()) & 0o777, 0o600);
        let to = Db::none();
        pinned!(
            format!("import-{}", name.rsplit('.').next().unwrap()),
            said(&to.run(&["import", file.to_str().unwrap()]))
        );
        assert!(exported(&to) == lines, "{name}");
        assert_eq!(to.files(), ["sessions.db"]);
    }
    assert!(std::fs::read(from.folder().join("all.jsonl.zst")).unwrap().starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    // By a pipe, and a second time, which changes nothing.
    let to = Db::none();
    for _ in 0..2 {
        let report = to.command(&["import", "--json"]).write_stdin(lines.clone()).output().unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&report.stdout).unwrap(),
            serde_json::json!({ "sessions": 5, "events": 114 })
        );
        assert!(exported(&to) == lines);
    }
}

#[test]
fn a_part_is_exported() {
    let db = Db::fixture(SDK);
    let sessions =
        |arguments: &[&str]| db.stdout(arguments).lines().filter(|line| line.starts_with("{\"session\"")).count();
    assert_eq!(sessions(&["export", "--session", "a664"]), 1);
    assert_eq!(sessions(&["export", "--agent", "mock"]), 3);
    assert_eq!(sessions(&["export", "--agent", "mock", "--ended"]), 1);
    assert_eq!(sessions(&["export", "--before", "2025-01-01", "--live"]), 1);
}

#[test]
fn a_file_is_replaced_only_by_force() {
    let db = Db::fixture(SDK);
    std::fs::write(db.folder().join("x.jsonl"), "mine").unwrap();
    assert_eq!(db.run(&["export", "x.jsonl"]).status.code(), Some(6));
    assert_eq!(std::fs::read_to_string(db.folder().join("x.jsonl")).unwrap(), "mine");
    db.stdout(&["export", "x.jsonl", "--force"]);
    assert!(std::fs::read(db.folder().join("x.jsonl")).unwrap() == exported(&db));
    assert_eq!(db.files(), ["sessions.db", "x.jsonl"]);
}

#[test]
fn an_export_that_fails_leaves_nothing() {
    let db = Db::none();
    db.store().update_session(&session("session-1", 1)).unwrap();
    rusqlite::Connection::open(db.path())
        .unwrap()
        .execute_batch("INSERT INTO events VALUES ('e', 1, 'session-1', 0, 'c', 'nobody', '{}')")
        .unwrap();
    let (exit, line) = db.refusal(&["export", "x.jsonl"]);
    assert!(exit == 6 && line.contains("--skip-undecodable"), "{line}");
    assert_eq!(db.files(), ["sessions.db"]);
    let output = db.run(&["export", "x.jsonl", "--skip-undecodable"]);
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(db.folder().join("x.jsonl")).unwrap().lines().count(), 2);
}

#[test]
fn an_import_can_keep_what_is_there() {
    let db = Db::none();
    let store = db.store();
    store.update_session(&session("session-1", 1)).unwrap();
    store.append_events("session-1", &[prompt("a", 1, "old")]).unwrap();
    db.stdout(&["export", "old.jsonl"]);
    let mut newer = session("session-1", 1);
    newer.agent = "codex".to_owned();
    store.update_session(&newer).unwrap();
    db.stdout(&["import", "--keep-existing", "old.jsonl"]);
    assert_eq!(store.get_session("session-1").unwrap().unwrap().agent, "codex");
    db.stdout(&["import", "old.jsonl"]);
    assert_eq!(store.get_session("session-1").unwrap().unwrap().agent, "claude");
}

/// What comes before it is stored, as the library says.
#[test]
fn an_import_says_which_line_is_wrong() {
    let from = Db::none();
    let store = from.store();
    for id in ["one", "two"] {
        store.update_session(&session(id, 1)).unwrap();
        store.append_events(id, &[event(&format!("{id}-1"), agent_session_store::Sender::Agent, "{}")]).unwrap();
    }
    let text = from.stdout(&["export"]);
    let (before, _) = text.split_at(text.rfind("{\"event\"").unwrap());
    let to = Db::none();
    let output = to.command(&["import"]).write_stdin(format!("{before}oops\n")).output().unwrap();
    pinned!("import-broken", said(&output));
    let store = to.store();
    assert!(store.get_session("one").unwrap().is_some() && store.get_session("two").unwrap().is_none());
    assert_eq!(store.stats().unwrap().events, 1);
}

#[test]
fn a_backup_is_a_database_of_its_own() {
    // One of an older format as well: a copy before it is migrated.
    for name in [SDK, SERVER] {
        let db = Db::fixture(name);
        let before = db.bytes();
        assert!(db.stdout(&["backup", "copy.db"]).is_empty());
        let report: Value = serde_json::from_str(&db.stdout(&["backup", "copy.db.zst", "--json"])).unwrap();
        assert_eq!(report["bytes"], std::fs::metadata(db.folder().join("copy.db.zst")).unwrap().len());
        let copy = std::fs::read(db.folder().join("copy.db")).unwrap();
        let compressed = std::fs::File::open(db.folder().join("copy.db.zst")).unwrap();
        assert!(zstd::stream::decode_all(compressed).unwrap() == copy);
        let rows = |path: &str| -> Vec<String> {
            let conn = rusqlite::Connection::open(db.folder().join(path)).unwrap();
            let mut rows = conn.prepare("SELECT id || payload_json FROM events ORDER BY rowid").unwrap();
            rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert!(rows("copy.db").len() > 50 && rows("copy.db") == rows("sessions.db"));
        std::fs::remove_file(db.folder().join("copy.db")).unwrap();
        std::fs::remove_file(db.folder().join("copy.db.zst")).unwrap();
        assert!(db.bytes() == before);
    }
}

#[test]
#[cfg(unix)]
fn a_device_is_written_to_and_a_link_is_followed() {
    use std::os::unix::fs::FileTypeExt;
    let db = Db::fixture(SDK);
    db.stdout(&["show", "@1", "-o", "/dev/null"]);
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert_eq!(db.stdout(&["export", "--force", "/dev/stdout"]), db.stdout(&["export"]));
    std::fs::write(db.folder().join("page.html"), "old").unwrap();
    std::os::unix::fs::symlink("page.html", db.folder().join("link")).unwrap();
    db.stdout(&["show", "@1", "--format", "html", "-o", "link"]);
    assert!(std::fs::symlink_metadata(db.folder().join("link")).unwrap().is_symlink());
    assert!(std::fs::read_to_string(db.folder().join("page.html")).unwrap().starts_with("<!DOCTYPE html>"));
}

#[test]
fn an_import_of_which_nothing_comes_creates_no_file() {
    let db = Db::none();
    for (name, bytes) in [("garbage.jsonl", &b"garbage"[..]), ("cut.jsonl.zst", b"\x28\xb5\x2f\xfd\x04\x00")] {
        std::fs::write(db.folder().join(name), bytes).unwrap();
        let (code, line) = db.refusal(&["import", name]);
        assert_eq!(code, 6, "{line}");
        assert!(line.contains(name), "{line}");
        std::fs::remove_file(db.folder().join(name)).unwrap();
        assert!(db.files().is_empty(), "{:?}", db.files());
    }
}

//! Proves that nothing is deleted that was not shown and agreed to.

use serde_json::Value;

use crate::common::{Db, SDK, pinned, said};

#[test]
fn a_dry_run_says_what_would_go() {
    let db = Db::fixture(SDK);
    let before = db.bytes();
    for (name, arguments) in [
        ("prune-events", &["prune", "--dry-run", "--max-events", "10"][..]),
        ("prune-ended", &["prune", "--dry-run", "--ended-before", "2030-01-01"]),
        ("prune-session", &["prune", "--dry-run", "--session", "@1", "--session", "plain", "--json"]),
    ] {
        pinned!(name, said(&db.run(arguments)));
        let with_yes: Vec<_> = arguments.iter().chain(&["--yes"]).copied().collect();
        assert_eq!(said(&db.run(&with_yes)), said(&db.run(arguments)));
    }
    assert!(db.bytes() == before);
}

#[test]
fn what_was_shown_is_deleted_and_archived() {
    let db = Db::fixture(SDK);
    let rules = ["--began-before", "2025-01-01", "--session", "f3330008", "--json"];
    let with = |more: &[&str]| -> Value {
        let all: Vec<_> = ["prune"].iter().chain(&rules).chain(more).copied().collect();
        serde_json::from_str(&db.stdout(&all)).unwrap()
    };
    let shown = with(&["--dry-run"]);
    assert_eq!(shown, serde_json::json!({ "sessions": 3, "events": 12 }));
    assert_eq!(with(&["--yes", "--archive", "old.jsonl.zst", "--reclaim"]), shown);
    assert_eq!(db.stdout(&["list", "--json"]).lines().count(), 2);
    // And it comes back.
    db.stdout(&["import", "old.jsonl.zst", "--keep-existing"]);
    assert_eq!(db.stdout(&["list", "--json"]).lines().count(), 5);
    assert_eq!(db.files(), ["old.jsonl.zst", "sessions.db"]);
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let db = Db::fixture(SDK);
    let before = db.bytes();
    let output = db.command(&["prune", "--max-events", "1"]).write_stdin("y\n").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(db.bytes() == before);
}

//! Proves that every refusal is one line, which says what to do, with its exit code.

use crate::common::{Db, SDK, SERVER, pinned, said, session};

#[test]
fn every_refusal_is_one_line_with_its_exit_code() {
    let mut lines = String::new();
    let mut refuse = |db: &Db, arguments: &[&str]| {
        let (exit, line) = db.refusal(arguments);
        let line = line.replace(&db.folder().display().to_string(), "[folder]");
        lines += &format!("$ agent-sessions {}\nexit {exit}: {line}\n", arguments.join(" "));
    };
    let (none, sdk, old) = (Db::none(), Db::fixture(SDK), Db::fixture(SERVER));
    for command in [
        &["list"][..],
        &["show", "@1"],
        &["check"],
        &["migrate"],
        &["backup", "x.db"],
        &["prune", "--max-events", "1", "--yes"],
    ] {
        refuse(&none, command);
    }
    refuse(&none, &["list", "--db", ""]);
    refuse(&none, &["list", "--db", "mysql://me:secret@host/app"]);
    refuse(&none, &["list", "--db", "."]);
    refuse(&none, &["import", "nothing.jsonl"]);
    assert_eq!(none.files().len(), 0, "looking creates nothing");

    refuse(&sdk, &["show", "nobody"]);
    refuse(&sdk, &["show", ""]);
    refuse(&sdk, &["show", "@0"]);
    refuse(&sdk, &["show", "@6"]);
    refuse(&sdk, &["follow", "nobody"]);
    refuse(&sdk, &["show", "@1", "--open", "--json"]);
    refuse(&sdk, &["list", "--schema", "x"]);
    refuse(&sdk, &["list", "--watch", "--copy"]);
    refuse(&sdk, &["prune", "--yes"]);
    refuse(&sdk, &["prune", "--max-events", "1"]);
    refuse(&sdk, &["backup", "sessions.db"]);
    refuse(&sdk, &["export", "sessions.db"]);
    refuse(&sdk, &["export", "nowhere/x.jsonl"]);
    std::fs::write(sdk.folder().join("text.jsonl"), "not an export\n").unwrap();
    refuse(&sdk, &["import", "text.jsonl"]);
    refuse(&sdk, &["list", "--db", "text.jsonl"]);
    std::fs::write(sdk.folder().join("empty.db"), "").unwrap();
    refuse(&sdk, &["list", "--db", "empty.db"]);

    for command in [&["list"][..], &["follow", "@1"], &["prune", "--max-events", "1", "--yes"]] {
        refuse(&old, command);
    }
    std::fs::rename(old.path(), old.folder().join("it's old.db")).unwrap();
    refuse(&old, &["list", "--db", "it's old.db"]);
    pinned!("refusals", lines);
}

#[test]
fn several_sessions_that_begin_so_are_named() {
    let db = Db::none();
    let store = db.store();
    for number in 0..5 {
        store.update_session(&session(&format!("session-{number}"), number)).unwrap();
    }
    store.close().unwrap();
    pinned!("ambiguous", said(&db.run(&["show", "session"])));
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let db = Db::fixture(SDK);
    for arguments in [
        &["show"][..],
        &["list", "--since", "soon"],
        &["list", "--live", "--ended"],
        &["list", "-n", "many"],
        &["prune", "--max-bytes", "much"],
        &["show", "@1", "--format", "pdf"],
        &["nothing"],
        &[],
    ] {
        assert_eq!(db.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// With its reason, and the file as it was.
#[test]
fn a_file_that_cannot_be_migrated_is_refused() {
    let db = Db::none();
    rusqlite::Connection::open(db.path())
        .unwrap()
        .execute_batch("CREATE TABLE mine (id); CREATE VIEW events AS SELECT * FROM mine")
        .unwrap();
    let before = db.bytes();
    for arguments in [&["migrate"][..], &["migrate", "--dry-run"]] {
        let (exit, line) = db.refusal(arguments);
        assert!(exit == 4 && line.contains("nothing was changed: events is a view"), "{exit}: {line}");
    }
    std::fs::write(db.folder().join("text"), "this is not a database, whatever its name is").unwrap();
    for arguments in
        [&["migrate", "--db", "text"][..], &["migrate", "--db", "text", "--dry-run"], &["import", "--db", "text"]]
    {
        let (exit, line) = db.refusal(arguments);
        assert!(exit == 6 && line.contains("not an SQLite database"), "{exit}: {line}");
    }
    assert!(before.iter().all(|file| db.bytes().contains(file)));
}

/// Somebody else has it, for longer than is waited for.
#[test]
fn a_locked_file_is_unavailable() {
    let db = Db::fixture(SDK);
    let conn = rusqlite::Connection::open(db.path()).unwrap();
    conn.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let (exit, line) = db.refusal(&["list"]);
    assert_eq!(exit, 5, "{line}");
    assert!(line.ends_with("try again when the other program is done\n"), "{line}");
}

/// Not even where another file would be.
#[test]
fn no_output_takes_the_place_of_a_database() {
    let db = Db::fixture(SDK);
    std::fs::write(db.folder().join("sessions.db-wal"), "").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("sessions.db", db.folder().join("link")).unwrap();
    let before = (db.bytes(), db.files());
    let names =
        if cfg!(unix) { &["sessions.db", "sessions.db-wal", "link"][..] } else { &["sessions.db", "sessions.db-wal"] };
    for name in names {
        for arguments in [&["show", "@1", "-o", name][..], &["export", "--force", name]] {
            let (code, line) = db.refusal(arguments);
            assert_eq!(code, 2, "{arguments:?}");
            assert!(line.contains("is a database, which is not replaced"), "{line}");
        }
    }
    assert!((db.bytes(), db.files()) == before);
    for arguments in [&["show", "@1", "-o", "."][..], &["list", "--db", "."]] {
        let (code, line) = db.refusal(arguments);
        assert_eq!(code, 2, "{arguments:?}");
        assert!(line.contains(" is a folder: "), "{line}");
    }
}

//! Proves what the commands print that look, and that looking changes nothing.

use std::collections::BTreeSet;

use agent_session_store::transcript::Transcript;
use agent_session_store::{ListEventsRequest, SessionStore};
use serde_json::Value;

use crate::common::{Db, LONG, SDK, SERVER, answer, chunk, pinned, prompt, said, session};

/// Every command that looks, on any session.
const LOOKING: [&[&str]; 20] = [
    &["list"],
    &["list", "--json", "--all", "--size"],
    &["list", "--live", "--oldest-first", "--agent", "mock", "--size"],
    &["show", "@1"],
    &["show", "@3", "--tools", "--thoughts", "--last", "2"],
    &["show", "@1", "--format", "markdown"],
    &["show", "@1", "--format", "html"],
    &["show", "@1", "--json"],
    &["events", "@1"],
    &["events", "@1", "--json", "--last", "3"],
    &["stats"],
    &["stats", "--json"],
    &["stats", "--sessions"],
    &["stats", "@1"],
    &["check"],
    &["check", "--json"],
    &["export"],
    &["export", "--session", "@1"],
    &["list", "--since", "2026-01-01", "--ended"],
    &["stats", "@1", "--json"],
];

#[test]
fn looking_changes_nothing() {
    let db = Db::fixture(SDK);
    let before = db.bytes();
    for arguments in LOOKING {
        assert!(db.run(arguments).status.success(), "{arguments:?}");
        assert!(db.bytes() == before, "{arguments:?}");
    }
    for more in [&["prune", "--max-events", "1", "--dry-run"][..], &["migrate", "--dry-run"]] {
        assert!(db.run(more).status.success(), "{more:?}");
        assert!(db.bytes() == before, "{more:?}");
    }
}

#[test]
fn looking_at_an_old_file_through_a_copy_changes_nothing() {
    let db = Db::fixture(SERVER);
    let before = db.bytes();
    for arguments in LOOKING {
        let refused = db.run(arguments);
        assert_eq!(refused.status.code(), Some(4), "{arguments:?}");
        let with_copy: Vec<_> = arguments.iter().copied().chain(["--copy"]).collect();
        let shown = db.run(&with_copy);
        assert!(shown.status.success(), "{arguments:?}: {}", said(&shown));
        assert!(db.bytes() == before, "{arguments:?}");
    }
    assert!(db.run(&["migrate", "--dry-run"]).status.success());
    assert!(db.bytes() == before);
}

/// Its index in shared memory may be made anew, and holds no data.
#[test]
fn what_is_only_in_the_log_is_shown_and_stays_there() {
    let db = Db::none();
    let store = db.store();
    store.update_session(&session("session-1", 1)).unwrap();
    store.append_events("session-1", &[prompt("a", 1, "in the log")]).unwrap();
    let data = || {
        let mut files = db.bytes();
        files.retain(|(name, _)| !name.ends_with("-shm"));
        files
    };
    let before = data();
    assert!(before.iter().any(|(name, bytes)| name.ends_with("-wal") && !bytes.is_empty()), "{:?}", db.files());
    for arguments in LOOKING.iter().filter(|arguments| !arguments.contains(&"@3")) {
        assert!(db.run(arguments).status.success(), "{arguments:?}");
        assert!(data() == before, "{arguments:?}");
    }
    assert!(db.stdout(&["show", "@1"]).contains("in the log"));
    store.close().unwrap();
}

#[test]
fn the_list_of_the_fixtures() {
    pinned!("list", said(&Db::fixture(SDK).run(&["list"])));
    pinned!("list-copy", said(&Db::fixture(SERVER).run(&["list", "--copy"])));
    pinned!("list-sizes", said(&Db::fixture(SDK).run(&["list", "--size", "--oldest-first", "-n", "2"])));
    pinned!("list-ended", said(&Db::fixture(SDK).run(&["list", "--ended", "--json"])));
}

#[test]
fn filters_and_order_are_the_librarys() {
    let db = Db::fixture(SDK);
    let ids = |arguments: &[&str]| -> Vec<String> {
        let all: Vec<_> = ["list", "--json"].iter().chain(arguments).copied().collect();
        db.stdout(&all)
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let newest_first = ids(&[]);
    let mut oldest_first = ids(&["--oldest-first"]);
    oldest_first.reverse();
    assert_eq!((newest_first.len(), &oldest_first), (5, &newest_first));
    assert_eq!(ids(&["-n", "2"]), newest_first[..2]);
    assert_eq!(ids(&["--agent", "codex"]), ["plain"]);
    let (live, ended) = (ids(&["--live"]), ids(&["--ended"]));
    assert_eq!((live.len(), ended.len()), (3, 2));
    let recent: BTreeSet<_> = ids(&["--since", "2025-01-01"]).into_iter().collect();
    let old: BTreeSet<_> = ids(&["--before", "2025-01-01"]).into_iter().collect();
    assert_eq!((recent.len(), old.len()), (3, 2));
    assert!(recent.is_disjoint(&old));
}

#[test]
fn the_transcripts_of_the_fixtures() {
    let db = Db::fixture(SDK);
    for (name, arguments) in [
        ("show-text", &["show", LONG][..]),
        ("show-tools", &["show", "@2", "--tools", "--thoughts"]),
        ("show-markdown", &["show", "@2", "--tools", "--format", "markdown"]),
        ("show-html", &["show", "@1", "--format", "html"]),
        ("show-json", &["show", "@1", "--json"]),
        ("show-nothing", &["show", "plain"]),
    ] {
        pinned!(name, said(&db.run(arguments)));
    }
    pinned!("show-copy", said(&Db::fixture(SERVER).run(&["show", "@2", "--copy"])));
}

/// Whatever the number, also where the search has to go back further.
#[test]
fn the_last_turns_are_the_last_of_all() {
    let db = Db::none();
    let store = db.store();
    store.update_session(&session("session-1", 1)).unwrap();
    for turn in 0..60_u64 {
        let mut events = vec![prompt(&format!("p{turn}"), turn, &format!("prompt {turn}"))];
        // Some turns are longer than what is read first.
        events.extend((0..if turn % 20 == 7 { 700 } else { 3 }).map(|part| chunk(&format!("c{turn}-{part}"), "x")));
        events.push(answer(&format!("a{turn}"), turn));
        store.append_events("session-1", &events).unwrap();
    }
    store.close().unwrap();
    let turns = |arguments: &[&str]| -> Vec<i64> {
        let shown: Value = serde_json::from_str(&db.stdout(arguments)).unwrap();
        shown["turns"].as_array().unwrap().iter().map(|turn| turn["firstIndex"].as_i64().unwrap()).collect()
    };
    let all = turns(&["show", "@1", "--json"]);
    assert_eq!(all.len(), 60);
    for number in [0, 1, 2, 12, 13, 14, 33, 59, 60, 61, 1000] {
        let last = turns(&["show", "@1", "--json", "--last", &number.to_string()]);
        assert_eq!(last, all[all.len().saturating_sub(number)..], "{number}");
    }
}

/// It has the turns that the library makes of the session, in one document.
#[test]
fn the_json_of_a_transcript_is_the_librarys() {
    let db = Db::fixture(SDK);
    let shown: Value = serde_json::from_str(&db.stdout(&["show", LONG, "--json"])).unwrap();
    let store = SessionStore::builder().read_only(true).open(db.path()).unwrap();
    let mut transcript = Transcript::new();
    let mut turns = Vec::new();
    for event in store.events(ListEventsRequest::new(LONG)) {
        transcript.push(&event.unwrap());
        turns.extend(transcript.take_finished());
    }
    turns.extend_from_slice(transcript.turns());
    assert_eq!(shown["turns"], serde_json::to_value(&turns).unwrap());
    assert_eq!(shown["session"], serde_json::to_value(store.get_session(LONG).unwrap()).unwrap());
    assert!(turns.len() > 5);
}

#[test]
fn payloads_are_printed_as_they_are_stored() {
    let db = Db::fixture(SDK);
    let store = SessionStore::builder().read_only(true).open(db.path()).unwrap();
    for id in [LONG, "f3330008-3276-4b81-b53c-b2748192f7e4", "778f1e40-7079-48bb-8be2-2465fc0c2554"] {
        let stored: Vec<_> =
            store.events(ListEventsRequest::new(id)).map(|event| event.unwrap().payload.get().to_owned()).collect();
        assert!(!stored.is_empty());
        let printed = db.stdout(&["events", id]);
        assert_eq!(printed.split_terminator('\n').collect::<Vec<_>>(), stored);
        let last = db.stdout(&["events", id, "--last", "2"]);
        assert_eq!(last.split_terminator('\n').collect::<Vec<_>>(), stored[stored.len() - 2..]);
    }
    let between = db.stdout(&["events", LONG, "--after", "3", "--before", "6", "--json"]);
    let indexes: Vec<_> = between
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["eventIndex"].as_i64().unwrap())
        .collect();
    assert_eq!(indexes, [4, 5]);
}

/// A line break between values is the one thing that changes: each payload is a line.
#[test]
fn a_payload_of_several_lines_is_one_line() {
    let db = Db::none();
    let store = db.store();
    let payload = "{\r\n  \"method\": \"a\\nb\",\n  \"params\": {}\n}";
    store
        .append_events("session-1", &[crate::common::event("a", agent_session_store::Sender::Agent, payload)])
        .unwrap();
    store.close().unwrap();
    assert_eq!(db.stdout(&["events", "session-1"]), "{    \"method\": \"a\\nb\",   \"params\": {} }\n");
}

#[test]
fn sessions_are_named_by_id_beginning_and_place() {
    let db = Db::fixture(SDK);
    let whole = db.stdout(&["events", LONG]);
    assert_eq!(db.stdout(&["events", "a664"]), whole);
    assert_eq!(db.stdout(&["events", "@3"]), whole);
    // An id is that session, also where others begin with it, or where it looks like a place.
    let store = db.store();
    for id in ["plain and more", "@1"] {
        store.update_session(&session(id, 1)).unwrap();
    }
    store.close().unwrap();
    let shown = |named: &str| db.stdout(&["show", named]).lines().next().unwrap().to_owned();
    assert_eq!(
        (shown("plain"), shown("@1"), shown("plain a")),
        ("Session plain".to_owned(), "Session @1".to_owned(), "Session plain and more".to_owned())
    );
}

#[test]
fn numbers_and_checks() {
    let db = Db::fixture(SDK);
    for (name, arguments) in [
        ("stats", &["stats"][..]),
        ("stats-json", &["stats", "--json"]),
        ("stats-sessions", &["stats", "--sessions"]),
        ("stats-session", &["stats", "plain", "--json"]),
        ("check", &["check"]),
        ("check-json", &["check", "--json"]),
    ] {
        pinned!(name, said(&db.run(arguments)));
    }
}

#[test]
fn a_check_that_finds_something_exits_with_1() {
    let db = Db::none();
    db.store().update_session(&session("session-1", 1)).unwrap();
    let conn = rusqlite::Connection::open(db.path()).unwrap();
    conn.execute_batch("INSERT INTO events VALUES ('e', 'x', 'session-1', 0, 'c', 'nobody', '{}')").unwrap();
    drop(conn);
    pinned!("check-unsound", said(&db.run(&["check"])));
    let output = db.run(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["undecodable"].as_array().unwrap().len(), 1);
    // The others are shown all the same, and the exit code tells that there are fewer.
    db.store().append_events("session-1", &[prompt("a", 1, "still here")]).unwrap_err();
    for arguments in [&["events", "session-1"][..], &["show", "session-1"]] {
        let output = db.run(arguments);
        assert_eq!(output.status.code(), Some(6), "{arguments:?}: {}", said(&output));
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("left out: cannot decode"), "{arguments:?}");
    }
}

#[test]
fn what_migrating_would_change_is_what_it_changes() {
    for name in [SDK, SERVER] {
        let db = Db::fixture(name);
        let changes = |arguments: &[&str]| -> Value { serde_json::from_str(&db.stdout(arguments)).unwrap() };
        let would = changes(&["migrate", "--dry-run", "--json"]);
        pinned!(format!("migrate-{}", name.split('-').next().unwrap()), db.stdout(&["migrate", "--dry-run"]));
        assert_eq!(changes(&["migrate", "--json"])["changes"], would["changes"]);
        assert_eq!(db.stdout(&["migrate"]), "nothing to migrate\n");
        assert_eq!(db.stdout(&["migrate", "--dry-run"]), "nothing to migrate\n");
        assert!(db.stdout(&["list"]).lines().count() > 3);
    }
}

/// What it does with standard output when nobody reads it any more.
#[test]
#[cfg(unix)]
fn a_reader_that_goes_away_is_no_error() {
    let db = Db::fixture(SDK);
    for command in [
        "list --json --all",
        "show @3",
        "show @3 --json",
        "events @3",
        "export",
        "man",
        "completions bash",
        "stats --sessions",
    ] {
        let script = format!("{{ {} {command}; echo \"exit $?\" >&2; }} | head -c 1", crate::common::COMMAND);
        let output = assert_cmd::Command::new("sh")
            .args(["-c", &script])
            .current_dir(db.folder())
            .env("AGENT_SESSIONS_DB", "sessions.db")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let said: Vec<_> = said.lines().filter(|line| !line.starts_with("exported")).collect();
        assert_eq!((output.stdout.len(), said), (1, vec!["exit 0"]), "{command}");
    }
}

#[test]
fn colours_are_for_terminals_and_those_who_force_them() {
    let db = Db::fixture(SDK);
    let has_colors = |arguments: &[&str], set: &[(&str, &str)]| {
        let mut command = db.command(arguments);
        command.envs(set.iter().copied());
        command.output().unwrap().stdout.contains(&0x1b)
    };
    assert!(!has_colors(&["show", "@1"], &[]));
    assert!(has_colors(&["show", "@1"], &[("CLICOLOR_FORCE", "1")]));
    assert!(has_colors(&["list"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!has_colors(&["show", "@1"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(has_colors(&["show", "@1", "--color", "always"], &[("NO_COLOR", "1")]));
    assert!(!has_colors(&["show", "@1", "--color", "never"], &[("CLICOLOR_FORCE", "1")]));
    // Not in what programs read.
    assert!(!has_colors(&["list", "--json"], &[("CLICOLOR_FORCE", "1")]));
}

/// A file of the transcript is replaced at once, and a failed one leaves the old.
#[test]
fn a_transcript_is_written_to_a_file() {
    let db = Db::fixture(SDK);
    db.stdout(&["show", "@2", "-f", "markdown", "-o", "session.md"]);
    let written = std::fs::read_to_string(db.folder().join("session.md")).unwrap();
    assert_eq!(written, db.stdout(&["show", "@2", "-f", "markdown"]));
    assert_eq!(db.run(&["show", "nobody", "-o", "session.md"]).status.code(), Some(3));
    assert_eq!(std::fs::read_to_string(db.folder().join("session.md")).unwrap(), written);
    assert_eq!(db.files(), ["session.md", "sessions.db"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_page_is_opened_in_the_browser() {
    use std::os::unix::fs::PermissionsExt;
    let db = Db::fixture(SDK);
    let browser = db.folder().join("xdg-open");
    std::fs::write(&browser, "#!/bin/sh\necho \"$1\" > opened.new && mv opened.new opened\n").unwrap();
    std::fs::set_permissions(&browser, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", db.folder().display());
    let output = db.command(&["show", "@1", "--open", "-o", "page.html"]).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let opened = db.folder().join("opened");
    // It is started, and not waited for.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !opened.exists() && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    assert!(std::fs::read_to_string(&opened).unwrap().trim().ends_with("page.html"));
    assert!(std::fs::read_to_string(db.folder().join("page.html")).unwrap().starts_with("<!DOCTYPE html>"));
}

#[test]
fn a_record_that_cannot_be_decoded_hides_no_other() {
    let db = Db::none();
    let store = db.store();
    for number in 1..=5 {
        store.update_session(&session(&format!("session-{number}"), number)).unwrap();
    }
    store.close().unwrap();
    let conn = rusqlite::Connection::open(db.path()).unwrap();
    conn.execute("UPDATE sessions SET session_init_json = '{' WHERE id IN ('session-2', 'session-4')", []).unwrap();
    drop(conn);
    let output = db.run(&["list", "--json"]);
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    let ids = |text: &[u8]| -> Vec<String> {
        let lines = String::from_utf8(text.to_vec()).unwrap();
        lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let listed = ids(&output.stdout);
    assert_eq!(listed, ["session-5", "session-3", "session-1"]);
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 2);
    // Names by place are those of the list.
    for (place, id) in (1..).zip(&listed) {
        let shown = db.stdout(&["show", &format!("@{place}"), "--json"]);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap()["sessionId"], **id);
    }
}

#[test]
fn the_last_of_a_session_are_shown_whatever_else_is_in_it() {
    let db = Db::none();
    let store = db.store();
    store.update_session(&session("session-1", 1)).unwrap();
    store.append_events("session-1", &[prompt("a", 1, "go"), chunk("b", "here"), answer("c", 1)]).unwrap();
    store.close().unwrap();
    // Behind all others, with an index that is none.
    let conn = rusqlite::Connection::open(db.path()).unwrap();
    conn.execute("INSERT INTO events VALUES ('z', 'x', 'session-1', 0, 'c', 'agent', '{}')", []).unwrap();
    drop(conn);
    let run = |arguments: &[&str]| {
        let output = db.run(arguments);
        assert_eq!(output.status.code(), Some(6), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(&["events", "@1", "--last", "2"]).lines().count(), 2);
    let shown = run(&["show", "@1", "--last", "1"]);
    assert!(shown.starts_with("go\n") && shown.contains("Agent\n  here\n"), "{shown}");
}

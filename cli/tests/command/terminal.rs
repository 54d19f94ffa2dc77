//! Proves how the command behaves on a terminal: a pseudo-terminal that the test drives.

use std::io::Write;
use std::process::Command;

use agent_session_store::SessionStore;
use rexpect::process::wait::WaitStatus;
use rexpect::session::PtySession;

use crate::common::{COMMAND, Db, LONG, SDK, answer, chunk, environment, event, prompt, session};

/// The command on a terminal. It fails a test that waits for a minute.
pub struct Terminal(PtySession);

/// The reader takes bytes for characters.
fn text(bytes: &str) -> String {
    String::from_utf8(bytes.chars().map(|byte| u8::try_from(u32::from(byte)).unwrap()).collect()).unwrap()
}

impl Terminal {
    pub fn start(db: &Db, arguments: &[&str], set: &[(&str, &str)]) -> Self {
        Self::of_width(db, 80, arguments, set)
    }

    pub fn of_width(db: &Db, columns: u16, arguments: &[&str], set: &[(&str, &str)]) -> Self {
        let mut command = Command::new("sh");
        let script = format!("stty cols {columns} rows 24 && exec \"$0\" \"$@\"");
        command.args(["-c", &script, COMMAND]).args(arguments).current_dir(db.folder());
        command.env("AGENT_SESSIONS_DB", "sessions.db").env("TERM", "xterm-256color").env_remove("CI");
        for (name, value) in environment() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.envs(set.iter().copied());
        Self(rexpect::session::spawn_command(command, Some(60_000)).unwrap())
    }

    /// All that comes up to its end, with the line ends of a file.
    pub fn rest(&mut self) -> String {
        text(&self.0.exp_eof().unwrap()).replace("\r\n", "\n")
    }

    /// Waits for this.
    fn expect(&mut self, what: &str) -> String {
        text(&self.0.exp_string(what).unwrap_or_else(|error| panic!("{what}: {error}")))
    }

    fn send(&mut self, line: &str) {
        self.0.send_line(line).unwrap();
    }

    fn interrupt(&mut self) {
        self.0.send_control('c').unwrap();
    }

    fn exit(&mut self) -> i32 {
        match self.0.process().wait().unwrap() {
            WaitStatus::Exited(_, code) => code,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_list_fits_the_terminal() {
    let db = Db::fixture(SDK);
    for columns in [200, 80, 70, 60, 40, 30, 20] {
        let shown = Terminal::of_width(&db, columns, &["list"], &[("NO_COLOR", "1")]).rest();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.len(), 6, "{columns}: {shown}");
        // An emoji is two columns wide.
        let widest = lines.iter().map(|line| line.chars().count() + line.matches('😀').count()).max().unwrap();
        assert!(widest <= usize::from(columns), "{columns}: {widest}\n{shown}");
        assert!(lines[1].trim_start().starts_with("@1"), "{shown}");
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false, filters => vec![(r"  \d+ (s|min|h|d|y)  ", "  [age]  ")] }, {
        insta::assert_snapshot!("terminal-list", Terminal::of_width(&db, 100, &["list"], &[("NO_COLOR", "1")]).rest());
        insta::assert_snapshot!("terminal-show", Terminal::of_width(&db, 50, &["show", "a664", "--no-pager", "--last", "2"], &[]).rest().escape_debug().to_string().replace("\\n", "\n"));
    });
}

#[test]
fn a_terminal_has_colours_unless_they_are_not_wanted() {
    let db = Db::fixture(SDK);
    let has_colors = |set: &[(&str, &str)], more: &[&str]| {
        let arguments: Vec<_> = ["show", "@1", "--no-pager"].iter().chain(more).copied().collect();
        Terminal::start(&db, &arguments, set).rest().contains('\u{1b}')
    };
    assert!(has_colors(&[], &[]));
    assert!(!has_colors(&[("NO_COLOR", "1")], &[]));
    assert!(!has_colors(&[("CLICOLOR", "0")], &[]));
    assert!(!has_colors(&[("TERM", "dumb")], &[]));
    assert!(!has_colors(&[], &["--color", "never"]));
    assert!(!has_colors(&[], &["--json"]));
}

#[test]
fn a_long_transcript_goes_through_the_pager() {
    let db = Db::fixture(SDK);
    let pager = "tr a-z A-Z";
    let paged =
        |set: &[(&str, &str)], arguments: &[&str]| Terminal::start(&db, arguments, set).rest().contains("FIRST PROMPT");
    assert!(paged(&[("AGENT_SESSIONS_PAGER", pager)], &["show", LONG]));
    assert!(paged(&[("PAGER", pager)], &["show", LONG]));
    assert!(!paged(&[("PAGER", pager)], &["show", LONG, "--no-pager"]));
    assert!(!paged(&[("PAGER", pager), ("TERM", "dumb")], &["show", LONG]));
    assert!(!paged(&[("PAGER", pager), ("AGENT_SESSIONS_PAGER", "")], &["show", LONG]));
    assert!(!paged(&[("PAGER", pager)], &["show", LONG, "--json"]));
    // One that is not there is no reason to show nothing.
    assert!(Terminal::start(&db, &["show", LONG], &[("PAGER", "no-such-pager -x")]).rest().contains("first prompt"));
    // One that ends early.
    let mut short = Terminal::start(&db, &["show", LONG], &[("PAGER", "head -n 1")]);
    assert_eq!((short.rest().lines().count(), short.exit()), (1, 0));
}

#[test]
fn less_shows_it_and_has_the_keys() {
    if Command::new("less").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "less is missing, and with CI set its test is not skipped");
        eprintln!("SKIPPED: less is missing");
        return;
    }
    let db = Db::fixture(SDK);
    let before = db.bytes();
    let mut less = Terminal::start(&db, &["show", LONG], &[("NO_COLOR", "1")]);
    less.expect("first prompt");
    less.expect(":\u{1b}[K");
    // Ctrl-C is for the pager, which goes on: it draws its prompt again.
    less.interrupt();
    less.expect(":\u{1b}[K");
    less.send("/turn 8");
    less.expect("turn 8");
    less.0.send("q").unwrap();
    less.0.flush().unwrap();
    less.rest();
    assert_eq!(less.exit(), 0);
    assert!(db.bytes() == before);
    // What fits on the screen is printed, and nobody has to press a key.
    let mut short = Terminal::start(&db, &["show", "plain"], &[]);
    short.expect("plain");
    short.rest();
    assert_eq!(short.exit(), 0);
}

#[test]
fn a_prune_shows_what_would_go_and_asks() {
    let db = Db::fixture(SDK);
    let before = db.bytes();
    for answer in ["n", "", "no", "what"] {
        let mut prune = Terminal::start(&db, &["prune", "--began-before", "2025-01-01"], &[]);
        prune.expect("sessions that began before 2025-01-01 00:00:00");
        prune.expect("Delete 2 sessions and 0 events? [y/N] ");
        prune.send(answer);
        assert!(prune.rest().contains("nothing was deleted"));
        assert_eq!(prune.exit(), 1, "{answer:?}");
        assert!(db.bytes() == before, "{answer:?}");
    }
    let mut prune = Terminal::start(&db, &["prune", "--began-before", "2025-01-01"], &[]);
    prune.expect("[y/N] ");
    prune.interrupt();
    prune.rest();
    assert_eq!(prune.exit(), 130);
    let mut prune = Terminal::start(&db, &["prune", "--began-before", "2025-01-01"], &[]);
    prune.expect("[y/N] ");
    prune.send("y");
    assert!(prune.rest().contains("deleted 2 sessions and 0 events"));
    assert_eq!(prune.exit(), 0);
    assert_eq!(db.stdout(&["list", "--json"]).lines().count(), 3);
}

#[test]
fn following_prints_what_others_store_until_ctrl_c() {
    let db = Db::none();
    let store = db.store();
    store.update_session(&session("session-1", 1)).unwrap();
    let say = |events: &[agent_session_store::NewEvent]| store.append_events("session-1", events).unwrap();
    say(&[prompt("a", 1, "the first prompt"), chunk("b", "the first answer"), answer("c", 1)]);
    say(&[prompt("d", 2, "the second prompt")]);
    let mut follow = Terminal::start(&db, &["follow", "@1"], &[("NO_COLOR", "1")]);
    let head = follow.expect("the second prompt");
    assert!(!head.contains("the first answer"), "{head}");
    say(&[chunk("e", "the second "), chunk("f", "answer"), answer("g", 2)]);
    follow.expect("Agent\r\n  the second answer");
    say(&[prompt("h", 3, "the third prompt")]);
    follow.expect("User\r\n  the third prompt");
    follow.interrupt();
    follow.rest();
    assert_eq!(follow.exit(), 130);

    let mut raw = Terminal::start(&db, &["follow", "session", "--raw", "--last", "2"], &[]);
    raw.expect("end_turn");
    raw.expect("the third prompt");
    say(&[chunk("i", "the third answer")]);
    raw.expect("the third answer");
    raw.interrupt();
    raw.rest();
    assert_eq!(raw.exit(), 130);
    store.close().unwrap();
}

/// Also the files beside the database are gone.
#[test]
fn following_changes_nothing() {
    let db = Db::none();
    let store = db.store();
    store.update_session(&session("session-1", 1)).unwrap();
    store.append_events("session-1", &[prompt("a", 1, "all there is")]).unwrap();
    store.close().unwrap();
    let before = db.bytes();
    for arguments in
        [&["follow", "@1"][..], &["follow", "@1", "--raw"], &["list", "--watch"], &["follow", "@1", "--all"]]
    {
        let mut terminal = Terminal::start(&db, arguments, &[]);
        terminal.expect("all there is");
        terminal.interrupt();
        terminal.rest();
        assert_eq!(terminal.exit(), 130, "{arguments:?}");
        assert!(db.bytes() == before, "{arguments:?}: {:?}", db.files());
    }
}

#[test]
fn following_waits_for_a_session_that_is_not_there_yet() {
    let db = Db::none();
    let store = db.store();
    let mut follow = Terminal::start(&db, &["follow", "session-1", "--wait"], &[("NO_COLOR", "1")]);
    follow.expect("session-1");
    store.append_events("session-1", &[prompt("a", 1, "here I am")]).unwrap();
    follow.expect("here I am");
    follow.interrupt();
    follow.rest();
    store.close().unwrap();
}

#[test]
fn a_watched_list_is_shown_again_on_each_change() {
    let db = Db::none();
    let store = db.store();
    store.update_session(&session("session-1", 1)).unwrap();
    let mut watch = Terminal::start(&db, &["list", "--watch"], &[("NO_COLOR", "1")]);
    watch.expect("session-1");
    store.update_session(&session("session-2", 2)).unwrap();
    watch.expect("session-2");
    watch.interrupt();
    watch.rest();
    assert_eq!(watch.exit(), 130);
    store.close().unwrap();
}

/// One session is whole, the other has not come to its end.
#[test]
fn an_interrupted_import_leaves_no_session_in_part() {
    let from = Db::none();
    let store = from.store();
    for id in ["one", "two"] {
        store.update_session(&session(id, 1)).unwrap();
        let events: Vec<_> = (0..1200)
            .map(|number| event(&format!("{id}-{number}"), agent_session_store::Sender::Agent, "{}"))
            .collect();
        store.append_events(id, &events).unwrap();
    }
    store.close().unwrap();
    let lines = from.stdout(&["export"]);

    let db = Db::none();
    let pipe = db.folder().join("lines");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut import = Terminal::start(&db, &["import", "lines"], &[]);
    let mut writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    writer.write_all(&lines.as_bytes()[..lines.len() - 1000]).unwrap();
    import.expect("1 session, 1,200 events");
    import.interrupt();
    let said = import.rest();
    assert_eq!(import.exit(), 130, "{said}");
    assert!(said.contains("interrupted: 1 sessions and 1200 events were imported"), "{said}");
    drop(writer);
    assert_eq!(db.files(), ["lines", "sessions.db"], "the log is closed");
    let store = SessionStore::open(db.path()).unwrap();
    assert_eq!((store.stats().unwrap().sessions, store.stats().unwrap().events), (1, 1200));
    store.close().unwrap();
    // And again for the rest.
    db.command(&["import"]).write_stdin(lines.clone()).assert().success();
    assert_eq!(db.stdout(&["export"]), lines);
}

/// It waits for a lock when it is interrupted.
#[test]
fn an_interrupted_backup_leaves_nothing() {
    let db = Db::fixture(SDK);
    let before = db.files();
    let conn = rusqlite::Connection::open(db.path()).unwrap();
    conn.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for target in ["copy.db", "copy.db.zst"] {
        let mut backup = Terminal::start(&db, &["backup", target], &[]);
        backup.expect("0%");
        backup.interrupt();
        let said = backup.rest();
        assert_eq!(backup.exit(), 130, "{said}");
        assert!(said.contains("interrupted: there is no backup"), "{said}");
        assert_eq!(db.files(), before);
    }
}

/// Whichever comes first: its end, or Ctrl-C.
#[test]
fn an_interrupted_export_is_complete_or_absent() {
    let db = Db::none();
    let store = db.store();
    store.update_session(&session("session-1", 1)).unwrap();
    let events: Vec<_> =
        (0..30_000).map(|number| event(&number.to_string(), agent_session_store::Sender::Agent, "{}")).collect();
    store.append_events("session-1", &events).unwrap();
    store.close().unwrap();
    let lines = events.len() + 2;
    for name in ["all.jsonl", "all.jsonl.zst", "once-more.jsonl"] {
        let mut export = Terminal::start(&db, &["export", name], &[]);
        export.expect("000 events");
        export.interrupt();
        let said = export.rest();
        match export.exit() {
            130 => assert_eq!(db.files(), ["sessions.db"], "{said}"),
            0 => {
                let copy = Db::none();
                let file = db.folder().join(name);
                copy.stdout(&["import", file.to_str().unwrap()]);
                assert_eq!(copy.stdout(&["export"]).lines().count(), lines);
                std::fs::remove_file(file).unwrap();
            }
            other => panic!("{other}: {said}"),
        }
    }
}

#[test]
fn an_export_is_not_printed_on_a_terminal() {
    let db = Db::fixture(SDK);
    let mut export = Terminal::start(&db, &["export"], &[]);
    assert!(export.rest().starts_with("error: an export is not for a terminal"));
    assert_eq!(export.exit(), 2);
    let mut export = Terminal::start(&db, &["export", "all.jsonl"], &[]);
    assert!(export.rest().contains("exported 5 sessions, 114 events"));
}

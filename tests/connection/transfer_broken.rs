//! Proves that a line which cannot be used, or a reader or writer that fails, leaves out its session alone, and that the
//! reader is lenient where nothing is lost.

use agent_session_store::{Done, Error, FileMaintenance, Selection, SessionPersistDriver, SessionStore};

use super::transfer::{exported, filled, imported};
use crate::common::TempDb;

#[test]
fn a_line_that_cannot_be_used_is_named_and_its_session_left_out() {
    let lines = exported(&filled(), &Selection::all());
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 9);
    let replaced = |line: usize, from: &str, to: &str| {
        assert!(lines[line - 1].contains(from), "{from}");
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        lines[line - 1] = lines[line - 1].replace(from, to);
        lines.join("\n")
    };
    let cut = |lines: String, end: &str| lines[..lines.rfind(end).unwrap()].to_owned();
    let cases: Vec<(String, u64, &str, [u64; 2])> = vec![
        (replaced(7, "{\"event\":", "{\"event\""), 7, "expected `:`", [1, 2]),
        (replaced(7, "{\"event\":", "{\"remark\":"), 7, "unknown variant, expected `session` or `event`", [1, 2]),
        (replaced(6, "\"client\"", "\"nobody\""), 6, "unknown variant, expected `client` or `agent`", [1, 2]),
        (replaced(7, "\"agent\"", "\"\""), 7, "unknown variant, expected", [1, 2]),
        (replaced(7, "\"eventIndex\":2", "\"eventIndex\":2.5"), 7, "invalid type: floating point", [1, 2]),
        (replaced(7, "\"payloadJson\":\"{", "\"payloadJson\":\"{{"), 7, "the text is not JSON", [1, 2]),
        (replaced(5, "\"modesJson\":\"{", "\"modesJson\":\"{{"), 5, "the text is not JSON", [1, 2]),
        (replaced(5, "\"createdAt\":1", "\"createdAt\":1e30"), 5, "out of range for a time", [1, 2]),
        (replaced(8, "{\"event\":", "{\"event\""), 8, "expected `:`", [2, 4]),
        (
            replaced(6, "\"id\":\"two-1\"", "\"id\":\"one-1\""),
            6,
            "is taken by a different event of session \"one\"",
            [1, 2],
        ),
        (cut(replaced(7, "two-2", "two-2"), ",\"sender\""), 9, "EOF", [2, 4]),
        (cut(lines[..7].join("\n"), ",\"sender\""), 7, "EOF", [1, 2]),
        (lines[..6].join("\n"), 6, "session \"two\" has 1 of its 2 events", [1, 2]),
        (lines[..5].join("\n"), 5, "session \"two\" has 0 of its 2 events", [1, 2]),
        ([&lines[..6], &lines[7..]].concat().join("\n"), 7, "session \"two\" has 1 of its 2 events", [1, 2]),
        (lines[1..].join("\n"), 1, "missing field `format`", [0, 0]),
        (lines.join("\n").replace("\"version\":1", "\"version\":2"), 1, "version 2, expected version 1", [0, 0]),
        (
            lines.join("\n").replace("agent-session-store", "other"),
            1,
            "the format is not \"agent-session-store\"",
            [0, 0],
        ),
        (String::new(), 1, "there is no header", [0, 0]),
        ("\n\n".to_owned(), 2, "there is no header", [0, 0]),
        ("SQLite format 3\0".to_owned(), 1, "expected value", [0, 0]),
    ];
    for (text, number, says, [sessions, events]) in cases {
        let db = TempDb::ours();
        let mut conn = db.connect();
        for store in [false, true] {
            let result = if store {
                SessionStore::open(db.path()).unwrap().import(text.as_bytes())
            } else {
                conn.import(text.as_bytes())
            };
            let error = result.unwrap_err();
            let Error::Import { line, done, source } = &error else { panic!("{says}: {error}") };
            assert_eq!(*line, number, "{error}");
            assert_eq!([done.sessions, done.events], [sessions, events], "{error}");
            assert!(source.to_string().contains(says), "{error}");
            assert_eq!(db.counts(), [sessions, events], "{error}");
        }
        // Mended, it is brought in.
        conn.import(lines.join("\n").as_bytes()).unwrap();
        assert_eq!(db.counts(), [2, 6]);
    }
}

/// Blank lines, Windows line ends, fields of a later release and a missing last line end are no obstacle.
#[test]
fn the_reader_is_lenient_where_nothing_is_lost() {
    let db = filled();
    let lines = exported(&db, &Selection::all());
    let lenient = lines.replace("\n", "\r\n\r\n").replace("{\"event\":{", "{\"event\":{\"later\":[1],");
    assert_eq!(imported(lenient.trim_end()).tables(), db.tables());
    // Written by hand, without a count of the events.
    assert_eq!(imported(&lines.replace(",\"events\":2", "")).tables(), db.tables());
}

#[test]
fn a_writer_or_reader_that_fails_is_an_error() {
    struct Broken(usize);
    impl std::io::Write for Broken {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let db = filled();
    let mut conn = db.connect();
    for room in [0, 100, 900] {
        let error = conn.export(Broken(room), Selection::all()).unwrap_err();
        assert!(matches!(&error, Error::Io { source } if source.kind() == std::io::ErrorKind::StorageFull), "{error}");
    }
    // No transaction is left behind.
    conn.reclaim_space().unwrap();

    let lines = exported(&db, &Selection::all());
    let broken = std::io::Read::chain(&lines.as_bytes()[..lines.len() - 40], broken_reader());
    let copy = TempDb::ours();
    let error = copy.connect().import(std::io::BufReader::new(broken)).unwrap_err();
    let Error::Unfinished { done: Done::Imported(done), source } = error else { panic!("{error}") };
    assert!(matches!(*source, Error::Io { .. }), "{source}");
    assert_eq!((done.sessions, done.events), (2, 4));
    assert_eq!(copy.counts(), [2, 4]);
    let error = TempDb::ours().connect().import(std::io::BufReader::new(broken_reader())).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "nothing was imported before: {error}");
}

fn broken_reader() -> impl std::io::Read {
    struct Fails;
    impl std::io::Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    Fails
}

/// A later release may say more, in whatever form.
#[test]
fn what_is_unknown_in_a_line_is_passed_over() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    for value in [r#""\ud83d""#, "1e400", &deep] {
        let field = format!("\"later\":{value},\"id\"");
        let lines = [
            r#"{"format":"agent-session-store","version":1}"#,
            r#"{"session":{"id":"s","agent":"a","agentSessionId":"a","lastConnectionId":"c","createdAt":1,"events":1}}"#,
            r#"{"event":{"id":"e","eventIndex":1,"sessionId":"s","createdAt":1,"connectionId":"c","sender":"agent","payloadJson":"{}"}}"#,
        ];
        let lines = lines.join("\n").replace("\"id\"", &field);
        assert_eq!(TempDb::ours().connect().import(lines.as_bytes()).unwrap().events, 1, "{value:.20}");
    }
}

//! Import lines, from a file that may be anything.

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::{Error, SessionPersistDriver};

use super::{Choices, event, exported, session, with_two};

const HEADER: &[u8] = b"{\"format\":\"agent-session-store\",\"version\":1}\n";

/// The first byte says whether the rest is a file, lines below a header, or choices of which lines are made.
pub fn run(data: &[u8]) {
    let mut choices = Choices(data);
    let file = match choices.below(3) {
        0 => choices.0.to_vec(),
        1 => [HEADER, choices.0].concat(),
        _ => lines(&mut choices),
    };
    with_two(|conn, copy| imports(&file, conn, copy));
}

fn imports(file: &[u8], conn: &mut SqliteConnection, copy: &mut SqliteConnection) {
    // Something is there already: sessions may be overwritten, and an event's id may be taken.
    conn.update_session(&session("s1", 1)).unwrap();
    conn.insert_event(&event("e1", "s1", 1)).unwrap();
    conn.insert_event(&event("e2", "other", 1)).unwrap();
    match conn.import(file) {
        Ok(done) => assert!(done.events as usize <= file.len()),
        Err(Error::Import { line, .. }) => {
            assert!(line >= 1 && line as usize <= 1 + file.iter().filter(|byte| **byte == b'\n').count());
        }
        Err(error) => panic!("{error}"),
    }
    assert!(conn.check().unwrap().is_sound());
    // What is there can be exported, and imported elsewhere as the same.
    let lines = exported(conn).unwrap();
    copy.import(&*lines).unwrap();
    assert_eq!(exported(copy).unwrap(), lines);
}

/// Lines as an export writes them, some of them not quite.
fn lines(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut file = HEADER.to_vec();
    while choices.is_left() {
        let id = choices.one_of(&["s1", "s2", "", "é\\u0000", "\\ud83d", "other"]);
        let time = choices.one_of(&["1", "0", "-1", "9223372036854775807", "1.5", "1e3", "null", "8210266876799999"]);
        let json = choices.one_of(&["null", "1.0", "[", "", "{\\\"a\\\":\\\"\\\\ud83d\\\"}", " [1e400]\\n", "\\u0000"]);
        let mut line = match choices.below(4) {
            0 => format!(
                "{{\"session\":{{\"id\":\"{id}\",\"agent\":\"a\",\"agentSessionId\":\"b\",\"lastConnectionId\":\"c\",\
                 \"createdAt\":{time},\"modesJson\":\"{json}\",\"events\":{}}}}}\n",
                choices.one_of(&["0", "1", "2", "null", "-1", "18446744073709551615"])
            ),
            1 => {
                format!("{}\n", choices.one_of(&["", " ", "\t\r", "{}", "{\"session\":{}}", "{\"event\":null}", "[]"]))
            }
            _ => format!(
                "{{\"event\":{{\"id\":\"{}\",\"eventIndex\":{},\"sessionId\":\"{id}\",\"createdAt\":{time},\
                 \"connectionId\":\"c\",\"sender\":\"{}\",\"payloadJson\":\"{json}\"}}}}\n",
                choices.one_of(&["e1", "e2", "e3", "e4", ""]),
                choices.one_of(&["1", "2", "-9223372036854775808", "9223372036854775808", "0.5"]),
                choices.one_of(&["agent", "client", "Agent"]),
            ),
        }
        .into_bytes();
        // Now and then a byte that is none of this.
        if choices.below(8) == 7 {
            let place = choices.below(line.len());
            line[place] = choices.byte();
        }
        file.extend(line);
    }
    file
}

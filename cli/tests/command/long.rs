//! Proves that a session of any length is read in bounded memory.

use std::process::Command;

use agent_session_store::{Durability, SessionStore};

use crate::common::{COMMAND, Db, answer, chunk, prompt, session};

const TURNS: u64 = 1_000;
/// Of each turn.
const CHUNKS: u64 = 98;

/// 100,000 events, with 100 MB of payloads.
fn long() -> Db {
    let db = Db::none();
    let store = SessionStore::builder().durability(Durability::Normal).open(db.path()).unwrap();
    store.update_session(&session("session-1", 1)).unwrap();
    let text = "word ".repeat(180);
    for turn in 0..TURNS {
        let mut events = vec![prompt(&format!("p{turn}"), turn, &format!("prompt {turn}"))];
        events.extend((0..CHUNKS).map(|part| chunk(&format!("c{turn}-{part}"), &text)));
        events.push(answer(&format!("a{turn}"), turn));
        store.append_events("session-1", &events).unwrap();
    }
    store.close().unwrap();
    db
}

#[test]
#[cfg(target_os = "linux")]
fn a_hundred_thousand_events_are_shown_in_bounded_memory() {
    let db = long();
    for (arguments, expected) in [
        ("events @1", "end_turn"),
        ("show @1", "prompt 999"),
        ("show @1 --format html", "prompt 999"),
        ("show @1 --json", "prompt 999"),
        ("show @1 --last 3", "prompt 997"),
        ("list", "prompt 0"),
    ] {
        // In kilobytes of addresses, of which the command takes 80,000 before it has read anything.
        let script = format!("ulimit -v 140000 && {COMMAND} {arguments} | grep -c '{expected}'");
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", &script])
            .current_dir(db.folder())
            .env("AGENT_SESSIONS_DB", "sessions.db")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
    }
}

//! Proves that followers deliver what is stored, in order and once, with every kind of writer at work, some of which are
//! killed (`FOLLOW_ROUNDS=200` for more).

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, SqliteConnection};
use agent_session_store::{NewEvent, SessionPersistDriver, SessionStore};

use crate::common::TempDb;
use crate::common::follow_model::{FollowModel, seeds, write_until_killed};
use crate::common::process::{Process, child, task};

/// Does nothing by itself; the test below runs it in processes of their own.
#[test]
fn another_writer() {
    let Some(task) = task() else { return };
    let [url, name] = task.try_into().unwrap();
    write_until_killed(&url, &name);
}

#[test]
fn followers_deliver_what_is_stored() {
    for seed in seeds() {
        let db = TempDb::new();
        SessionStore::open(db.path()).unwrap().close().unwrap();
        let url = db.path().display().to_string();
        let start = |name: &str| Process::start(child(another_writer, &format!("{url}|{name}")));
        let append_as_host = |session_id: &str, event: NewEvent| {
            let mut conn = SqliteConnection::establish(&url).unwrap();
            conn.batch_execute("PRAGMA busy_timeout = 60000").unwrap();
            conn.append_events(session_id, &[event]).unwrap();
        };
        FollowModel { url: &url, seed, start: &start, is_ordered: true, append_as_host: &append_as_host }.run();
    }
}

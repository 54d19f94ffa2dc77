//! Proves that an append that has waited for another one comes right after it, whatever the session's head says.

use std::thread;

use agent_session_store::diesel::PgConnection;
use agent_session_store::diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use agent_session_store::{Error, NewEvent, SessionPersistDriver};

use crate::common::PgDb;
use crate::common::samples::new_event;

/// What an append answers that waits while another connection appends one event to the session and commits. Before, the
/// session has two events and a head with this number.
fn append_while_another_does(
    last_index: i64,
    append: impl Fn(&mut PgConnection) -> Result<Vec<i64>, Error> + Send + Sync,
) -> Option<Result<Vec<i64>, Error>> {
    let db = PgDb::ours()?;
    let mut first = db.connect();
    first.append_events("session-1", &[new_event("a"), new_event("b")]).unwrap();
    first.batch_execute(&format!("UPDATE event_heads SET last_index = {last_index}")).unwrap();
    let mut second = db.connect();
    AnsiTransactionManager::begin_transaction(&mut first).unwrap();
    assert_eq!(first.append_events("session-1", &[new_event("c")]).unwrap(), [3]);
    Some(thread::scope(|scope| {
        let waiting = scope.spawn(|| append(&mut second));
        db.wait_until_one_waits();
        AnsiTransactionManager::commit_transaction(&mut first).unwrap();
        waiting.join().unwrap()
    }))
}

fn events(ids: &[&str]) -> Vec<NewEvent> {
    ids.iter().map(|id| new_event(id)).collect()
}

#[test]
fn it_comes_right_after_the_one_it_waited_for() {
    for head in [0, 1, 2, 100] {
        let one = append_while_another_does(head, |conn| conn.append_events("session-1", &events(&["d"])));
        let Some(one) = one else { return };
        assert_eq!(one.unwrap(), [4], "the head said {head}");
        let two = append_while_another_does(head, |conn| conn.append_events("session-1", &events(&["d", "e"])));
        assert_eq!(two.unwrap().unwrap(), [4, 5], "the head said {head}");
    }
}

#[test]
fn what_it_expects_is_the_end_after_waiting() {
    for ids in [&["d"][..], &["d", "e"]] {
        let append = |expected| {
            append_while_another_does(2, move |conn| conn.append_events_after("session-1", expected, &events(ids)))
        };
        let Some(fits) = append(3) else { return };
        assert_eq!(fits.unwrap(), &[4, 5][..ids.len()]);
        let conflict = append(2).unwrap();
        assert!(matches!(conflict, Err(Error::AppendConflict { last_index: Some(3), .. })), "{conflict:?}");
    }
}

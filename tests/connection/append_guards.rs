//! Proves what an append can require of its session, and that nothing is stored where it is otherwise.

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::{AppendRequest, Error, ListEventsRequest, SessionPersistDriver};

use crate::common::{in_memory, millis, new_event, session};

fn live(conn: &mut SqliteConnection, id: &str) {
    conn.update_session(&with!(session(id), destroyed_at: None)).unwrap();
}

fn ids(conn: &mut SqliteConnection, session: &str) -> Vec<String> {
    conn.list_events(&ListEventsRequest::new(session)).unwrap().items.into_iter().map(|event| event.id).collect()
}

#[test]
fn nothing_is_required_unless_asked_for() {
    let mut conn = in_memory();
    assert_eq!(conn.append(&AppendRequest::new("none"), &[new_event("a"), new_event("b")]).unwrap(), [1, 2]);
    live(&mut conn, "ended");
    conn.destroy_session("ended", millis(5)).unwrap();
    assert_eq!(conn.append(&AppendRequest::new("ended"), &[new_event("c")]).unwrap(), [1]);
}

#[test]
fn a_session_that_must_exist_needs_a_record() {
    let mut conn = in_memory();
    let request = AppendRequest::new("one").must_exist();
    let refused = conn.append(&request, &[new_event("a")]);
    assert!(matches!(&refused, Err(Error::SessionNotFound { id }) if id == "one"), "{refused:?}");
    // Events alone are no record.
    conn.append_events("one", &[new_event("b")]).unwrap();
    assert!(matches!(conn.append(&request, &[new_event("a")]), Err(Error::SessionNotFound { .. })));
    assert_eq!(ids(&mut conn, "one"), ["b"]);
    live(&mut conn, "one");
    assert_eq!(conn.append(&request, &[new_event("a")]).unwrap(), [2]);
    conn.destroy_session("one", millis(5)).unwrap();
    assert_eq!(conn.append(&request, &[new_event("c")]).unwrap(), [3], "it exists");
}

#[test]
fn a_session_that_must_be_live_must_not_have_ended() {
    let mut conn = in_memory();
    let request = AppendRequest::new("one").must_be_live();
    assert!(matches!(conn.append(&request, &[new_event("a")]), Err(Error::SessionNotFound { .. })));
    live(&mut conn, "one");
    assert_eq!(conn.append(&request, &[new_event("a"), new_event("b")]).unwrap(), [1, 2]);
    conn.destroy_session("one", millis(5)).unwrap();
    let refused = conn.append(&request, &[new_event("c")]);
    assert!(matches!(&refused, Err(Error::SessionEnded { id }) if id == "one"), "{refused:?}");
    // A retry of what was stored before it ended gets its answer; with one that is new, nothing of it is stored.
    assert_eq!(conn.append(&request, &[new_event("b")]).unwrap(), [2]);
    assert!(matches!(conn.append(&request, &[new_event("b"), new_event("c")]), Err(Error::SessionEnded { .. })));
    assert_eq!(ids(&mut conn, "one"), ["a", "b"]);
}

#[test]
fn it_can_be_required_to_end_somewhere_as_well() {
    let mut conn = in_memory();
    live(&mut conn, "one");
    let request = AppendRequest::new("one").must_be_live();
    assert_eq!(conn.append(&request.clone().ends_at(0), &[new_event("a")]).unwrap(), [1]);
    let refused = conn.append(&request.clone().ends_at(0), &[new_event("b")]);
    assert!(matches!(refused, Err(Error::AppendConflict { expected: 0, last_index: Some(1), .. })), "{refused:?}");
    assert_eq!(conn.append(&request.ends_at(1), &[new_event("b")]).unwrap(), [2]);
    let unguarded = AppendRequest::new("one").ends_at(Some(1));
    assert!(matches!(conn.append(&unguarded, &[new_event("c")]), Err(Error::AppendConflict { .. })));
    assert_eq!(conn.append(&unguarded.ends_at(None), &[new_event("c")]).unwrap(), [3]);
}

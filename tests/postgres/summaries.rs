//! Proves that summaries are the same on PostgreSQL: of sessions of any length, of the fixtures, and whatever is wrong with
//! an event.

use agent_session_store::diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use agent_session_store::{Selection, SessionPersistDriver, SessionStore, SessionSummary, migrate};

use crate::common::summaries::{all, check_fixture, check_lengths, store};
use crate::common::{PgDb, TempDb, event, json};

#[test]
fn sessions_of_any_length_are_summed_up() {
    let Some(db) = PgDb::ours() else { return };
    check_lengths(&mut db.connect());
    let mut store = SessionStore::connect(&db.url()).unwrap();
    assert_eq!(all(&mut store), all(&mut db.connect()));
}

/// The same text as from the files.
#[test]
fn the_fixtures_have_the_summaries_that_were_looked_at() {
    for name in ["sdk-0.4.2", "server-0.4.2"] {
        let Some(db) = PgDb::ours() else { return };
        let mut lines = Vec::new();
        let mut from = TempDb::fixture(&format!("{name}.db")).migrated();
        from.export(&mut lines, Selection::all()).unwrap();
        let mut conn = db.connect();
        conn.import(&*lines).unwrap();
        check_fixture(&mut conn, name);
    }
}

/// Databases of the reference driver, whose JSON is JSONB.
#[test]
fn the_reference_drivers_databases_are_summed_up() {
    for name in ["postgres-0.2", "postgres-0.4"] {
        let Some(db) = PgDb::fixture(&format!("{name}.sql")) else { return };
        let mut conn = db.connect();
        migrate(&mut conn).unwrap();
        check_fixture(&mut conn, name);
    }
}

/// More sessions on a page than are asked for at once, some of them with an end that is read by itself.
#[test]
fn a_page_may_hold_more_sessions_than_are_asked_for_at_once() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    let ids: Vec<String> = (0..250).map(|place| format!("s{place:03}")).collect();
    let sessions: Vec<(&str, i64)> = ids.iter().map(|id| (&**id, 1)).collect();
    store(&mut conn, &sessions);
    let long = "x".repeat(SessionSummary::MAX_PAYLOAD_BYTES);
    let prompt =
        format!(r#"{{"id":1,"method":"session/prompt","params":{{"prompt":[{{"type":"text","text":"{long}"}}]}}}}"#);
    for id in ["s007", "s150"] {
        let event = with!(event(&format!("{id}-1"), id, 1), payload: json(&prompt));
        conn.insert_event(&event).unwrap();
    }
    let found = all(&mut conn);
    assert_eq!(found.iter().map(|told| &*told.session.id).collect::<Vec<_>>(), ids);
    for told in found {
        let is_long = ["s007", "s150"].contains(&&*told.session.id);
        assert_eq!(told.title.unwrap().starts_with("xx"), is_long, "{}", told.session.id);
        assert_eq!((told.last_index, told.is_running), (Some(1), (!is_long).then_some(true)));
    }
}

#[test]
fn what_is_wrong_with_an_event_hides_nothing_but_what_it_says() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    conn.batch_execute("ALTER TABLE events ALTER payload_json TYPE TEXT").unwrap();
    store(&mut conn, &[("one", 20), ("two", 20)]);
    let before = all(&mut conn);
    for (change, is_running, activity) in [
        ("sender = 'nobody' WHERE id = 'one-20'", None, 20),
        ("payload_json = '{' WHERE id = 'one-20'", None, 20),
        ("created_at = 9223372036854775807 WHERE id = 'one-20'", Some(true), 19),
        ("payload_json = '{' WHERE id = 'one-7'", Some(true), 20),
        ("connection_id = ''", Some(true), 20),
    ] {
        AnsiTransactionManager::begin_transaction(&mut conn).unwrap();
        conn.batch_execute(&format!("UPDATE events SET {change}")).unwrap();
        let found = all(&mut conn);
        AnsiTransactionManager::rollback_transaction(&mut conn).unwrap();
        assert_eq!(found[0].is_running, is_running, "{change}");
        assert_eq!(found[0].last_activity.unwrap().timestamp_millis(), 1_700_000_000_000 + activity, "{change}");
        assert_eq!((found[0].last_index, found[0].title.as_deref()), (Some(20), Some("Fix it")), "{change}");
        assert_eq!(found[1], before[1], "{change}");
    }
}

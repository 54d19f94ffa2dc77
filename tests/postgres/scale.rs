//! Proves that the tables that `docs/scale.md` describes work with every verb.

use std::cell::RefCell;

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::{ListSessionsRequest, SessionPersistDriver, SessionStore, migrate};

use crate::common::model::Model;
use crate::common::steps::{for_any_steps, in_its_own_session, take};
use crate::common::{PgDb, new_event, session};

/// The SQL on the page, in the order in which it stands there.
fn sql_of_the_page() -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scale.md")).unwrap();
    page.split("```sql\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_keys_and_partitions_of_the_page() {
    let sql = sql_of_the_page();
    let [change_key, partition] = &sql[..] else { panic!("the page has {} blocks", sql.len()) };
    for (before, after) in [("SELECT 1", &**change_key), (&**partition, "SELECT 1")] {
        let Some(db) = PgDb::new() else { return };
        let mut conn = db.connect();
        conn.batch_execute(before).unwrap();
        migrate(&mut conn).unwrap();
        conn.batch_execute(after).unwrap();
        migrate(&mut conn).unwrap();
        let driver = RefCell::new(conn);
        for_any_steps(24, |steps| {
            let driver = &mut *driver.borrow_mut();
            driver.batch_execute("TRUNCATE sessions, events, event_heads").unwrap();
            let mut model = Model::default();
            steps.iter().for_each(|step| take(driver, &mut model, &in_its_own_session(step)));
            assert!(driver.check().unwrap().is_sound());
        });
    }
}

/// What the page says is lost: an id is unique only within its session, and may be there in two.
#[test]
fn with_the_session_in_the_key_an_id_may_be_in_two_sessions() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    conn.batch_execute(&sql_of_the_page()[0]).unwrap();
    for session in ["one", "two"] {
        assert_eq!(conn.append_events(session, &[new_event("same"), new_event("other")]).unwrap(), [1, 2]);
        assert_eq!(conn.append_events(session, &[new_event("same")]).unwrap(), [1]);
    }
    conn.update_session(&session("one")).unwrap();
    let mut lines = Vec::new();
    conn.export(&mut lines, agent_session_store::Selection::all()).unwrap();
    conn.import(&*lines).unwrap();
    assert_eq!(conn.stats().unwrap().events, 4);
}

#[test]
fn a_schema_for_each_tenant_is_created_and_kept_apart() {
    let Some(db) = PgDb::new() else { return };
    let tenants = ["tenant_7", "Tenant 8; DROP TABLE \"x\"", "ünï"];
    for round in 0..2 {
        for tenant in tenants {
            let store = SessionStore::builder().schema(tenant).connect(&db.url()).unwrap();
            store.update_session(&session(&format!("of {tenant} {round}"))).unwrap();
            let page = store.list_sessions(&ListSessionsRequest::new()).unwrap();
            assert_eq!(page.items.len(), round + 1, "{tenant}");
            assert_eq!(store.append_events("one", &[new_event(&round.to_string())]).unwrap(), [round as i64 + 1]);
        }
    }
    // Nothing of it is where no schema was named.
    let store = SessionStore::connect(&db.url()).unwrap();
    assert_eq!(store.stats().unwrap().sessions, 0);
    db.connect().batch_execute("DROP SCHEMA tenant_7 CASCADE").unwrap();
}

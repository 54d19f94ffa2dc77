//! Proves that any sequence of the verbs does on PostgreSQL what it does to two sorted maps, in and outside a
//! transaction.

use agent_session_store::diesel::PgConnection;
use agent_session_store::diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use agent_session_store::{AsyncSessionStore, SessionPersistDriver, SessionStore};

use crate::common::PgDb;
use crate::common::model::Model;
use crate::common::steps::{for_any_steps, take};
use crate::common::tasks::Tasks;

fn empty(conn: &mut PgConnection) {
    conn.batch_execute("TRUNCATE sessions, events, event_heads").unwrap();
}

#[test]
fn on_a_connection() {
    let Some(db) = PgDb::new() else { return };
    let mut driver = db.connect_to_schema();
    let driver = std::cell::RefCell::new(&mut driver);
    for_any_steps(32, |steps| {
        let driver = &mut **driver.borrow_mut();
        empty(driver);
        let mut model = Model::default();
        steps.iter().for_each(|step| take(driver, &mut model, step));
        assert!(driver.check().unwrap().is_sound());
    });
}

/// The caller's transaction stays usable whatever a verb refuses, at every isolation level.
#[test]
fn in_a_transaction() {
    let Some(db) = PgDb::new() else { return };
    let driver = std::cell::RefCell::new(db.connect_to_schema());
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let set = format!("SET default_transaction_isolation TO '{level}'");
        driver.borrow_mut().batch_execute(&set).unwrap();
        for_any_steps(8, |steps| {
            let driver = &mut *driver.borrow_mut();
            AnsiTransactionManager::begin_transaction(driver).unwrap();
            let mut model = Model::default();
            steps.iter().for_each(|step| take(driver, &mut model, step));
            AnsiTransactionManager::rollback_transaction(driver).unwrap();
        });
    }
}

#[test]
fn on_a_store() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    let driver = std::cell::RefCell::new((&mut conn, SessionStore::connect(&db.url()).unwrap()));
    for_any_steps(16, |steps| {
        let (conn, store) = &mut *driver.borrow_mut();
        empty(conn);
        let mut model = Model::default();
        steps.iter().for_each(|step| take(store, &mut model, step));
    });
}

#[test]
fn on_an_async_store() {
    let Some(db) = PgDb::ours() else { return };
    let mut conn = db.connect();
    let tasks = Tasks::of(AsyncSessionStore::from(SessionStore::connect(&db.url()).unwrap()));
    let driver = std::cell::RefCell::new((&mut conn, tasks));
    for_any_steps(16, |steps| {
        let (conn, tasks) = &mut *driver.borrow_mut();
        empty(conn);
        let mut model = Model::default();
        steps.iter().for_each(|step| take(tasks, &mut model, step));
    });
}

//! Proves that an async connection keeps the contract and does to any sequence of verbs what the blocking one does.

use agent_session_store::diesel_async::{AnsiTransactionManager, SimpleAsyncConnection, TransactionManager};
use agent_session_store::{SessionPersistDriver, contract};

use super::{connect, connect_to_schema};
use crate::common::PgDb;
use crate::common::model::Model;
use crate::common::steps::{for_any_steps, take};
use crate::common::tasks::Waiting;

#[test]
fn it_keeps_the_contract() {
    let Some(db) = PgDb::new() else { return };
    contract::check(|| Waiting::on(connect_to_schema(&db)));
}

#[test]
fn it_does_what_the_model_does() {
    let Some(db) = PgDb::ours() else { return };
    let driver = std::cell::RefCell::new(Waiting::on(connect(&db)));
    for_any_steps(32, |steps| {
        let driver = &mut *driver.borrow_mut();
        driver.runtime.block_on(driver.store.batch_execute("TRUNCATE sessions, events, event_heads")).unwrap();
        let mut model = Model::default();
        steps.iter().for_each(|step| take(driver, &mut model, step));
        assert!(driver.check().unwrap().is_sound());
    });
}

/// The caller's transaction stays usable whatever a verb refuses, at every isolation level.
#[test]
fn it_does_so_in_a_transaction() {
    let Some(db) = PgDb::ours() else { return };
    let driver = std::cell::RefCell::new(Waiting::on(connect(&db)));
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        for_any_steps(8, |steps| {
            let driver = &mut *driver.borrow_mut();
            let Waiting { store: conn, runtime } = driver;
            let begin = format!("BEGIN ISOLATION LEVEL {level}");
            runtime.block_on(AnsiTransactionManager::begin_transaction_sql(conn, &begin)).unwrap();
            let mut model = Model::default();
            steps.iter().for_each(|step| take(driver, &mut model, step));
            let Waiting { store: conn, runtime } = driver;
            runtime.block_on(AnsiTransactionManager::rollback_transaction(conn)).unwrap();
        });
    }
}

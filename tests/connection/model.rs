//! Proves that any sequence of the verbs does to connection, store and async store what it does to two sorted maps.

use agent_session_store::{AsyncSessionStore, SessionPersistDriver, SessionStore};
use proptest::prelude::*;

use crate::common::TempDb;
use crate::common::model::Model;
use crate::common::steps::{any_step, take};
use crate::common::tasks::Tasks;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn on_a_connection(steps in prop::collection::vec(any_step(), 1..40)) {
        let db = TempDb::ours();
        let mut driver = db.connect_fast();
        let mut model = Model::default();
        steps.iter().for_each(|step| take(&mut driver, &mut model, step));
        prop_assert!(driver.check().unwrap().is_sound());
    }

    #[test]
    fn on_a_store(steps in prop::collection::vec(any_step(), 1..40)) {
        let db = TempDb::new();
        let mut driver = SessionStore::open(db.path()).unwrap();
        let mut model = Model::default();
        steps.iter().for_each(|step| take(&mut driver, &mut model, step));
    }

    #[test]
    fn on_an_async_store(steps in prop::collection::vec(any_step(), 1..40)) {
        let mut driver = Tasks::of(AsyncSessionStore::open_in_memory().unwrap());
        let mut model = Model::default();
        steps.iter().for_each(|step| take(&mut driver, &mut model, step));
    }
}

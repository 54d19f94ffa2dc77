//! Proves that connection, store and async store keep the crate's contract on PostgreSQL.

use agent_session_store::{AsyncSessionStore, SessionStore, contract};

use crate::common::PgDb;
use crate::common::tasks::Tasks;

#[test]
fn a_connection_keeps_it() {
    let Some(db) = PgDb::new() else { return };
    contract::check(|| db.connect_to_schema());
}

#[test]
fn a_store_keeps_it() {
    let Some(db) = PgDb::new() else { return };
    contract::check(|| SessionStore::builder().schema(db.schema()).connect(&db.url()).unwrap());
}

#[test]
fn an_async_store_keeps_it() {
    let Some(db) = PgDb::new() else { return };
    contract::check(|| {
        let store = SessionStore::builder().schema(db.schema()).connect(&db.url()).unwrap();
        Tasks::of(AsyncSessionStore::from(store))
    });
}

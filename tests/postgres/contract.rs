//! Proves that a connection to PostgreSQL keeps the crate's contract.

use agent_session_store::contract;

use crate::common::PgDb;

#[test]
fn a_connection_keeps_it() {
    let Some(db) = PgDb::new() else { return };
    contract::check(|| db.connect_to_schema());
}

/// Every verb in a transaction of the caller's, which stays usable whatever a verb refuses.
#[test]
fn a_connection_in_a_transaction_keeps_it() {
    use agent_session_store::diesel::connection::SimpleConnection;
    let Some(db) = PgDb::new() else { return };
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        contract::check(|| {
            use agent_session_store::diesel::connection::{AnsiTransactionManager, TransactionManager};
            let mut conn = db.connect_to_schema();
            conn.batch_execute(&format!("SET default_transaction_isolation TO '{level}'")).unwrap();
            AnsiTransactionManager::begin_transaction(&mut conn).unwrap();
            conn
        });
    }
}

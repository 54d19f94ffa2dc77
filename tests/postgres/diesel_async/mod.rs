//! The verbs on connections of diesel-async.

#[cfg(all(feature = "async", feature = "contract"))]
mod as_blocking;
mod dropped;
mod errors;
mod migrating;
mod pools;
mod transactions;

use std::time::{Duration, Instant};

use agent_session_store::diesel;
use agent_session_store::diesel::sql_types::BigInt;
use agent_session_store::diesel_async::RunQueryDsl;
use agent_session_store::diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use tokio::runtime::Runtime;

use crate::common::PgDb;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn connect(db: &PgDb) -> AsyncPgConnection {
    AsyncPgConnection::establish(&db.url()).await.unwrap()
}

/// A connection to a new, migrated schema. It does not wait for the disk.
async fn connect_to_schema(db: &PgDb) -> AsyncPgConnection {
    let schema = db.schema();
    let mut conn = connect(db).await;
    conn.batch_execute(&format!("SET search_path TO {schema}; SET synchronous_commit TO off")).await.unwrap();
    agent_session_store::migrate_async(&mut conn).await.unwrap();
    conn
}

/// Returns once a connection to this database waits for a lock, while other futures of the task go on.
async fn until_one_waits(db: &PgDb) {
    let mut looking = connect(db).await;
    let waits = "(SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock')";
    let deadline = Instant::now() + Duration::from_secs(60);
    let count = || diesel::select(diesel::dsl::sql::<BigInt>(waits));
    while count().get_result::<i64>(&mut looking).await.unwrap() == 0 {
        assert!(Instant::now() < deadline, "nobody waits");
    }
}

//! Proves that a connection that diesel-async wraps keeps the contract, takes part in the caller's transactions, and loses
//! nothing when a call is dropped.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use agent_session_store::diesel::connection::{AnsiTransactionManager, TransactionManager as _};
use agent_session_store::diesel::{self, QueryResult, SqliteConnection};
use agent_session_store::diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use agent_session_store::diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use agent_session_store::schema::events;
use agent_session_store::{
    AsyncSessionPersistDriver, Error, Export, ListEventsRequest, Selection, SessionPersistDriver, contract,
    migrate_async,
};
use tokio::runtime::Runtime;

use crate::common::model::Model;
use crate::common::steps::{for_any_steps, take};
use crate::common::tasks::Waiting;
use crate::common::{TempDb, event, hush, new_event};

type Wrapped = SyncConnectionWrapper<SqliteConnection>;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn connect(db: &TempDb) -> Wrapped {
    Wrapped::establish(db.path().to_str().unwrap()).await.unwrap()
}

async fn in_memory() -> Wrapped {
    let mut conn = Wrapped::establish(":memory:").await.unwrap();
    migrate_async(&mut conn).await.unwrap();
    conn
}

#[test]
fn it_keeps_the_contract() {
    contract::check(|| Waiting::on(in_memory()));
}

#[test]
fn it_does_what_the_model_does() {
    for_any_steps(32, |steps| {
        let mut driver = Waiting::on(in_memory());
        let mut model = Model::default();
        steps.iter().for_each(|step| take(&mut driver, &mut model, step));
        assert!(driver.check().unwrap().is_sound());
    });
}

#[test]
fn a_transaction_is_committed_or_rolled_back_as_a_whole() {
    runtime().block_on(async {
        let mut conn = in_memory().await;
        conn.insert_event(&event("taken", "elsewhere", 1)).await.unwrap();
        for id in ["taken", "new"] {
            let result = conn.transaction(async |conn| {
                diesel::insert_into(events::table).values(&event("plain", "one", 1)).execute(conn).await?;
                conn.append_events("one", &[new_event("a")]).await?;
                conn.append_events("one", &[new_event(id)]).await
            });
            let result = result.await;
            assert_eq!(result.is_ok(), id == "new", "{result:?}");
            assert_eq!(conn.last_event_index("one").await.unwrap(), (id == "new").then_some(3));
        }
    });
}

/// Polls once, and drops.
fn drop_after_a_poll<T>(work: impl Future<Output = T>) {
    let mut work = pin!(work);
    // Ready only if the thread was very fast.
    let _: Poll<T> = work.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

async fn insert(conn: &mut Wrapped, id: &str) -> QueryResult<usize> {
    diesel::insert_into(events::table).values(&event(id, "probe", 1)).execute(conn).await
}

#[test]
fn a_dropped_call_is_carried_out_as_a_whole() {
    let db = TempDb::ours();
    runtime().block_on(async {
        let mut conn = connect(&db).await;
        drop_after_a_poll(conn.append_events("one", &[new_event("a"), new_event("b")]));
        assert_eq!(db.connect().last_event_index("one").unwrap(), Some(2));
        insert(&mut conn, "plain").await.unwrap();
        conn.transaction(async |conn| insert(conn, "together").await).await.unwrap();
        assert_eq!(db.connect().stats().unwrap().events, 4);
    });
}

#[test]
fn a_call_dropped_inside_a_transaction_ends_it_for_good() {
    let db = TempDb::ours();
    // Long enough to be still on its way when it is dropped.
    let many: Vec<_> = (0..2_000).map(|number| new_event(&format!("e{number}"))).collect();
    runtime().block_on(async {
        let mut conn = connect(&db).await;
        let transaction = conn.transaction(async |conn| {
            insert(conn, "before").await?;
            drop_after_a_poll(conn.append_events("one", &many));
            insert(conn, "after").await.unwrap_err();
            QueryResult::Ok(())
        });
        transaction.await.unwrap_err();
        insert(&mut conn, "plain").await.unwrap_err();
        conn.batch_execute("BEGIN; INSERT INTO events SELECT * FROM events; COMMIT").await.unwrap_err();
        conn.append_events("one", &many[..1]).await.unwrap_err();
        conn.transaction(async |conn| insert(conn, "together").await).await.unwrap_err();
        let refused = conn.insert_event(&event("refused", "one", 1)).await;
        assert!(matches!(refused, Err(Error::ReadOnly { .. })), "{refused:?}");
        assert_eq!(db.connect().stats().unwrap().events, 0);
    });
}

/// A transaction that is dropped as a whole, in one of its calls.
#[test]
fn a_transaction_dropped_in_a_call_ends_for_good() {
    let db = TempDb::ours();
    let many: Vec<_> = (0..2_000).map(|number| new_event(&format!("e{number}"))).collect();
    runtime().block_on(async {
        let mut conn = connect(&db).await;
        conn.spawn_blocking(AnsiTransactionManager::begin_transaction).await.unwrap();
        drop_after_a_poll(async {
            conn.append_events("one", &many).await.unwrap();
            conn.spawn_blocking(AnsiTransactionManager::commit_transaction).await.unwrap();
        });
        insert(&mut conn, "plain").await.unwrap_err();
        conn.transaction(async |conn| insert(conn, "together").await).await.unwrap_err();
        assert_eq!(db.connect().stats().unwrap().events, 0);
    });
}

/// The reader's own panic is an error, and the connection goes on.
#[test]
fn a_panic_of_the_callers_is_an_error() {
    struct Panics;
    impl std::io::Write for Panics {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            panic!("a full pipe");
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    runtime().block_on(async {
        let mut conn = in_memory().await;
        conn.append_events("one", &[new_event("a")]).await.unwrap();
        hush("a full pipe");
        let exported = conn.export(Panics, Export::of(Selection::all())).await;
        assert!(matches!(exported.map(|_| ()), Err(Error::Panicked)));
        assert_eq!(conn.list_events(&ListEventsRequest::new("one")).await.unwrap().items.len(), 1);
        assert_eq!(conn.append_events("one", &[new_event("b")]).await.unwrap(), [2]);
    });
}

//! Proves that the verbs are those of a connection as it comes out of a pool, and that a pool gives out none that a
//! dropped call has left unusable.

use agent_session_store::diesel_async::AsyncPgConnection;
use agent_session_store::diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool};
use agent_session_store::diesel_async::{AsyncConnection, SimpleAsyncConnection};
use agent_session_store::{AsyncSessionPersistDriver, Error, SessionPersistDriver};

use super::runtime;
use crate::common::{PgDb, new_event};

/// Drops an append in the caller's transaction, at once after it was begun.
async fn drop_an_append(conn: &mut AsyncPgConnection) {
    let dropped = conn.transaction(async |conn| {
        conn.batch_execute("SELECT 1").await?;
        let events = [new_event("dropped")];
        tokio::select! {
            biased;
            appended = conn.append_events("one", &events) => assert!(appended.is_err()),
            () = std::future::ready(()) => {}
        }
        Ok::<_, Error>(())
    });
    let error = dropped.await.unwrap_err();
    assert!(matches!(error, Error::Database { .. }), "{error:?}");
    let error = conn.append_events("one", &[new_event("refused")]).await.unwrap_err();
    assert!(matches!(error, Error::Disconnected { may_be_stored: false, .. }), "{error:?}");
}

#[test]
fn deadpool_gives_out_a_sound_one() {
    let Some(db) = PgDb::ours() else { return };
    runtime().block_on(async {
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(db.url());
        let pool = deadpool::Pool::builder(manager).max_size(1).build().unwrap();
        drop_an_append(&mut pool.get().await.unwrap()).await;
        let mut conn = pool.get().await.unwrap();
        assert_eq!(conn.append_events("one", &[new_event("a")]).await.unwrap(), [1]);
        assert_eq!(db.connect().stats().unwrap().events, 1);
    });
}

#[test]
fn bb8_gives_out_a_sound_one() {
    let Some(db) = PgDb::ours() else { return };
    runtime().block_on(async {
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(db.url());
        let pool: bb8::Pool<AsyncPgConnection> = bb8::Pool::builder().max_size(1).build(manager).await.unwrap();
        drop_an_append(&mut pool.get().await.unwrap()).await;
        let mut conn = pool.get().await.unwrap();
        assert_eq!(conn.append_events("one", &[new_event("a")]).await.unwrap(), [1]);
        assert_eq!(db.connect().stats().unwrap().events, 1);
    });
}

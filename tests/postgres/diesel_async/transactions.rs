//! Proves that the verbs take part in the caller's transaction, whatever error its closure returns, and that their futures
//! can be sent to another thread.

use agent_session_store::diesel::{self, QueryResult};
use agent_session_store::diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use agent_session_store::schema::sessions;
use agent_session_store::{
    AppendRequest, AsyncSessionPersistDriver, Error, ListEventsRequest, ListSessionsRequest, PruneRequest, Selection,
    convert_jsonb_async, migrate_async,
};
use chrono::DateTime;

use super::{connect, runtime};
use crate::common::{PgDb, event, new_event, session};

#[test]
fn a_transaction_is_committed_or_rolled_back_as_a_whole() {
    let Some(db) = PgDb::ours() else { return };
    runtime().block_on(async {
        let mut conn = connect(&db).await;
        for fails in [true, false] {
            let result = conn
                .transaction(async |conn| {
                    conn.update_session(&session("one")).await?;
                    diesel::insert_into(sessions::table).values(&session("two")).execute(conn).await?;
                    conn.append_events("one", &[new_event("a"), new_event("b")]).await?;
                    if fails { Err(Error::from(diesel::result::Error::RollbackTransaction)) } else { Ok(()) }
                })
                .await;
            assert_eq!(result.is_err(), fails);
            assert_eq!(conn.get_session("one").await.unwrap().is_some(), !fails);
            assert_eq!(conn.get_session("two").await.unwrap().is_some(), !fails);
            assert_eq!(conn.last_event_index("one").await.unwrap(), (!fails).then_some(2));
        }
    });
}

#[test]
fn a_closure_may_return_diesels_error() {
    let Some(db) = PgDb::ours() else { return };
    runtime().block_on(async {
        let mut conn = connect(&db).await;
        conn.insert_event(&event("a", "elsewhere", 1)).await.unwrap();
        let taken = conn
            .transaction(async |conn| {
                conn.append_events("one", &[new_event("b")]).await?;
                conn.append_events("one", &[new_event("a")]).await?;
                QueryResult::Ok(())
            })
            .await;
        assert!(matches!(Error::from(taken.unwrap_err()), Error::EventIdTaken { id, .. } if id == "a"));
        assert_eq!(conn.last_event_index("one").await.unwrap(), None);
    });
}

/// What a verb refuses leaves the caller's transaction as it was.
#[test]
fn a_refusal_does_not_end_it() {
    let Some(db) = PgDb::ours() else { return };
    runtime().block_on(async {
        let mut conn = connect(&db).await;
        conn.insert_event(&event("a", "elsewhere", 1)).await.unwrap();
        let stored = conn.transaction(async |conn| {
            conn.append_events("one", &[new_event("b")]).await?;
            let taken = conn.append_events("one", &[new_event("a")]).await;
            assert!(matches!(taken, Err(Error::EventIdTaken { .. })), "{taken:?}");
            let late = conn.append_events_after("one", 0, &[new_event("c")]).await;
            assert!(matches!(late, Err(Error::AppendConflict { .. })), "{late:?}");
            conn.append_events_after("one", 1, &[new_event("c")]).await
        });
        assert_eq!(stored.await.unwrap(), [2]);
        assert_eq!(conn.last_event_index("one").await.unwrap(), Some(2));
    });
}

/// Compiles if every future is `Send`.
#[test]
fn every_future_is_send() {
    fn all<C: AsyncSessionPersistDriver>(conn: &mut C) {
        fn is_send<T: Send>(_: T) {}
        is_send(conn.get_session("one"));
        is_send(conn.list_sessions(&ListSessionsRequest::new()));
        is_send(conn.list_session_summaries(&ListSessionsRequest::new()));
        is_send(conn.update_session(&session("one")));
        is_send(conn.get_event("a"));
        is_send(conn.list_events(&ListEventsRequest::new("one")));
        is_send(conn.insert_event(&event("a", "one", 1)));
        is_send(conn.insert_events(&[]));
        is_send(conn.append_events("one", &[]));
        is_send(conn.append_events_after("one", 0, &[]));
        is_send(conn.append(&AppendRequest::new("one"), &[]));
        is_send(conn.last_event_index("one"));
        is_send(conn.latest_events("one", 1, None));
        is_send(conn.delete_session("one"));
        is_send(conn.destroy_session("one", DateTime::UNIX_EPOCH));
        is_send(conn.fork_session("one", None, &session("two")));
        is_send(conn.prune(&PruneRequest::new()));
        is_send(conn.stats());
        is_send(conn.session_stats());
        is_send(conn.get_session_stats("one"));
        is_send(conn.check());
        is_send(conn.events(ListEventsRequest::new("one")).next());
        is_send(conn.sessions(ListSessionsRequest::new()).next());
        is_send(conn.session_summaries(ListSessionsRequest::new()).next());
        is_send(conn.export(Vec::new(), Selection::all()));
        is_send(conn.import(&b""[..]));
    }
    fn and_these(conn: &mut AsyncPgConnection) {
        fn is_send<T: Send>(_: T) {}
        is_send(migrate_async(conn));
        is_send(convert_jsonb_async(conn));
        is_send(async move { conn.transaction(async |conn| conn.append_events("one", &[]).await).await });
    }
    let _ = (all::<AsyncPgConnection>, and_these);
}

/// A task that any thread may run.
#[test]
fn a_connection_goes_into_a_task() {
    let Some(db) = PgDb::ours() else { return };
    runtime().block_on(async {
        let mut conn = connect(&db).await;
        let task = tokio::spawn(async move {
            conn.append_events("one", &[new_event("a")]).await?;
            let mut events = conn.events(ListEventsRequest::new("one").limit(1));
            let mut found = Vec::new();
            while let Some(event) = events.next().await? {
                found.push(event.id);
            }
            let (lines, done) = conn.export(Vec::new(), Selection::all()).await?;
            assert_eq!(conn.import(std::io::Cursor::new(lines)).await?, done);
            Ok::<_, Error>(found)
        });
        assert_eq!(task.await.unwrap().unwrap(), ["a"]);
    });
}

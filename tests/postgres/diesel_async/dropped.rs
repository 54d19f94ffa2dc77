//! Proves that a call whose future is dropped, at any of its await points, leaves no transaction behind in which later
//! writes seem to be stored: outside a transaction the connection goes on, inside one it refuses everything.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use agent_session_store::diesel::{self, PgConnection, QueryResult};
use agent_session_store::diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection, TransactionManager,
};
use agent_session_store::schema::events;
use agent_session_store::{
    AppendRequest, AsyncSessionPersistDriver, Error, ListEventsRequest, PruneRequest, Selection, SessionPersistDriver,
    migrate_async,
};

use super::{connect, runtime, until_one_waits};
use crate::common::samples::bare_session;
use crate::common::{PgDb, event, new_event, session};

/// When a future is dropped: when it waits for the nth time, or when that has come to an end.
#[derive(Clone, Copy, Debug)]
enum Dropped {
    Waiting(usize),
    Woken(usize),
}

/// What the future came to, unless it was dropped before.
async fn until<T>(dropped: Dropped, work: impl Future<Output = T>) -> Option<T> {
    let (Dropped::Waiting(polls) | Dropped::Woken(polls)) = dropped;
    let mut polled = 0;
    let mut work = pin!(work);
    poll_fn(|task| {
        if polled == polls {
            return Poll::Ready(None);
        }
        polled += 1;
        match work.as_mut().poll(task) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if polled == polls && matches!(dropped, Dropped::Waiting(_)) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

const VERBS: usize = 14;

/// One of the verbs, on the session `one`, which has events `a` and `b`.
async fn call(conn: &mut AsyncPgConnection, verb: usize) -> Result<(), Error> {
    let three = [new_event("x"), new_event("y"), new_event("z")];
    match verb {
        0 => conn.update_session(&session("two")).await?,
        1 => conn.insert_event(&event("x", "one", 3)).await?,
        2 => conn.insert_event(&event("a", "two", 3)).await?,
        3 => conn.insert_events(&[event("x", "one", 3), event("a", "two", 4), event("b", "one", 5)]).await?,
        4 => _ = conn.append_events("one", &three[..1]).await?,
        5 => _ = conn.append_events("one", &three).await?,
        6 => _ = conn.append_events("two", &three).await?,
        7 => _ = conn.append(&AppendRequest::new("one").must_exist(), &three).await?,
        8 => _ = conn.delete_session("one").await?,
        9 => _ = conn.fork_session("one", None, &bare_session("two")).await?,
        10 => _ = conn.prune(&PruneRequest::new().session("one")).await?,
        11 => _ = conn.check().await?,
        12 => {
            let (lines, _) = conn.export(Vec::new(), Selection::all()).await?;
            conn.delete_session("one").await?;
            conn.import(std::io::Cursor::new(lines)).await?;
        }
        _ => migrate_async(conn).await?,
    }
    Ok(())
}

/// A database that does not wait for the disk, and a connection of others.
fn database() -> Option<(PgDb, PgConnection)> {
    let db = PgDb::ours()?;
    db.admin(&format!("ALTER DATABASE {} SET synchronous_commit TO off", db.name()));
    let others = db.connect();
    Some((db, others))
}

/// As a verb finds it, with others looking.
fn fill(conn: &mut PgConnection) {
    diesel::connection::SimpleConnection::batch_execute(
        conn,
        "DELETE FROM sessions; DELETE FROM events; DELETE FROM event_heads",
    )
    .unwrap();
    conn.update_session(&bare_session("one")).unwrap();
    conn.append_events("one", &[new_event("a"), new_event("b")]).unwrap();
}

/// The ids of all events, as others see them.
fn stored(conn: &mut PgConnection) -> Vec<String> {
    let mut ids = Vec::new();
    for session in ["one", "two", "probe"] {
        ids.extend(conn.list_events(&ListEventsRequest::new(session)).unwrap().items.into_iter().map(|event| event.id));
    }
    ids
}

fn is_stored(conn: &mut PgConnection, id: &str) -> bool {
    conn.get_event(id).unwrap().is_some()
}

async fn insert(conn: &mut AsyncPgConnection, id: &str) -> QueryResult<usize> {
    diesel::insert_into(events::table).values(&event(id, "probe", 1)).execute(conn).await
}

#[test]
fn outside_a_transaction_the_connection_goes_on() {
    let Some((db, mut others)) = database() else { return };
    let mut drops = 0;
    runtime().block_on(async {
        for verb in 0..VERBS {
            let mut conn = connect(&db).await;
            for dropped in (1..).flat_map(|polls| [Dropped::Waiting(polls), Dropped::Woken(polls)]) {
                fill(&mut others);
                let done = until(dropped, call(&mut conn, verb)).await;
                let context = format!("verb {verb}, {dropped:?}");
                insert(&mut conn, "plain").await.expect(&context);
                assert!(is_stored(&mut others, "plain"), "{context}");
                assert_eq!(
                    conn.append_events("probe", &[new_event("appended")]).await.expect(&context),
                    [2],
                    "{context}"
                );
                assert!(is_stored(&mut others, "appended"), "{context}");
                conn.transaction(async |conn| insert(conn, "together").await).await.expect(&context);
                assert!(is_stored(&mut others, "together"), "{context}");
                let found = stored(&mut others);
                let parts = ["x", "y", "z"].map(|id| found.iter().any(|found| found == id));
                assert!(verb < 5 || parts == [true; 3] || parts == [false; 3], "{context}: {found:?}");
                if let Some(done) = done {
                    done.expect(&context);
                    break;
                }
                drops += 1;
            }
        }
    });
    assert!(drops > 100, "{drops}");
}

#[test]
fn inside_a_transaction_it_refuses_everything() {
    let Some((db, mut others)) = database() else { return };
    let mut drops = 0;
    runtime().block_on(async {
        // Not those that the caller's transaction has nothing to do with.
        for verb in 0..VERBS - 1 {
            for dropped in (1..).flat_map(|polls| [Dropped::Waiting(polls), Dropped::Woken(polls)]) {
                fill(&mut others);
                let before = stored(&mut others);
                let mut conn = connect(&db).await;
                AnsiTransactionManager::begin_transaction(&mut conn).await.unwrap();
                insert(&mut conn, "before").await.unwrap();
                let done = until(dropped, call(&mut conn, verb)).await;
                let context = format!("verb {verb}, {dropped:?}");
                if let Some(done) = done {
                    done.expect(&context);
                    AnsiTransactionManager::commit_transaction(&mut conn).await.unwrap();
                    assert!(is_stored(&mut others, "before"), "{context}");
                    break;
                }
                insert(&mut conn, "plain").await.expect_err(&context);
                conn.batch_execute("SELECT 1").await.expect_err(&context);
                let refused = conn.insert_event(&event("event", "probe", 1)).await;
                assert!(
                    matches!(refused, Err(Error::Disconnected { may_be_stored: false, .. })),
                    "{context}: {refused:?}"
                );
                AnsiTransactionManager::commit_transaction(&mut conn).await.expect_err(&context);
                conn.transaction(async |conn| insert(conn, "together").await).await.expect_err(&context);
                assert_eq!(stored(&mut others), before, "{context}");
                drops += 1;
            }
        }
    });
    assert!(drops > 100, "{drops}");
}

/// At the await points of Diesel's own BEGIN and COMMIT too, which tell nobody but a pool.
#[test]
fn a_dropped_transaction_is_never_taken_for_an_open_one() {
    let Some((db, mut others)) = database() else { return };
    let (mut refusals, mut went_on) = (0, 0);
    runtime().block_on(async {
        for dropped in (1..).flat_map(|polls| [Dropped::Waiting(polls), Dropped::Woken(polls)]) {
            fill(&mut others);
            let mut conn = connect(&db).await;
            let transaction = conn.transaction(async |conn| {
                conn.append_events("one", &[new_event("x"), new_event("y"), new_event("z")]).await?;
                conn.append_events("two", &[new_event("more")]).await
            });
            let done = until(dropped, transaction).await;
            for probe in ["first", "second"] {
                match conn.append_events("probe", &[new_event(probe)]).await {
                    Ok(_) => assert!(is_stored(&mut others, probe), "{dropped:?}"),
                    Err(error) => {
                        assert!(matches!(error, Error::Disconnected { may_be_stored: false, .. }), "{error:?}");
                        refusals += 1;
                    }
                }
            }
            if let Some(done) = done {
                done.unwrap();
                went_on += 1;
                break;
            }
        }
    });
    assert!(refusals > 10, "{refusals}");
    assert_eq!(went_on, 1);
}

/// The next call waits for what the dropped one still waits for, and finds it rolled back.
#[test]
fn a_call_that_waits_for_a_lock_is_rolled_back_once_it_has_it() {
    let Some((db, mut others)) = database() else { return };
    fill(&mut others);
    runtime().block_on(async {
        let mut holder = connect(&db).await;
        holder.batch_execute("BEGIN; LOCK TABLE events IN SHARE MODE").await.unwrap();
        let mut conn = connect(&db).await;
        tokio::select! {
            deleted = conn.delete_session("one") => panic!("{deleted:?}"),
            () = until_one_waits(&db) => {}
        }
        holder.batch_execute("COMMIT").await.unwrap();
        assert_eq!(conn.append_events("one", &[new_event("c")]).await.unwrap(), [3]);
        assert_eq!(stored(&mut others), ["a", "b", "c"]);
    });
}

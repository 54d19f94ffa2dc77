//! Proves that an async connection reports what a blocking one does, and that a lost connection says what it knows.

use agent_session_store::diesel::result::Error as DieselError;
use agent_session_store::diesel_async::SimpleAsyncConnection;
use agent_session_store::{AsyncSessionPersistDriver, Error, ErrorKind};

use super::{connect, runtime, until_one_waits};
use crate::common::{PgDb, event, new_event, session};

#[test]
fn the_servers_errors_have_their_meaning() {
    let Some(db) = PgDb::ours() else { return };
    runtime().block_on(async {
        let mut conn = connect(&db).await;
        let nul = conn.insert_event(&event("a\0", "one", 1)).await;
        assert!(matches!(nul, Err(Error::NotStorable { .. })), "{nul:?}");
        let mut holder = connect(&db).await;
        holder.batch_execute("BEGIN; LOCK TABLE events").await.unwrap();
        conn.batch_execute("SET lock_timeout = '10ms'").await.unwrap();
        let busy = conn.insert_event(&event("a", "one", 1)).await;
        assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
        holder.batch_execute("ROLLBACK").await.unwrap();
        conn.batch_execute("SET default_transaction_read_only = on").await.unwrap();
        let read_only = conn.update_session(&session("one")).await;
        assert!(matches!(read_only, Err(Error::ReadOnly { .. })), "{read_only:?}");
        assert_eq!(conn.get_session("one").await.unwrap(), None);
        conn.batch_execute("SET default_transaction_read_only = off").await.unwrap();
        conn.batch_execute("DROP TABLE event_heads, events").await.unwrap();
        let gone = conn.append_events("one", &[new_event("a")]).await;
        assert!(matches!(gone, Err(Error::NotMigrated { .. })), "{gone:?}");
    });
}

#[test]
fn a_row_that_cannot_be_decoded_is_named() {
    let Some(db) = PgDb::ours() else { return };
    runtime().block_on(async {
        let mut conn = connect(&db).await;
        let events: Vec<_> = (1..=3).map(|index| event(&format!("e{index}"), "one", index)).collect();
        conn.insert_events(&events).await.unwrap();
        conn.batch_execute("UPDATE events SET sender = 'nobody' WHERE id = 'e2'").await.unwrap();
        let mut walk = conn.events(agent_session_store::ListEventsRequest::new("one"));
        let mut found = Vec::new();
        loop {
            match walk.next().await {
                Ok(Some(event)) => found.push(event.id),
                Ok(None) => break,
                Err(Error::Decode { id, column, .. }) => found.push(format!("{id}: {column}")),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(found, ["e1", "e2: sender", "e3"]);
    });
}

#[test]
fn a_lost_connection_says_whether_something_may_be_stored() {
    let Some(db) = PgDb::ours() else { return };
    runtime().block_on(async {
        for (sql, is_read, may_be_stored) in [("", true, false), ("", false, true), ("BEGIN", false, false)] {
            let mut conn = connect(&db).await;
            if !sql.is_empty() {
                use agent_session_store::diesel_async::{AnsiTransactionManager, TransactionManager};
                AnsiTransactionManager::begin_transaction(&mut conn).await.unwrap();
            }
            let mut holder = connect(&db).await;
            holder.batch_execute("BEGIN; LOCK TABLE events, sessions").await.unwrap();
            let kill = async {
                until_one_waits(&db).await;
                let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                            WHERE datname = current_database() AND wait_event_type = 'Lock'";
                holder.batch_execute(kill).await.unwrap();
                holder.batch_execute("ROLLBACK").await.unwrap();
            };
            let call = async {
                if is_read {
                    conn.get_session("one").await.map(|_| ())
                } else {
                    conn.insert_event(&event("a", "one", 1)).await
                }
            };
            let (called, ()) = tokio::join!(call, kill);
            let error = called.unwrap_err();
            let found = matches!(&error, Error::Disconnected { may_be_stored: found, .. } if *found == may_be_stored);
            assert!(found, "{sql:?}, {is_read}: {error:?}");
            // It is given up, and says so.
            let error = conn.insert_event(&event("b", "one", 2)).await.unwrap_err();
            assert!(matches!(error, Error::Disconnected { may_be_stored: false, .. }), "{error:?}");
        }
    });
}

#[test]
fn errors_convert_both_ways() {
    let Some(db) = PgDb::ours() else { return };
    runtime().block_on(async {
        let mut conn = connect(&db).await;
        conn.batch_execute("ALTER TABLE sessions ADD CHECK (agent <> 'nobody')").await.unwrap();
        let refused = with!(session("one"), agent: "nobody".to_owned());
        let error = DieselError::from(conn.update_session(&refused).await.unwrap_err());
        assert!(matches!(error, DieselError::DatabaseError(..)), "{error:?}");
        assert!(matches!(Error::from(error), Error::Database { .. }));
        let ours = Error::SessionNotFound { id: "one".to_owned() };
        let text = ours.to_string();
        let error = DieselError::from(ours);
        assert_eq!(error.to_string(), text);
        assert_eq!(Error::from(error).kind(), ErrorKind::NotFound);
    });
}

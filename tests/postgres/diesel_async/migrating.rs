//! Proves that an async connection migrates as a blocking one does, also under diesel-async's migration harness, and by
//! many at once.

use agent_session_store::diesel_async::AsyncMigrationHarness;
use agent_session_store::{
    AsyncSessionPersistDriver, Error, ListSessionsRequest, MIGRATIONS, SessionPersistDriver, convert_jsonb_async,
    migrate, migrate_async,
};
use diesel_migrations::MigrationHarness;

use super::{connect, runtime};
use crate::common::{PgDb, new_event};

/// The tables' identities: a copy would have others.
const TABLES: &str = "SELECT 'sessions'::regclass::oid, 'events'::regclass::oid";

fn tables(db: &PgDb) -> (u32, u32) {
    let row = db.other().query_one(TABLES, &[]).unwrap();
    (row.get(0), row.get(1))
}

#[test]
fn an_empty_database_is_migrated_once() {
    let Some(db) = PgDb::new() else { return };
    runtime().block_on(async {
        let mut conn = connect(&db).await;
        let refused = conn.append_events("one", &[new_event("a")]).await;
        assert!(matches!(refused, Err(Error::NotMigrated { .. })), "{refused:?}");
        let calls: Vec<_> = (0..4)
            .map(|_| {
                let url = db.url();
                tokio::spawn(async move {
                    use agent_session_store::diesel_async::{AsyncConnection, AsyncPgConnection};
                    let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
                    migrate_async(&mut conn).await
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        migrate_async(&mut conn).await.unwrap();
        assert_eq!(conn.append_events("one", &[new_event("a")]).await.unwrap(), [1]);
    });
    let mut conn = db.connect();
    assert!(!conn.has_pending_migration(MIGRATIONS).unwrap());
    migrate(&mut conn).unwrap();
}

#[test]
fn the_references_tables_are_adopted_where_they_are() {
    for with_harness in [false, true] {
        let Some(db) = PgDb::fixture("postgres-0.4.sql") else { return };
        let before = tables(&db);
        let sessions = runtime().block_on(async {
            let mut conn = connect(&db).await;
            if with_harness {
                let mut harness = AsyncMigrationHarness::new(conn);
                harness.run_pending_migrations(MIGRATIONS).unwrap();
                assert!(!harness.has_pending_migration(MIGRATIONS).unwrap());
                conn = harness.into_inner();
            }
            migrate_async(&mut conn).await.unwrap();
            convert_jsonb_async(&mut conn).await.unwrap();
            // The statements were prepared for the columns as they are now.
            conn.list_sessions(&ListSessionsRequest::new()).await.unwrap().items
        });
        assert_eq!(tables(&db), before);
        assert!(!sessions.is_empty());
        assert_eq!(db.connect().list_sessions(&ListSessionsRequest::new()).unwrap().items, sessions);
    }
}

//! Proves that an application on Diesel and PostgreSQL can keep its own tables, connections, transactions and migrations,
//! and has the sessions and events among them.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::pg::Pg;
use agent_session_store::diesel::prelude::*;
use agent_session_store::diesel::r2d2::{ConnectionManager, Pool};
use agent_session_store::diesel::{self, sql_types};
use agent_session_store::schema::{events, sessions};
use agent_session_store::{Error, Json, MIGRATIONS, SessionEvent, SessionPersistDriver, SessionRecord, migrate};
use diesel::migration::{Migration, MigrationSource};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::common::samples::bare_session;
use crate::common::{PgDb, event, json, new_event, session};

const HOST_MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/host_migrations");

diesel::table! {
    projects (id) {
        id -> BigInt,
        name -> Text,
        session_id -> Text,
    }
}

diesel::joinable!(projects -> sessions (session_id));
agent_session_store::allow_joins!(projects);

/// A database with both sets of migrations.
fn host() -> Option<PgDb> {
    let db = PgDb::new()?;
    let mut conn = db.connect();
    conn.run_pending_migrations(MIGRATIONS).unwrap();
    conn.run_pending_migrations(HOST_MIGRATIONS).unwrap();
    Some(db)
}

fn add_project(conn: &mut PgConnection, id: i64, session_id: &str) -> QueryResult<usize> {
    diesel::insert_into(projects::table)
        .values((projects::id.eq(id), projects::name.eq("website"), projects::session_id.eq(session_id)))
        .execute(conn)
}

#[test]
fn both_are_committed_or_none() {
    let Some(db) = host() else { return };
    let mut conn = db.connect();
    for fails in [true, false] {
        let result = conn.transaction(|conn| {
            conn.update_session(&session("one"))?;
            conn.append_events("one", &[new_event("a")])?;
            add_project(conn, 1, "one")?;
            if fails { Err(Error::from(diesel::result::Error::RollbackTransaction)) } else { Ok(()) }
        });
        assert_eq!(result.is_err(), fails);
        assert_eq!(conn.get_session("one").unwrap().is_some(), !fails);
        assert_eq!(conn.last_event_index("one").unwrap().is_some(), !fails);
    }
}

#[test]
fn the_models_work_in_queries_of_the_applications_own() {
    let Some(db) = host() else { return };
    let mut conn = db.connect();
    let (one, two) = (session("one"), bare_session("two"));
    diesel::insert_into(sessions::table).values(&one).execute(&mut conn).unwrap();
    conn.update_session(&two).unwrap();
    let first = event("first", "one", 1);
    let batch = [with!(event("second", "one", 2), payload: json(r#""\ud83d \u0000""#)), event("third", "two", 1)];
    for event in std::iter::once(&first).chain(&batch) {
        diesel::insert_into(events::table).values(event).execute(&mut conn).unwrap();
    }
    add_project(&mut conn, 1, "one").unwrap();

    let found: Vec<(SessionRecord, String)> = sessions::table
        .inner_join(projects::table)
        .select((SessionRecord::as_select(), projects::name))
        .load(&mut conn)
        .unwrap();
    assert_eq!(found, [(one.clone(), "website".to_owned())]);
    let all: Vec<SessionRecord> = sessions::table.order(sessions::id).load(&mut conn).unwrap();
    assert_eq!(all, [one, two]);
    let of_project: Vec<SessionEvent> = events::table
        .filter(events::session_id.eq_any(projects::table.select(projects::session_id)))
        .order(events::event_index)
        .select(SessionEvent::as_select())
        .load(&mut conn)
        .unwrap();
    assert_eq!(of_project, [first, batch[0].clone()]);
    // One that may be missing, and a column by itself.
    let with_project: Vec<(String, Option<String>)> = sessions::table
        .left_join(projects::table)
        .order(sessions::id)
        .select((sessions::id, projects::name.nullable()))
        .load(&mut conn)
        .unwrap();
    assert_eq!(with_project[1], ("two".to_owned(), None));
    let payload: Json = events::table.find("second").select(events::payload_json).get_result(&mut conn).unwrap();
    assert_eq!(payload, batch[0].payload);
    let text: String = events::table.find("second").select(events::payload_json).get_result(&mut conn).unwrap();
    assert_eq!(text, batch[0].payload.get());
}

#[test]
fn a_pool_and_a_harness_work_as_ever() {
    let Some(db) = PgDb::new() else { return };
    let pool = Pool::builder().max_size(4).build(ConnectionManager::<PgConnection>::new(db.url())).unwrap();
    pool.get().unwrap().run_pending_migrations(MIGRATIONS).unwrap();
    assert!(!pool.get().unwrap().has_pending_migration(MIGRATIONS).unwrap());
    migrate(&mut *pool.get().unwrap()).unwrap();
    #[cfg(feature = "r2d2")]
    migrate(&mut pool.get().unwrap()).unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let pool = &pool;
            scope.spawn(move || {
                let mut conn = pool.get().unwrap();
                conn.append_events("one", &[new_event(&number.to_string())]).unwrap();
            });
        }
    });
    assert_eq!(pool.get().unwrap().last_event_index("one").unwrap(), Some(8));
}

#[test]
fn the_application_reverts_and_redoes_and_no_row_is_lost() {
    struct Both;
    impl MigrationSource<Pg> for Both {
        fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
            let mut all = MIGRATIONS.migrations()?;
            all.extend(MigrationSource::<Pg>::migrations(&HOST_MIGRATIONS)?);
            Ok(all)
        }
    }
    let Some(db) = host() else { return };
    let mut conn = db.connect();
    conn.update_session(&session("one")).unwrap();
    conn.append_events("one", &[new_event("a"), new_event("b")]).unwrap();
    for _ in 0..2 {
        conn.revert_last_migration(HOST_MIGRATIONS).unwrap();
        conn.run_pending_migrations(HOST_MIGRATIONS).unwrap();
    }
    conn.revert_all_migrations(Both).unwrap();
    assert!(
        conn.append_events("one", &[new_event("c")]).is_err_and(|error| matches!(error, Error::NotMigrated { .. }))
    );
    assert_eq!(conn.get_session("one").unwrap(), Some(session("one")));
    conn.run_pending_migrations(Both).unwrap();
    assert_eq!(conn.append_events("one", &[new_event("c")]).unwrap(), [3]);
}

/// As anywhere on PostgreSQL: an error of the server's ends what the transaction can do. One that a verb finds by itself
/// does not.
#[test]
fn a_transaction_survives_what_a_verb_refuses() {
    let Some(db) = host() else { return };
    let mut conn = db.connect();
    conn.append_events("other", &[new_event("taken")]).unwrap();
    conn.transaction(|conn| {
        conn.append_events("one", &[new_event("a")])?;
        let taken = conn.append_events("one", &[new_event("b"), new_event("taken")]);
        assert!(matches!(taken, Err(Error::EventIdTaken { .. })), "{taken:?}");
        let conflict = conn.append_events_after("one", 7, &[new_event("b")]);
        assert!(matches!(conflict, Err(Error::AppendConflict { last_index: Some(1), .. })), "{conflict:?}");
        let missing = conn.fork_session("nowhere", None, &session("copy"));
        assert!(matches!(missing, Err(Error::SessionNotFound { .. })), "{missing:?}");
        assert_eq!(conn.append_events("one", &[new_event("b")])?, [2]);
        Ok::<(), Error>(())
    })
    .unwrap();
    assert_eq!(conn.last_event_index("one").unwrap(), Some(2));

    let result: Result<(), Error> = conn.transaction(|conn| {
        conn.append_events("one", &[new_event("c")])?;
        conn.insert_event(&event("nul\0", "one", 9))?;
        Ok(())
    });
    assert!(matches!(result, Err(Error::NotStorable { .. })), "{result:?}");
    assert_eq!(conn.last_event_index("one").unwrap(), Some(2), "nothing of it is stored");
}

/// A trigger of the application's that refuses, changes or swallows events does so with ours.
#[test]
fn triggers_of_the_applications_have_their_say() {
    let Some(db) = host() else { return };
    let mut conn = db.connect();
    conn.batch_execute(
        "CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.id LIKE 'refused%' THEN RAISE EXCEPTION 'not here'; END IF; \
             RETURN NEW; END $$; \
         CREATE TRIGGER judge BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION judge()",
    )
    .unwrap();
    assert_eq!(conn.append_events("one", &[new_event("a")]).unwrap(), [1]);
    let refused = conn.append_events("one", &[new_event("b"), new_event("refused")]);
    assert!(matches!(&refused, Err(Error::Database { source }) if source.to_string() == "not here"), "{refused:?}");
    assert_eq!(conn.append_events("one", &[new_event("b")]).unwrap(), [2], "no index was lost");
    let refused = conn.insert_events(&[event("c", "one", 3), event("refused", "one", 4)]);
    assert!(refused.is_err());
    assert_eq!(conn.last_event_index("one").unwrap(), Some(2));
    // A unique index of the application's own is not taken for the key.
    conn.batch_execute("CREATE UNIQUE INDEX one_index ON events (session_id, event_index)").unwrap();
    let twice = conn.insert_event(&event("d", "one", 2));
    assert!(
        matches!(
            &twice,
            Err(Error::Database {
                source: diesel::result::Error::DatabaseError(diesel::result::DatabaseErrorKind::UniqueViolation, _)
            })
        ),
        "{twice:?}"
    );
    let count = diesel::select(diesel::dsl::sql::<sql_types::BigInt>("(SELECT count(*) FROM events)"));
    assert_eq!(count.get_result::<i64>(&mut conn).unwrap(), 2);
}

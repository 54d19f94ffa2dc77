//! Proves that `on_open` runs on every connection to a server, also on those that replace a lost one, and that what it
//! sets stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_session_store::diesel::{RunQueryDsl, dsl, sql_types};
use agent_session_store::{Error, Selection, SessionStore, StoreConnection};

use crate::common::{PgDb, new_event, session};

/// The names that the server has for the connections to this database, but for the one that asks.
fn names(db: &PgDb) -> Vec<String> {
    let names = "SELECT application_name FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    db.other().query(names, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

fn setting(store: &SessionStore, name: &'static str) -> String {
    let set = store.transaction(|tx| -> Result<String, Error> {
        let StoreConnection::Postgres(conn) = tx.connection() else { unreachable!("it is a server") };
        Ok(dsl::sql::<sql_types::Text>(&format!("SELECT current_setting('{name}')")).get_result(conn)?)
    });
    set.unwrap()
}

#[test]
fn it_runs_on_every_connection_also_on_those_that_replace_a_lost_one() {
    let Some(db) = PgDb::new() else { return };
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let store = SessionStore::builder().on_open(move |conn| {
        count.fetch_add(1, Ordering::SeqCst);
        conn.batch_execute("SET application_name = 'hooked'; SET work_mem = '7MB'; SET lock_timeout = 1")
    });
    let store = store.connect(&db.url()).unwrap();
    let use_all = || {
        store.update_session(&session("one")).unwrap();
        store.get_session("one").unwrap();
        store.export(std::io::sink(), Selection::all()).unwrap();
        store.transaction(|tx| tx.append_events("one", &[new_event("a")])).unwrap();
    };
    use_all();
    assert_eq!(names(&db), ["hooked"; 3]);
    assert_eq!(opened.load(Ordering::SeqCst), 3);
    assert_eq!(setting(&store, "work_mem"), "7MB");
    // The store's own settings are the last.
    assert_eq!(setting(&store, "lock_timeout"), "5s");
    let kill = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    db.other().execute(kill, &[]).unwrap();
    // The first call on each finds out.
    let _ = store.update_session(&session("one"));
    let _ = store.get_session("one");
    let _ = store.transaction(|tx| tx.last_event_index("one"));
    use_all();
    assert_eq!(names(&db), ["hooked"; 3]);
    assert_eq!(opened.load(Ordering::SeqCst), 6);
    assert_eq!(setting(&store, "work_mem"), "7MB");
}

#[test]
fn it_may_take_on_a_role_before_anything_is_created() {
    let Some(db) = PgDb::new() else { return };
    let role = format!("{}_role", db.name());
    db.admin(&format!("DROP ROLE IF EXISTS {role}"));
    db.admin(&format!("CREATE ROLE {role}"));
    db.other().batch_execute(&format!("GRANT CREATE, USAGE ON SCHEMA public TO {role}")).unwrap();
    let become_it = format!("SET ROLE {role}");
    let store = SessionStore::builder().on_open(move |conn| conn.batch_execute(&become_it)).connect(&db.url()).unwrap();
    store.update_session(&session("one")).unwrap();
    let owner = "SELECT tableowner::text FROM pg_tables WHERE tablename = 'sessions'";
    let owner: String = db.other().query_one(owner, &[]).unwrap().get(0);
    assert_eq!(owner, role);
    store.close().unwrap();
    db.other().batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
}

#[test]
fn an_error_fails_the_opening_and_says_nothing_of_the_statement() {
    let Some(db) = PgDb::ours() else { return };
    for (sql, says) in [
        ("SET work_mem = 'secret'", "on_open failed: invalid value for parameter \"…\""),
        ("SET work_mem TO TO 'secret'", "on_open failed: syntax error at or near \"…\""),
        ("SET secret = 7", "on_open failed: unrecognized configuration parameter \"…\""),
    ] {
        let failed = SessionStore::builder().on_open(|conn| conn.batch_execute(sql)).connect(&db.url()).unwrap_err();
        assert!(matches!(failed, Error::Open { .. }), "{failed:?}");
        assert!(failed.to_string().ends_with(says), "{failed}");
        assert!(!format!("{failed:?}").contains("secret"), "{failed:?}");
    }
}

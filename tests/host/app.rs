//! Proves that an application on Diesel can keep its own tables, connections and transactions, and has the sessions and
//! events among them.

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::prelude::*;
use agent_session_store::diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool, PooledConnection};
use agent_session_store::diesel::{self, r2d2};
use agent_session_store::schema::{events, sessions};
use agent_session_store::{Error, ListEventsRequest, MIGRATIONS, SessionEvent, SessionPersistDriver, SessionRecord};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::common::{TempDb, event, session, value};

pub(super) const HOST_MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/host_migrations");

diesel::table! {
    projects (id) {
        id -> BigInt,
        name -> Text,
        session_id -> Text,
    }
}

diesel::joinable!(projects -> sessions (session_id));
agent_session_store::allow_joins!(projects);

#[derive(Debug, PartialEq, Insertable, Queryable, Selectable)]
struct Project {
    id: i64,
    name: String,
    session_id: String,
}

fn project(id: i64, session_id: &str) -> Project {
    Project { id, name: format!("project {id}"), session_id: session_id.to_owned() }
}

/// What an application would set on each of its connections.
#[derive(Debug)]
struct Settings;

impl CustomizeConnection<SqliteConnection, r2d2::Error> for Settings {
    fn on_acquire(&self, conn: &mut SqliteConnection) -> Result<(), r2d2::Error> {
        conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON").map_err(r2d2::Error::QueryError)
    }
}

type HostConnection = PooledConnection<ConnectionManager<SqliteConnection>>;

/// The application: its file, and a pool of connections to it.
pub(super) struct Host {
    pub db: TempDb,
    pool: Pool<ConnectionManager<SqliteConnection>>,
}

impl Host {
    pub fn new(db: TempDb) -> Self {
        let manager = ConnectionManager::new(db.path().to_str().unwrap());
        let pool = Pool::builder().max_size(2).connection_customizer(Box::new(Settings)).build(manager).unwrap();
        Self { db, pool }
    }

    /// With both sets of migrations run, ours first.
    pub fn migrated() -> Self {
        let host = Self::new(TempDb::new());
        let mut conn = host.conn();
        conn.run_pending_migrations(MIGRATIONS).unwrap();
        conn.run_pending_migrations(HOST_MIGRATIONS).unwrap();
        host
    }

    pub fn conn(&self) -> HostConnection {
        self.pool.get().unwrap()
    }
}

#[test]
fn the_verbs_work_on_a_connection_from_a_pool() {
    let host = Host::migrated();
    let mut conn = host.conn();
    conn.update_session(&session("one")).unwrap();
    conn.insert_event(&event("e1", "one", 1)).unwrap();
    assert_eq!(host.conn().get_session("one").unwrap(), Some(session("one")));
    assert_eq!(conn.list_events(&ListEventsRequest::new("one")).unwrap().items, [event("e1", "one", 1)]);
}

#[test]
fn one_transaction_holds_the_applications_row_a_session_and_an_event() {
    let host = Host::migrated();
    let mut conn = host.conn();
    let write = |conn: &mut SqliteConnection| -> Result<(), Error> {
        conn.update_session(&session("one"))?;
        diesel::insert_into(projects::table).values(project(1, "one")).execute(conn)?;
        conn.insert_event(&event("e1", "one", 1))
    };
    let counts = || {
        let plain = host.db.plain();
        ["projects", "sessions", "events"].map(|table| value::<i64>(&plain, &format!("SELECT count(*) FROM {table}")))
    };

    let rolled_back: Result<(), Error> = conn.transaction(|conn| {
        write(conn)?;
        Err(diesel::result::Error::RollbackTransaction.into())
    });
    assert!(rolled_back.is_err());
    assert_eq!(counts(), [0, 0, 0]);

    conn.immediate_transaction(|conn| write(conn)).unwrap();
    assert_eq!(counts(), [1, 1, 1]);
}

/// As [`Error`] is made of Diesel's, an application's own error type can be made of both.
#[test]
fn an_error_of_the_applications_own_carries_ours_through_a_transaction() {
    #[derive(Debug)]
    enum HostError {
        Diesel(diesel::result::Error),
        Store(Error),
    }
    impl From<diesel::result::Error> for HostError {
        fn from(error: diesel::result::Error) -> Self {
            Self::Diesel(error)
        }
    }
    impl From<Error> for HostError {
        fn from(error: Error) -> Self {
            Self::Store(error)
        }
    }

    let host = Host::migrated();
    let mut conn = host.conn();
    let refused: Result<(), HostError> = conn.transaction(|conn| {
        conn.update_session(&session("one"))?;
        agent_session_store::Json::parse("no")?;
        Ok(())
    });
    assert!(matches!(refused, Err(HostError::Store(Error::InvalidJson { .. }))));
    let refused: Result<(), HostError> = conn.transaction(|conn| {
        conn.update_session(&session("one"))?;
        diesel::insert_into(projects::table).values(project(1, "nobody")).execute(conn)?;
        Ok(())
    });
    assert!(matches!(refused, Err(HostError::Diesel(diesel::result::Error::DatabaseError(..)))));
    assert_eq!(conn.get_session("one").unwrap(), None);
}

#[test]
fn records_are_joined_with_the_applications_tables() {
    let host = Host::migrated();
    let mut conn = host.conn();
    for id in ["one", "two"] {
        conn.update_session(&session(id)).unwrap();
        conn.insert_event(&event(&format!("{id}-1"), id, 1)).unwrap();
    }
    diesel::insert_into(projects::table).values([project(1, "one"), project(2, "one")]).execute(&mut conn).unwrap();

    let joined: Vec<(SessionRecord, String)> = sessions::table
        .inner_join(projects::table)
        .filter(sessions::agent.eq("claude"))
        .order(projects::id)
        .select((SessionRecord::as_select(), projects::name))
        .load(&mut conn)
        .unwrap();
    assert_eq!(joined, [(session("one"), "project 1".to_owned()), (session("one"), "project 2".to_owned())]);

    let with_events: Vec<(Project, SessionEvent)> = projects::table
        .inner_join(events::table.on(events::session_id.eq(projects::session_id)))
        .filter(projects::id.eq(2))
        .select((Project::as_select(), SessionEvent::as_select()))
        .load(&mut conn)
        .unwrap();
    assert_eq!(with_events, [(project(2, "one"), event("one-1", "one", 1))]);
}

/// The application's rows whose session is not there, or not yet.
#[test]
fn a_left_join_gives_a_record_or_none() {
    let host = Host::migrated();
    let mut conn = host.conn();
    conn.update_session(&session("one")).unwrap();
    conn.batch_execute("PRAGMA foreign_keys = OFF").unwrap();
    diesel::insert_into(projects::table).values([project(1, "one"), project(2, "gone")]).execute(&mut conn).unwrap();
    conn.batch_execute("PRAGMA foreign_keys = ON").unwrap();

    let joined: Vec<(i64, Option<SessionRecord>)> = projects::table
        .left_join(sessions::table)
        .order(projects::id)
        .select((projects::id, Option::<SessionRecord>::as_select()))
        .load(&mut conn)
        .unwrap();
    assert_eq!(joined, [(1, Some(session("one"))), (2, None)]);

    let joined: Vec<(String, Option<SessionEvent>)> = sessions::table
        .left_join(events::table.on(events::session_id.eq(sessions::id)))
        .select((sessions::id, Option::<SessionEvent>::as_select()))
        .load(&mut conn)
        .unwrap();
    assert_eq!(joined, [("one".to_owned(), None)]);

    // A row that is there and cannot be decoded is an error, and not none.
    host.db.plain().execute_batch("UPDATE sessions SET agent = x'00'").unwrap();
    let broken: QueryResult<Vec<Option<SessionRecord>>> =
        projects::table.left_join(sessions::table).select(Option::<SessionRecord>::as_select()).load(&mut conn);
    let error = Error::from(broken.unwrap_err());
    assert!(matches!(error, Error::Decode { table: "sessions", column: "agent", .. }), "{error}");
}

#[test]
fn records_are_written_by_the_applications_own_queries() {
    let host = Host::migrated();
    let mut conn = host.conn();
    diesel::insert_into(sessions::table).values(&session("one")).execute(&mut conn).unwrap();
    diesel::insert_into(events::table).values(&event("e1", "one", 1)).execute(&mut conn).unwrap();
    assert_eq!(conn.get_session("one").unwrap(), Some(session("one")));
    let found: SessionEvent = events::table.find("e1").select(SessionEvent::as_select()).first(&mut conn).unwrap();
    assert_eq!(found, event("e1", "one", 1));
    diesel::update(sessions::table.find("one")).set(sessions::sandbox_id.eq(None::<&str>)).execute(&mut conn).unwrap();
    assert_eq!(conn.get_session("one").unwrap(), Some(with!(session("one"), sandbox_id: None)));
}

/// A glob import takes no name from the standard library.
mod everything {
    use agent_session_store::*;

    pub fn read(text: &str) -> Result<Json, std::string::String> {
        Json::parse(text).map_err(|error| error.to_string())
    }
}

#[test]
fn everything_can_be_imported_at_once() {
    assert!(everything::read("1.0").is_ok() && everything::read("{").is_err());
}

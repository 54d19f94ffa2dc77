//! Databases on a PostgreSQL server, each made for one test and dropped after it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Once};
use std::time::{Duration, Instant};

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, PgConnection};
use agent_session_store::migrate;

/// The server's URL, without a database.
static SERVER: LazyLock<Option<String>> = LazyLock::new(|| {
    let given = std::env::var("AGENT_SESSIONS_TEST_POSTGRES").ok();
    let url = given.unwrap_or_else(|| "postgres://postgres@127.0.0.1:5432".to_owned());
    match PgConnection::establish(&format!("{url}/postgres")) {
        Ok(_) => Some(url),
        Err(error) if std::env::var_os("CI").is_some() => {
            panic!("no PostgreSQL server at {url}, and with CI set its tests are not skipped: {error}")
        }
        Err(_) => None,
    }
});

/// A database of one test's own.
pub struct PgDb {
    server: &'static str,
    name: String,
}

impl PgDb {
    /// An empty database, or `None` where there is no server: the test is skipped then, and says so.
    pub fn new() -> Option<Self> {
        Self::created("")
    }

    /// The same, whose own order of texts is a language's.
    pub fn in_english() -> Option<Self> {
        Self::created("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
    }

    fn created(options: &str) -> Option<Self> {
        static SAID: Once = Once::new();
        let Some(server) = SERVER.as_deref() else {
            SAID.call_once(|| {
                // Not captured with a test's output.
                use std::io::Write;
                let said = "SKIPPED: the tests on PostgreSQL need a server at 127.0.0.1:5432, or one named by \
                            AGENT_SESSIONS_TEST_POSTGRES (postgres://user@host:port)";
                let _ = writeln!(std::io::stderr(), "\n{said}\n");
            });
            return None;
        };
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("agent_sessions_test_{}_{number}", std::process::id());
        let db = Self { server, name };
        db.admin(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", db.name));
        db.admin(&format!("CREATE DATABASE {} {options}", db.name));
        Some(db)
    }

    /// The same, migrated.
    pub fn ours() -> Option<Self> {
        let db = Self::new()?;
        migrate(&mut db.connect()).unwrap();
        Some(db)
    }

    /// A database that these statements have made.
    pub fn with(sql: &str) -> Option<Self> {
        let db = Self::new()?;
        db.connect().batch_execute(sql).unwrap();
        Some(db)
    }

    /// A dump from `tests/fixtures/`.
    pub fn fixture(name: &str) -> Option<Self> {
        let dump = std::fs::read_to_string(super::fixture_path(name)).unwrap();
        Self::with(&dump)
    }

    /// Runs a statement in another database of the server.
    pub fn admin(&self, sql: &str) {
        PgConnection::establish(&format!("{}/postgres", self.server)).unwrap().batch_execute(sql).unwrap();
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    /// A Diesel connection, as it comes.
    pub fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.url()).unwrap()
    }

    /// Another client.
    pub fn other(&self) -> postgres::Client {
        postgres::Client::connect(&self.url(), postgres::NoTls).unwrap()
    }

    /// Returns once a connection to this database waits for a lock that another one has.
    pub fn wait_until_one_waits(&self) {
        let mut looking = self.other();
        let waits = "SELECT count(*) FROM pg_stat_activity \
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let deadline = Instant::now() + Duration::from_secs(60);
        while looking.query_one(waits, &[]).unwrap().get::<_, i64>(0) == 0 {
            assert!(Instant::now() < deadline, "nobody waits");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The name of a new, empty schema.
    pub fn schema(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("schema_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.connect().batch_execute(&format!("CREATE SCHEMA {name}")).unwrap();
        name
    }

    /// A connection to a new, migrated schema. It does not wait for the disk.
    pub fn connect_to_schema(&self) -> PgConnection {
        let schema = self.schema();
        let mut conn = self.connect();
        conn.batch_execute(&format!("SET search_path TO {schema}; SET synchronous_commit TO off")).unwrap();
        migrate(&mut conn).unwrap();
        conn
    }
}

impl Drop for PgDb {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // A test that failed may have stopped the server.
        if let Ok(mut conn) = PgConnection::establish(&format!("{}/postgres", self.server)) {
            let _ = conn.batch_execute(&drop);
        }
    }
}

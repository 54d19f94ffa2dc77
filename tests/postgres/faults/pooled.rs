//! Proves that stores that know of it work through PgBouncer's transaction mode, which gives each transaction whatever
//! server connection is free: with their tables, and with those of no other role.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use agent_session_store::diesel::PgConnection;
use agent_session_store::diesel::connection::{CacheSize, Connection};
use agent_session_store::{Error, ListEventsRequest, SessionPersistDriver, SessionStore};
use tempfile::TempDir;

use crate::common::own_server::{OwnServer, shared_server};
use crate::common::{new_event, session};

pub struct Pool {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Pool {
    /// A pool of three connections for each role, in front of the server; nothing where none is installed.
    pub fn new(server: &OwnServer, roles: &[&str]) -> Option<Self> {
        if Command::new("pgbouncer").arg("--version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "CI has to have pgbouncer");
            let _ = writeln!(std::io::stderr(), "\nSKIPPED: pgbouncer is not installed\n");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let users = folder.path().join("users");
        fs::write(&users, roles.iter().map(|role| format!("\"{role}\" \"\"\n")).collect::<String>()).unwrap();
        let settings = folder.path().join("settings");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = trust\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 3\nunix_socket_dir =\n",
            server.port(),
            users.display()
        );
        fs::write(&settings, text).unwrap();
        server.give(folder.path());
        let mut command = server.program("pgbouncer");
        let process = command.arg("--quiet").arg(settings).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the pool does not start");
            thread::sleep(Duration::from_millis(20));
        }
        Some(Self { process, port, _folder: folder })
    }

    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn stores_of_two_roles_share_a_pool_and_nothing_else() {
    let Some(server) = shared_server() else { return };
    let database = server.database();
    let roles = ["pooled_one", "pooled_two"];
    for role in roles {
        server.run(
            &database,
            &format!(
                "CREATE ROLE {role} LOGIN; CREATE SCHEMA {role} AUTHORIZATION {role}; \
                 ALTER ROLE {role} IN DATABASE {database} SET search_path = {role}"
            ),
        );
    }
    let Some(pool) = Pool::new(&server, &roles) else { return };
    let connect = |role| SessionStore::builder().transaction_pooling(true).connect(&pool.url(role, &database)).unwrap();
    let stores: Vec<(&str, SessionStore)> =
        (0..6).map(|number| roles[number % 2]).map(|role| (role, connect(role))).collect();
    thread::scope(|scope| {
        for (number, (role, store)) in stores.iter().enumerate() {
            for caller in 0..3 {
                scope.spawn(move || {
                    for event in 0..25 {
                        let id = format!("{role}-{number}-{caller}-{event}");
                        store.append_events("one", &[new_event(&id)]).unwrap();
                        store.update_session(&session(role)).unwrap();
                        let page = store.list_events(&ListEventsRequest::new("one").limit(10)).unwrap();
                        assert!(
                            page.items.iter().all(|event| event.id.starts_with(role)),
                            "{role} sees others' events"
                        );
                    }
                });
            }
        }
    });
    for role in roles {
        let store = connect(role);
        let events: Vec<_> = store.events(ListEventsRequest::new("one")).map(Result::unwrap).collect();
        let indexes: Vec<i64> = events.iter().map(|event| event.event_index).collect();
        assert_eq!(indexes, (1..=3 * 3 * 25).collect::<Vec<_>>());
        assert_eq!(store.stats().unwrap().sessions, 1);
        assert!(store.check().unwrap().is_sound());
        let mut lines = Vec::new();
        store.export(&mut lines, agent_session_store::Selection::all()).unwrap();
        store.delete_session("one").unwrap();
        store.import(&*lines).unwrap();
        assert_eq!(store.last_event_index("one").unwrap(), Some(3 * 3 * 25));
    }
    // A connection of the application's own.
    let mut conn = PgConnection::establish(&pool.url(roles[0], &database)).unwrap();
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    let next = conn.transaction(|conn| conn.append_events("one", &[new_event("own")]));
    assert_eq!(next.unwrap(), [3 * 3 * 25 + 1]);
}

/// What it would have to set on a connection, others would have too.
#[test]
fn what_a_pool_would_lose_is_refused() {
    for builder in [SessionStore::builder().schema("one"), SessionStore::builder().read_only(true)] {
        let result = builder.transaction_pooling(true).connect("postgres://nobody@127.0.0.1:1/none");
        assert!(matches!(result, Err(Error::Unsupported { .. })), "{result:?}");
    }
}

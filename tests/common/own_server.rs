//! A PostgreSQL server of a test's own, which may be stopped, killed and filled: started from the installed programs, in
//! a temporary folder, by a user who is not root.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Once, Weak};
use std::thread;
use std::time::{Duration, Instant};

use agent_session_store::diesel::connection::SimpleConnection;
use agent_session_store::diesel::{Connection, PgConnection};
use tempfile::TempDir;

use super::Random;

/// The folder of the server's programs; nothing where there is none. CI must have it.
static PROGRAMS: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let named = Command::new("pg_config").arg("--bindir").output();
    let named = named.ok().and_then(|output| Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim())));
    // As Debian has them, the newest last.
    let mut installed: Vec<_> = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().collect();
    installed.sort_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    let installed = installed.into_iter().rev().map(|entry| entry.path().join("bin"));
    let found = named.into_iter().chain(installed).find(|folder| folder.join("initdb").exists());
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "CI has to have the programs of a PostgreSQL server");
    found
});

/// `nobody`, who runs the server if the tests run as root, which the server refuses.
const NOBODY: u32 = 65_534;

/// Everyone may come in by name from this machine, except those whose names say otherwise.
const ACCESS: &str = "\
    local all all trust\n\
    hostnossl only_tls all 127.0.0.1/32 reject\n\
    host all with_password 127.0.0.1/32 scram-sha-256\n\
    host all all 127.0.0.1/32 trust\n\
    host replication all 127.0.0.1/32 trust\n";

pub struct OwnServer {
    /// Removed after the server has been stopped.
    _temporary: Option<TempDir>,
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl OwnServer {
    /// A new server with these lines in its configuration; nothing where none is installed.
    pub fn new(settings: &str) -> Option<Self> {
        let temporary = TempDir::new().unwrap();
        let folder = temporary.path().to_owned();
        Self::in_folder(Some(temporary), folder, settings)
    }

    /// The same in a folder, such as that of a small disk.
    pub fn on(folder: &Path, settings: &str) -> Option<Self> {
        Self::in_folder(None, folder.to_owned(), settings)
    }

    fn in_folder(temporary: Option<TempDir>, folder: PathBuf, settings: &str) -> Option<Self> {
        let mut server = Self::unstarted(temporary, folder)?;
        let initdb = server
            .program("initdb")
            // What is in a small disk is mostly the log: its files are to be small.
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale=C",
                "--wal-segsize=1",
            ])
            .arg("-D")
            .arg(server.data())
            .output()
            .unwrap();
        assert!(initdb.status.success(), "{}", String::from_utf8_lossy(&initdb.stderr));
        fs::write(server.data().join("pg_hba.conf"), ACCESS).unwrap();
        // The operating system goes on, so that nothing need reach the disk.
        server.configure(&format!("fsync = off\nmin_wal_size = 2MB\nmax_wal_size = 8MB\n{settings}\n"));
        server.start();
        Some(server)
    }

    fn unstarted(temporary: Option<TempDir>, folder: PathBuf) -> Option<Self> {
        if PROGRAMS.is_none() {
            static SAID: Once = Once::new();
            // Not captured with a test's output.
            let say = || writeln!(std::io::stderr(), "\nSKIPPED: there is no PostgreSQL server to start\n");
            SAID.call_once(|| drop(say()));
            return None;
        }
        if is_root(&folder) {
            chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        // Below those that the system gives to clients, which might have it when the server comes back.
        let mut random = Random::from_clock();
        let ports = std::iter::repeat_with(|| 16_384 + random.below(16_000) as u16);
        let port = ports.take(1_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
        Some(Self { _temporary: temporary, folder, port, process: None })
    }

    /// Adds lines to its configuration, for the next start.
    pub fn configure(&self, settings: &str) {
        let path = self.data().join("postgresql.conf");
        let mut file = File::options().append(true).open(path).unwrap();
        file.write_all(settings.as_bytes()).unwrap();
    }

    /// A standby of this server, which follows it.
    pub fn standby(&self) -> Self {
        let temporary = TempDir::new().unwrap();
        let folder = temporary.path().to_owned();
        let mut standby = Self::unstarted(Some(temporary), folder).unwrap();
        let copied = standby
            .program("pg_basebackup")
            .args([
                "--no-sync",
                "--write-recovery-conf",
                "--checkpoint=fast",
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
                "-p",
            ])
            .arg(self.port.to_string())
            .arg("-D")
            .arg(standby.data())
            .output()
            .unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        standby.start();
        standby
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lets the server's user own another folder.
    pub fn give(&self, folder: &Path) {
        let owner = fs::metadata(&self.folder).unwrap();
        chown(folder, Some(owner.uid()), Some(owner.gid())).unwrap();
    }

    /// One of the server's programs, or any other, as its user.
    pub fn program(&self, name: &str) -> Command {
        let ours = PROGRAMS.as_ref().unwrap().join(name);
        let mut command = Command::new(if ours.exists() { ours } else { name.into() });
        if fs::metadata(&self.folder).unwrap().uid() == NOBODY {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.current_dir(&self.folder);
        command
    }

    /// Starts it, and returns once it lets someone in.
    pub fn start(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            let process = match &mut self.process {
                Some(process) => process,
                None => {
                    let log = File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
                    let mut command = self.program("postgres");
                    command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-h", "127.0.0.1"]);
                    command.arg("-k").arg(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
                    self.process.insert(command.spawn().unwrap())
                }
            };
            // It does not start while processes of one that was killed are still there.
            if process.try_wait().unwrap().is_some() {
                self.process = None;
            } else if PgConnection::establish(&self.url("postgres")).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("the server does not start: {}", fs::read_to_string(self.folder.join("log")).unwrap());
    }

    /// Stops it in one of its ways: `INT` is fast, `QUIT` immediate, and `KILL` is none of its ways.
    pub fn stop(&mut self, signal: &str) {
        if let Some(mut process) = self.process.take() {
            let id = process.id().to_string();
            assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
            process.wait().unwrap();
        }
    }

    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// For a role, with its password if need be: `name:password`.
    pub fn url_as(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn connect(&self, database: &str) -> PgConnection {
        PgConnection::establish(&self.url(database)).unwrap()
    }

    /// Runs statements in a database.
    pub fn run(&self, database: &str, sql: &str) {
        self.connect(database).batch_execute(sql).unwrap();
    }

    /// A new, empty database; returns its name.
    pub fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("database_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name} STRATEGY file_copy"));
        name
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Immediately, whatever its clients are doing.
            let _ = Command::new("kill").args(["-QUIT", &process.id().to_string()]).status();
            let _ = process.wait();
        }
    }
}

/// Whether the tests run as root, who has just made this folder.
fn is_root(folder: &Path) -> bool {
    fs::metadata(folder).unwrap().uid() == 0
}

/// One server for all tests that leave it running, while any of them runs.
pub fn shared_server() -> Option<Arc<OwnServer>> {
    static SHARED: Mutex<Weak<OwnServer>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(OwnServer::new("max_connections = 60")?);
    *shared = Arc::downgrade(&server);
    Some(server)
}

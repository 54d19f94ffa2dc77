//! The example's service in a process of its own, which can be killed.

use std::path::Path;

use agent_session_store::AsyncSessionStore;

use crate::common::process::{Process, child, say, task, wait};
use crate::service::app;

/// Does nothing by itself; the tests run it in processes of their own.
#[test]
fn serves() {
    let Some(task) = task() else { return };
    let [path] = task.try_into().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = AsyncSessionStore::open(path).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        say(&format!("http://{}", listener.local_addr().unwrap()));
        let closing = store.clone();
        let end = async move {
            tokio::task::spawn_blocking(wait).await.unwrap();
            closing.close().await.unwrap();
        };
        axum::serve(listener, app(store)).with_graceful_shutdown(end).await.unwrap();
    });
}

pub struct Server {
    pub process: Process,
    pub url: String,
}

impl Server {
    pub fn start(database: &Path) -> Self {
        let process = Process::start(child(serves, &database.display().to_string()));
        let url = process.lines().find(|line| line.starts_with("http://")).expect("it serves");
        Self { process, url }
    }

    /// The address of a session's events.
    pub fn events(&self, session_id: &str) -> String {
        format!("{}/sessions/{session_id}/events", self.url)
    }

    /// The memory that it has, in bytes.
    #[cfg(target_os = "linux")]
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

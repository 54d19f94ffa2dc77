//! A web service that streams sessions as they happen: `cargo run --example live --features async`.
//!
//! ```text
//! cargo run --example live --features async                                # a database in a temporary folder
//! cargo run --example live --features async -- sessions.db 127.0.0.1:3000  # a file, and where to listen
//! ```
//!
//! Any number of these can serve one file.

mod service;

use std::error::Error;
use std::time::Duration;

use agent_session_store::AsyncSessionStore;
use tokio::net::TcpListener;

/// How long a client that does not read can hold up the end.
const LONGEST_END: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = tempfile::tempdir()?;
    let path = arguments.next().map_or_else(|| folder.path().join("sessions.db"), Into::into);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());

    let store = AsyncSessionStore::open(&path).await?;
    let listener = TcpListener::bind(&address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("{url}");
    println!("Open it in a browser, or follow a session and append to it:");
    println!("  curl -N {url}/sessions/demo/events");
    println!(
        "  curl {url}/sessions/demo/events -H 'content-type: application/json' -d '[{{\"id\":\"event-1\",\"createdAt\":0,\
         \"connectionId\":\"c\",\"sender\":\"agent\",\"payload\":{{\"text\":\"hello\"}}}}]'"
    );
    println!("The sessions are in {}. Ctrl-C ends.", path.display());

    let (stop, stopped) = tokio::sync::oneshot::channel();
    let closing = store.clone();
    let end = async move {
        let _ = tokio::signal::ctrl_c().await;
        // The streams end with the store.
        let closed = closing.close().await;
        let _ = stop.send(closed);
    };
    let serving = axum::serve(listener, service::app(store)).with_graceful_shutdown(end);
    tokio::select! {
        served = serving.into_future() => served?,
        () = async {
            let _ = stopped.await;
            tokio::time::sleep(LONGEST_END).await;
        } => {}
    }
    Ok(())
}

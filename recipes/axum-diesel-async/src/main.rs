//! `cargo run -- postgres://user@host/database`, then `curl 127.0.0.1:3000/events?sessionId=…`.

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).expect("an argument: postgres://user@host/database");
    let pool = axum_diesel_async::open(&url).await.expect("the server can be reached");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await.expect("the port is free");
    axum::serve(listener, axum_diesel_async::app(pool)).await.expect("axum serves until it is stopped");
}

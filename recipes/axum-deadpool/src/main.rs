//! `cargo run -- sessions.db`, then `curl 127.0.0.1:3000/events?sessionId=…`.

#[tokio::main]
async fn main() {
    let path = std::env::args().nth(1).unwrap_or("sessions.db".to_owned());
    let pool = axum_deadpool::open(&path).await.expect("the database can be opened");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await.expect("the port is free");
    axum::serve(listener, axum_deadpool::app(pool)).await.expect("axum serves until it is stopped");
}

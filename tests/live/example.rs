//! Runs the example as a user does.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::client::{Events, post};

#[test]
fn the_example_says_where_it_is_and_shows_its_page() {
    let built = std::env::current_exe().unwrap();
    let built = built.parent().and_then(|folder| folder.parent()).unwrap().join("examples/live");
    // Where only this test was built, Cargo builds the example first.
    let mut command = if built.exists() {
        Command::new(built)
    } else {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["run", "--quiet", "--features", "async", "--example", "live", "--"]);
        cargo
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let mut example = command.arg(&path).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(example.stdout.take().unwrap()).lines();
    let url = lines.next().unwrap().unwrap();
    let page = ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("EventSource"), "{page}");
    let events = format!("{url}/sessions/demo/events");
    assert!(lines.any(|line| line.unwrap().contains(&events)));
    assert!(post(&events, &["one".to_owned()], 10));
    assert_eq!(Events::open(&events, None).unwrap().next().unwrap().id, "one");
    example.kill().unwrap();
    example.wait().unwrap();
}

//! A client over HTTP: it appends, and reads server-sent events line by line.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use agent_session_store::SessionEvent;

use crate::common::{json, new_event};

/// So that what hangs fails.
fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(120)));
    config.http_status_as_error(false).build().into()
}

/// Appends events with these ids, each with a payload of about this size, and returns whether the server said that they
/// are stored.
pub fn post(url: &str, ids: &[String], bytes: usize) -> bool {
    let text = json(&format!("\"{}\"", "x".repeat(bytes)));
    let events: Vec<_> = ids.iter().map(|id| with!(new_event(id), payload: text.clone())).collect();
    let body = serde_json::to_string(&events).unwrap();
    let answer = agent().post(url).header("content-type", "application/json").send(body);
    answer.is_ok_and(|answer| answer.status() == 201)
}

/// A connection that receives events.
pub struct Events {
    lines: std::io::Lines<BufReader<Box<dyn Read + Send + Sync>>>,
    /// The last one's, to be sent with the next connection.
    pub last_id: Option<String>,
}

impl Events {
    /// Connects, or returns the status and text of a refusal.
    pub fn open(url: &str, last_id: Option<String>) -> Result<Self, (u16, String)> {
        let mut request = agent().get(url);
        if let Some(id) = &last_id {
            request = request.header("last-event-id", id);
        }
        let mut answer = request.call().map_err(|error| (0, error.to_string()))?;
        if answer.status() != 200 {
            return Err((answer.status().as_u16(), answer.body_mut().read_to_string().unwrap_or_default()));
        }
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let reader: Box<dyn Read + Send + Sync> = Box::new(answer.into_body().into_reader());
        Ok(Self { lines: BufReader::new(reader).lines(), last_id })
    }
}

/// Until the connection ends.
impl Iterator for Events {
    type Item = SessionEvent;

    fn next(&mut self) -> Option<SessionEvent> {
        let (mut id, mut data) = (None, None);
        loop {
            let line = self.lines.next()?.ok()?;
            match line.split_once(": ") {
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("data", value)) => data = Some(value.to_owned()),
                Some(("event", kind)) => panic!("{kind}"),
                // A comment, which keeps the connection.
                _ if !line.is_empty() => {}
                _ => {
                    if let Some(data) = data.take() {
                        self.last_id = id;
                        return Some(serde_json::from_str(&data).unwrap());
                    }
                }
            }
        }
    }
}

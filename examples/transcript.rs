//! Prints the sessions of a database and what was said in them.
//!
//! ```text
//! cargo run --example transcript                   # a copy of a database that comes with the crate
//! cargo run --example transcript -- path/to/file   # your own, which is migrated first
//! cargo run --features postgres --example transcript -- postgres://user@host/database
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use agent_session_store::{ListEventsRequest, ListSessionsRequest, Sender, SessionEvent, SessionRecord, SessionStore};
use chrono::{DateTime, Utc};
use serde_json::Value;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // The reader, such as `head`, has closed the pipe.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run() -> Result<(), Box<dyn Error>> {
    // Kept alive as long as the copy in it is in use.
    let folder = tempfile::tempdir()?;
    let store = match std::env::args().nth(1) {
        Some(url) if url.contains("://") => {
            println!("Opening the database. One that is not in this crate's schema yet is migrated now.");
            SessionStore::connect(&url)?
        }
        Some(path) => {
            if !Path::new(&path).is_file() {
                return Err(format!("there is no file {path}").into());
            }
            println!("Opening {path}. A file that is not in this crate's schema yet is migrated now.");
            SessionStore::open(&path)?
        }
        None => {
            let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sdk-0.4.2.db");
            println!("Opening a copy of {} (give a path or a URL to open another database).", bundled.display());
            let copy = folder.path().join("sessions.db");
            std::fs::copy(&bundled, &copy)?;
            SessionStore::open(&copy)?
        }
    };
    print(&store, BufWriter::new(io::stdout().lock()))
}

fn print(store: &SessionStore, mut out: impl Write) -> Result<(), Box<dyn Error>> {
    let mut request = ListSessionsRequest::new();
    loop {
        let page = store.list_sessions(&request)?;
        for session in &page.items {
            print_session(store, session, &mut out)?;
        }
        let Some(cursor) = page.next_cursor else { break };
        request = request.cursor(cursor);
    }
    Ok(out.flush()?)
}

fn print_session(store: &SessionStore, session: &SessionRecord, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    writeln!(out, "\n━━ {} · {} · {}", session.id, session.agent, time(session.created_at))?;
    let init: Option<Value> = session.session_init.as_ref().and_then(|init| init.decode().ok());
    if let Some(folder) = init.as_ref().and_then(|init| init["cwd"].as_str()) {
        writeln!(out, "   in {folder}")?;
    }
    if let Some(sandbox) = &session.sandbox_id {
        writeln!(out, "   sandbox {sandbox}")?;
    }
    if let Some(end) = session.destroyed_at {
        writeln!(out, "   ended {}", time(end))?;
    }

    let mut transcript = Transcript::default();
    let mut request = ListEventsRequest::new(&session.id);
    loop {
        let page = store.list_events(&request)?;
        for event in &page.items {
            transcript.read(event);
        }
        let Some(cursor) = page.next_cursor else { break };
        request = request.cursor(cursor);
    }
    if transcript.entries.is_empty() {
        writeln!(out, "   (no events)")?;
    }
    for entry in transcript.entries.iter().filter(|entry| !entry.text.is_empty()) {
        writeln!(out)?;
        for (number, line) in entry.text.lines().enumerate() {
            let who = if number == 0 { entry.who } else { "" };
            writeln!(out, "{who:>9}  {line}")?;
        }
    }
    Ok(())
}

fn time(time: DateTime<Utc>) -> String {
    format!("{} UTC", time.naive_utc())
}

/// The conversation, in order, with the pieces of a message joined.
#[derive(Default)]
struct Transcript {
    entries: Vec<Entry>,
    /// The called methods, by request id.
    calls: HashMap<String, String>,
}

struct Entry {
    who: &'static str,
    text: String,
    /// Whether the next piece of the same speaker continues it.
    open: bool,
}

impl Transcript {
    fn add(&mut self, who: &'static str, text: impl Into<String>) {
        self.entries.push(Entry { who, text: printable(&text.into()), open: false });
    }

    /// Appends a piece of a message to the previous one if it has the same speaker.
    fn add_chunk(&mut self, who: &'static str, text: &str) {
        let text = printable(text);
        match self.entries.last_mut() {
            Some(last) if last.open && last.who == who => last.text.push_str(&text),
            _ => self.entries.push(Entry { who, text, open: true }),
        }
    }

    fn read(&mut self, event: &SessionEvent) {
        let who = match event.sender {
            Sender::Client => "user",
            Sender::Agent => "agent",
        };
        // A payload can be any JSON; some of it (half an emoji, say) cannot be parsed into a tree of values.
        let Ok(payload) = event.payload.decode::<Value>() else {
            return self.add(who, event.payload.get());
        };
        let params = &payload["params"];
        match payload["method"].as_str() {
            Some("session/prompt") => {
                self.remember(&payload, "session/prompt");
                self.add(who, texts(&params["prompt"]));
            }
            Some("session/update") => self.read_update(&params["update"]),
            Some("_sandboxagent/opencode/message") => self.add(who, texts(&params["message"]["parts"])),
            Some(method) => {
                self.remember(&payload, method);
                self.add(who, format!("[{}]", method_and_details(method, params)));
            }
            None => self.read_answer(who, &payload),
        }
    }

    fn read_update(&mut self, update: &Value) {
        let kind = update["sessionUpdate"].as_str().unwrap_or("update");
        match kind {
            "agent_message_chunk" => self.add_chunk("agent", &content(&update["content"])),
            "agent_thought_chunk" => self.add_chunk("(thinks)", &content(&update["content"])),
            "user_message_chunk" => self.add_chunk("user", &content(&update["content"])),
            "tool_call" | "tool_call_update" => {
                let title = update["title"].as_str().or(update["toolCallId"].as_str()).unwrap_or("a tool");
                let mut text = format!("{title} [{}]", update["status"].as_str().unwrap_or("called"));
                for place in list(&update["locations"]) {
                    text.push_str(&format!("\n{}", place["path"].as_str().unwrap_or_default()));
                }
                self.add("tool", text);
            }
            "plan" => {
                let lines = list(&update["entries"]).iter().map(|entry| {
                    let mark = if entry["status"] == "completed" { 'x' } else { ' ' };
                    format!("[{mark}] {}", entry["content"].as_str().unwrap_or_default())
                });
                self.add("plan", lines.collect::<Vec<_>>().join("\n"));
            }
            "usage_update" => self.add("agent", format!("[used {} of {} tokens]", update["used"], update["size"])),
            "current_mode_update" => self.add("agent", format!("[mode {}]", update["currentModeId"])),
            other => self.add("agent", format!("[{other}]")),
        }
    }

    fn remember(&mut self, payload: &Value, method: &str) {
        if !payload["id"].is_null() {
            self.calls.insert(payload["id"].to_string(), method.to_owned());
        }
    }

    /// The response to a call: printed if it says how the call ended.
    fn read_answer(&mut self, who: &'static str, payload: &Value) {
        let method = self.calls.remove(&payload["id"].to_string()).unwrap_or_else(|| "answer".to_owned());
        if let Some(message) = payload["error"]["message"].as_str() {
            self.add(who, format!("[{method} failed: {message}]"));
        } else if let Some(reason) = payload["result"]["stopReason"].as_str() {
            self.add(who, format!("[{reason}]"));
        }
    }
}

/// The name of a method, and those of its parameters that are meaningful on their own.
fn method_and_details(method: &str, params: &Value) -> String {
    let details = ["cwd", "modeId", "configId", "value", "status"].iter().filter_map(|name| params[name].as_str());
    std::iter::once(method).chain(details).collect::<Vec<_>>().join(" ")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text of a list of content blocks.
fn texts(blocks: &Value) -> String {
    list(blocks).iter().map(content).collect::<Vec<_>>().join("\n")
}

/// A content block as text: its content, or its kind.
fn content(block: &Value) -> String {
    match (block["text"].as_str(), block["type"].as_str()) {
        (Some(text), _) => text.to_owned(),
        (None, kind) => format!("[{}]", kind.unwrap_or("content")),
    }
}

/// The text without terminal control characters.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() && character != '\n' { '·' } else { character }).collect()
}

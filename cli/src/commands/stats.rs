//! `stats`: how much there is.

use std::io::Write;

use agent_session_store::SessionStats;
use clap::Args;
use comfy_table::{Cell, CellAlignment};

use crate::arguments::{Global, Looking};
use crate::failure::{Exit, Result};
use crate::output::Output;
use crate::place::Place;
use crate::printable;
use crate::session_choice::choose;
use crate::units::{count, size};

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions stats
  agent-sessions stats --sessions
  agent-sessions stats @1 --json";

/// Says how many sessions and events there are, and how large the database is
///
/// With --json and --sessions, each line is a session.
#[derive(Args, Debug)]
pub struct ShowStats {
    /// Only this session: its id, the beginning of it, or @1 for the latest
    #[arg(value_name = "ID")]
    session: Option<String>,
    /// Each session, which reads all events
    #[arg(long, conflicts_with = "session")]
    sessions: bool,
    #[command(flatten)]
    looking: Looking,
}

impl ShowStats {
    pub fn run(self, global: &Global) -> Result<Exit> {
        let store = Place::of(global)?.look(self.looking)?;
        let mut out = Output::new(global);
        if let Some(named) = &self.session {
            let id = choose(&store, named)?.id;
            let Some(stats) = store.get_session_stats(&id)? else {
                // It was deleted meanwhile.
                return self.empty(out, global, &id);
            };
            if global.json {
                out.json(&stats)?;
            } else {
                print(&mut out, number(stats.events), number(stats.payload_bytes))?;
            }
        } else if self.sessions {
            self.each(&mut out, global, store.session_stats()?)?;
        } else {
            let stats = store.stats()?;
            if global.json {
                out.json(&stats)?;
            } else {
                writeln!(out, "sessions  {}", count(stats.sessions))?;
                writeln!(out, "events    {}", count(stats.events))?;
                writeln!(out, "size      {}", size(stats.bytes))?;
                writeln!(out, "unused    {}", size(stats.unused_bytes))?;
            }
        }
        out.finish()?;
        Ok(Exit::Done)
    }

    fn empty(&self, mut out: Output, global: &Global, id: &str) -> Result<Exit> {
        if global.json {
            out.json(&serde_json::json!({ "sessionId": id, "events": 0, "payloadBytes": 0 }))?;
        } else {
            print(&mut out, 0, 0)?;
        }
        out.finish()?;
        Ok(Exit::Done)
    }

    fn each(&self, out: &mut Output, global: &Global, all: Vec<SessionStats>) -> Result<()> {
        if global.json {
            return all.iter().try_for_each(|stats| out.json(stats));
        }
        let mut table = out.look().table(&["id", "events", "payloads"]);
        for stats in &all {
            table.add_row([
                Cell::new(printable::line(&stats.session_id)),
                Cell::new(count(number(stats.events))).set_alignment(CellAlignment::Right),
                Cell::new(size(number(stats.payload_bytes))).set_alignment(CellAlignment::Right),
            ]);
        }
        out.table(&table)
    }
}

fn print(out: &mut Output, events: u64, bytes: u64) -> Result<()> {
    writeln!(out, "events    {}", count(events))?;
    Ok(writeln!(out, "payloads  {}", size(bytes))?)
}

fn number(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

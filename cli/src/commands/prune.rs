//! `prune`: deletes what rules select.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use agent_session_store::{PruneReport, PruneRequest, SessionStore};
use chrono::{DateTime, Utc};
use clap::Args;

use crate::arguments::Global;
use crate::failure::{Exit, Failure, Result, warn};
use crate::output::Output;
use crate::place::Place;
use crate::session_choice::choose;
use crate::units::{count, counted, local, parse_size, parse_time, size};

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions prune --inactive-before 90d
  agent-sessions prune --session 3f0c --dry-run
  agent-sessions prune --max-bytes 20GB --archive old.jsonl.zst --yes";

/// Deletes what the given rules select, after it has shown that and asked
///
/// Each rule selects on its own. Times are dates, times, or how long ago (90d). When it is interrupted, what it has deleted
/// stays deleted; run it again for the rest.
#[derive(Args, Debug)]
pub struct Prune {
    /// This session: its id, the beginning of it, or @1 for the latest. Can be given several times
    #[arg(long, value_name = "ID")]
    session: Vec<String>,
    /// Sessions that ended before
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    ended_before: Option<DateTime<Utc>>,
    /// Sessions that began before, ended or not
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    began_before: Option<DateTime<Utc>>,
    /// Sessions in which nothing has happened since
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    inactive_before: Option<DateTime<Utc>>,
    /// The oldest events of each session, beyond this many
    #[arg(long, value_name = "NUMBER")]
    max_events: Option<u32>,
    /// The least recently active sessions, until the payloads of the others fit into this size (20GB)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_bytes: Option<u64>,
    /// Events older than this whose session has no record
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    orphans_before: Option<DateTime<Utc>>,
    /// First export what goes to this new file, compressed if its name ends in .zst
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Return the space to the file system afterwards, which may take long
    #[arg(long)]
    reclaim: bool,
    /// Only show what would go
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

impl Prune {
    pub fn run(self, global: &Global) -> Result<Exit> {
        let place = Place::of(global)?;
        let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
        if !self.yes && !self.dry_run && !can_ask {
            return Err(Failure::usage(
                "there is nobody to ask: pass --yes to delete, or --dry-run to see what would go",
            ));
        }
        let looked = place.look_as_it_is()?;
        let (request, rules) = self.request(&looked)?;
        if self.dry_run {
            return report(global, "would delete", looked.prune(&request.dry_run())?);
        }
        if !self.yes {
            let doomed = looked.prune(&request.clone().dry_run())?;
            for rule in &rules {
                warn(&format!("  {rule}"));
            }
            if doomed == PruneReport::default() {
                return report(global, "nothing to delete:", doomed);
            }
            if !asked(&format!("Delete {}? [y/N] ", shown(doomed)))? {
                warn("nothing was deleted");
                return Ok(Exit::No);
            }
        }
        looked.close()?;
        let store = place.write()?;
        let request = match self.archive {
            Some(path) => request.archive_to(path),
            None => request,
        };
        let request = if self.reclaim { request.reclaim_space() } else { request };
        let done = store.prune(&request);
        store.close()?;
        report(global, "deleted", done?)
    }

    /// The request, and its rules in words.
    fn request(&self, store: &SessionStore) -> Result<(PruneRequest, Vec<String>)> {
        let mut request = PruneRequest::new();
        let mut rules = Vec::new();
        for named in &self.session {
            let id = choose(store, named)?.id;
            rules.push(format!("the session {id}"));
            request = request.session(id);
        }
        if let Some(time) = self.ended_before {
            rules.push(format!("sessions that ended before {}", local(time)));
            request = request.destroyed_before(time);
        }
        if let Some(time) = self.began_before {
            rules.push(format!("sessions that began before {}", local(time)));
            request = request.created_before(time);
        }
        if let Some(time) = self.inactive_before {
            rules.push(format!("sessions in which nothing has happened since {}", local(time)));
            request = request.inactive_before(time);
        }
        if let Some(events) = self.max_events {
            rules.push(format!("of each session the oldest events, beyond {}", count(u64::from(events))));
            request = request.max_events_per_session(events);
        }
        if let Some(bytes) = self.max_bytes {
            rules.push(format!("the least recently active sessions, beyond {}", size(bytes)));
            request = request.max_total_bytes(bytes);
        }
        if let Some(time) = self.orphans_before {
            rules.push(format!("events of sessions without a record, from before {}", local(time)));
            request = request.orphans_before(time);
        }
        if rules.is_empty() {
            return Err(Failure::usage(
                "what should go? Give a rule, such as --inactive-before 90d; --help lists them",
            ));
        }
        Ok((request, rules))
    }
}

fn shown(report: PruneReport) -> String {
    format!("{} and {}", counted(report.sessions, "session"), counted(report.events, "event"))
}

fn report(global: &Global, what: &str, report: PruneReport) -> Result<Exit> {
    let mut out = Output::new(global);
    if global.json {
        out.json(&report)?;
    } else {
        writeln!(out, "{what} {}", shown(report))?;
    }
    out.finish()?;
    Ok(Exit::Done)
}

fn asked(question: &str) -> Result<bool> {
    let mut err = io::stderr();
    err.write_all(question.as_bytes())?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

//! `check`: looks for damage.

use std::io::Write;

use clap::Args;

use crate::arguments::{Global, Looking};
use crate::failure::{Exit, Result};
use crate::output::{BAD, GOOD, Output};
use crate::place::Place;
use crate::printable;
use crate::units::counted;

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions check
  agent-sessions check --json | jq .undecodable";

/// Looks for damage: exits with 1 if something is not sound
///
/// It reads everything and changes nothing. Sessions without a record and indexes that several events share are reported,
/// and lose nothing.
#[derive(Args, Debug)]
pub struct Check {
    #[command(flatten)]
    looking: Looking,
}

impl Check {
    pub fn run(self, global: &Global) -> Result<Exit> {
        let report = Place::of(global)?.look(self.looking)?.check()?;
        let mut out = Output::new(global);
        if global.json {
            out.json(&report)?;
        } else {
            let look = out.look();
            let is_sound = report.is_sound();
            writeln!(out, "{}", if is_sound { look.painted(GOOD, "sound") } else { look.painted(BAD, "not sound") })?;
            let legacy = report.has_events_legacy.then(|| {
                "a table events_legacy is left of an interrupted rebuild: `agent-sessions migrate` brings its events back".to_owned()
            });
            let findings = report.integrity.iter().chain(&report.undecodable).cloned().chain(legacy);
            let without_record =
                report.without_record.iter().map(|id| format!("session {id:?} has events and no record"));
            let shared = report.duplicate_indexes.iter().map(|shared| {
                let events = counted(u64::try_from(shared.events).unwrap_or(0), "event");
                format!("session {:?}: {events} share the index {}", shared.session_id, shared.event_index)
            });
            for finding in findings.chain(without_record).chain(shared) {
                writeln!(out, "{}", printable::line(&finding))?;
            }
        }
        out.finish()?;
        Ok(if report.is_sound() { Exit::Done } else { Exit::No })
    }
}

//! `import`: what `export` wrote.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use agent_session_store::Import;
use clap::Args;

use crate::arguments::Global;
use crate::failure::{Exit, Failure, Result, warn};
use crate::interrupt;
use crate::new_file::is_compressed;
use crate::output::Output;
use crate::place::Place;
use crate::progress::{Interruptible, Meter, Metered, said};

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions import all.jsonl.zst
  agent-sessions import --keep-existing archive.jsonl
  agent-sessions export --db old.db | agent-sessions import --db postgres://user@host/database";

/// Imports sessions from a file or from standard input, as export and prune --archive write them
///
/// A database file that does not exist is created; a server's database has to be migrated once. Each session is read to its end before any of it is stored. When it is
/// interrupted, the sessions up to there are stored, and none of them in part; import the file again for the rest. A second
/// Ctrl-C ends the process at once: of one long session some events may be stored then, without a record, which importing
/// again completes.
#[derive(Args, Debug)]
pub struct ImportFrom {
    /// The file, decompressed with zstd if its name ends in .zst; standard input if it is left out or -
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Add only what is missing: what is stored under the same id stays as it is
    #[arg(long)]
    keep_existing: bool,
}

impl ImportFrom {
    pub fn run(self, global: &Global) -> Result<Exit> {
        let place = Place::of(global)?;
        let (lines, meter) = lines(self.file.as_deref())?;
        let created = match &place {
            Place::File(path) if !path.exists() => Some(path.clone()),
            _ => None,
        };
        let store = place.write_or_create()?;
        let _asked = interrupt::asked_for();
        let import = Import::new(lines).progress(|done| meter.rows(done));
        let import = if self.keep_existing { import.keep_existing() } else { import };
        let done = store.import(import);
        meter.clear();
        let is_empty = done.is_err() && store.stats().is_ok_and(|stats| (stats.sessions, stats.events) == (0, 0));
        store.close()?;
        if let Some(path) = created.filter(|_| is_empty) {
            let _ = std::fs::remove_file(path);
        }
        let done = done.map_err(|error| match Failure::from(error) {
            Failure::Interrupted(line) => {
                let line = line.unwrap_or_else(|| "interrupted: nothing was imported".to_owned());
                Failure::Interrupted(Some(format!("{line}; import the file again for the rest")))
            }
            other => match &self.file {
                Some(path) => other.when(format!("cannot import {}", path.display())),
                None => other,
            },
        })?;
        let mut out = Output::new(global);
        if global.json {
            out.json(&done)?;
        } else {
            warn(&format!("imported {}", said(done)));
        }
        out.finish()?;
        Ok(Exit::Done)
    }
}

fn lines(file: Option<&Path>) -> Result<(Interruptible, Meter)> {
    let Some(path) = file.filter(|file| *file != Path::new("-")) else {
        return Ok((Interruptible::new(io::stdin())?, Meter::endless()));
    };
    let cannot = |error: io::Error| Failure::from(error).when(format!("cannot read {}", path.display()));
    let file = File::open(path).map_err(cannot)?;
    let found = file.metadata().map_err(cannot)?;
    let meter = if found.is_file() { Meter::bytes(found.len()) } else { Meter::endless() };
    let metered = Metered::new(file, meter.clone());
    let lines = if is_compressed(path) {
        Interruptible::new(zstd::stream::read::Decoder::new(metered).map_err(cannot)?)
    } else {
        Interruptible::new(metered)
    };
    Ok((lines?, meter))
}

//! `export`: sessions as lines of JSON.

use std::io::Write;
use std::path::{Path, PathBuf};

use agent_session_store::{Export, Progress, Selection, SessionStore};
use clap::Args;

use crate::arguments::{Global, Looking};
use crate::failure::{Exit, Failure, Result, warn};
use crate::interrupt;
use crate::new_file::NewFile;
use crate::output::Output;
use crate::place::Place;
use crate::progress::{Meter, said};
use crate::session_choice::choose;
use crate::session_filter::SessionFilter;

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions export all.jsonl.zst
  agent-sessions export --session @1 > one.jsonl
  agent-sessions export --agent claude --before 90d old.jsonl";

/// Writes sessions to a file or to standard output, as JSON Lines that import reads
///
/// The lines are a consistent snapshot. A file is there once it is complete, and compressed with zstd if its name ends in .zst;
/// it is private to its owner. An interrupted export leaves nothing.
#[derive(Args, Debug)]
pub struct ExportTo {
    /// The file, which must not exist; standard output if it is left out or -
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only this session: its id, the beginning of it, or @1 for the latest
    #[arg(long, value_name = "ID", conflicts_with = "SessionFilter")]
    session: Option<String>,
    #[command(flatten)]
    filter: SessionFilter,
    /// Leave out rows that cannot be decoded, and name them
    #[arg(long)]
    skip_undecodable: bool,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    looking: Looking,
}

impl ExportTo {
    pub fn run(self, global: &Global) -> Result<Exit> {
        // Not at once: what was begun has to go again.
        let _asked = interrupt::asked_for();
        let store = Place::of(global)?.look(self.looking)?;
        match self.file.as_deref().filter(|file| *file != Path::new("-")) {
            Some(path) => {
                let mut file = NewFile::begin(path, self.force)?;
                let (done, exit) = self.export(&store, &mut file)?;
                file.finish().map_err(|failure| failure.when("nothing was exported"))?;
                let mut out = Output::new(global);
                if global.json {
                    out.json(&done)?;
                } else {
                    warn(&format!("exported {}", said(done)));
                }
                out.finish()?;
                Ok(exit)
            }
            None => {
                let mut out = Output::new(global);
                if out.look().is_terminal {
                    return Err(Failure::usage(
                        "an export is not for a terminal: name a file, or pipe it into a program",
                    ));
                }
                let (done, exit) = self.export(&store, &mut out)?;
                out.finish()?;
                warn(&if global.json {
                    serde_json::json!(done).to_string()
                } else {
                    format!("exported {}", said(done))
                });
                Ok(exit)
            }
        }
    }

    fn export(&self, store: &SessionStore, out: &mut impl Write) -> Result<(Progress, Exit)> {
        let meter = Meter::endless();
        let mut left_out = 0_u64;
        let export = Export::of(self.selection(store)?).progress(|done| meter.rows(done));
        let done = if self.skip_undecodable {
            let export = export.skip_undecodable(|row| {
                left_out += 1;
                meter.warn(&format!("left out: {row}"));
            });
            store.export(out, export)
        } else {
            store.export(out, export)
        };
        meter.clear();
        let exit = if left_out == 0 { Exit::Done } else { Exit::Failed };
        match done {
            Ok(done) => Ok((done, exit)),
            Err(error @ agent_session_store::Error::Decode { .. }) => {
                Err(Failure::said(Exit::Failed, format!("{error}: --skip-undecodable leaves such rows out")))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn selection(&self, store: &SessionStore) -> Result<Selection> {
        if let Some(named) = &self.session {
            return Ok(Selection::session(choose(store, named)?.id));
        }
        // Events without a record are in no selection but that of everything.
        Ok(match self.filter.is_empty() {
            true => Selection::all(),
            false => Selection::matching(self.filter.request()),
        })
    }
}

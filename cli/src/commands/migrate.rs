//! `migrate`: brings a database up to date.

use std::io::Write;
use std::path::Path;

use agent_session_store::diesel::SqliteConnection;
use agent_session_store::{Error, SessionStore};
use clap::Args;
use serde::Serialize;

use crate::arguments::Global;
use crate::copying;
use crate::failure::{Exit, Result};
use crate::interrupt::ScratchFolder;
use crate::output::Output;
use crate::place::Place;
use crate::printable;
use crate::schema_changes::Schema;

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions migrate --dry-run
  agent-sessions backup before.db && agent-sessions migrate";

/// Migrates a database of any older format, of the TypeScript driver or of the sandbox-agent server
///
/// The migration is one transaction, and keeps every row and the tables of others. With --dry-run a temporary copy of the file
/// is migrated, and the changes are shown; the file stays as it is.
#[derive(Args, Debug)]
pub struct Migrate {
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    /// Create the file if it does not exist
    #[arg(long, conflicts_with = "dry_run")]
    create: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    /// Each table, index, view or trigger that changes.
    changes: Vec<String>,
}

impl Migrate {
    pub fn run(self, global: &Global) -> Result<Exit> {
        let place = Place::of(global)?;
        if !self.create {
            place.existing()?;
        }
        let changes = match &place {
            Place::File(path) if self.dry_run => on_copy(path)?,
            Place::File(path) if self.create && !path.exists() => {
                SessionStore::open(std::path::absolute(path)?)?.close()?;
                vec!["the file: created".to_owned()]
            }
            Place::File(path) => migrate(&mut copying::connect(path, "rw")?)?,
            Place::Server { .. } if self.dry_run => on_server(&place)?,
            Place::Server { .. } => {
                let changes = on_server(&place)?;
                place.migrated_server()?.close()?;
                changes
            }
        };
        let mut out = Output::new(global);
        let report = Report { dry_run: self.dry_run, changes };
        if global.json {
            out.json(&report)?;
        } else if report.changes.is_empty() {
            // A server may have been given indexes that are not needed.
            let is_done = matches!(place, Place::Server { .. }) && !self.dry_run;
            writeln!(out, "{}", if is_done { "up to date" } else { "nothing to migrate" })?;
        } else {
            writeln!(out, "{}", if self.dry_run { "would migrate:" } else { "migrated:" })?;
            for change in &report.changes {
                writeln!(out, "  {}", printable::line(change))?;
            }
        }
        out.finish()?;
        Ok(Exit::Done)
    }
}

fn migrate(conn: &mut SqliteConnection) -> Result<Vec<String>> {
    let before = Schema::read(conn)?;
    agent_session_store::migrate(conn)?;
    Ok(before.changes(&Schema::read(conn)?))
}

fn on_copy(path: &Path) -> Result<Vec<String>> {
    let folder = ScratchFolder::new()?;
    let copy = folder.path().join("copy.db");
    copying::copy(path, &copy)?;
    migrate(&mut copying::connect(&copy, "rw")?)
}

/// A server tells only why it has to be migrated: to try it would lock its tables.
fn on_server(place: &Place) -> Result<Vec<String>> {
    match place.read_only() {
        Ok(store) => {
            store.close()?;
            Ok(Vec::new())
        }
        Err(Error::MigrationNeeded { reason }) => Ok(vec![format!("the tables, because {reason}")]),
        Err(error) => Err(place.explain(error)),
    }
}

//! The commands, one a file: what each takes, and what it does.

mod backup;
mod check;
mod completions;
mod events;
mod export;
mod follow;
mod import;
mod list;
mod man;
mod migrate;
mod prune;
mod show;
mod stats;

use clap::Subcommand;

use crate::arguments::Arguments;
use crate::failure::{Exit, Result, warn};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(after_long_help = list::EXAMPLES)]
    List(list::List),
    #[command(after_long_help = show::EXAMPLES)]
    Show(show::Show),
    #[command(after_long_help = follow::EXAMPLES)]
    Follow(follow::Follow),
    #[command(after_long_help = events::EXAMPLES)]
    Events(events::Events),
    #[command(after_long_help = export::EXAMPLES)]
    Export(export::ExportTo),
    #[command(after_long_help = import::EXAMPLES)]
    Import(import::ImportFrom),
    #[command(after_long_help = backup::EXAMPLES)]
    Backup(backup::Backup),
    #[command(after_long_help = prune::EXAMPLES)]
    Prune(prune::Prune),
    #[command(after_long_help = check::EXAMPLES)]
    Check(check::Check),
    #[command(after_long_help = stats::EXAMPLES)]
    Stats(stats::ShowStats),
    #[command(after_long_help = migrate::EXAMPLES)]
    Migrate(migrate::Migrate),
    #[command(after_long_help = completions::EXAMPLES)]
    Completions(completions::Completions),
    #[command(after_long_help = man::EXAMPLES)]
    Man(man::Man),
}

pub fn run(arguments: Arguments) -> Result<Exit> {
    let Arguments { global, command } = arguments;
    match command {
        Command::List(list) => list.run(&global),
        Command::Show(show) => show.run(&global),
        Command::Follow(follow) => follow.run(&global),
        Command::Events(events) => events.run(&global),
        Command::Export(export) => export.run(&global),
        Command::Import(import) => import.run(&global),
        Command::Backup(backup) => backup.run(&global),
        Command::Prune(prune) => prune.run(&global),
        Command::Check(check) => check.run(&global),
        Command::Stats(stats) => stats.run(&global),
        Command::Migrate(migrate) => migrate.run(&global),
        Command::Completions(completions) => completions.run(&global),
        Command::Man(man) => man.run(&global),
    }
}

/// Rows that cannot be decoded are left out, and named on standard error.
#[derive(Debug, Default)]
struct LeftOut(u64);

impl LeftOut {
    /// The row, or `None` for one that is left out. Any other error ends the command.
    fn row<T>(&mut self, row: Result<T, agent_session_store::Error>) -> Result<Option<T>> {
        match row {
            Ok(row) => Ok(Some(row)),
            Err(error @ agent_session_store::Error::Decode { .. }) => {
                self.0 += 1;
                warn(&format!("left out: {error}"));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn exit(&self) -> Exit {
        if self.0 == 0 { Exit::Done } else { Exit::Failed }
    }
}

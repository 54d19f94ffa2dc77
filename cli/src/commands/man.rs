//! `man`: the man pages.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory};

use crate::arguments::{Arguments, Global};
use crate::failure::{Exit, Failure, Result};
use crate::output::Output;

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions man | man -l -
  agent-sessions man --to ~/.local/share/man/man1";

/// Prints the man page, or writes the pages of all commands to a folder
#[derive(Args, Debug)]
pub struct Man {
    /// Write agent-sessions.1 and a page for each command to this folder
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

impl Man {
    pub fn run(self, global: &Global) -> Result<Exit> {
        let command = Arguments::command();
        match self.to {
            Some(folder) => {
                clap_mangen::generate_to(command, &folder)
                    .map_err(|error| Failure::from(error).when(format!("cannot write to {}", folder.display())))?;
            }
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(command).render(&mut page)?;
                let mut out = Output::new(global);
                out.write_all(&page)?;
                out.finish()?;
            }
        }
        Ok(Exit::Done)
    }
}

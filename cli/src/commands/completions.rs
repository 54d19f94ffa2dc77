//! `completions`: for the shells.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::arguments::{Arguments, Global};
use crate::failure::{Exit, Result};
use crate::output::Output;

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions completions bash > ~/.local/share/bash-completion/completions/agent-sessions
  agent-sessions completions fish > ~/.config/fish/completions/agent-sessions.fish";

/// Prints the completions for a shell
#[derive(Args, Debug)]
pub struct Completions {
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(self, global: &Global) -> Result<Exit> {
        // Into memory first: it takes a failed write for a reason to panic.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "agent-sessions", &mut script);
        let mut out = Output::new(global);
        std::io::Write::write_all(&mut out, &script)?;
        out.finish()?;
        Ok(Exit::Done)
    }
}

//! `agent-sessions`: looks at, follows, moves and checks the sessions of coding agents in a database.

mod arguments;
mod commands;
mod copying;
mod failure;
mod interrupt;
mod listed_session;
mod new_file;
mod output;
mod pager;
mod place;
mod printable;
mod progress;
mod rendering;
mod schema_changes;
mod session_choice;
mod session_filter;
mod units;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    interrupt::install();
    match commands::run(arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

//! What can be said on the command line, but for what each command takes.

use std::ffi::OsString;

use clap::{Args, Parser, ValueEnum};

use crate::commands::Command;

const HELP: &str = "\
Sessions are named by their id, by the beginning of it if only one begins so, or by @1 for the latest, @2 for the one before.

Exit codes:
  0    done; also if the reader of a pipe went away
  1    check found something that is not sound, or a question was answered with no
  2    the command line is wrong
  3    there is no such file or session, or several sessions begin so
  4    the database has to be migrated first, or cannot be
  5    the database is locked, out of reach or out of space: try again
  6    anything else went wrong, or a row could not be read and was left out
  130  interrupted

Environment:
  AGENT_SESSIONS_DB                      the database, if --db is not given
  AGENT_SESSIONS_PAGER, PAGER            the pager of show; empty for none
  NO_COLOR, CLICOLOR, CLICOLOR_FORCE     whether to use colours

Examples:
  agent-sessions list --db sessions.db
  agent-sessions show @1 --db postgres://user@host/app
  AGENT_SESSIONS_DB=sessions.db agent-sessions events 3f0c | jq .method";

/// Looks at, follows, moves and checks the sessions of coding agents in a database file or on a PostgreSQL server.
///
/// Looking changes nothing. Data is written to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "agent-sessions", version, after_long_help = HELP, after_help = "See --help for exit codes and examples.")]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EVERYWHERE: &str = "Options of every command";

/// What every command takes.
#[derive(Args, Debug)]
pub struct Global {
    /// The database: the path of a file, or the URL of a server (postgres://user@host/database)
    #[arg(long, global = true, help_heading = EVERYWHERE, env = "AGENT_SESSIONS_DB", hide_env_values = true, value_name = "FILE|URL")]
    pub db: Option<OsString>,
    /// The PostgreSQL schema with the tables, if it is not the first of the search path
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "NAME")]
    pub schema: Option<String>,
    /// Print JSON: one object, or one a line where there may be many
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// When to use colours
    #[arg(long, global = true, help_heading = EVERYWHERE, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub color: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, unless NO_COLOR or CLICOLOR=0 is set; also elsewhere if CLICOLOR_FORCE is
    Auto,
    /// Also in pipes and files
    Always,
    /// Not even on a terminal
    Never,
}

/// What the commands take that only look.
#[derive(Args, Clone, Copy, Debug)]
pub struct Looking {
    /// If the database is a file of an older format, show it from a migrated temporary copy
    #[arg(long)]
    pub copy: bool,
}

//! `show`: the transcript of a session.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;

use agent_session_store::transcript::{Transcript, Turn};
use agent_session_store::{Error, ListEventsRequest, SessionStore};
use clap::Args;

use super::LeftOut;
use crate::arguments::{Global, Looking};
use crate::failure::{Exit, Failure, Result};
use crate::interrupt;
use crate::new_file::NewFile;
use crate::output::{Look, Output};
use crate::place::Place;
use crate::rendering::{Choices, Format, Heading, Rendering};
use crate::session_choice::choose;

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions show @1
  agent-sessions show 3f0c --last 3 --tools --thoughts
  agent-sessions show 3f0c --format markdown -o session.md
  agent-sessions show @1 --open";

/// Shows the transcript of a session
///
/// On a terminal it goes through a pager. Turns are read one by one, so that a session may be of any length.
#[derive(Args, Debug)]
pub struct Show {
    /// The session: its id, the beginning of it, or @1 for the latest
    #[arg(value_name = "ID")]
    session: String,
    /// The form; --json is short for --format json
    #[arg(long, short = 'f', value_enum)]
    format: Option<Format>,
    /// Only this many turns, the last ones
    #[arg(long, short = 'n', value_name = "NUMBER")]
    last: Option<usize>,
    /// Show what went into tools and came out of them
    #[arg(long)]
    tools: bool,
    /// Show what the agent thought
    #[arg(long)]
    thoughts: bool,
    /// Write to this file, which is replaced once it is complete
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Open the HTML page in a browser
    #[arg(long)]
    open: bool,
    /// Print everything at once
    #[arg(long)]
    no_pager: bool,
    #[command(flatten)]
    looking: Looking,
}

/// In rows, and in bytes of payload.
const PAGE: (u32, usize) = (1000, 1_000_000);

impl Show {
    pub fn run(self, global: &Global) -> Result<Exit> {
        let format = self.format(global)?;
        let _asked = interrupt::asked_for();
        let store = Place::of(global)?.look(self.looking)?;
        if self.open {
            return self.open(&store, format);
        }
        match &self.output {
            Some(path) => {
                let mut file = NewFile::begin(path, true)?;
                let exit = self.write(&store, &mut file, Look::of_file(), format)?;
                file.finish()?;
                Ok(exit)
            }
            None => {
                // Before the pager takes the screen.
                choose(&store, &self.session)?;
                let mut out = Output::paged(global, self.no_pager || format == Format::Json);
                let look = out.look();
                let exit = self.write(&store, &mut out, look, format)?;
                out.finish()?;
                Ok(exit)
            }
        }
    }

    fn format(&self, global: &Global) -> Result<Format> {
        match (self.format, global.json, self.open) {
            (Some(Format::Html) | None, false, true) => Ok(Format::Html),
            (_, _, true) => {
                Err(Failure::usage("only HTML is opened in a browser: leave --open or the other format out"))
            }
            (Some(Format::Json) | None, true, false) => Ok(Format::Json),
            (Some(_), true, false) => Err(Failure::usage("two formats were asked for: leave --json or --format out")),
            (given, false, false) => Ok(given.unwrap_or(Format::Text)),
        }
    }

    fn open(&self, store: &SessionStore, format: Format) -> Result<Exit> {
        let path = match &self.output {
            Some(path) => path.clone(),
            None => {
                // It stays, for the browser to read, and is private to whoever asked for it.
                let folder = tempfile::Builder::new().prefix("agent-sessions-").tempdir()?.keep();
                folder.join("session.html")
            }
        };
        let mut file = NewFile::begin(&path, true)?;
        let exit = self.write(store, &mut file, Look::of_file(), format)?;
        file.finish()?;
        crate::failure::warn(&format!("opening {}", path.display()));
        open::that_detached(&path).map_err(|error| {
            Failure::said(
                Exit::Failed,
                format!("no browser could be started ({error}): open {} yourself", path.display()),
            )
        })?;
        Ok(exit)
    }

    fn write(&self, store: &SessionStore, out: &mut dyn Write, look: Look, format: Format) -> Result<Exit> {
        let session = choose(store, &self.session)?;
        let mut rendering = Rendering::new(format, Choices { tools: self.tools, thoughts: self.thoughts, look });
        let mut left_out = LeftOut::default();
        let heading = Heading::of(store, session);
        rendering.begin(out, &heading)?;
        let title = match self.last {
            Some(number) => {
                let (turns, title) = last_turns(store, &heading.id, number, &mut left_out)?;
                turns.iter().try_for_each(|turn| rendering.turn(out, turn))?;
                title
            }
            None => each_turn(store, request(&heading.id), &mut left_out, |turn| rendering.turn(out, turn))?,
        };
        rendering.end(out, title.as_deref())?;
        Ok(left_out.exit())
    }
}

fn request(id: &str) -> ListEventsRequest {
    ListEventsRequest::new(id).limit(PAGE.0).max_bytes(PAGE.1)
}

/// Passes on each turn once it is over, with one turn in memory. Returns the title.
fn each_turn(
    store: &SessionStore,
    request: ListEventsRequest,
    left_out: &mut LeftOut,
    mut work: impl FnMut(&Turn) -> Result<()>,
) -> Result<Option<String>> {
    let mut transcript = Transcript::new();
    for event in store.events(request) {
        interrupt::check()?;
        let Some(event) = left_out.row(event)? else { continue };
        transcript.push(&event);
        transcript.take_finished().iter().try_for_each(&mut work)?;
    }
    transcript.turns().iter().try_for_each(&mut work)?;
    Ok(transcript.title().map(str::to_owned))
}

/// The last turns, found by reading the end of the session, and twice as much until it is enough.
pub fn last_turns(
    store: &SessionStore,
    id: &str,
    number: usize,
    left_out: &mut LeftOut,
) -> Result<(Vec<Turn>, Option<String>)> {
    // Where that cannot be told, everything is read.
    let end = match store.last_event_index(id) {
        Err(Error::Decode { .. }) => 0,
        end => end?.unwrap_or(0),
    };
    let mut events: i64 = 256;
    loop {
        let after = end.saturating_sub(events);
        let is_all = after <= 0;
        let request = if is_all { request(id) } else { request(id).after(after) };
        let mut turns = VecDeque::new();
        let mut found = 0_usize;
        let mut skipped = LeftOut::default();
        let title = each_turn(store, request, if is_all { &mut *left_out } else { &mut skipped }, |turn| {
            found += usize::from(turn.prompt.is_some());
            turns.push_back(turn.clone());
            while turns.len() > number {
                turns.pop_front();
            }
            Ok(())
        })?;
        // The first turn of a part may have begun before it, unless it has its prompt.
        let is_enough = found > number || (found == number && turns.front().is_some_and(|turn| turn.prompt.is_some()));
        if is_all || is_enough {
            left_out.0 += skipped.0;
            return Ok((turns.into(), title));
        }
        events = events.saturating_mul(4);
    }
}

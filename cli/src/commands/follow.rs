//! `follow`: a session as it happens.

use std::io::Write;
use std::time::Duration;

use agent_session_store::transcript::Transcript;
use agent_session_store::transcript::render::{TextRenderer, TranscriptRenderer};
use agent_session_store::{Error, ListEventsRequest, SessionEvent, SessionStore};
use clap::Args;

use super::{LeftOut, events, show};
use crate::arguments::Global;
use crate::failure::{Exit, Failure, Result, warn};
use crate::interrupt;
use crate::output::Output;
use crate::place::Place;
use crate::rendering::{Choices, Format, Heading};
use crate::session_choice::{Choice, choose};
use crate::units::GLANCE;

pub const EXAMPLES: &str = "\
Examples:
  agent-sessions follow @1
  agent-sessions follow 3f0c --last 5
  agent-sessions follow 3f0c --raw --last 0 | jq -r .method";

/// Shows a session as it happens, turn by turn, until Ctrl-C
///
/// Messages are printed once they are complete, tool calls when they begin and when they have ended. With --json, each line is a turn that is over.
#[derive(Args, Debug)]
pub struct Follow {
    /// The session: its id, the beginning of it, or @1 for the latest
    #[arg(value_name = "ID")]
    session: String,
    /// Print the payload of each event, one JSON text a line; with --json the whole event
    #[arg(long)]
    raw: bool,
    /// Begin with this many turns of what is stored, or with --raw events
    #[arg(long, short = 'n', default_value_t = 1, value_name = "NUMBER")]
    last: u32,
    /// Begin with the first event
    #[arg(long, conflicts_with = "last")]
    all: bool,
    /// Wait for a session that does not exist yet; give its whole id
    #[arg(long)]
    wait: bool,
    /// Show what went into tools and came out of them
    #[arg(long)]
    tools: bool,
    /// Show what the agent thought
    #[arg(long)]
    thoughts: bool,
}

impl Follow {
    pub fn run(self, global: &Global) -> Result<Exit> {
        let store = Place::of(global)?.look_as_it_is()?;
        let session = match choose(&store, &self.session) {
            Err(Failure::Said { exit: Exit::NotFound, .. }) if self.wait => {
                Choice { id: self.session.clone(), record: None }
            }
            found => found?,
        };
        let _asked = interrupt::asked_for();
        let mut out = Output::new(global);
        if self.raw {
            self.payloads(&store, &session, &mut out, global)
        } else {
            self.turns(&store, &session, &mut out, global)
        }
    }

    fn payloads(&self, store: &SessionStore, session: &Choice, out: &mut Output, global: &Global) -> Result<Exit> {
        let request = ListEventsRequest::new(&session.id);
        let request = match self.all {
            true => request,
            false => {
                // Also to know where to go on, where none is wanted.
                let last = events::last(store, request.clone(), self.last.max(1), &mut LeftOut::default())?;
                let mut wanted = last.iter().take(if self.last == 0 { 0 } else { last.len() });
                wanted.try_for_each(|event| events::print(out, event, global))?;
                let end = last.last().map(|event| request.cursor_after(event));
                request.cursor(end)
            }
        };
        watch(store, request, out, |out, event| match event {
            Some(event) => events::print(out, &event, global),
            None => Ok(()),
        })
    }

    fn turns(&self, store: &SessionStore, session: &Choice, out: &mut Output, global: &Global) -> Result<Exit> {
        let choices = Choices { tools: self.tools, thoughts: self.thoughts, look: out.look() };
        let mut live = TextRenderer::new(choices.options(Format::Text));
        if !global.json {
            live.begin(&Heading::of(store, session.clone()).head(), out)?;
        }
        let mut transcript = Transcript::new();
        watch(store, self.beginning(store, session)?, out, |out, event| {
            let Some(event) = event else {
                // All that is there was read.
                return match transcript.turns().last() {
                    Some(turn) if !global.json => Ok(live.so_far(turn, out)?),
                    _ => Ok(()),
                };
            };
            transcript.push(&event);
            for turn in transcript.take_finished() {
                if global.json { out.json(&turn)? } else { live.turn(&turn, out)? }
            }
            Ok(())
        })
    }

    /// Where the first of the last turns begins.
    fn beginning(&self, store: &SessionStore, session: &Choice) -> Result<ListEventsRequest> {
        let request = ListEventsRequest::new(&session.id);
        if self.all {
            return Ok(request);
        }
        let number = usize::try_from(self.last).unwrap_or(usize::MAX);
        let (turns, _) = show::last_turns(store, &session.id, number, &mut LeftOut::default())?;
        Ok(match turns.first() {
            Some(turn) => request.after(turn.first_index.saturating_sub(1)),
            None => match events::last(store, request.clone(), 1, &mut LeftOut::default())?.last() {
                Some(event) => request.clone().cursor(Some(request.cursor_after(event))),
                None => request,
            },
        })
    }
}

/// Passes on each event, and `None` whenever there are no more for now.
fn watch(
    store: &SessionStore,
    request: ListEventsRequest,
    out: &mut Output,
    mut work: impl FnMut(&mut Output, Option<SessionEvent>) -> Result<()>,
) -> Result<Exit> {
    let mut follow = store.follow(request);
    let mut is_idle = false;
    let mut failures = 0;
    loop {
        interrupt::check()?;
        match follow.next_timeout(if is_idle { GLANCE } else { Duration::ZERO }) {
            Ok(Some(event)) => {
                (is_idle, failures) = (false, 0);
                work(out, Some(event))?;
            }
            Ok(None) => {
                if !is_idle {
                    work(out, None)?;
                    out.flush()?;
                }
                (is_idle, failures) = (true, 0);
            }
            Err(error @ Error::Decode { .. }) => warn(&format!("left out: {error}")),
            // A lock, or a server that is started anew: the follower goes on from where it was.
            Err(error @ (Error::Busy { .. } | Error::Disconnected { .. } | Error::Open { .. })) => {
                failures += 1;
                if failures == 1 {
                    warn(&format!("waiting: {error}"));
                }
                is_idle = true;
                std::thread::sleep(GLANCE * 10);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
